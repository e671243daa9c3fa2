-- What sites report. Instants come in as arguments: no now() here, since domain time may run at another speed.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;

-- Registry. `doc` is the whole thing as telemetry.model knows it; the columns beside it are what queries filter by.
CREATE TABLE feeder (
    feeder_id text PRIMARY KEY,
    version integer NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE site (
    site_id text PRIMARY KEY,
    feeder_id text NOT NULL REFERENCES feeder,
    radio_cluster text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('monitor', 'shadow', 'remote')),
    simulated boolean NOT NULL,
    version integer NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE critical_site (
    critical_site_id text PRIMARY KEY,
    feeder_id text NOT NULL REFERENCES feeder,
    version integer NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE registry_change (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    kind text NOT NULL,
    subject_id text NOT NULL,
    before jsonb,
    after jsonb
);

-- Readings, one partition a day; keyed so that a clock that steps back loses nothing.
CREATE TABLE reading (
    site_id text NOT NULL,
    at timestamptz NOT NULL,
    boot_id text NOT NULL,
    sequence bigint NOT NULL,
    grid_v real, grid_hz real, grid_w real, aux_ac_w real, rectifier_w real, load_w real,
    bus_v real, battery_a real, battery_w real, meter_battery_w real, string_a real[],
    soc_frac real, soh_frac real, battery_c real, ambient_c real,
    pv_w real, genset_w real, fuel_frac real, mains_ok boolean,
    alarms text[] NOT NULL DEFAULT '{}',
    quality jsonb,
    PRIMARY KEY (site_id, at, boot_id, sequence)
) PARTITION BY RANGE (at);

CREATE FUNCTION ensure_reading_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    one_day date := first_day;
    made integer := 0;
    part text;
BEGIN
    IF last_day - first_day > 400 THEN
        RAISE EXCEPTION 'ensure_reading_partitions: % days is more than 400', last_day - first_day;
    END IF;
    -- Two ingest workers may want the same day at once.
    PERFORM pg_advisory_xact_lock(hashtext('reading partitions'));
    WHILE one_day <= last_day LOOP
        part := 'reading_' || to_char(one_day, 'YYYYMMDD');
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF reading FOR VALUES FROM (%L) TO (%L)',
                part, one_day::text || ' 00:00+00', (one_day + 1)::text || ' 00:00+00');
            made := made + 1;
        END IF;
        one_day := one_day + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION drop_reading_partitions(before_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part text;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'reading'::regclass AND c.relname < 'reading_' || to_char(before_day, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

CREATE TABLE reading_latest (LIKE reading, PRIMARY KEY (site_id));
CREATE TABLE site_quality (
    site_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    score real NOT NULL CHECK (score BETWEEN 0 AND 1),
    reasons jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE feeder_reading (
    feeder_id text NOT NULL,
    at timestamptz NOT NULL,
    background_w double precision NOT NULL,
    PRIMARY KEY (feeder_id, at)
);
CREATE TABLE quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL
);
-- By boot: every sequence <= upto is safe; what is safe beyond the first gap waits in stored_ahead.
CREATE TABLE stored_mark (
    site_id text NOT NULL,
    boot_id text NOT NULL,
    upto bigint NOT NULL,
    PRIMARY KEY (site_id, boot_id)
);
CREATE TABLE stored_ahead (
    site_id text NOT NULL,
    boot_id text NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (site_id, boot_id, first)
);
CREATE TABLE site_status (
    site_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    online boolean NOT NULL,
    state text NOT NULL,
    local_lock boolean NOT NULL,
    last_sequence bigint NOT NULL,
    firmware text NOT NULL
);
CREATE TABLE site_event (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id text NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX site_event_by_site ON site_event (site_id, at DESC);

-- Quarter-hour roll-ups; `samples` and `completeness` say how much stands behind a mean.
CREATE TABLE rollup (
    site_id text NOT NULL,
    bucket timestamptz NOT NULL,
    samples integer NOT NULL,
    completeness real NOT NULL,
    load_w real, load_w_min real, load_w_max real,
    grid_w real, grid_w_max real, aux_ac_w real, pv_w real, rectifier_w real,
    battery_w real, charge_wh real NOT NULL DEFAULT 0, discharge_wh real NOT NULL DEFAULT 0,
    meter_battery_w real,
    soc_frac real, bus_v real, bus_v_min real, battery_c real, ambient_c real,
    PRIMARY KEY (site_id, bucket)
);
CREATE INDEX rollup_by_bucket ON rollup (bucket);
-- Buckets whose readings changed since they were rolled up: written with the readings, so that a crash forgets none.
CREATE TABLE rollup_due (
    site_id text NOT NULL,
    bucket timestamptz NOT NULL,
    PRIMARY KEY (site_id, bucket)
);

CREATE TABLE forecast (
    forecast_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_id text NOT NULL,
    quantity text NOT NULL,
    made_at timestamptz NOT NULL,
    start timestamptz NOT NULL,
    steps integer NOT NULL,
    model text NOT NULL,
    version text NOT NULL,
    reason text NOT NULL,
    values_w double precision[] NOT NULL,
    cumulative_wh double precision[] NOT NULL
);
CREATE INDEX forecast_latest ON forecast (subject_id, quantity, made_at DESC);

CREATE TABLE incident (
    incident_id text PRIMARY KEY,
    site_id text NOT NULL,
    kind text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz,
    score double precision NOT NULL,
    severity text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'acknowledged', 'closed')),
    evidence jsonb NOT NULL,
    history jsonb NOT NULL
);
CREATE INDEX incident_open ON incident (state, since DESC);

GRANT SELECT ON ALL TABLES IN SCHEMA public TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT, UPDATE, DELETE ON reading, reading_latest, site_quality, feeder_reading, stored_mark, stored_ahead,
    site_status, rollup, rollup_due TO cellwatt_ingest;
GRANT INSERT ON quarantine, site_event TO cellwatt_ingest;
GRANT INSERT, UPDATE ON reading, reading_latest, rollup, feeder_reading, site_quality TO cellwatt_api;
GRANT INSERT ON quarantine TO cellwatt_api;
GRANT INSERT, UPDATE, DELETE ON feeder, site, critical_site TO cellwatt_api;
GRANT UPDATE ON site TO cellwatt_control;
GRANT INSERT ON registry_change TO cellwatt_api, cellwatt_control;
GRANT INSERT ON forecast TO cellwatt_loop;
GRANT INSERT, UPDATE ON incident TO cellwatt_loop, cellwatt_api;
REVOKE ALL ON FUNCTION ensure_reading_partitions(date, date), drop_reading_partitions(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_reading_partitions(date, date), drop_reading_partitions(date) TO cellwatt_ingest;
GRANT EXECUTE ON FUNCTION ensure_reading_partitions(date, date) TO cellwatt_api;
