-- A worker that just made sure of a day's partition keeps it until its batch is stored: both take the same lock first.
CREATE OR REPLACE FUNCTION drop_reading_partitions(before_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    part text;
    begins timestamptz;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('reading partitions'));
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'reading'::regclass AND c.relname ~ '^reading_[0-9]{8}$'
        AND c.relname < 'reading_' || to_char(before_day, 'YYYYMMDD') ORDER BY c.relname
    LOOP
        begins := (to_date(right(part, 8), 'YYYYMMDD')::text || ' 00:00+00')::timestamptz;
        IF NOT EXISTS (SELECT FROM rollup_due WHERE bucket >= begins AND bucket < begins + interval '24 hours') THEN
            EXECUTE format('DROP TABLE %I', part);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;
