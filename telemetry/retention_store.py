"""Makes partitions ahead and drops what is past its time: a task of the ingest process, never part of a request."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from telemetry.retention import RetentionPolicy, limits

_log = logging.getLogger(__name__)
_MONTHS_AHEAD = timedelta(days=31)
_LOOK_EVERY_S = 10.0  # wall time between two looks at the clock
_BUSY_S = 60.0  # until the next try when somebody used what was to go
_MOST_ROWS = 10_000  # of those that go one by one
# Dropping waits for whoever reads the table, and everybody else waits behind it: rather try again later.
_PATIENCE = "SET LOCAL lock_timeout = '250ms'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one turn did: partitions made and dropped, rows forgotten, and whether something was in use."""

    made: int = 0
    dropped: int = 0
    forgotten: int = 0
    busy: bool = False


def keep_house(connection: psycopg.Connection, policy: RetentionPolicy, now: datetime) -> Kept:
    """Make partitions ahead and drop what is past its time.

    Args:
        connection: Of the ingest role, autocommit.
        policy: How long what is kept.
        now: Domain instant.
    """
    made = _made(connection, policy, now)
    (newest,) = connection.execute("SELECT max(at) FROM reading_latest").fetchone() or (None,)
    gone = limits(policy, now, newest)
    if gone is None:
        return Kept(made=made)
    readings, busy_a = _patiently(connection, "SELECT drop_reading_partitions(%s)", [gone.readings])
    rollups, busy_b = _patiently(
        connection, "SELECT drop_rollup_partitions(%s, %s)", [gone.quarters, gone.hours]
    )
    forgotten, busy_c = _patiently(
        connection, "SELECT forget_old_rows(%s, %s, %s)", [gone.forecasts, gone.quarantine, _MOST_ROWS]
    )
    return Kept(made=made, dropped=readings + rollups, forgotten=forgotten, busy=busy_a or busy_b or busy_c)


def _made(connection: psycopg.Connection, policy: RetentionPolicy, now: datetime) -> int:
    spans = {
        "ensure_reading_partitions": (now.date(), (now + policy.ahead).date()),
        "ensure_rollup_partitions": (now.date(), (now + _MONTHS_AHEAD).date()),
    }
    return sum(
        _patiently(connection, f"SELECT {name}(%s, %s)", list(span))[0] for name, span in spans.items()
    )


def _patiently(connection: psycopg.Connection, query: str, arguments: list[object]) -> tuple[int, bool]:
    """Return a function's count, or zero and True where somebody uses what it needs."""
    try:
        with connection.transaction():
            connection.execute(_PATIENCE)
            row = connection.execute(query.encode(), arguments).fetchone()
            return (int(row[0]) if row else 0), False
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return 0, True


async def keep_house_always(
    connect: Callable[[], psycopg.Connection], policy: RetentionPolicy, now: Callable[[], datetime]
) -> None:
    """Keep house at the start and once in every hour of domain time, until cancelled; a database that is away waits."""
    done: datetime | None = None
    while True:
        wait_s = _LOOK_EVERY_S
        hour = now().replace(minute=0, second=0, microsecond=0)
        if hour != done:
            try:
                kept = await asyncio.to_thread(_turn, connect, policy, now())
            except psycopg.Error as error:
                # The database is away, or a person must mend something: told again with each try.
                _log.warning("no housekeeping", extra={"error": str(error)})
                wait_s = _BUSY_S
            else:
                done, wait_s = (None, _BUSY_S) if kept.busy else (hour, _LOOK_EVERY_S)
                if kept.made or kept.dropped or kept.forgotten:
                    facts = {"made": kept.made, "dropped": kept.dropped, "forgotten": kept.forgotten}
                    _log.info("housekeeping", extra=facts)
        await asyncio.sleep(wait_s)


def _turn(connect: Callable[[], psycopg.Connection], policy: RetentionPolicy, now: datetime) -> Kept:
    with connect() as connection:
        return keep_house(connection, policy, now)
