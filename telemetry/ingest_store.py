"""What ingest writes: one transaction per batch, through binary COPY and a staging table.

Readings, latest rows, quality, roll-ups due and the marks of what is safe are committed together or not at all.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from telemetry.decode import Refused, SiteEvent
from telemetry.model.reading import FeederReading, Reading, SiteStatus
from telemetry.quality import goodness
from telemetry.ranges import Span, advance, to_spans

_FLOATS = (
    "grid_v", "grid_hz", "grid_w", "aux_ac_w", "rectifier_w", "load_w", "bus_v", "battery_a", "battery_w",
    "meter_battery_w",
)  # fmt: skip
_MORE_FLOATS = ("soc_frac", "soh_frac", "battery_c", "ambient_c", "pv_w", "genset_w", "fuel_frac")
COLUMNS = (
    "site_id", "at", "boot_id", "sequence", *_FLOATS, "string_a", *_MORE_FLOATS, "mains_ok", "alarms", "quality",
)  # fmt: skip
_TYPES = (
    "text", "timestamptz", "text", "int8", *["float4"] * len(_FLOATS), "float4[]", *["float4"] * len(_MORE_FLOATS),
    "bool", "text[]", "jsonb",
)  # fmt: skip
MOST_BUCKETS = 10_000  # rolled up in one transaction
_SCORE_MEMORY = 0.8  # how much of the old quality score stays when a batch of the site arrives
_NAMES = sql.SQL(", ").join(sql.Identifier(name) for name in COLUMNS)
_UPDATES = sql.SQL(", ").join(
    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in COLUMNS if name != "site_id"
)
_COPY = sql.SQL("COPY staged ({}) FROM STDIN (FORMAT BINARY)").format(_NAMES)
_MOVE = sql.SQL("INSERT INTO reading ({0}) SELECT {0} FROM staged ON CONFLICT DO NOTHING").format(_NAMES)
_LATEST = sql.SQL(
    "INSERT INTO reading_latest ({0}) SELECT DISTINCT ON (site_id) {0} FROM staged ORDER BY site_id, at DESC"
    " ON CONFLICT (site_id) DO UPDATE SET {1} WHERE excluded.at >= reading_latest.at"
).format(_NAMES, _UPDATES)
_DUE = (
    "INSERT INTO rollup_due SELECT DISTINCT site_id, date_bin('15 minutes', at, 'epoch') FROM staged"
    " ORDER BY 1, 2 ON CONFLICT DO NOTHING"
)
_QUALITY = (
    "INSERT INTO site_quality (site_id, at, score, reasons) VALUES (%s, %s, %s, %s) ON CONFLICT (site_id)"
    " DO UPDATE SET at = excluded.at, reasons = excluded.reasons,"
    " score = %s * site_quality.score + (1 - %s) * excluded.score WHERE excluded.at >= site_quality.at"
)


@dataclass(slots=True, kw_only=True)
class Batch:
    """What arrived since the last flush."""

    readings: list[Reading] = field(default_factory=list)
    feeder: list[FeederReading] = field(default_factory=list)
    statuses: dict[str, SiteStatus] = field(default_factory=dict)
    events: list[SiteEvent] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def __len__(self) -> int:
        return (
            len(self.readings) + len(self.feeder) + len(self.statuses) + len(self.events) + len(self.refused)
        )


def store_batch(
    connection: psycopg.Connection, batch: Batch, now: datetime, known_days: set[date]
) -> dict[str, dict[str, int]]:
    """Store a batch in one transaction and return what is safe now: site to boot to highest whole sequence.

    Args:
        connection: Of the ingest role, autocommit off inside this call.
        batch: Decoded and judged.
        now: Domain instant, stamped on quarantined messages.
        known_days: Days whose partition is known to exist; added to.

    Raises:
        psycopg.Error: Nothing of the batch was stored.
    """
    with connection.transaction():
        marks: dict[str, dict[str, int]] = {}
        if batch.readings:
            _ensure_days(
                connection, {reading.at.astimezone(UTC).date() for reading in batch.readings}, known_days
            )
            _store_readings(connection, batch.readings)
            _store_quality(connection, batch.readings)
            marks = _advance_marks(connection, batch.readings)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO feeder_reading VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [(each.feeder_id, each.at, each.background_w) for each in batch.feeder],
            )
            cursor.executemany(
                "INSERT INTO site_status VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (site_id) DO UPDATE SET"
                " at = excluded.at, online = excluded.online, state = excluded.state,"
                " local_lock = excluded.local_lock, last_sequence = excluded.last_sequence,"
                " firmware = excluded.firmware WHERE excluded.at >= site_status.at",
                [_status_row(status) for _, status in sorted(batch.statuses.items())],
            )
            cursor.executemany(
                "INSERT INTO site_event (site_id, at, kind, detail) VALUES (%s, %s, %s, %s)",
                [(event.site_id, event.at, event.kind, event.detail) for event in batch.events],
            )
            cursor.executemany(
                "INSERT INTO quarantine (received_at, source, reason, payload) VALUES (%s, %s, %s, %s)",
                [(now, each.topic, each.reason[:500], each.payload) for each in batch.refused],
            )
    return marks


def _ensure_days(connection: psycopg.Connection, days: set[date], known: set[date]) -> None:
    if fresh := days - known:
        # A reading whose clock is years off must not make years of partitions.
        for day in sorted(fresh):
            connection.execute("SELECT ensure_reading_partitions(%s, %s)", [day, day])
        known |= fresh


def _store_readings(connection: psycopg.Connection, readings: Sequence[Reading]) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS staged (LIKE reading) ON COMMIT DELETE ROWS")
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for reading in readings:
            copy.write_row(_row(reading))
    connection.execute(_MOVE)
    connection.execute(_LATEST)
    connection.execute(_DUE)


def _row(reading: Reading) -> tuple[Any, ...]:
    return (
        reading.site_id, reading.at, reading.boot_id, reading.sequence,
        reading.grid_v, reading.grid_hz, reading.grid_w, reading.aux_ac_w, reading.rectifier_w, reading.load_w,
        reading.bus_v, reading.battery_a, reading.battery_w, reading.meter_battery_w,
        None if reading.string_a is None else list(reading.string_a),
        reading.soc_frac, reading.soh_frac, reading.battery_c, reading.ambient_c, reading.pv_w, reading.genset_w,
        reading.fuel_frac, reading.mains_ok, list(reading.alarms), _quality_doc(reading),
    )  # fmt: skip


def _quality_doc(reading: Reading) -> Jsonb | None:
    if not reading.quality:
        return None
    return Jsonb(
        {name: [each.verdict.value, each.reason, each.raw] for name, each in reading.quality.items()}
    )


def _store_quality(connection: psycopg.Connection, readings: Iterable[Reading]) -> None:
    by_site: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_site[reading.site_id].append(reading)
    rows = []
    for site_id, mine in sorted(by_site.items()):  # one order everywhere, so that two workers never deadlock
        score = sum(goodness(reading) for reading in mine) / len(mine)
        newest = max(mine, key=lambda reading: reading.at)
        reasons = {name: f"{each.verdict.value}: {each.reason}" for name, each in newest.quality.items()}
        rows.append((site_id, newest.at, score, Jsonb(reasons), _SCORE_MEMORY, _SCORE_MEMORY))
    with connection.cursor() as cursor:
        cursor.executemany(_QUALITY, rows)


def _advance_marks(connection: psycopg.Connection, readings: Iterable[Reading]) -> dict[str, dict[str, int]]:
    boots: dict[tuple[str, str], list[int]] = defaultdict(list)
    for reading in readings:
        boots[reading.site_id, reading.boot_id].append(reading.sequence)
    keys = sorted(boots)
    with connection.cursor() as cursor:
        # Sequences of a boot begin at 1.
        cursor.executemany("INSERT INTO stored_mark VALUES (%s, %s, 0) ON CONFLICT DO NOTHING", keys)
    marks: dict[str, dict[str, int]] = defaultdict(dict)
    for site_id, boot_id in keys:
        marks[site_id][boot_id] = _advance_mark(
            connection, site_id, boot_id, to_spans(boots[site_id, boot_id])
        )
    return marks


def _advance_mark(connection: psycopg.Connection, site_id: str, boot_id: str, fresh: tuple[Span, ...]) -> int:
    key = [site_id, boot_id]
    row = connection.execute(
        "SELECT upto FROM stored_mark WHERE site_id = %s AND boot_id = %s FOR UPDATE", key
    ).fetchone()
    waiting = connection.execute(
        "SELECT first, last FROM stored_ahead WHERE site_id = %s AND boot_id = %s", key
    ).fetchall()
    before = tuple(Span(*span) for span in waiting)
    old = row[0] if row else 0
    upto, ahead = advance(old, (*before, *fresh))
    if upto != old:
        connection.execute(
            "UPDATE stored_mark SET upto = %s WHERE site_id = %s AND boot_id = %s", [upto, *key]
        )
    if set(ahead) != set(before):
        connection.execute("DELETE FROM stored_ahead WHERE site_id = %s AND boot_id = %s", key)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO stored_ahead VALUES (%s, %s, %s, %s)", [(*key, *span) for span in ahead]
            )
    return upto


def _status_row(status: SiteStatus) -> tuple[Any, ...]:
    return (
        status.site_id, status.at, status.online, status.state.value, status.local_lock, status.last_sequence,
        status.firmware,
    )  # fmt: skip


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
