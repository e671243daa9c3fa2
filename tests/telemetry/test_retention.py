"""Housekeeping: partitions ahead, old ones dropped when their time has come and not before."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from telemetry.ingest_store import Batch, store_batch
from telemetry.partition_store import days_of_readings
from telemetry.retention import Limits, RetentionError, RetentionPolicy, limits
from telemetry.retention_store import Kept, keep_house, keep_house_always
from telemetry.rollup_store import roll_up_due
from tests.services import PASSWORDS, Database
from tests.telemetry.examples import NOW, READING
from ui.ops.doctor_data import check_partitions
from ui.ops.finding import Level
from ui.ops.secrets import DatabaseRole

POLICY = RetentionPolicy()
DAY = timedelta(days=1)


def test_age_counts_from_the_newest_reading_where_the_clock_is_ahead() -> None:
    assert limits(POLICY, NOW, None) is None
    found = limits(POLICY, NOW, NOW)
    assert found == Limits(
        readings=date(2026, 1, 1), quarters=date(2021, 1, 11), hours=date(2021, 1, 11),
        forecasts=NOW - 14 * DAY, quarantine=NOW - 90 * DAY,
    )  # fmt: skip
    jumped = limits(POLICY, NOW + 3650 * DAY, NOW)
    assert jumped is not None
    assert jumped.readings == date(2026, 1, 2)


def test_days_come_from_the_environment() -> None:
    policy = RetentionPolicy.from_env(
        {"CELLWATT_KEEP_READINGS_DAYS": "30", "CELLWATT_KEEP_HOURS_DAYS": "400"}
    )
    assert (policy.readings, policy.hours, policy.quarters) == (30 * DAY, 400 * DAY, 1830 * DAY)
    for key, text in (("READINGS", "2"), ("HOURS", "0"), ("QUARTERS", "-4"), ("FORECASTS", "14 days")):
        with pytest.raises(RetentionError, match=key):
            RetentionPolicy.from_env({f"CELLWATT_KEEP_{key}_DAYS": text})


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        database.dsn(DatabaseRole.INGEST), autocommit=True, options="-c timezone=UTC"
    ) as opened:
        yield opened


def store(connection: psycopg.Connection, *days_ago: int, known: set[date] | None = None) -> None:
    readings = [replace(READING, sequence=100 - ago, at=NOW - ago * DAY) for ago in days_ago]
    store_batch(connection, Batch(readings=readings), NOW, set() if known is None else known)


@pytest.mark.database
def test_partitions_are_made_ahead_and_dropped_once_rolled_up(connection: psycopg.Connection) -> None:
    store(connection, 0, 13, 14, 15, 40)
    # The 15th and 40th day still wait to be rolled up: they stay.
    assert keep_house(connection, POLICY, NOW) == Kept(made=3 + 4, dropped=0)
    while roll_up_due(connection, NOW):
        pass
    assert keep_house(connection, POLICY, NOW) == Kept(made=0, dropped=2)
    ahead = [date(2026, 1, 15) + k * DAY for k in range(4)]
    assert days_of_readings(connection) == [date(2026, 1, 1), date(2026, 1, 2), *ahead]
    rows = connection.execute("SELECT count(*) FROM rollup").fetchone()
    assert rows == (5,)  # the roll-ups of what is gone stay


@pytest.mark.database
def test_a_clock_that_jumped_ahead_drops_nothing_of_the_last_days(connection: psycopg.Connection) -> None:
    store(connection, 0, 10)
    while roll_up_due(connection, NOW):
        pass
    keep_house(connection, POLICY, NOW + 3650 * DAY)
    assert connection.execute("SELECT count(*) FROM reading").fetchone() == (2,)


@pytest.mark.database
def test_late_data_of_a_day_that_was_dropped_still_finds_a_place(connection: psycopg.Connection) -> None:
    known: set[date] = set()
    store(connection, 0, 20, known=known)
    while roll_up_due(connection, NOW):
        pass
    assert keep_house(connection, POLICY, NOW).dropped == 1
    readings = [replace(READING, sequence=200, at=NOW - 20 * DAY)]
    store_batch(
        connection, Batch(readings=readings), NOW, known
    )  # the worker still thinks that it knows the day
    assert connection.execute("SELECT count(*) FROM reading").fetchone() == (2,)


@pytest.mark.database
def test_somebody_who_reads_is_not_waited_for(connection: psycopg.Connection, database: Database) -> None:
    store(connection, 0, 40)
    while roll_up_due(connection, NOW):
        pass
    with psycopg.connect(database.dsn(DatabaseRole.API)) as reader:
        reader.execute("SELECT count(*) FROM reading")
        kept = keep_house(connection, POLICY, NOW)
        assert (kept.dropped, kept.busy) == (0, True)
    assert keep_house(connection, POLICY, NOW).dropped == 1


@pytest.mark.database
def test_old_forecasts_and_quarantine_go(connection: psycopg.Connection, database: Database) -> None:
    store(connection, 0)
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        for ago in (1, 15):
            owner.execute(
                "INSERT INTO forecast (subject_id, quantity, made_at, start, steps, model, version, reason, values_w,"
                " cumulative_wh) VALUES ('s', 'load_w', %(at)s, %(at)s, 1, 'm', '1', '', '{}', '{}')",
                {"at": NOW - ago * DAY},
            )
            owner.execute(
                "INSERT INTO quarantine (received_at, source, reason, payload) VALUES (%s, 's', 'r', '')",
                [NOW - 6 * ago * DAY - DAY],
            )
    assert keep_house(connection, POLICY, NOW).forgotten == 2  # 15 days; 91 days
    assert connection.execute("SELECT count(*) FROM forecast").fetchone() == (1,)


@pytest.mark.database
async def test_the_task_keeps_house_at_once(database: Database, connection: psycopg.Connection) -> None:
    def connect() -> psycopg.Connection:
        return psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True, options="-c timezone=UTC")

    task = asyncio.create_task(keep_house_always(connect, POLICY, lambda: NOW))
    async with asyncio.timeout(30):
        while len(days_of_readings(connection)) < 4:
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.database
def test_the_doctor_misses_tomorrows_partition(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    secrets = tmp_path
    (secrets / f"database-{DatabaseRole.API.value}").write_text(PASSWORDS[DatabaseRole.API])
    store(connection, 0)
    found = check_partitions(database.owner_dsn, secrets, NOW, 14)
    assert (found.level, found.detail) == (Level.PROBLEM, "no partition for the readings of 2026-01-16")
    keep_house(connection, POLICY, NOW)
    assert check_partitions(database.owner_dsn, secrets, NOW, 14).level is Level.OK
    store(connection, 30)
    found = check_partitions(database.owner_dsn, secrets, NOW, 14)
    assert (found.level, found.detail.partition(" are")[0]) == (Level.WARNING, "1 days of readings")
    assert check_partitions("postgresql://x@127.0.0.1:1/x", secrets, NOW, 14).level is Level.WARNING
