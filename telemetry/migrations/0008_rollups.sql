-- Roll-ups by month, hourly roll-ups, and what retention needs. Instants come in as arguments, as everywhere.

-- An hour is the site's own: zones half or a quarter of an hour off have their hours begin there.
ALTER TABLE site ADD COLUMN time_zone text GENERATED ALWAYS AS (doc ->> 'time_zone') STORED;

-- A zone that nobody knows counts as UTC: it must not stop the roll-ups of all the others.
CREATE FUNCTION known_zone(zone text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM timestamptz '2000-01-01 00:00+00' AT TIME ZONE zone;
    RETURN coalesce(zone, 'UTC');
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN 'UTC';
END $$;

ALTER TABLE rollup RENAME TO rollup_before_0008;
ALTER INDEX rollup_pkey RENAME TO rollup_before_0008_pkey;
DROP INDEX rollup_by_bucket;
CREATE TABLE rollup (
    site_id text NOT NULL,
    bucket timestamptz NOT NULL,
    samples integer NOT NULL,
    completeness real NOT NULL,
    load_w real, load_w_min real, load_w_max real,
    grid_w real, grid_w_min real, grid_w_max real, aux_ac_w real, pv_w real, pv_w_max real, rectifier_w real,
    battery_w real, battery_w_min real, battery_w_max real,
    charge_wh real NOT NULL DEFAULT 0, discharge_wh real NOT NULL DEFAULT 0,
    meter_battery_w real, genset_w real,
    soc_frac real, soc_frac_min real, soc_frac_max real, bus_v real, bus_v_min real, bus_v_max real,
    battery_c real, battery_c_min real, battery_c_max real, ambient_c real,
    PRIMARY KEY (site_id, bucket)
) PARTITION BY RANGE (bucket);
-- Roll-ups come in order of time: a summary of each few pages finds a span of time, at a thousandth of a B-tree's size.
CREATE INDEX rollup_by_time ON rollup USING brin (bucket) WITH (pages_per_range = 16);

-- `bucket` is the instant at which an hour of the site's own clock begins; energies count what was measured.
CREATE TABLE rollup_hour (
    site_id text NOT NULL,
    bucket timestamptz NOT NULL,
    samples integer NOT NULL,
    quarters smallint NOT NULL,
    completeness real NOT NULL,
    load_w real, load_w_min real, load_w_max real,
    grid_w real, grid_w_min real, grid_w_max real, aux_ac_w real, pv_w real, pv_w_max real, rectifier_w real,
    battery_w real, battery_w_min real, battery_w_max real,
    load_wh real, grid_wh real, pv_wh real, charge_wh real NOT NULL DEFAULT 0, discharge_wh real NOT NULL DEFAULT 0,
    meter_battery_w real, genset_w real,
    soc_frac real, soc_frac_min real, soc_frac_max real, bus_v real, bus_v_min real, bus_v_max real,
    battery_c real, battery_c_min real, battery_c_max real, ambient_c real,
    PRIMARY KEY (site_id, bucket)
) PARTITION BY RANGE (bucket);
CREATE INDEX rollup_hour_by_time ON rollup_hour USING brin (bucket) WITH (pages_per_range = 16);
-- A row whose month has no partition yet is kept all the same, and moves when the partition is made.
CREATE TABLE rollup_other PARTITION OF rollup DEFAULT;
CREATE TABLE rollup_hour_other PARTITION OF rollup_hour DEFAULT;
-- Hours whose quarters changed since: written with the quarters, so that late data re-opens them and a crash forgets none.
CREATE TABLE rollup_hour_due (
    site_id text NOT NULL,
    bucket timestamptz NOT NULL,
    PRIMARY KEY (site_id, bucket)
);

CREATE FUNCTION ensure_rollup_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    parent text;
    month date;
    begins timestamptz;
    ends timestamptz;
    part text;
    made integer := 0;
BEGIN
    IF last_day - first_day > 4000 THEN
        RAISE EXCEPTION 'ensure_rollup_partitions: % days is more than 4000', last_day - first_day;
    END IF;
    FOREACH parent IN ARRAY ARRAY['rollup', 'rollup_hour'] LOOP
        month := date_trunc('month', first_day)::date;
        WHILE month <= last_day LOOP
            part := parent || '_' || to_char(month, 'YYYYMM');
            IF to_regclass(part) IS NULL THEN
                PERFORM pg_advisory_xact_lock(hashtext('roll-up partitions'));
            END IF;
            IF to_regclass(part) IS NULL THEN
                begins := (month::text || ' 00:00+00')::timestamptz;
                ends := ((month + interval '1 month')::date::text || ' 00:00+00')::timestamptz;
                -- Room in each page for the updates that a quarter hour gets while it is open.
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (fillfactor = 85)', part, parent);
                EXECUTE format('WITH moved AS (DELETE FROM %I WHERE bucket >= %L AND bucket < %L RETURNING *)'
                    ' INSERT INTO %I SELECT * FROM moved', parent || '_other', begins, ends, part);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, begins, ends);
                made := made + 1;
            END IF;
            month := (month + interval '1 month')::date;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION drop_rollup_partitions(quarters_before date, hours_before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    -- A month goes when its last day is past the limit.
    FOR part IN
        SELECT c.relname, p.relname AS parent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_class p ON p.oid = i.inhparent WHERE p.oid IN ('rollup'::regclass, 'rollup_hour'::regclass)
        AND c.relname ~ '_[0-9]{6}$' AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month'
            <= CASE p.relname WHEN 'rollup' THEN quarters_before ELSE hours_before END
    LOOP
        EXECUTE format('DROP TABLE %I', part.relname);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- A day that still waits to be rolled up stays.
CREATE OR REPLACE FUNCTION drop_reading_partitions(before_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part text;
    begins timestamptz;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'reading'::regclass AND c.relname ~ '^reading_[0-9]{8}$'
        AND c.relname < 'reading_' || to_char(before_day, 'YYYYMMDD')
    LOOP
        begins := (to_date(right(part, 8), 'YYYYMMDD')::text || ' 00:00+00')::timestamptz;
        IF NOT EXISTS (SELECT FROM rollup_due WHERE bucket >= begins AND bucket < begins + interval '24 hours') THEN
            EXECUTE format('DROP TABLE %I', part);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

-- What has no partitions goes in small steps; returns how many rows went.
CREATE FUNCTION forget_old_rows(forecasts_before timestamptz, quarantine_before timestamptz, most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone integer;
    total integer := 0;
BEGIN
    DELETE FROM forecast WHERE forecast_id IN
        (SELECT forecast_id FROM forecast WHERE made_at < forecasts_before ORDER BY forecast_id LIMIT most);
    GET DIAGNOSTICS gone = ROW_COUNT;
    total := total + gone;
    DELETE FROM quarantine WHERE quarantine_id IN
        (SELECT quarantine_id FROM quarantine WHERE received_at < quarantine_before ORDER BY received_at LIMIT most);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN total + gone;
END $$;

SELECT ensure_rollup_partitions(min(bucket)::date, max(bucket)::date) FROM rollup_before_0008 HAVING count(*) > 0;
INSERT INTO rollup (site_id, bucket, samples, completeness, load_w, load_w_min, load_w_max, grid_w, grid_w_max, aux_ac_w,
    pv_w, rectifier_w, battery_w, charge_wh, discharge_wh, meter_battery_w, soc_frac, bus_v, bus_v_min, battery_c, ambient_c)
SELECT site_id, bucket, samples, completeness, load_w, load_w_min, load_w_max, grid_w, grid_w_max, aux_ac_w,
    pv_w, rectifier_w, battery_w, charge_wh, discharge_wh, meter_battery_w, soc_frac, bus_v, bus_v_min, battery_c, ambient_c
FROM rollup_before_0008 ORDER BY bucket, site_id;
INSERT INTO rollup_hour_due SELECT DISTINCT r.site_id, r.bucket - make_interval(mins =>
        extract(minute FROM r.bucket AT TIME ZONE coalesce(s.time_zone, 'UTC'))::integer)
    FROM rollup r LEFT JOIN site s USING (site_id);
DROP TABLE rollup_before_0008;

GRANT SELECT ON rollup, rollup_hour, rollup_hour_due TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT, UPDATE, DELETE ON rollup, rollup_hour, rollup_hour_due TO cellwatt_ingest;
GRANT INSERT, UPDATE ON rollup TO cellwatt_api;
REVOKE ALL ON FUNCTION ensure_rollup_partitions(date, date), drop_rollup_partitions(date, date),
    forget_old_rows(timestamptz, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_rollup_partitions(date, date), drop_rollup_partitions(date, date),
    forget_old_rows(timestamptz, timestamptz, integer) TO cellwatt_ingest;
