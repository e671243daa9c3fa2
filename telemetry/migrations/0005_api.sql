-- What the API needs beyond the first grants: uploads of telemetry, whose an incident is, lists in order, live notices.

-- A REST upload is stored as ingest stores a batch: marks of what is safe, and what is to be rolled up anew.
GRANT INSERT, UPDATE ON stored_mark TO cellwatt_api;
GRANT INSERT, DELETE ON stored_ahead TO cellwatt_api;
GRANT INSERT ON rollup_due TO cellwatt_api;

ALTER TABLE incident ADD COLUMN assignee text;

-- The loop reads incidents, thinks, and writes them back: what a person said in between must not be lost.
CREATE FUNCTION keep_word_on_incident() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF session_user = 'cellwatt_loop' THEN
        IF OLD.state = 'acknowledged' AND NEW.state = 'open' THEN
            NEW.state := OLD.state;
        END IF;
        NEW.history := (
            SELECT coalesce(jsonb_agg(entry ORDER BY (entry ->> 'at')::timestamptz, place), '[]') FROM (
                SELECT entry, min(place) AS place FROM (
                    SELECT entry, place FROM jsonb_array_elements(OLD.history) WITH ORDINALITY AS o (entry, place)
                    UNION ALL
                    SELECT entry, place + 1000000 FROM jsonb_array_elements(NEW.history) WITH ORDINALITY AS n (entry, place)
                ) both_ GROUP BY entry
            ) merged
        );
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incident_word BEFORE UPDATE ON incident FOR EACH ROW EXECUTE FUNCTION keep_word_on_incident();

CREATE INDEX plan_by_creation ON plan (created_at DESC, plan_id DESC);
CREATE INDEX thread_by_creation ON thread (created_at DESC, thread_id DESC);
CREATE INDEX incident_by_since ON incident (since DESC, incident_id DESC);
CREATE INDEX idempotency_by_age ON idempotency (at);
CREATE INDEX command_to_fleet ON command (created_at DESC, sequence DESC) WHERE site_id IS NULL;
CREATE INDEX quarantine_by_arrival ON quarantine (received_at DESC);

CREATE TRIGGER plan_notify AFTER INSERT OR UPDATE ON plan FOR EACH ROW EXECUTE FUNCTION notify_row('plan_id');
CREATE TRIGGER incident_notify AFTER INSERT OR UPDATE ON incident FOR EACH ROW EXECUTE FUNCTION notify_row('incident_id');
CREATE TRIGGER fleet_mode_notify AFTER INSERT OR UPDATE ON fleet_mode FOR EACH ROW EXECUTE FUNCTION notify_row('mode');
