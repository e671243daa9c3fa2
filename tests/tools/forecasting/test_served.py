"""What the loop serves out of the roll-ups: PV with its sky, new sites by the profile of the others."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import pytest_asyncio
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.db import open_async_pool
from telemetry.model.series import LOWER, MEDIAN, STEP, UPPER, Quantity
from telemetry.model.site import Feeder, FeederId, Site, SiteId
from telemetry.reading_store import ReadingStore
from tests.agents.worlds import FEEDERS, NOW, a_site
from tests.services import Database
from tools.forecast_inputs import ForecastInputs
from tools.forecasting.clear_sky import Place, clear_sky_w_m2
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.pv import ClearSkyShare
from tools.forecasting.selector import Selector
from tools.outlook import floor_step
from tools.refresh_forecasts import ForecastRefresh
from ui.ops.secrets import DatabaseRole

Pool = AsyncConnectionPool[AsyncConnection]
OLD = tuple(f"cbs-{k:04d}" for k in range(1, 13))
NEW, SILENT = "cbs-0013", "cbs-0014"
DAYS = 14


class Registry:
    """Fourteen sites with panels, each expected to draw 2,000 W at most except for the new one."""

    async def sites(self) -> dict[SiteId, Site]:
        found = {}
        for name in (*OLD, NEW, SILENT):
            site = a_site(name)
            most_w = 4000.0 if name == NEW else 2000.0
            found[SiteId(name)] = replace(
                site, pv_rated_w=1500.0, autonomy=replace(site.autonomy, max_load_w=most_w)
            )
        return found

    async def feeders(self) -> dict[FeederId, Feeder]:
        return dict(FEEDERS)


@pytest_asyncio.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    opened = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    yield opened
    await opened.close()


async def keep_history(database: Database) -> None:
    """Write two weeks of roll-ups: half of the expected load by night and all by day, panels at half of a clear sky.

    The new site has reported for a day, the silent one has not for three.
    """
    end = floor_step(NOW)
    start = end - DAYS * 96 * STEP
    site = a_site(OLD[0])
    (sky,) = clear_sky_w_m2([Place(latitude=site.latitude, longitude=site.longitude)], start, DAYS * 96, STEP)
    rows = []
    for name in (*OLD, NEW, SILENT):
        first = DAYS * 96 - 96 if name == NEW else 0
        last = 11 * 96 if name == SILENT else DAYS * 96
        for k in range(first, last):
            at = start + k * STEP
            load = 2000.0 if 8 <= at.hour < 20 else 1000.0
            rows.append((name, at, load, 1.5 * 0.5 * float(sky[k])))
    owner = await open_async_pool(database.dsn(), application_name="test-history")
    async with owner.connection() as connection, connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w, pv_w) VALUES (%s, %s, 3, 1, %s, %s)",
            rows,
        )
    await owner.close()


async def test_the_loop_serves_pv_and_new_sites_and_leaves_the_silent_out(
    database: Database, pool: Pool
) -> None:
    await keep_history(database)
    refresh = ForecastRefresh(
        inputs=ForecastInputs(readings=ReadingStore(pool), registry=Registry()),
        store=ForecastStore(pool),
        forecasters={
            Quantity.LOAD_W: Selector(candidates=(), folds=3),
            Quantity.PV_W: Selector(candidates=(ClearSkyShare(),), folds=3, quantity=Quantity.PV_W.value),
        },
        past=timedelta(days=DAYS),
        steps=96,
    )
    assert await refresh(NOW) == 2 * (len(OLD) + 1)
    assert (
        await refresh(NOW + timedelta(minutes=15)) == 0
    )  # the silent site is no reason to make all of them again
    load = await refresh.store.latest(Quantity.LOAD_W)
    pv = await refresh.store.latest(Quantity.PV_W)
    assert set(load) == set(pv) == {*OLD, NEW}
    noon = next(k for k in range(96) if (load[NEW].start + k * STEP).hour == 11)
    # Expected to draw twice what the others were, it is given twice their profile, and says that it is new.
    assert load[NEW].quantile_w(MEDIAN)[noon] == pytest.approx(4000.0, rel=0.01)
    assert load[NEW].reason == "cold start from profile fleet"
    assert load[OLD[0]].quantile_w(MEDIAN)[noon] == pytest.approx(2000.0, rel=0.01)
    start = pv[OLD[0]].start
    site = a_site(OLD[0])
    (sky,) = clear_sky_w_m2([Place(latitude=site.latitude, longitude=site.longitude)], start, 96, STEP)
    rows = {level: np.array(pv[OLD[0]].quantile_w(level)) for level in (LOWER, MEDIAN, UPPER)}
    assert (rows[UPPER][sky == 0.0] == 0.0).all()
    assert rows[MEDIAN].sum() == pytest.approx(0.75 * float(sky.sum()), rel=0.03)
    assert (rows[LOWER] <= rows[UPPER]).all()
