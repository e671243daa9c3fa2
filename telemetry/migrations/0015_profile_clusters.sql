-- Sites grouped by the shape of their load, each time it was worked out: peers for detectors, sites like a new one, and people.
CREATE TABLE profile_clustering (
    clustering_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL,
    doc jsonb NOT NULL,
    moves jsonb NOT NULL
);
CREATE INDEX profile_clustering_by_time ON profile_clustering (made_at DESC, clustering_id DESC);
GRANT SELECT ON profile_clustering TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT ON profile_clustering TO cellwatt_loop;
