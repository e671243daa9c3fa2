"""Batteries' health as the API tells it, against an outage in the roll-ups."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tests.edge.safety.examples import BATTERY, NOW, a_site
from tests.ui.api.world import World
from tools.health.remaining import LONGEST, RemainingLife
from tools.health.site_health import BatteryPast, site_health
from tools.outlook import floor_step
from ui.api.routes.health import health_out

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
OUTAGE_AT = floor_step(NOW) - timedelta(hours=24)
HOURS, DEPTH = 3, 0.75


def keep_an_outage(world: World) -> None:
    """Write two days: site 1 gives 60 % of its rated energy for 75 % of its charge, site 2 stays on float."""
    # Charge taken from the cells is what comes out over the discharge efficiency.
    power_w = -0.6 * BATTERY.rated_wh * BATTERY.discharge_efficiency / HOURS
    for name in ("site-1", "site-2"):
        for k in range(192):
            at = floor_step(NOW) - (192 - k) * STEP
            drawing = name == "site-1" and OUTAGE_AT <= at < OUTAGE_AT + 4 * HOURS * STEP
            done = min(max((at - OUTAGE_AT) // STEP, 0), 4 * HOURS) if name == "site-1" else 0
            soc = 1.0 - DEPTH * (done + (0.5 if drawing else 0.0)) / (4 * HOURS)
            world.sql(
                "INSERT INTO rollup (site_id, bucket, samples, completeness, soc_frac, battery_w, battery_c)"
                " VALUES (%s, %s, 3, 1, %s, %s, 25.0) ON CONFLICT (site_id, bucket) DO UPDATE SET"
                " soc_frac = excluded.soc_frac, battery_w = excluded.battery_w, battery_c = excluded.battery_c",
                name, at, soc, power_w if drawing else 0.0,
            )  # fmt: skip


async def test_batteries_come_in_pages_with_what_the_figures_are_worth(world: World) -> None:
    keep_an_outage(world)
    first = await world.get("/v1/health/batteries?limit=1")
    assert [one["site_id"] for one in first["items"]] == ["site-1"]
    assert "nothing is claimed" in first["note"]
    second = await world.get(f"/v1/health/batteries?limit=1&cursor={first['next_cursor']}")
    assert [one["site_id"] for one in second["items"]] == ["site-2"]
    assert second["next_cursor"] is None
    weak, good = first["items"][0], second["items"][0]
    assert (weak["simulated"], first["days"]) == (True, 28.0)
    # 0.60 of the rated energy for 0.75 of the charge is 80 % of it; the BMS of both reports 100 %.
    assert weak["soh"]["low_frac"] < weak["soh"]["soh_frac"] < good["soh"]["soh_frac"]
    assert weak["replace_month"] < good["replace_month"]
    assert weak["full_cycles"] == pytest.approx(
        0.375, abs=0.03
    )  # 75 % down and not up again: half a cycle of it


async def test_a_site_shows_what_its_battery_was_judged_by(world: World) -> None:
    found = await world.get("/v1/sites/site-1/health")
    [seen] = [one for one in found["observations"] if one["method"] == "partial_discharge"]
    assert seen["soh_frac"] == pytest.approx(0.8, abs=0.005)
    assert seen["evidence"].endswith("of rated capacity for 75% of charge")
    assert found["battery"]["site_id"] == "site-1"
    assert found["resistance_ohm"] is None
    assert found["resistance_why"]
    assert (await world.ask("vic", "GET", "/v1/sites/site-9/health")).status_code == 404


def jump(world: World, site_id: str) -> None:
    """Let a load of 10 A come and go every 30 s over 5 mohm: 0.05 V each time, from 54 V down."""
    for k in range(20):
        drawn = k % 2 == 1
        world.sql(
            "INSERT INTO reading (site_id, at, boot_id, sequence, bus_v, battery_a) VALUES (%s, %s, 'steps', %s, %s, %s)",
            site_id, NOW - timedelta(seconds=30 * (20 - k)), k + 1, 53.95 if drawn else 54.0, -10.0 if drawn else 0.0,
        )  # fmt: skip


async def test_resistance_is_listed_when_asked_for_and_says_why_where_it_is_not_known(world: World) -> None:
    world.sql("DELETE FROM reading WHERE site_id = 'site-2'")
    jump(world, "site-2")
    plain = (await world.get("/v1/health/batteries"))["items"]
    assert {(one["resistance_ohm"], one["resistance_why"]) for one in plain} == {
        (None, "not looked at; ask with resistance=true")
    }
    first, second = (await world.get("/v1/health/batteries?limit=50&resistance=true"))["items"]
    assert first["resistance_ohm"] is None
    assert "load steps of 2 A or more, 5 needed" in first["resistance_why"]
    assert second["resistance_ohm"] == pytest.approx(0.005, rel=1e-3)
    assert second["resistance_why"] == "19 load steps"
    too_many = await world.ask("vic", "GET", "/v1/health/batteries?limit=51&resistance=true")
    assert (too_many.status_code, too_many.json()["errors"][0]["field"]) == (422, "limit")


@pytest.mark.parametrize(
    ("early", "month"), [(NOW, "2026-03"), (NOW + LONGEST - STEP, "2056-03"), (NOW + LONGEST, None)]
)
async def test_a_dead_battery_is_due_now_and_thirty_years_are_no_month(
    early: datetime, month: str | None
) -> None:
    one = RemainingLife(
        early=early, middle=early, late=early, soh_frac=0.7, loss_frac_per_year=0.02, observations=1
    )
    nothing = np.zeros(4)
    past = BatteryPast(start=NOW, soc_frac=nothing + 1.0, battery_w=nothing, battery_c=nothing + 25.0)
    health = replace(site_health(SiteId("site-1"), BATTERY, past, NOW), remaining=one)
    out = health_out(health, a_site("site-1"), NOW)
    assert (out.replace_month, out.soh) == (month, None)
    assert out.soh_why == "nothing was observed from which capacity follows"
