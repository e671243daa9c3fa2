"""What ingest writes: one transaction per batch, through binary COPY and a staging table.

Readings, latest rows, quality, roll-ups due and the marks of what is safe are committed together or not at all.
"""

# ruff: noqa: S608 - the statements put together here are made of constants of this file
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from telemetry.copy_format import reading_rows, to_copy
from telemetry.declared import Declared
from telemetry.decode import Refused, SiteEvent
from telemetry.gaps import Gap
from telemetry.model.reading import FeederReading, Reading, SiteStatus
from telemetry.quality import FUTURE_TOLERANCE, goodness
from telemetry.ranges import Span, advance, merge
from telemetry.rows import COLUMNS

_SCORE_MEMORY = 0.8  # how much of the old quality score stays when a batch of the site arrives
_NAMES = sql.SQL(", ").join(sql.Identifier(name) for name in COLUMNS)
_UPDATES = sql.SQL(", ").join(
    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in COLUMNS if name != "site_id"
)
_COPY = sql.SQL("COPY staged ({}) FROM STDIN (FORMAT BINARY)").format(_NAMES)
# In the order of the key, here and wherever rows are written: two workers that got the same message never deadlock.
_MOVE = sql.SQL(
    "INSERT INTO reading ({0}) SELECT {0} FROM staged ORDER BY site_id, at, boot_id, sequence ON CONFLICT DO NOTHING"
).format(_NAMES)
# Later wins, but what a wrong clock dates into the future never stands in the way of what is believable.
_NEWER = (
    "(excluded.at <= %(believed)s OR {0}.at > %(believed)s)"
    " AND (excluded.at >= {0}.at OR {0}.at > %(believed)s AND excluded.at <= %(believed)s)"
)
_LATEST = sql.SQL(
    "INSERT INTO reading_latest ({0}) SELECT DISTINCT ON (site_id) {0} FROM staged"
    " ORDER BY site_id, at <= %(believed)s DESC, at DESC"
    " ON CONFLICT (site_id) DO UPDATE SET {1} WHERE {2}"
).format(_NAMES, _UPDATES, sql.SQL(_NEWER.format("reading_latest")))
_DUE = (
    "INSERT INTO rollup_due SELECT DISTINCT site_id, date_bin('15 minutes', at, 'epoch') FROM staged"
    " ORDER BY 1, 2 ON CONFLICT DO NOTHING"
)
_QUALITY = (
    "INSERT INTO site_quality (site_id, at, score, reasons) SELECT site_id, at, score, reasons::jsonb"
    " FROM unnest(%(site_ids)s::text[], %(ats)s::timestamptz[], %(scores)s::float8[], %(reasons)s::text[])"
    " AS new (site_id, at, score, reasons) ORDER BY site_id ON CONFLICT (site_id)"
    " DO UPDATE SET at = excluded.at, reasons = excluded.reasons,"
    " score = %(memory)s * site_quality.score + (1 - %(memory)s) * excluded.score"
    f" WHERE {_NEWER.format('site_quality')}"
)
_KEYS = "unnest(%(sites)s::text[], %(boots)s::text[]) AS key (site_id, boot_id)"
_MATCH = "m.site_id = key.site_id AND m.boot_id = key.boot_id"
_LOCK_MARKS = (
    f"SELECT m.site_id, m.boot_id, m.upto FROM {_KEYS} JOIN stored_mark m ON {_MATCH}"
    " ORDER BY m.site_id, m.boot_id FOR UPDATE OF m"
)
_NEW_MARKS = (
    f"INSERT INTO stored_mark SELECT site_id, boot_id, 0 FROM {_KEYS}"
    " ORDER BY site_id, boot_id ON CONFLICT DO NOTHING"
)
_AHEAD = f"SELECT m.site_id, m.boot_id, m.first, m.last FROM {_KEYS} JOIN stored_ahead m ON {_MATCH}"
_SET_MARKS = (
    "UPDATE stored_mark m SET upto = key.upto FROM unnest(%(sites)s::text[], %(boots)s::text[], %(uptos)s::int8[])"
    f" AS key (site_id, boot_id, upto) WHERE {_MATCH}"
)
_FORGET_AHEAD = f"DELETE FROM stored_ahead m USING {_KEYS} WHERE {_MATCH}"
_KEEP_AHEAD = (
    "INSERT INTO stored_ahead SELECT * FROM"
    " unnest(%(sites)s::text[], %(boots)s::text[], %(firsts)s::int8[], %(lasts)s::int8[])"
)


class Heard(NamedTuple):
    """What one message adds to `Batch.rows`: whose they are, which numbers, how new, how many."""

    site_id: str
    boot_id: str
    spans: tuple[Span, ...]
    newest: datetime
    readings: int


@dataclass(slots=True, kw_only=True)
class Batch:
    """What arrived since the last flush."""

    readings: list[Reading] = field(default_factory=list)
    # Readings of which every measured field is good, in the format of COPY, and what is known of them by message.
    rows: list[bytes] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    days: set[date] = field(default_factory=set)  # of UTC that `rows` fall on
    declared: list[Declared] = field(default_factory=list)
    feeder: list[FeederReading] = field(default_factory=list)
    statuses: dict[str, SiteStatus] = field(default_factory=dict)
    events: list[SiteEvent] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def reading_count(self) -> int:
        """How many readings it holds."""
        return len(self.readings) + len(self.rows)


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
        rows = batch.rows + reading_rows(batch.readings)
        if rows:
            judged = {reading.at.astimezone(UTC).date() for reading in batch.readings}
            _ensure_days(connection, batch.days | judged, known_days)
            _store_rows(connection, rows, now)
            _store_quality(connection, batch, now)
        if rows or batch.declared:
            marks = _advance_marks(connection, _spans(batch))
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO feeder_reading VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                sorted((each.feeder_id, each.at, each.background_w) for each in batch.feeder),
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


_SURELY_KEPT = timedelta(days=5)  # behind the newest reading, whose clock may be two days ahead


def _ensure_days(connection: psycopg.Connection, days: set[date], known: set[date]) -> None:
    # Retention may have dropped a day since it was known; none of the newest.
    recent = max(known, default=date.min) - _SURELY_KEPT if known else date.max
    if fresh := {day for day in days if day not in known or day < recent}:
        # A reading whose clock is years off must not make years of partitions.
        for day in sorted(fresh):
            connection.execute("SELECT ensure_reading_partitions(%s, %s)", [day, day])
        known |= fresh


def _store_rows(connection: psycopg.Connection, rows: Sequence[bytes], now: datetime) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS staged (LIKE reading) ON COMMIT DELETE ROWS")
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.write(to_copy(rows))
    connection.execute(_MOVE)
    connection.execute(_LATEST, {"believed": now + FUTURE_TOLERANCE})
    connection.execute(_DUE)


def _store_quality(connection: psycopg.Connection, batch: Batch, now: datetime) -> None:
    """One row a site: the mean score of the batch, and what is doubtful in its newest reading."""
    sums: dict[str, list[float]] = {}
    newest: dict[str, tuple[datetime, str]] = {}
    for heard in batch.heard:
        _count_in(sums, newest, heard.site_id, heard.newest, float(heard.readings), heard.readings, "{}")
    for reading in batch.readings:
        reasons = {name: f"{each.verdict.value}: {each.reason}" for name, each in reading.quality.items()}
        _count_in(sums, newest, reading.site_id, reading.at, goodness(reading), 1, json.dumps(reasons))
    site_ids = sorted(sums)  # one order everywhere, so that two workers never deadlock
    connection.execute(
        _QUALITY,
        {
            "site_ids": site_ids,
            "ats": [newest[each][0] for each in site_ids],
            "scores": [sums[each][0] / sums[each][1] for each in site_ids],
            "reasons": [newest[each][1] for each in site_ids],
            "memory": _SCORE_MEMORY,
            "believed": now + FUTURE_TOLERANCE,
        },
    )


def _count_in(
    sums: dict[str, list[float]],
    newest: dict[str, tuple[datetime, str]],
    site_id: str,
    at: datetime,
    score: float,
    count: int,
    reasons: str,
) -> None:
    total = sums.get(site_id)
    if total is None:
        sums[site_id] = [score, count]
        newest[site_id] = (at, reasons)
        return
    total[0] += score
    total[1] += count
    if at > newest[site_id][0]:
        newest[site_id] = (at, reasons)


def _status_row(status: SiteStatus) -> tuple[Any, ...]:
    return (
        status.site_id, status.at, status.online, status.state.value, status.local_lock, status.last_sequence,
        status.firmware,
    )  # fmt: skip


_Key = tuple[str, str]


def _spans(batch: Batch) -> dict[_Key, tuple[Span, ...]]:
    """Return which numbers the batch makes safe."""
    found: dict[_Key, list[Span]] = defaultdict(list)
    for heard in batch.heard:
        found[heard.site_id, heard.boot_id] += heard.spans
    for reading in batch.readings:
        found[reading.site_id, reading.boot_id].append(Span(reading.sequence, reading.sequence))
    for declared in batch.declared:
        found[declared.site_id, declared.boot_id] += declared.spans
    return {key: merge(spans) for key, spans in found.items()}


def _advance_marks(
    connection: psycopg.Connection, fresh: Mapping[_Key, tuple[Span, ...]]
) -> dict[str, dict[str, int]]:
    """Advance the marks under their row locks, taken in one order, and return them by site and boot."""
    keys = sorted(fresh)
    old = _lock_marks(connection, keys)
    if missing := [key for key in keys if key not in old]:
        connection.execute(_NEW_MARKS, _columns(missing, "sites", "boots"))
        old |= _lock_marks(connection, missing)
    waiting: dict[_Key, list[Span]] = defaultdict(list)
    for site_id, boot_id, first, last in connection.execute(_AHEAD, _columns(keys, "sites", "boots")):
        waiting[site_id, boot_id].append(Span(first, last))
    marks: dict[str, dict[str, int]] = defaultdict(dict)
    moved: list[tuple[Any, ...]] = []
    changed: list[_Key] = []
    ahead_now: list[tuple[Any, ...]] = []
    for key in keys:
        upto, ahead = advance(old[key], (*waiting[key], *fresh[key]))
        marks[key[0]][key[1]] = upto
        if upto != old[key]:
            moved.append((*key, upto))
        if set(ahead) != set(waiting[key]):
            changed.append(key)
            ahead_now += [(*key, *span) for span in ahead]
    if moved:
        connection.execute(_SET_MARKS, _columns(moved, "sites", "boots", "uptos"))
    if changed:
        connection.execute(_FORGET_AHEAD, _columns(changed, "sites", "boots"))
    if ahead_now:
        connection.execute(_KEEP_AHEAD, _columns(ahead_now, "sites", "boots", "firsts", "lasts"))
    return marks


def open_gaps(connection: psycopg.Connection) -> list[Gap]:
    """Return by boot the first numbers that are not safe while later ones are."""
    rows = connection.execute(
        "SELECT site_id, boot_id, m.upto + 1, min(a.first) - 1 FROM stored_ahead a JOIN stored_mark m USING (site_id, boot_id)"
        " GROUP BY site_id, boot_id, m.upto ORDER BY site_id, boot_id"
    )
    return [Gap(*row) for row in rows]


def _lock_marks(connection: psycopg.Connection, keys: Sequence[_Key]) -> dict[_Key, int]:
    rows = connection.execute(_LOCK_MARKS, _columns(keys, "sites", "boots"))
    return {(site_id, boot_id): upto for site_id, boot_id, upto in rows}


def _columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
