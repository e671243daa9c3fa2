-- What became of each served forecast over its first day, against what was measured; written once by the loop.
CREATE TABLE forecast_score (
    forecast_id bigint PRIMARY KEY REFERENCES forecast ON DELETE CASCADE,
    subject_id text NOT NULL,
    quantity text NOT NULL,
    model text NOT NULL,
    start timestamptz NOT NULL,
    steps integer NOT NULL CHECK (steps >= 0), -- measured steps it was scored on; 0: too few, nothing below is known
    mae_w double precision,
    promised_mae_w double precision,
    naive_mae_w double precision,
    mean_w double precision,
    pinball_w double precision,
    covered_80_frac double precision,
    covered_95_frac double precision,
    CHECK (steps = 0 OR mae_w IS NOT NULL)
);
CREATE INDEX forecast_score_recent ON forecast_score (quantity, start DESC);
CREATE INDEX forecast_to_score ON forecast (quantity, start);
GRANT SELECT ON forecast_score TO cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT ON forecast_score TO cellwatt_loop;
