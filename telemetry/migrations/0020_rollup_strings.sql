-- How unevenly a battery's parallel strings share its current: the weakest one's shortfall against the strongest, 0..1.
-- A place that reads exactly zero all along has no string; an open one is told by the controller's alarm.
CREATE FUNCTION string_gap(mean_a double precision[]) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN count(*) > 1 THEN 1.0 - min(abs(each_a)) / max(abs(each_a)) END
    FROM unnest(mean_a) AS each_a WHERE each_a <> 0.0
$$;
ALTER TABLE rollup ADD COLUMN string_gap_frac real;
ALTER TABLE rollup_hour ADD COLUMN string_gap_frac real;
