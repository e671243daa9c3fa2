"""Quarter-hour roll-ups: what is due is worked out anew from the readings, late data included."""

from datetime import datetime, timedelta

import psycopg

MOST_BUCKETS = 10_000  # rolled up in one transaction


def roll_up_due(connection: psycopg.Connection, now: datetime, most: int = MOST_BUCKETS) -> int:
    """Roll up what is due and return how many buckets that were.

    Args:
        connection: Of the ingest role.
        now: Domain instant; a bucket still open is rolled up too and becomes due again with its next reading.
        most: Buckets in one transaction.

    A bucket's energy is its mean power over a quarter of an hour, split by sign at the level of readings;
    completeness is the share of the bucket's three 5-minute slots that hold a reading.
    """
    with connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS rolling (site_id text, bucket timestamptz) ON COMMIT DELETE ROWS"
        )
        connection.execute(
            "WITH due AS (DELETE FROM rollup_due WHERE (site_id, bucket) IN (SELECT site_id, bucket FROM rollup_due"
            " WHERE bucket <= %s ORDER BY bucket LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING site_id, bucket)"
            " INSERT INTO rolling SELECT site_id, bucket FROM due",
            [now + timedelta(minutes=15), most],
        )
        span = connection.execute("SELECT min(bucket), max(bucket), count(*) FROM rolling").fetchone()
        if span is None or span[2] == 0:
            return 0
        connection.execute(_ROLL_UP, [span[0], span[1] + timedelta(minutes=15)])
        return int(span[2])


_ROLL_UP = """
INSERT INTO rollup (site_id, bucket, samples, completeness, load_w, load_w_min, load_w_max, grid_w, grid_w_max,
    aux_ac_w, pv_w, rectifier_w, battery_w, charge_wh, discharge_wh, meter_battery_w, soc_frac, bus_v, bus_v_min,
    battery_c, ambient_c)
SELECT b.site_id, b.bucket, count(*), count(DISTINCT date_bin('5 minutes', r.at, 'epoch')) / 3.0,
    avg(load_w), min(load_w), max(load_w), avg(grid_w), max(grid_w), avg(aux_ac_w), avg(pv_w), avg(rectifier_w),
    avg(battery_w), coalesce(avg(greatest(coalesce(meter_battery_w, battery_w), 0)), 0) * 0.25,
    coalesce(avg(greatest(-coalesce(meter_battery_w, battery_w), 0)), 0) * 0.25,
    avg(meter_battery_w), (array_agg(soc_frac ORDER BY r.at DESC))[1], avg(bus_v), min(bus_v),
    avg(battery_c), avg(ambient_c)
FROM rolling b
JOIN reading r ON r.site_id = b.site_id AND r.at >= b.bucket AND r.at < b.bucket + interval '15 minutes'
    AND r.at >= %s AND r.at < %s
GROUP BY b.site_id, b.bucket
ON CONFLICT (site_id, bucket) DO UPDATE SET samples = excluded.samples, completeness = excluded.completeness,
    load_w = excluded.load_w, load_w_min = excluded.load_w_min, load_w_max = excluded.load_w_max,
    grid_w = excluded.grid_w, grid_w_max = excluded.grid_w_max, aux_ac_w = excluded.aux_ac_w, pv_w = excluded.pv_w,
    rectifier_w = excluded.rectifier_w, battery_w = excluded.battery_w, charge_wh = excluded.charge_wh,
    discharge_wh = excluded.discharge_wh, meter_battery_w = excluded.meter_battery_w, soc_frac = excluded.soc_frac,
    bus_v = excluded.bus_v, bus_v_min = excluded.bus_v_min, battery_c = excluded.battery_c,
    ambient_c = excluded.ambient_c
"""
