"""What is expected and how good forecasts were, as the API tells it, against rows written by the loop's role."""

from datetime import timedelta

import pytest

from telemetry.db import open_async_pool
from telemetry.model.incident import Severity
from telemetry.model.series import Quantity
from tests.edge.safety.examples import NOW, a_forecast
from tests.ui.api.world import World
from tools.alerts.alert import Alert, AlertKind
from tools.alerts.lifecycle import update_alerts
from tools.anomaly.incident_store import IncidentStore
from tools.forecasting.forecast_store import ForecastStore
from tools.forecasting.live_score import LiveScore
from tools.forecasting.score_store import ScoreStore
from ui.api.routes.foresight import worst_of
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
BREACH = Alert(
    kind=AlertKind.RESERVE_BREACH,
    subject_id="site-1",
    feeder_id="feeder-1",
    due_at=NOW + timedelta(hours=2),
    earliest_at=NOW + timedelta(hours=1),
    latest_at=None,
    field="autonomy_h",
    expected=3.5,
    limit=4.0,
    severity=Severity.WARNING,
    says="Below its reserve at 14:00.",
    backup_h=3.5,
)


async def test_what_is_expected_comes_with_its_countdown(world: World) -> None:
    world.clock.at = NOW
    pool = await open_async_pool(world.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
    try:
        await IncidentStore(pool).put(update_alerts([], [BREACH], NOW))
    finally:
        await pool.close()
    world.clock.at = NOW + timedelta(minutes=30)
    answer = await world.get("/v1/alerts")
    [found] = [one for one in answer["alerts"] if one["subject_id"] == "site-1"]
    assert (found["kind"], found["severity"], found["says"]) == (
        "reserve_breach",
        "warning",
        "Below its reserve at 14:00.",
    )
    assert (found["seconds_left"], found["latest_at"], found["acknowledged"]) == (5400.0, None, False)
    path = f"/v1/incidents/{found['incident_id']}/acknowledge"
    assert (await world.ask("olga", "POST", path, {"why": "crew on its way"})).status_code == 200
    answer = await world.get("/v1/alerts")
    assert [one["acknowledged"] for one in answer["alerts"] if one["subject_id"] == "site-1"] == [True]


async def test_served_forecasts_are_told_against_what_happened(world: World) -> None:
    world.clock.at = NOW
    pool = await open_async_pool(world.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
    try:
        await ForecastStore(pool).put([a_forecast("site-1")])
        [row] = world.sql("SELECT max(forecast_id) FROM forecast WHERE subject_id = 'site-1'")
        await ScoreStore(pool).put(
            [
                LiveScore(
                    forecast_id=row[0],
                    subject_id="site-1",
                    quantity=Quantity.LOAD_W,
                    model="ridge",
                    start=NOW - timedelta(days=2),
                    steps=96,
                    mae_w=50.0,
                    promised_mae_w=40.0,
                    naive_mae_w=100.0,
                    mean_w=1000.0,
                    pinball_w=12.0,
                    covered_80_frac=0.75,
                    covered_95_frac=0.9375,
                )
            ]
        )
    finally:
        await pool.close()
    own = await world.get("/v1/forecast-accuracy?subject_id=site-1")
    assert [(one["model"], one["mae_w"]) for one in own["models"]] == [("ridge", 50.0)]
    assert (await world.get("/v1/forecast-accuracy?subject_id=site-2"))["models"] == []
    answer = await world.get("/v1/forecast-accuracy")
    assert answer["models"] == [
        {
            "model": "ridge",
            "forecasts": 1,
            "subjects": 1,
            "mae_w": 50.0,
            "wape_frac": 0.05,
            "over_naive_ratio": 0.5,
            "over_promised_ratio": 1.25,
            "covered_80_frac": 0.75,
            "covered_95_frac": 0.9375,
        }
    ]
    assert [one["subject_id"] for one in answer["drifts"]] == ["site-1"]
    [worst] = answer["worst"]
    assert (answer["days"], worst["subject_id"], worst["models"], worst["wape_frac"]) == (
        7.0,
        "site-1",
        ["ridge"],
        0.05,
    )
    assert (await world.get("/v1/forecast-accuracy?quantity=pv_w"))["models"] == []


def a_score(subject_id: str, mae_w: float, model: str = "ridge", steps: int = 96) -> LiveScore:
    return LiveScore(
        forecast_id=1, subject_id=subject_id, quantity=Quantity.LOAD_W, model=model, start=NOW - timedelta(days=1),
        steps=steps, mae_w=mae_w, promised_mae_w=40.0, naive_mae_w=100.0, mean_w=1000.0, pinball_w=1.0,
        covered_80_frac=0.5, covered_95_frac=1.0,
    )  # fmt: skip


async def test_the_worst_subjects_come_first_whatever_models_served_them() -> None:
    scores = [
        a_score("good", 20.0),
        a_score("bad", 300.0, "prophet"),
        a_score("bad", 100.0),
        a_score("none", 900.0, steps=0),
    ]
    found = worst_of(scores)
    # bad: (300 + 100) over 2 x 1000 measured is 20 %, twice the naive error; none was not measured.
    assert [one.subject_id for one in found] == ["bad", "good"]
    assert [one.wape_frac for one in found] == pytest.approx([0.2, 0.02])
    assert [one.over_naive_ratio for one in found] == pytest.approx([2.0, 0.2])
    assert found[0].models == ["prophet", "ridge"]
    assert [one.subject_id for one in worst_of(scores, most=1)] == ["bad"]
