"""What a forecast by Prophet is made of, fitted on three weeks of a load that is known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW, a_forecast
from tests.ui.api.world import World
from tools.forecasting.forecast_store import ForecastStore
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
PATH = "/v1/forecasts/{}/components?quantity=load_w"


async def serve(world: World, subject_id: str, model: str) -> None:
    pool = await open_async_pool(world.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
    try:
        await ForecastStore(pool).put([replace(a_forecast(subject_id), model=model)])
    finally:
        await pool.close()


async def test_a_load_of_1000_w_that_swings_by_300_w_a_day_comes_apart_into_both(world: World) -> None:
    await serve(world, "site-1", "prophet")
    assert (await world.ask("vic", "GET", PATH.format("site-1"))).status_code == 409  # half an hour of past
    world.sql(
        "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w)"
        " SELECT 'site-1', at, 3, 1, 1000 + 300 * sin(2 * pi() * extract(epoch FROM at) / 86400)"
        " FROM generate_series(%s::timestamptz - interval '21 days', %s::timestamptz - interval '1 hour', interval '15 minutes') at"
        " ON CONFLICT (site_id, bucket) DO UPDATE SET load_w = excluded.load_w, completeness = 1",
        NOW, NOW,
    )  # fmt: skip
    found = await world.get(PATH.format("site-1"))
    trend, daily, weekly = (np.array(found[name]) for name in ("trend_w", "daily_w", "weekly_w"))
    assert len(found["at"]) == 672
    assert trend == pytest.approx(1000.0, abs=30.0)
    assert daily.max() == pytest.approx(300.0, abs=30.0)
    assert daily.min() == pytest.approx(-300.0, abs=30.0)
    assert np.abs(weekly).max() < 30.0
    assert np.array(found["expected_w"]) == pytest.approx(trend + daily + weekly, abs=0.5)


async def test_another_model_has_no_components_and_says_so(world: World) -> None:
    await serve(world, "site-2", "ridge")
    refused = await world.ask("vic", "GET", PATH.format("site-2"))
    assert refused.status_code == 409
    assert "served by ridge" in refused.json()["detail"]
    assert (await world.ask("vic", "GET", PATH.format("site-9"))).status_code == 404
