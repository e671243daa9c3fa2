"""Quarter-hour and hourly roll-ups: what is due is worked out anew from what it is made of, late data included."""

from datetime import UTC, datetime, timedelta

import psycopg

MOST_BUCKETS = 10_000  # rolled up in one transaction
_QUARTER = timedelta(minutes=15)
_MOST_STRINGS = 8  # parallel strings of a battery whose currents a profile can name
# What a quarter hour holds and how it follows from its readings `r`: a mean, and where a quarter hour hides a spike
# that matters (load, grid, battery, SoC, bus, temperature) the extremes. Strings' currents are averaged
# before they are compared: their noise would pass for a gap.
_OF_READINGS = {
    "samples": "count(*)",
    "completeness": "count(DISTINCT date_bin('5 minutes', r.at, 'epoch')) / 3.0",
    "load_w": "avg(load_w)", "load_w_min": "min(load_w)", "load_w_max": "max(load_w)",
    "grid_w": "avg(grid_w)", "grid_w_min": "min(grid_w)", "grid_w_max": "max(grid_w)",
    "grid_v": "avg(grid_v)", "aux_ac_w": "avg(aux_ac_w)", "pv_w": "avg(pv_w)", "pv_w_max": "max(pv_w)", "rectifier_w": "avg(rectifier_w)",
    "battery_w": "avg(battery_w)", "battery_w_min": "min(battery_w)", "battery_w_max": "max(battery_w)",
    "charge_wh": "coalesce(avg(greatest(coalesce(meter_battery_w, battery_w), 0)), 0) * 0.25",
    "discharge_wh": "coalesce(avg(greatest(-coalesce(meter_battery_w, battery_w), 0)), 0) * 0.25",
    "meter_battery_w": "avg(meter_battery_w)", "genset_w": "avg(genset_w)",
    "soc_frac": "(array_agg(soc_frac ORDER BY r.at DESC))[1]",
    "soc_frac_min": "min(soc_frac)", "soc_frac_max": "max(soc_frac)",
    "bus_v": "avg(bus_v)", "bus_v_min": "min(bus_v)", "bus_v_max": "max(bus_v)",
    "battery_c": "avg(battery_c)", "battery_c_min": "min(battery_c)", "battery_c_max": "max(battery_c)",
    "ambient_c": "avg(ambient_c)",
    "string_gap_frac": f"string_gap(ARRAY[{', '.join(f'avg(string_a[{k}])' for k in range(1, _MOST_STRINGS + 1))}])",
}  # fmt: skip


def _of_quarters(name: str) -> str:
    """Return how an hour's column follows from its quarters `q`."""
    if name == "completeness":
        return "sum(q.completeness) / 4.0"
    if name == "soc_frac":
        return "(array_agg(q.soc_frac ORDER BY q.bucket DESC))[1]"
    if name == "samples" or name.endswith("_wh"):
        return f"sum(q.{name})"
    for ending in ("min", "max"):
        if name.endswith(f"_{ending}"):
            return f"{ending}(q.{name})"
    return f"avg(q.{name})"


_OF_QUARTERS = (
    {name: _of_quarters(name) for name in _OF_READINGS}
    | {f"{name}h": f"sum(q.{name}) * 0.25" for name in ("load_w", "grid_w", "pv_w")}
    | {"quarters": "count(*)"}
)


def roll_up_due(connection: psycopg.Connection, now: datetime, most: int = MOST_BUCKETS) -> int:
    """Roll up what is due and return how many quarter hours that were.

    Args:
        connection: Of the ingest role.
        now: Domain instant; a quarter hour still open is rolled up too and becomes due again with its next reading,
            an hour waits until it is over.
        most: Quarter hours, and hours, in one transaction.

    A quarter hour's energy is its mean power over 15 minutes, split by sign at the level of readings; completeness is
    the share of its three 5-minute slots that hold a reading. An hour's mean is that of the quarters measured, its
    energy is what was measured. An hour begins on the site's own clock.

    Late data never makes a roll-up poorer: when the readings behind it are past their retention, fewer samples than it
    was made of leave it as it is.
    """
    with connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS rolling (site_id text, bucket timestamptz) ON COMMIT DELETE ROWS"
        )
        done = _roll(connection, _DUE_QUARTERS, now + _QUARTER, most, (_QUARTERS, _NEXT_HOURS), _QUARTER)
    with connection.transaction():
        _roll(connection, _DUE_HOURS, now - timedelta(hours=1), most, (_HOURS,), timedelta(hours=1))
    return done


def _roll(
    connection: psycopg.Connection,
    due: str,
    before: datetime,
    most: int,
    statements: tuple[str, ...],
    length: timedelta,
) -> int:
    connection.execute(due.encode(), [before, most])
    span = connection.execute("SELECT min(bucket), max(bucket), count(*) FROM rolling").fetchone()
    if span is None or span[2] == 0:
        return 0
    first, last = span[0].astimezone(UTC), (span[1] + length).astimezone(UTC)
    connection.execute("SELECT ensure_rollup_partitions(%s, %s)", [first.date(), last.date()])
    for statement in statements:
        connection.execute(statement.encode(), {"first": first, "last": last})
    return int(span[2])


def _due(table: str) -> str:
    return (
        f"WITH due AS (DELETE FROM {table} WHERE (site_id, bucket) IN (SELECT site_id, bucket FROM {table}"  # noqa: S608 (tables of this file)
        " WHERE bucket <= %s ORDER BY bucket LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING site_id, bucket)"
        " INSERT INTO rolling SELECT site_id, bucket FROM due ORDER BY bucket, site_id"
    )


def _upsert(table: str, columns: dict[str, str], source: str) -> str:
    names = ", ".join(columns)
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns)
    return (
        f"INSERT INTO {table} (site_id, bucket, {names}) SELECT b.site_id, b.bucket, {', '.join(columns.values())}"  # noqa: S608 (names of this file)
        f" FROM rolling b JOIN {source} GROUP BY b.site_id, b.bucket ORDER BY b.bucket, b.site_id"
        f" ON CONFLICT (site_id, bucket) DO UPDATE SET {sets} WHERE excluded.samples >= {table}.samples"
    )


_DUE_QUARTERS, _DUE_HOURS = _due("rollup_due"), _due("rollup_hour_due")
_QUARTERS = _upsert(
    "rollup",
    _OF_READINGS,
    "reading r ON r.site_id = b.site_id AND r.at >= b.bucket AND r.at < b.bucket + interval '15 minutes'"
    " AND r.at >= %(first)s AND r.at < %(last)s",
)
_HOURS = _upsert(
    "rollup_hour",
    _OF_QUARTERS,
    "rollup q ON q.site_id = b.site_id AND q.bucket >= b.bucket AND q.bucket < b.bucket + interval '1 hour'"
    " AND q.bucket >= %(first)s AND q.bucket < %(last)s",
)
_NEXT_HOURS = """
WITH zones AS MATERIALIZED (
    SELECT time_zone, known_zone(time_zone) AS known
    FROM (SELECT DISTINCT time_zone FROM site WHERE site_id IN (SELECT site_id FROM rolling)) asked
)
INSERT INTO rollup_hour_due SELECT DISTINCT b.site_id, b.bucket
    - make_interval(mins => extract(minute FROM b.bucket AT TIME ZONE coalesce(z.known, 'UTC'))::integer)
FROM rolling b LEFT JOIN site s USING (site_id) LEFT JOIN zones z USING (time_zone)
ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""
