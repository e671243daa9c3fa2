"""Served forecasts scored against what happened, by hand and through the database; drift and the choice made anew."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import pytest_asyncio
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.db import open_async_pool
from telemetry.model.series import QUANTILES, STEP, Quantity
from telemetry.reading_store import ReadingStore
from tests.agents.worlds import NOW, forecast_of
from tests.services import Database
from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of
from tests.tools.forecasting.test_forecast_store import SITES, Registry
from tools.forecast_inputs import ForecastInputs
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.live_score import (
    SCORED_STEPS,
    LiveScore,
    Served,
    accuracy_of,
    alarms,
    drifts_of,
    promised_mae_w,
    score_live,
)
from tools.forecasting.ridge import BatchedRidge
from tools.forecasting.score_store import ScoreStore
from tools.forecasting.selector import Selector
from tools.outlook import floor_step
from tools.score_forecasts import ForecastScoring
from ui.ops.secrets import DatabaseRole

Pool = AsyncConnectionPool[AsyncConnection]
START = datetime(2026, 3, 1, tzinfo=UTC)
LEVELS = np.array(QUANTILES)[:, None]
# Uniform between 900 and 1,100 W: quantile q lies at 900 + 200 q.
UNIFORM = Served(
    forecast_id=1,
    subject_id="cbs-1",
    quantity=Quantity.LOAD_W,
    model="ridge",
    start=START,
    values_w=np.repeat(900.0 + 200.0 * LEVELS, SCORED_STEPS, axis=1),
)
GOOD = LiveScore(
    forecast_id=1,
    subject_id="cbs-1",
    quantity=Quantity.LOAD_W,
    model="ridge",
    start=START,
    steps=96,
    mae_w=50.0,
    promised_mae_w=50.0,
    naive_mae_w=100.0,
    mean_w=1000.0,
    pinball_w=10.0,
    covered_80_frac=0.8,
    covered_95_frac=0.95,
)


def test_a_uniform_spread_of_two_hundred_watts_promises_an_error_of_fifty() -> None:
    # Flat beyond 2.5 %, it loses 2 x 200 x 0.025^2 / 2 of the 50.
    assert promised_mae_w(UNIFORM.values_w) == pytest.approx(50.0 - 200.0 * 0.025**2)


def test_a_day_scored_by_hand() -> None:
    actual = np.full(SCORED_STEPS, 1070.0)
    actual[48:] = 1150.0
    actual[-6:] = np.nan
    found = score_live(UNIFORM, actual, np.full(SCORED_STEPS, 1000.0))
    # 48 steps 70 W off and 42 steps 150 W off.
    assert found.steps == 90
    assert found.mae_w == pytest.approx((48 * 70 + 42 * 150) / 90)
    assert found.naive_mae_w == found.mae_w
    assert (found.covered_80_frac, found.covered_95_frac) == (
        48 / 90,
        48 / 90,
    )  # 1,070 lies within 920 to 1,080


def test_half_a_day_of_gaps_is_not_scored() -> None:
    actual = np.full(SCORED_STEPS, np.nan)
    actual[:47] = 1000.0
    found = score_live(UNIFORM, actual, actual)
    assert (found.steps, found.mae_w) == (0, None)
    assert accuracy_of([found]) == ()
    assert drifts_of([found], START) == ()


def test_accuracy_is_by_model_and_says_how_it_stands_to_last_week() -> None:
    other = replace(GOOD, subject_id="cbs-2", mae_w=100.0, naive_mae_w=None, model="ridge+naive_day")
    worse = replace(GOOD, subject_id="cbs-3", mae_w=150.0, naive_mae_w=100.0)
    first, second = accuracy_of([GOOD, other, worse])
    assert (first.model, first.forecasts, first.subjects, first.mae_w) == ("ridge", 2, 2, 100.0)
    assert (first.wape_frac, first.over_naive_ratio, first.over_promised_ratio) == (0.1, 1.0, 2.0)
    assert (second.model, second.over_naive_ratio) == ("ridge+naive_day", None)


def test_two_days_far_above_the_promise_alarm_and_one_does_not() -> None:
    now = START + timedelta(days=3)
    bad = replace(GOOD, start=now - timedelta(hours=30), mae_w=100.0)
    hour_later = replace(bad, forecast_id=3, start=bad.start + timedelta(hours=1))
    (one_day,) = drifts_of([bad, hour_later], now)
    assert (one_day.days, one_day.ratio, one_day.alarmed) == (1, 2.0, False)
    before = replace(bad, forecast_id=4, start=bad.start - timedelta(days=1))
    two = drifts_of([bad, before, replace(GOOD, subject_id="cbs-2", start=bad.start)], now)
    assert [(line.subject_id, line.alarmed) for line in two] == [("cbs-1", True), ("cbs-2", False)]
    assert alarms(two) == {Quantity.LOAD_W: {"cbs-1": 2.0}}


def test_an_alarmed_site_is_chosen_anew_and_its_interval_widened() -> None:
    values = daily_weekly(12, 28, seed=3, noise=0.02)
    values[0, -3 * DAY :] *= 1.3  # new equipment three days ago
    history = history_of(values)
    calm = Selector(candidates=(BatchedRidge(),))
    anew = replace(calm, alarmed={"site-0": 2.0})
    usual, again = (one.fit(history).predict(history.end, DAY) for one in (calm, anew))
    expected = daily_weekly(12, 29, seed=3, noise=0.0)[0, -DAY:] * 1.3
    assert np.abs(again.at(0.5)[0] - expected).mean() <= np.abs(usual.at(0.5)[0] - expected).mean()
    assert (usual.model[0], again.model[0]) == ("ridge", "naive_day+ridge")
    assert again.model[1:] == usual.model[1:]
    width = [float((f.at(0.975) - f.at(0.025))[0].mean()) for f in (usual, again)]
    assert width[1] > 1.5 * width[0]
    assert again.for_site("site-0").reason.startswith("live errors 2.0 times what was promised")


@pytest_asyncio.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    opened = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    yield opened
    await opened.close()


async def measured(database: Database, begin: datetime, watts: float) -> None:
    """Write two days of roll-ups of constant load from an instant."""
    owner = await open_async_pool(database.dsn(), application_name="test-measured")
    async with owner.connection() as connection, connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w) VALUES (%s, %s, 3, 1, %s)",
            [(name, begin + k * STEP, watts) for name in SITES for k in range(192)],
        )
    await owner.close()


async def test_what_was_served_is_scored_once_and_drift_is_told(database: Database, pool: Pool) -> None:
    begin = floor_step(NOW) - timedelta(days=2)
    served = [
        forecast_of(name, Quantity.LOAD_W, [w] * SCORED_STEPS, 20.0, begin + timedelta(days=k))
        for name, w in (("cbs-0001", 1000.0), ("cbs-0002", 1400.0))
        for k in range(2)
    ]
    assert await ForecastStore(pool).put(served) == 4
    await measured(database, begin, 1010.0)
    scores = ScoreStore(pool)
    scoring = ForecastScoring(
        inputs=ForecastInputs(readings=ReadingStore(pool), registry=Registry()), scores=scores
    )
    assert await scoring(Quantity.LOAD_W, NOW) == {}  # the second day is not over by an hour yet
    assert len(await scores.scores(Quantity.LOAD_W, NOW)) == 2
    later = NOW + timedelta(hours=2)
    alarmed = await scoring(Quantity.LOAD_W, later)
    assert list(alarmed) == ["cbs-0002"]
    assert await scores.due(Quantity.LOAD_W, later) == []
    (line,) = await scores.accuracy(Quantity.LOAD_W, later)
    assert (line.forecasts, line.subjects) == (4, 2)
    assert line.mae_w == pytest.approx((10.0 + 390.0) / 2)
    assert line.over_naive_ratio is None
    first, second = await scores.drifts(Quantity.LOAD_W, later)
    assert (first.subject_id, first.alarmed, second.alarmed) == ("cbs-0002", True, False)
    assert [one.subject_id for one in await scores.scores(Quantity.LOAD_W, later, subject_id="cbs-0001")] == [
        "cbs-0001"
    ] * 2
