-- The loop asks every second which runs wait: only these few events among all the steps and tokens.
CREATE INDEX thread_event_waits ON thread_event (thread_id, (body ->> 'run_id'), event_no DESC)
    WHERE kind IN ('interrupt', 'done', 'error');
