"""The health tools over roll-ups and readings in PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.db import open_async_pool
from telemetry.model.series import STEP
from telemetry.model.site import Site, SiteId
from telemetry.reading_store import ReadingStore
from tests.agents.worlds import NOW, a_site
from tests.services import Database
from tools.errors import ToolInputError
from tools.health_battery import health_battery
from tools.health_look import HealthLook
from tools.health_replacements import ReplacementArguments, health_replacements
from tools.outlook import floor_step
from tools.site_state import SiteArguments
from ui.ops.secrets import DatabaseRole

Pool = AsyncConnectionPool[AsyncConnection]
SITES = ("cbs-0001", "cbs-0002")
OUTAGE_AT = floor_step(NOW) - timedelta(days=1)


class Registry:
    """Two sites with 20 kWh of LFP, taken over after a capacity test fifty days ago."""

    async def sites(self) -> dict[SiteId, Site]:
        return {SiteId(name): a_site(name) for name in SITES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    now: Callable[[], datetime]
    health: HealthLook


@pytest_asyncio.fixture
async def deps(database: Database) -> AsyncIterator[Deps]:
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    yield Deps(now=lambda: NOW, health=HealthLook(readings=ReadingStore(pool), registry=Registry()))
    await pool.close()


async def keep_an_outage(database: Database) -> None:
    """Write two days: on float, then at the first site 3 h at 4 kW that take 75 % of its charge, and no recharge yet."""
    rows = []
    for name in SITES:
        for k in range(192):
            at = floor_step(NOW) - (192 - k) * STEP
            quarters = min(max((at - OUTAGE_AT) // STEP, 0), 12) if name == SITES[0] else 0
            drawing = name == SITES[0] and OUTAGE_AT <= at < OUTAGE_AT + 12 * STEP
            soc = 1.0 - 0.75 * (quarters + (0.5 if drawing else 0.0)) / 12
            rows.append((name, at, soc, -4000.0 if drawing else 0.0, 25.0))
    owner = await open_async_pool(database.dsn(), application_name="test-history")
    async with owner.connection() as connection, connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, soc_frac, battery_w, battery_c)"
            " VALUES (%s, %s, 3, 1, %s, %s, %s)",
            rows,
        )
    await owner.close()


async def test_an_outage_shows_the_capacity_behind_it_beside_the_test_on_take_over(
    database: Database, deps: Deps
) -> None:
    await keep_an_outage(database)
    found = await health_battery(SiteArguments(site_id=SITES[0]), deps)
    # 12 kWh for 75 % of charge: 16 of 20 kWh, 80 % (sd 2.8 %), beside 100 % (sd 2 %) of the test fifty days ago.
    assert found["observations"] == [
        f"{NOW - timedelta(days=50):%Y-%m-%d} full_discharge 100.0%: capacity test on take-over",
        f"{OUTAGE_AT:%Y-%m-%d} partial_discharge 80.0%: 60.0% of rated capacity for 75% of charge",
    ]
    soh = found["soh_pct"]
    assert isinstance(soh, float)
    assert soh == pytest.approx(93.3, abs=1.0)
    assert found["resistance_mohm"] == "not known: current and voltage were not measured together"
    assert "nothing is claimed" in str(found["note"])
    with pytest.raises(ToolInputError, match="unknown site_id"):
        await health_battery(SiteArguments(site_id="cbs-9999"), deps)


async def test_the_list_names_the_battery_that_lost_and_not_the_other(database: Database, deps: Deps) -> None:
    await keep_an_outage(database)
    soon = await health_replacements(ReplacementArguments(months=54), deps)
    batteries = soon["batteries"]
    assert isinstance(batteries, list)
    assert [line["site_id"] for line in batteries] == [SITES[0]]
    assert soon["by_month"] == {batteries[0]["month"]: 1}
    ever = await health_replacements(ReplacementArguments(months=120), deps)
    assert isinstance(ever["batteries"], list)
    assert {line["site_id"] for line in ever["batteries"]} == set(SITES)
