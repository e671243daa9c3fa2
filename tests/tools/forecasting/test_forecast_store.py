"""Forecasts kept in PostgreSQL by the loop's role, and kept fresh out of the roll-ups."""

from collections.abc import AsyncIterator
from datetime import timedelta

import numpy as np
import pytest
import pytest_asyncio
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.db import open_async_pool
from telemetry.model.series import MEDIAN, STEP, Quantity
from telemetry.model.site import Feeder, FeederId, Site, SiteId
from telemetry.reading_store import ReadingStore
from tests.agents.worlds import FEEDERS, NOW, a_site, forecast_of
from tests.services import Database
from tools.errors import ToolUnavailableError
from tools.forecast_inputs import ForecastInputs, on_grid
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.selector import Selector
from tools.outlook import floor_step
from tools.refresh_forecasts import ForecastRefresh
from ui.ops.secrets import DatabaseRole

Pool = AsyncConnectionPool[AsyncConnection]
SITES = ("cbs-0001", "cbs-0002")


@pytest_asyncio.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    opened = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    yield opened
    await opened.close()


async def test_the_newest_forecast_of_each_subject_comes_back_as_it_was(pool: Pool) -> None:
    store = ForecastStore(pool)
    old = forecast_of("cbs-0001", Quantity.LOAD_W, [1000.0] * 8, 10.0, NOW - timedelta(hours=1))
    new = forecast_of("cbs-0001", Quantity.LOAD_W, [1100.0] * 8, 10.0, NOW)
    assert await store.put([new, old]) == 2
    assert await store.latest(Quantity.LOAD_W) == {"cbs-0001": new}
    assert await store.latest(Quantity.PV_W) == {}
    assert await store.history("cbs-0001", Quantity.LOAD_W) == [new, old]


class Registry:
    """Two sites and two feeders, as the registry store gives them."""

    async def sites(self) -> dict[SiteId, Site]:
        return {SiteId(name): a_site(name) for name in SITES}

    async def feeders(self) -> dict[FeederId, Feeder]:
        return dict(FEEDERS)


async def keep_history(database: Database, days: int) -> None:
    """Write roll-ups and feeder readings: 1000 W at night, 2000 W from 8 to 20 o'clock UTC, the feeder a hundred times that."""
    owner = await open_async_pool(database.dsn(), application_name="test-history")
    end = floor_step(NOW)
    instants = [end - step * STEP for step in range(1, days * 96 + 1)]
    watts = [2000.0 if 8 <= at.hour < 20 else 1000.0 for at in instants]
    async with owner.connection() as connection, connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w) VALUES (%s, %s, 3, 1, %s)",
            [(name, at, w) for name in SITES for at, w in zip(instants, watts, strict=True)],
        )
        await cursor.executemany(
            "INSERT INTO feeder_reading VALUES (%s, %s, %s)",
            [(name, at, 100.0 * w) for name in FEEDERS for at, w in zip(instants, watts, strict=True)],
        )
    await owner.close()


def a_refresh(pool: Pool) -> ForecastRefresh:
    quantities = (Quantity.LOAD_W, Quantity.BACKGROUND_W)
    return ForecastRefresh(
        inputs=ForecastInputs(readings=ReadingStore(pool), registry=Registry()),
        store=ForecastStore(pool),
        forecasters={one: Selector(candidates=(), folds=3, quantity=one.value) for one in quantities},
        past=timedelta(days=21),
        steps=96,
    )


async def test_forecasts_are_made_from_the_roll_ups_and_left_alone_while_fresh(
    database: Database, pool: Pool
) -> None:
    await keep_history(database, 21)
    refresh = a_refresh(pool)
    assert await refresh(NOW) == 4
    made = await refresh.store.latest(Quantity.LOAD_W)
    assert set(made) == set(SITES)
    one = made["cbs-0001"]
    assert (one.start, one.made_at) == (floor_step(NOW), floor_step(NOW))
    at_noon, at_night = 4 * 20 + 1, 4 * 6  # 15:45 + 20.25 h = noon tomorrow; + 6 h = 21:45
    assert one.quantile_w(MEDIAN)[at_noon] == pytest.approx(2000.0)
    assert one.quantile_w(MEDIAN)[at_night] == pytest.approx(1000.0)
    background = (await refresh.store.latest(Quantity.BACKGROUND_W))["feeder-1"]
    assert background.quantile_w(MEDIAN)[at_noon] == pytest.approx(200_000.0)
    assert await refresh(NOW + timedelta(minutes=30)) == 0
    assert await refresh(NOW + timedelta(hours=2)) == 4


async def test_without_history_it_says_so(pool: Pool) -> None:
    with pytest.raises(ToolUnavailableError, match="no forecast of load_w: no site has enough history"):
        await a_refresh(pool)(NOW)


def test_gaps_stay_gaps() -> None:
    rows = [(NOW.replace(minute=15), 5.0), (NOW.replace(minute=31), 7.0)]
    start = NOW.replace(minute=0)
    values = on_grid([rows], start, start + 4 * STEP)
    np.testing.assert_array_equal(values, [[np.nan, 5.0, np.nan, np.nan]])  # 15:31 is off the grid
