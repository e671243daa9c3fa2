"""The fleet document, the registry and time series, against values worked out by hand."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest

from telemetry.db import open_async_pool
from tests.edge.safety.examples import (
    NOW,
    a_background,
    a_forecast,
)
from tests.ui.api.world import SITES, World
from tools.forecasting.forecast_store import ForecastStore
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
QUARTER = timedelta(minutes=15)


async def put_forecasts(world: World) -> None:
    pool = await open_async_pool(world.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
    try:
        await ForecastStore(pool).put([*(a_forecast(name) for name in SITES), a_background()])
    finally:
        await pool.close()


async def test_the_fleet_by_hand(world: World) -> None:
    await world.look()
    fleet = await world.get("/v1/fleet")
    site = next(one for one in fleet["sites"] if one["site_id"] == "site-1")
    # The last of thirty minutes: 1000 W and 29 W more; SoC 0.875 of 16384 Wh, 0.03125 of it doubted, 0.125 below the
    # disconnect: 0.71875 x 16384 = 11776 Wh. Without a forecast 1280 W are drawn: 9.2 h, in whole quarter hours 9.
    assert (site["load_w"], site["battery_w"], site["soc_frac"]) == (1029.0, -600.0, 0.875)
    assert (site["autonomy_h"], site["reserve_h"], site["margin_h"]) == (9.0, 4.0, 5.0)
    assert site["spare_wh"] == 11776.0 - 4 * 1280.0
    assert (site["online"], site["state"], site["read_at"]) == (True, "dispatch", "2026-03-10T11:49:00Z")
    assert site["available_w"] == 1029.0  # no more than the load takes
    assert fleet["counts"] == {
        "sites": 2, "online": 2, "simulated": 2, "with_alarms": 0, "below_reserve": 0, "by_state": {"dispatch": 2},
        "open_incidents": {},
    }  # fmt: skip
    assert fleet["totals"]["load_w"] == 2058.0
    (feeder,) = fleet["feeders"]
    assert (feeder["background_w"], feeder["sites_w"], feeder["import_w"]) == (131072.0, 1000.0, 132072.0)
    assert feeder["headroom_w"] == 262144.0 - 132072.0
    assert fleet["mode"] == {"mode": "normal", "who": "test", "since": "2026-03-10T11:50:00Z"}


async def test_a_silent_site_is_offline_and_offers_nothing(world: World) -> None:
    world.clock.at = NOW + timedelta(minutes=6)
    await world.look()
    site = (await world.get("/v1/fleet"))["sites"][0]
    assert (site["online"], site["available_w"]) == (False, 0.0)
    assert site["autonomy_h"] == 9.0


async def test_the_fleets_etag_and_gzip(world: World) -> None:
    whole = await world.ask("vic", "GET", "/v1/fleet", headers={"Accept-Encoding": "identity"})
    packed = await world.ask("vic", "GET", "/v1/fleet", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in whole.headers
    assert packed.json() == whole.json()  # httpx unpacks
    tag = whole.headers["ETag"]
    same = await world.ask("vic", "GET", "/v1/fleet", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (same.status_code, same.content) == (304, b"")
    snapshot = await world.services.feed.current()
    assert json.loads(gzip.decompress(snapshot.packed)) == json.loads(snapshot.plain)


async def test_a_change_makes_a_new_version_and_no_change_none(world: World) -> None:
    await world.look()
    first = (await world.get("/v1/fleet"))["version"]
    world.clock.at += timedelta(seconds=1)
    assert await world.services.feed.after(first) is None
    world.sql("UPDATE reading_latest SET load_w = 1500 WHERE site_id = 'site-2'")
    snapshot = None
    while snapshot is None:
        snapshot = await world.services.feed.after(first)
    assert snapshot.version == first + 1
    assert [one["site_id"] for one in snapshot.changed] == ["site-2"]
    world.sql("UPDATE reading_latest SET load_w = 1029 WHERE site_id = 'site-2'")


async def test_the_registry_in_pages_with_etags(world: World) -> None:
    first = await world.get("/v1/sites?limit=1")
    assert [one["site_id"] for one in first["items"]] == ["site-1"]
    second = await world.get(f"/v1/sites?limit=1&cursor={first['next_cursor']}")
    assert [one["site_id"] for one in second["items"]] == ["site-2"]
    assert second["next_cursor"] is None
    answer = await world.ask("vic", "GET", "/v1/sites/site-1")
    assert answer.json()["site"]["battery"]["rated_wh"] == 16384.0
    same = await world.ask(
        "vic", "GET", "/v1/sites/site-1", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert same.status_code == 304
    assert [one["feeder_id"] for one in (await world.get("/v1/feeders"))["items"]] == ["feeder-1"]
    assert (await world.get("/v1/critical-sites"))["items"][0]["critical_site"]["kind"] == "hospital"
    assert (await world.get("/v1/sites?feeder_id=feeder-9"))["items"] == []


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "W10", "WzFd", "W251bGxd", "%00", "WyJhIiwgImIiXQ", "e30"])
async def test_a_forged_cursor_names_the_field(world: World, cursor: str) -> None:
    answer = await world.ask("vic", "GET", f"/v1/sites?cursor={cursor}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


async def test_readings_are_thinned_and_keep_extremes(world: World) -> None:
    start, end = (NOW - timedelta(minutes=30)).isoformat(), NOW.isoformat()
    series = await world.get(
        f"/v1/sites/site-1/series?metric=load_w&points=3&start={start}&end={end}".replace("+", "%2B")
    )
    # Ten minutes a point: 1000 to 1009, 1010 to 1019, 1020 to 1029.
    assert (series["source"], series["unit"], series["subject_id"]) == ("readings", "W", "site-1")
    assert (series["mean"], series["low"], series["high"]) == (
        [1004.5, 1014.5, 1024.5], [1000.0, 1010.0, 1020.0], [1009.0, 1019.0, 1029.0],
    )  # fmt: skip


async def test_rollups_know_the_extremes_of_the_load(world: World) -> None:
    series = await world.get("/v1/sites/site-1/series?metric=load_w&source=rollup")
    # The half hour from 11:20 on falls into three quarter hours: ten, fifteen and five minutes of it.
    assert series["at"] == ["2026-03-10T11:15:00Z", "2026-03-10T11:30:00Z", "2026-03-10T11:45:00Z"]
    assert series["mean"] == [1004.5, 1017.0, 1027.0]
    assert (series["low"], series["high"]) == ([1000.0, 1010.0, 1025.0], [1009.0, 1024.0, 1029.0])


async def test_a_feeders_import_and_its_expected_band(world: World) -> None:
    await put_forecasts(world)
    world.clock.at = NOW + timedelta(minutes=15)  # the forecasts begin at 12:00
    series = await world.get("/v1/feeders/feeder-1/series?forecast_h=1")
    measured = [
        row
        for row in zip(
            series["at"], series["background_w"], series["sites_w"], series["import_w"], strict=True
        )
        if row[1] is not None
    ]
    assert measured == [
        (f"2026-03-10T11:{minute}:00Z", 131072.0, 1000.0, 132072.0) for minute in (15, 30, 45)
    ]
    band = series["forecast"]
    assert band["at"][0] == "2026-03-10T12:00:00Z"
    assert len(band["at"]) == 4
    # Background 131072 W, two sites of 1024 W over rectifiers of 0.9375; outer: 4096 W and 128 W a site more or less.
    assert band["median_w"][0] == pytest.approx(131072.0 + 2 * 1024.0 / 0.9375, abs=0.06)
    assert band["upper_w"][0] == pytest.approx(135168.0 + 2 * 1152.0 / 0.9375, abs=0.06)
    assert band["lower_w"][0] == pytest.approx(126976.0 + 2 * 896.0 / 0.9375, abs=0.06)
    one = await world.get("/v1/forecasts/site-1?quantity=load_w")
    assert (len(one["values_w"]), one["values_w"][4][0], one["quantiles"][4]) == (9, 1024.0, 0.5)
    lines = (await world.get("/v1/forecasts?quantity=load_w"))["items"]
    assert [(line["subject_id"], line["model"], line["steps"]) for line in lines] == [
        ("site-1", "example", 384), ("site-2", "example", 384),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("metric=loed_w", "metric"),
        ("", "metric"),
        ("metric=battery_a&source=rollup", "metric"),
        ("metric=charge_wh&source=readings", "metric"),
        ("metric=load_w&points=0", "points"),
        ("metric=load_w&points=2001", "points"),
        ("metric=load_w&start=2026-03-10T11:00:00", "start"),
        ("metric=load_w&start=0001-01-01T00:00:00Z", "start"),
        ("metric=load_w&start=2026-03-10T11:00:00Z&end=2026-03-10T11:00:00Z", "start"),
        ("metric=load_w&start=2024-01-01T00:00:00Z", "start"),
    ],
)
async def test_a_question_that_makes_no_sense_names_its_field(world: World, query: str, field: str) -> None:
    answer = await world.ask("vic", "GET", f"/v1/sites/site-1/series?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_what_is_not_there_is_not_found(world: World) -> None:
    for path in (
        "/v1/sites/x",
        "/v1/sites/x/series?metric=load_w",
        "/v1/feeders/x/series",
        "/v1/forecasts/x",
        "/v1/plans/x",
    ):
        answer = await world.ask("vic", "GET", path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_an_order_for_a_site_mode_goes_to_control(world: World) -> None:
    change = {"mode": "shadow", "reason": "battery replaced"}
    answer = await world.ask("ann", "PUT", "/v1/sites/site-1/mode", change)
    assert answer.json()["outcome"] == "pending"
    rows = world.sql("SELECT kind, site_id, mode, who, reason FROM control_request WHERE kind = 'mode'")
    assert rows == [("mode", "site-1", "shadow", "ann", "battery replaced")]
    # The registry changes when control has done it, not before.
    assert (await world.get("/v1/sites/site-1"))["site"]["mode"] == "remote"
    assert (await world.ask("ann", "PUT", "/v1/sites/none/mode", change)).status_code == 404


async def test_quality_names_the_worst_first(world: World) -> None:
    world.sql(
        "UPDATE site_quality SET score = 0.5, reasons = '{\"soc_frac\": \"bad: outside 0..1\"}' WHERE site_id = 'site-2'"
    )
    world.sql(
        "INSERT INTO quarantine (received_at, source, reason, payload) VALUES (%s, 't', 'unknown topic', 'x')",
        NOW,
    )
    found = await world.get("/v1/quality")
    assert (found["sites"], found["below_dispatch"], found["mean_score"]) == (2, 1, 0.75)
    assert found["worst"][0]["site_id"] == "site-2"
    assert found["worst"][0]["reasons"] == {"soc_frac": "bad: outside 0..1"}
    assert found["quarantined"] == [
        {"reason": "unknown topic", "count": 1, "last_at": "2026-03-10T11:50:00Z"}
    ]


async def test_metrics_are_prometheus_text(world: World) -> None:
    await world.look()
    answer = await world.ask("robot", "GET", "/metrics")
    figures: dict[str, Any] = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")
    )
    assert figures["cellwatt_sites"] == "2"
    assert figures["cellwatt_load_watts"] == "2058"
    assert float(figures["cellwatt_api_request_seconds_count"]) >= 0
