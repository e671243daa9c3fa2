-- Messages to people. The API's process alone decides and sends; the targets' addresses and secrets are in a file, never here.
CREATE TABLE notification (
    message_id text PRIMARY KEY,
    target text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('direct', 'escalated')),
    severity text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    link text NOT NULL,
    made_at timestamptz NOT NULL,           -- domain time
    state text NOT NULL CHECK (state IN ('due', 'sending', 'sent', 'failed', 'withdrawn')),
    attempts integer NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL,        -- wall time, as all that follows
    lease_until timestamptz,
    settled_at timestamptz,
    outcome text NOT NULL DEFAULT ''
);
CREATE INDEX notification_due ON notification (not_before) WHERE state IN ('due', 'sending');
CREATE INDEX notification_by_making ON notification (made_at DESC, message_id DESC);

-- Who was told of what: the key is what makes a page come once, whoever writes and however often.
CREATE TABLE notification_subject (
    subject_id text NOT NULL,
    target text NOT NULL,
    message_id text NOT NULL REFERENCES notification,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (subject_id, target)
);
CREATE INDEX notification_subject_by_message ON notification_subject (message_id);

GRANT SELECT, INSERT, UPDATE ON notification TO cellwatt_api;
GRANT SELECT, INSERT ON notification_subject TO cellwatt_api;
