"""Stores an upload the way ingest stores a batch, part by part; a row that the database will not take is found by halving."""

from collections.abc import Callable, Sequence
from datetime import date, datetime

import psycopg

from telemetry.ingest_store import Batch, store_batch
from telemetry.model.reading import FeederReading, Reading
from ui.api.upload import BadRow, Sorted

_AT_ONCE = 5_000
Row = tuple[int, Reading | FeederReading]


def store_upload(
    dsn: str, found: Sorted, now: datetime, *, connect: Callable[..., psycopg.Connection]
) -> int:
    """Store the good rows and return how many; those that cannot be stored join the bad ones."""
    rows: list[Row] = [*found.readings, *found.feeder]
    stored = 0
    if not rows:
        return 0
    with connect(
        dsn, autocommit=True, application_name="cellwatt-api-upload", options="-c timezone=UTC"
    ) as connection:
        days: set[date] = set()
        for first in range(0, len(rows), _AT_ONCE):
            stored += _store(connection, rows[first : first + _AT_ONCE], now, days, found.bad)
    return stored


def _store(
    connection: psycopg.Connection, rows: Sequence[Row], now: datetime, days: set[date], bad: list[BadRow]
) -> int:
    batch = Batch(
        readings=[one for _, one in rows if isinstance(one, Reading)],
        feeder=[one for _, one in rows if isinstance(one, FeederReading)],
    )
    try:
        store_batch(connection, batch, now, days)
    except (psycopg.DataError, psycopg.IntegrityError, OverflowError, ValueError) as error:
        days.clear()
        if len(rows) == 1:
            bad.append(BadRow(rows[0][0], "", f"cannot be stored: {str(error)[:200]}"))
            return 0
        half = len(rows) // 2
        return _store(connection, rows[:half], now, days, bad) + _store(
            connection, rows[half:], now, days, bad
        )
    return len(rows)
