-- What sites and ingest told of is listed newest first over all of them.
CREATE INDEX site_event_by_time ON site_event (at DESC);
