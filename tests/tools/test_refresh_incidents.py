"""Incidents are found in the roll-ups, each once, and nothing is found before there is enough history."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from telemetry.db import open_async_pool
from telemetry.model.series import STEP
from telemetry.model.site import Site, SiteId
from telemetry.reading_store import ReadingStore
from tests.agents.worlds import NOW, SITE_IDS, a_site
from tests.services import Database
from tools.anomaly.incident_store import IncidentStore
from tools.outlook import floor_step
from tools.refresh_incidents import IncidentRefresh
from ui.ops.secrets import DatabaseRole

END = floor_step(NOW)


class Registry:
    """Six like sites."""

    async def sites(self) -> dict[SiteId, Site]:
        return {SiteId(name): a_site(name) for name in SITE_IDS}


async def keep_history(database: Database, days: int) -> None:
    """Write the load of every site: a daily wave with 1 % of noise; `cbs-0003` draws twice as much in the last six hours."""
    noise = np.random.default_rng(5)
    rows: list[tuple[str, datetime, float]] = []
    for name in SITE_IDS:
        for step in range(days * 96):
            at = END - (days * 96 - step) * STEP
            load_w = 2000.0 + 500.0 * np.sin(2 * np.pi * (at.hour + at.minute / 60.0) / 24.0)
            load_w *= 1.0 + 0.01 * noise.standard_normal()
            if name == "cbs-0003" and at >= END - timedelta(hours=6):
                load_w *= 2.0
            rows.append((name, at, float(load_w)))
    owner = await open_async_pool(database.dsn(), application_name="test-history")
    async with owner.connection() as connection, connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w) VALUES (%s, %s, 3, 1, %s)",
            rows,
        )
    await owner.close()


async def backup_h() -> dict[str, float]:
    return {"cbs-0003": 3.5}


async def test_a_load_that_doubles_becomes_one_incident_at_its_site(database: Database) -> None:
    await keep_history(database, 22)
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)
    refresh = IncidentRefresh(
        readings=ReadingStore(pool),
        registry=Registry(),
        store=store,
        past=timedelta(days=21),
        backup_h=backup_h,
    )
    assert await refresh(NOW) == 1
    [found] = await store.open()
    assert (found.site_id, found.kind) == ("cbs-0003", "load")
    assert abs(found.since - (END - timedelta(hours=6))) <= timedelta(minutes=45)
    assert found.evidence["check_first"]
    assert float(found.evidence["companion_score"]) > 1.0  # the isolation forest bears it out
    assert found.evidence["backup_at_stake_h"] == 3.5
    assert await refresh(NOW + timedelta(minutes=15)) == 1
    assert [one.incident_id for one in await store.open()] == [found.incident_id]
    await pool.close()


async def keep_strings(database: Database, days: int, *, weak: str) -> None:
    """Write an hour of discharge at 20 A every six hours; on the last day the strings of `weak` share it unevenly."""
    noise = np.random.default_rng(6)
    rows: list[tuple[str, datetime, float, float]] = []
    for name in SITE_IDS:
        for step in range(days * 96):
            at = END - (days * 96 - step) * STEP
            gap = 0.02 + 0.01 * abs(noise.standard_normal())
            if name == weak and at >= END - timedelta(days=1):
                gap += 0.4
            rows.append((name, at, -1080.0 if step % 24 < 4 else 0.0, gap))
    owner = await open_async_pool(database.dsn(), application_name="test-history")
    async with owner.connection() as connection, connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w, bus_v, battery_w, string_gap_frac)"
            " VALUES (%s, %s, 3, 1, 2000, 54, %s, %s)",
            rows,
        )
    await owner.close()


async def test_a_string_that_gives_less_is_found_in_the_roll_ups(database: Database) -> None:
    await keep_strings(database, 22, weak="cbs-0004")
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)
    refresh = IncidentRefresh(
        readings=ReadingStore(pool), registry=Registry(), store=store, past=timedelta(days=21)
    )
    await refresh(NOW)
    [found] = [one for one in await store.open() if one.kind == "weak_string"]
    assert found.site_id == "cbs-0004"
    assert float(found.evidence["observed"]) == pytest.approx(0.43, abs=0.03)
    await pool.close()


async def test_a_field_that_nobody_reads_today_is_a_gap_and_no_fault(database: Database) -> None:
    await keep_strings(database, 22, weak="")
    owner = await open_async_pool(database.dsn(), application_name="test-history")
    async with owner.connection() as connection:
        await connection.execute(
            "UPDATE rollup SET string_gap_frac = NULL, bus_v = NULL WHERE bucket >= %s",
            [END - timedelta(days=1)],
        )
    await owner.close()
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)
    refresh = IncidentRefresh(
        readings=ReadingStore(pool), registry=Registry(), store=store, past=timedelta(days=21)
    )
    await refresh(NOW)
    assert [one for one in await store.open() if one.kind == "weak_string"] == []
    await pool.close()


async def test_with_a_week_of_history_nothing_is_called_unusual(database: Database) -> None:
    await keep_history(database, 7)
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    refresh = IncidentRefresh(readings=ReadingStore(pool), registry=Registry(), store=IncidentStore(pool))
    assert await refresh(NOW) == 0
    await pool.close()
