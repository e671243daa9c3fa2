"""The forecast tool at a site with panels."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from telemetry.model.series import Quantity
from telemetry.model.site import SiteId
from tests.agents.harness import Bench, bench_over
from tests.agents.worlds import NOW, forecast_of
from tests.services import Database
from tools.deps import Deps, Fleet
from tools.forecast import ForecastArguments, forecast
from tools.outlook import floor_step

SITE = SiteId("cbs-0001")


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with bench_over(database) as opened:
        yield opened


async def deps_with_panels(bench: Bench, watts: list[float] | None) -> Deps:
    """Return the small fleet's tools with panels of 1.5 kW at one site, forecast as given, 100 W more or less."""
    deps = bench.deps().tools
    fleet = await deps.fleet()
    site = replace(fleet.limits.sites[SITE], pv_rated_w=1500.0)
    limits = replace(fleet.limits, sites={**fleet.limits.sites, SITE: site})
    pv = {} if watts is None else {SITE: forecast_of(SITE, Quantity.PV_W, watts, 100.0, floor_step(NOW))}
    sunny = replace(fleet, state=replace(fleet.state, pv=pv), limits=limits)

    async def the_fleet() -> Fleet:
        return sunny

    return replace(deps, fleet=the_fleet)


async def test_a_site_with_panels_says_what_they_will_give(bench: Bench) -> None:
    deps = await deps_with_panels(bench, [1000.0] * 96)
    found = await forecast(ForecastArguments(subject_id=SITE, hours=2.0), deps)
    assert (found["pv_peak_kw"], found["pv_kwh"]) == (1.0, 2.0)  # 1 kW for two hours
    assert isinstance(found["pv_peak_upper_kw"], float)
    assert found["pv_peak_upper_kw"] > 1.0


async def test_panels_without_a_forecast_are_told_and_sites_without_panels_say_nothing(bench: Bench) -> None:
    dark = await forecast(ForecastArguments(subject_id=SITE, hours=2.0), await deps_with_panels(bench, None))
    assert dark["pv"] == "no forecast of the panels reaches this far"
    plain = await forecast(ForecastArguments(subject_id=SITE, hours=2.0), bench.deps().tools)
    assert not any(name.startswith("pv") for name in plain)


@pytest.mark.parametrize("hours", [0.25, 24.0])
async def test_any_horizon_within_the_forecast_is_told(bench: Bench, hours: float) -> None:
    deps = await deps_with_panels(bench, [400.0] * 192)
    found = await forecast(ForecastArguments(subject_id=SITE, hours=hours), deps)
    assert found["pv_kwh"] == round(0.4 * hours, 2)
