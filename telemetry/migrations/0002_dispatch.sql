-- Plans, approvals, commands: who may write what is the heart of it (ARCHITECTURE.md, "Who may do what").
CREATE TABLE plan (
    plan_id text PRIMARY KEY,
    supersedes text REFERENCES plan,
    thread_id text,
    status text NOT NULL CHECK (status IN
        ('proposed', 'validated', 'rejected', 'approved', 'declined', 'dispatched', 'completed', 'aborted')),
    created_at timestamptz NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    envelope_digest text NOT NULL,
    doc jsonb NOT NULL
);
CREATE INDEX plan_by_window ON plan (status, window_end);

-- What a gate said of a plan, every time it was asked.
CREATE TABLE plan_verdict (
    verdict_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL REFERENCES plan,
    at timestamptz NOT NULL,
    gate text NOT NULL CHECK (gate IN ('validate', 'authorise')),
    approved boolean NOT NULL,
    doc jsonb NOT NULL
);
CREATE INDEX plan_verdict_by_plan ON plan_verdict (plan_id, verdict_id);

-- A person's yes (written by the API) or the policy's (written by control). The loop cannot write here.
CREATE TABLE approval (
    approval_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL REFERENCES plan,
    envelope_digest text NOT NULL,
    tier text NOT NULL CHECK (tier IN ('automatic', 'one_person', 'two_persons')),
    approver text NOT NULL,
    approved_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    written_by text NOT NULL DEFAULT session_user,
    UNIQUE (plan_id, approver)
);
CREATE TABLE plan_decline (
    decline_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL REFERENCES plan,
    who text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL
);

-- The agent's only way out: a plan id.
CREATE TABLE dispatch_request (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL UNIQUE REFERENCES plan,
    requested_at timestamptz NOT NULL
);
-- What control made of it; control alone writes here.
CREATE TABLE dispatch_outcome (
    request_id bigint PRIMARY KEY REFERENCES dispatch_request,
    at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('authorised', 'needs_approval', 'refused')),
    doc jsonb NOT NULL
);
CREATE TABLE control_request (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('abort', 'stop', 'clear', 'mode')),
    plan_id text REFERENCES plan,
    site_id text,
    mode text,
    who text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL
);
CREATE TABLE control_outcome (
    request_id bigint PRIMARY KEY REFERENCES control_request,
    at timestamptz NOT NULL,
    outcome text NOT NULL,
    doc jsonb NOT NULL
);

-- The outbox. Bytes and sequence are committed before anything is published; a retry sends the same bytes.
CREATE TABLE command_sequence (
    subject_id text PRIMARY KEY, -- a site_id, or 'fleet/<key epoch>'
    last bigint NOT NULL
);
CREATE TABLE command (
    command_id text PRIMARY KEY,
    plan_id text REFERENCES plan,
    site_id text, -- NULL for the fleet
    sequence bigint NOT NULL,
    kind text NOT NULL,
    envelope bytea NOT NULL,
    digest text NOT NULL,
    key_id text NOT NULL,
    created_at timestamptz NOT NULL,
    accept_by timestamptz NOT NULL,
    not_before timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'sent', 'acknowledged', 'refused', 'missing', 'ended')),
    attempts integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    UNIQUE (site_id, sequence)
);
CREATE INDEX command_by_plan ON command (plan_id);
CREATE INDEX command_open ON command (state) WHERE state IN ('pending', 'sent');
CREATE TABLE acknowledgement (
    acknowledgement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command_id text NOT NULL REFERENCES command,
    site_id text NOT NULL,
    digest text NOT NULL,
    verdict text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    read_back_v double precision,
    limited_wh double precision NOT NULL,
    UNIQUE (command_id, site_id, verdict, at)
);

CREATE TABLE dispatch_report (
    plan_id text PRIMARY KEY REFERENCES plan,
    at timestamptz NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE fleet_mode (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    mode text NOT NULL CHECK (mode IN ('normal', 'storm', 'emergency')),
    who text NOT NULL,
    since timestamptz NOT NULL
);

-- A plan's status only moves forward, and only certain roles may move it certain ways.
CREATE FUNCTION guard_plan_status() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who text := session_user;
    step text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF who = 'cellwatt_loop' AND NEW.status <> 'proposed' THEN
            RAISE EXCEPTION 'plan %: % may only propose', NEW.plan_id, who;
        END IF;
        RETURN NEW;
    END IF;
    step := OLD.status || '>' || NEW.status;
    IF NEW.doc IS DISTINCT FROM OLD.doc OR NEW.envelope_digest <> OLD.envelope_digest
        OR NEW.window_start <> OLD.window_start OR NEW.window_end <> OLD.window_end
        OR NEW.supersedes IS DISTINCT FROM OLD.supersedes THEN
        RAISE EXCEPTION 'plan %: a stored plan is never edited', OLD.plan_id;
    END IF;
    IF NEW.status = OLD.status THEN
        RETURN NEW;
    END IF;
    IF step NOT IN ('proposed>validated', 'proposed>rejected', 'validated>rejected', 'validated>approved',
        'validated>declined', 'approved>dispatched', 'approved>declined', 'approved>rejected',
        'dispatched>completed', 'dispatched>aborted', 'approved>aborted') THEN
        RAISE EXCEPTION 'plan %: status cannot go from % to %', OLD.plan_id, OLD.status, NEW.status;
    END IF;
    IF who = 'cellwatt_loop' AND step NOT IN ('proposed>validated', 'proposed>rejected', 'validated>rejected',
        'dispatched>completed') THEN
        RAISE EXCEPTION 'plan %: % may not move a plan from % to %', OLD.plan_id, who, OLD.status, NEW.status;
    END IF;
    IF who = 'cellwatt_api' AND step NOT IN ('validated>declined', 'approved>declined') THEN
        RAISE EXCEPTION 'plan %: % may not move a plan from % to %', OLD.plan_id, who, OLD.status, NEW.status;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER plan_status BEFORE INSERT OR UPDATE ON plan FOR EACH ROW EXECUTE FUNCTION guard_plan_status();

-- Audit: append-only, hash-chained by one writer at a time; the writer's role is stamped, not claimed.
CREATE TABLE audit (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    role text NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL
);
CREATE FUNCTION audit_entry_text(seq bigint, at timestamptz, role text, who text, action text, subject text,
    before jsonb, after jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    -- One unambiguous text per entry: a JSON array of strings and nulls, instants as microseconds since 1970.
    SELECT jsonb_build_array(seq::text, (extract(epoch FROM at) * 1000000)::bigint::text, role, who, action, subject,
        before::text, after::text)::text
$$;
CREATE FUNCTION append_audit(at timestamptz, who text, action text, subject text, before jsonb, after jsonb)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    last_seq bigint;
    last_hash bytea;
    next_hash bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit'));
    SELECT a.seq, a.hash INTO last_seq, last_hash FROM audit a ORDER BY a.seq DESC LIMIT 1;
    last_seq := coalesce(last_seq, 0);
    last_hash := coalesce(last_hash, '\x'::bytea);
    next_hash := sha256(last_hash || convert_to(
        audit_entry_text(last_seq + 1, at, session_user::text, who, action, subject, before, after), 'UTF8'));
    INSERT INTO audit VALUES (last_seq + 1, at, session_user::text, who, action, subject, before, after, last_hash, next_hash);
    RETURN last_seq + 1;
END $$;
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- Listeners wake at once instead of polling; the payload says which.
CREATE FUNCTION notify_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_NAME, to_jsonb(NEW) ->> TG_ARGV[0]);
    RETURN NEW;
END $$;
CREATE TRIGGER dispatch_request_notify AFTER INSERT ON dispatch_request
    FOR EACH ROW EXECUTE FUNCTION notify_row('plan_id');
CREATE TRIGGER dispatch_outcome_notify AFTER INSERT OR UPDATE ON dispatch_outcome
    FOR EACH ROW EXECUTE FUNCTION notify_row('request_id');
CREATE TRIGGER control_request_notify AFTER INSERT ON control_request
    FOR EACH ROW EXECUTE FUNCTION notify_row('request_id');
CREATE TRIGGER approval_notify AFTER INSERT ON approval FOR EACH ROW EXECUTE FUNCTION notify_row('plan_id');
CREATE TRIGGER acknowledgement_notify AFTER INSERT ON acknowledgement
    FOR EACH ROW EXECUTE FUNCTION notify_row('command_id');

GRANT SELECT ON plan, plan_verdict, approval, plan_decline, dispatch_request, dispatch_outcome, control_request,
    control_outcome, command, acknowledgement, dispatch_report, fleet_mode, audit
    TO cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT ON plan, plan_verdict, dispatch_report TO cellwatt_loop;
GRANT UPDATE (status) ON plan TO cellwatt_loop, cellwatt_api, cellwatt_control;
GRANT UPDATE ON dispatch_report TO cellwatt_loop;
GRANT INSERT (plan_id, requested_at) ON dispatch_request TO cellwatt_loop;
GRANT INSERT (plan_id, envelope_digest, tier, approver, approved_at, expires_at) ON approval
    TO cellwatt_api, cellwatt_control;
GRANT INSERT ON plan_decline, fleet_mode TO cellwatt_api;
-- Control's own command line can stop the fleet while the API is down.
GRANT INSERT ON control_request TO cellwatt_api, cellwatt_control;
GRANT UPDATE ON fleet_mode TO cellwatt_api;
GRANT INSERT ON plan_verdict, dispatch_outcome, control_outcome, command, command_sequence, acknowledgement
    TO cellwatt_control;
GRANT SELECT, UPDATE ON command_sequence TO cellwatt_control;
GRANT UPDATE ON dispatch_outcome TO cellwatt_control;
GRANT UPDATE (state, attempts, sent_at) ON command TO cellwatt_control;
REVOKE ALL ON FUNCTION append_audit(timestamptz, text, text, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_audit(timestamptz, text, text, text, jsonb, jsonb)
    TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;
