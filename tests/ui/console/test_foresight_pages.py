"""What the pages show of what is to come: the least margins, alerts that count down, Prophet's parts at the press of a toggle."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW, a_forecast
from tests.services import DatabaseServer
from tests.ui.api.test_foresight import BREACH
from tests.ui.console.conftest import LiveApi, fresh_api
from tests.ui.console.test_pages import drawn
from tools.alerts.lifecycle import update_alerts
from tools.anomaly.incident_store import IncidentStore
from tools.forecasting.forecast_store import ForecastStore
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database


def keep(live_api: LiveApi, *, alert: bool = False, model: str = "") -> None:
    """Write an alert about site 1, or a forecast for site 2 by a model, as the loop does."""

    async def write() -> None:
        pool = await open_async_pool(live_api.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
        try:
            if alert:
                await IncidentStore(pool).put(update_alerts([], [BREACH], NOW))
            if model:
                await ForecastStore(pool).put([replace(a_forecast("site-2"), model=model)])
        finally:
            await pool.close()

    asyncio.run(write())


@pytest.fixture(scope="module")
def live_api(postgres_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    """An installation of this file's own: forecasts change the figures that other pages are tested by."""
    with fresh_api(postgres_server, tmp_path_factory.mktemp("foresight")) as api:
        yield api


@pytest.fixture
def clean(live_api: LiveApi) -> Iterator[psycopg.Connection]:
    """Undo what a test writes."""
    with psycopg.connect(live_api.database.owner_dsn, autocommit=True) as owner:
        yield owner
        owner.execute("DELETE FROM incident WHERE kind = 'reserve_breach'")
        owner.execute("DELETE FROM forecast WHERE subject_id = 'site-2'")
        owner.execute(
            "DELETE FROM rollup WHERE site_id = 'site-2' AND bucket < %s", [NOW - timedelta(minutes=50)]
        )


def figures(test: AppTest) -> list[Any]:
    return [json.loads(one.proto.spec) for one in test.get("plotly_chart")]


def test_the_sites_with_the_least_backup_above_their_reserve_stand_in_a_picture(live_api: LiveApi) -> None:
    test = drawn(live_api, "vic", "fleet")
    assert any(one.value == "**Least margin over the reserve**" for one in test.markdown)
    [bars] = [
        one["data"][0]
        for one in figures(test)
        if one["layout"]["xaxis"].get("title", {}).get("text") == "hours above the reserve"
    ]
    assert bars["y"] == ["site-1", "site-2"]
    # Nine hours of backup, of which four must be kept.
    assert bars["x"] == pytest.approx([5.0, 5.0], abs=0.01)


def test_an_alert_on_the_fleet_page_counts_down_and_leads_to_its_incident(
    live_api: LiveApi, clean: psycopg.Connection
) -> None:
    keep(live_api, alert=True)
    test = drawn(live_api, "vic", "fleet")
    [line] = [one for one in test.button if str(one.key).startswith("alert ")]
    assert line.label == "2 h 00 min: reserve breach at site-1 (warning)"
    assert not any(one.value == "Nothing is expected to go wrong." for one in test.success)
    [(incident_id,)] = clean.execute("SELECT incident_id FROM incident WHERE kind = 'reserve_breach'")
    assert line.key == f"alert {incident_id}"


def test_prophets_forecast_comes_apart_when_somebody_asks(
    live_api: LiveApi, clean: psycopg.Connection
) -> None:
    keep(live_api, model="prophet")
    clean.execute(
        "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w)"
        " SELECT 'site-2', at, 3, 1, 1000 + 300 * sin(2 * pi() * extract(epoch FROM at) / 86400)"
        " FROM generate_series(%s::timestamptz - interval '21 days', %s::timestamptz - interval '1 hour',"
        " interval '15 minutes') at ON CONFLICT (site_id, bucket) DO NOTHING",
        [NOW, NOW],
    )
    test = drawn(live_api, "vic", "forecasts", subject="site-2")
    before = len(test.get("plotly_chart"))
    [toggle] = [one for one in test.toggle if one.label == "What this forecast is made of"]
    assert not toggle.value
    toggle.set_value(True).run()
    assert not test.exception
    assert not test.error
    assert len(test.get("plotly_chart")) == before + 1
    trend, daily, weekly = figures(test)[-1]["data"]
    assert [one["name"] for one in (trend, daily, weekly)] == ["Trend", "The day adds", "The week adds"]
    # 1000 W on average, and 300 W more at the day's height.
    assert trend["y"] == pytest.approx([1.0] * 672, abs=0.03)
    assert max(daily["y"]) == pytest.approx(0.3, abs=0.03)
    assert any("Fitted again on the same four weeks" in one.value for one in test.caption)


def test_another_models_forecast_says_that_it_has_no_parts(
    live_api: LiveApi, clean: psycopg.Connection
) -> None:
    keep(live_api, model="ridge")
    test = drawn(live_api, "vic", "forecasts", subject="site-2")
    assert not test.toggle
    assert any("Only Prophet's forecasts come apart" in one.value for one in test.caption)
