-- Conversations: the API asks by thread_command, the loop answers by thread_event; and who may ask.
CREATE TABLE thread (
    thread_id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('chat', 'loop')),
    title text NOT NULL,
    who text NOT NULL,
    created_at timestamptz NOT NULL
);
-- A lease in wall time: whose loop process works on the thread, and until when others keep away.
CREATE TABLE thread_lease (
    thread_id text PRIMARY KEY REFERENCES thread,
    owner text NOT NULL,
    until timestamptz NOT NULL
);
CREATE TABLE thread_command (
    command_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread_id text NOT NULL REFERENCES thread,
    kind text NOT NULL CHECK (kind IN ('message', 'resume', 'cancel')),
    body jsonb NOT NULL,
    who text NOT NULL,
    idempotency_key text NOT NULL UNIQUE,
    at timestamptz NOT NULL
);
CREATE TABLE thread_command_done (
    command_no bigint PRIMARY KEY REFERENCES thread_command,
    at timestamptz NOT NULL,
    outcome text NOT NULL
);
CREATE TABLE thread_event (
    event_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread_id text NOT NULL REFERENCES thread,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('token', 'step', 'message', 'plan', 'interrupt', 'error', 'done')),
    body jsonb NOT NULL
);
CREATE INDEX thread_event_by_thread ON thread_event (thread_id, event_no);
CREATE TRIGGER thread_command_notify AFTER INSERT ON thread_command
    FOR EACH ROW EXECUTE FUNCTION notify_row('thread_id');
CREATE TRIGGER thread_event_notify AFTER INSERT ON thread_event
    FOR EACH ROW EXECUTE FUNCTION notify_row('thread_id');

-- What operators want kept true, set in words or in the console.
CREATE TABLE standing_objective (
    objective_id text PRIMARY KEY,
    doc jsonb NOT NULL,
    who text NOT NULL,
    active boolean NOT NULL,
    at timestamptz NOT NULL
);
CREATE TABLE model_use (
    use_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread_id text NOT NULL,
    at timestamptz NOT NULL,
    model text NOT NULL,
    prompt_tokens integer NOT NULL,
    answer_tokens integer NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE app_user (
    name text PRIMARY KEY,
    password_hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'approver', 'admin')),
    active boolean NOT NULL DEFAULT true,
    failures integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    created_at timestamptz NOT NULL
);
CREATE TABLE app_session (
    token_hash bytea PRIMARY KEY,
    name text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE TABLE api_token (
    token_hash bytea PRIMARY KEY,
    label text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('site', 'service')),
    subject text NOT NULL,
    role text NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE TABLE idempotency (
    key text NOT NULL,
    who text NOT NULL,
    route text NOT NULL,
    at timestamptz NOT NULL,
    status integer NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (key, who, route)
);

GRANT SELECT ON thread, thread_command, thread_command_done, thread_event, standing_objective, model_use
    TO cellwatt_api, cellwatt_loop;
GRANT SELECT, INSERT, UPDATE, DELETE ON thread_lease TO cellwatt_loop;
GRANT INSERT ON thread TO cellwatt_api, cellwatt_loop;
GRANT INSERT ON thread_command TO cellwatt_api;
GRANT INSERT ON thread_command_done, thread_event, model_use TO cellwatt_loop;
GRANT INSERT, UPDATE ON standing_objective TO cellwatt_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON app_user, app_session, api_token, idempotency TO cellwatt_api;
