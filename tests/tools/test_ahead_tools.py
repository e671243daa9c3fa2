"""What is to come beside loads: PV, the risk of an outage, and pictures of either; values worked out by hand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio

from agents.answers import answer_for
from agents.grounding import ground
from telemetry.model.series import STEP, Quantity
from telemetry.model.site import SiteId
from tests.agents.harness import Bench, bench_over
from tests.agents.worlds import NOW, forecast_of
from tests.services import Database
from tools.deps import Deps, Fleet
from tools.errors import ToolInputError, ToolUnavailableError
from tools.outage_chances import OutageChances
from tools.outage_risk import OutageArguments, outage_risk
from tools.outlook import floor_step
from tools.picture import PictureArguments, picture
from tools.pv import PvArguments, pv

FIRST, SECOND, OTHER = SiteId("cbs-0001"), SiteId("cbs-0002"), SiteId("cbs-0005")  # the last on feeder-2


@pytest_asyncio.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    async with bench_over(database) as opened:
        yield opened


async def sunny(bench: Bench, watts: Mapping[SiteId, float]) -> Deps:
    """Return tools over panels of 1.5 kW at the named sites: as much power forecast as given, 100 W more or less; 0.5 kW now."""
    deps = bench.deps().tools
    fleet = await deps.fleet()
    state, sites, made_at = fleet.state, fleet.limits.sites, floor_step(NOW)
    pv_of = {
        name: forecast_of(name, Quantity.PV_W, [w] * 192, 100.0, made_at) for name, w in watts.items() if w
    }
    seen = replace(
        fleet,
        state=replace(
            state,
            pv=pv_of,
            readings={**state.readings, **{n: replace(state.readings[n], pv_w=500.0) for n in watts}},
        ),
        limits=replace(
            fleet.limits, sites={**sites, **{name: replace(sites[name], pv_rated_w=1500.0) for name in watts}}
        ),
    )

    async def the_fleet() -> Fleet:
        return seen

    return replace(deps, fleet=the_fleet)


async def test_a_sites_feeders_and_fleets_panels_are_added_up(bench: Bench) -> None:
    deps = await sunny(bench, {FIRST: 1000.0, SECOND: 400.0, OTHER: 200.0})
    one = await pv(PvArguments(subject_id=FIRST, hours=2.0), deps)
    assert (one["rated_kw"], one["now_kw"], one["kwh"], one["peak_kw"]) == (1.5, 0.5, 2.0, 1.0)
    assert (one["sum_of_lower_kwh"], one["sum_of_upper_kwh"]) == (1.8, 2.2)  # 100 W for two hours either way
    feeder = await pv(PvArguments(subject_id="feeder-1", hours=2.0), deps)
    assert (feeder["sites_with_pv"], feeder["now_kw"], feeder["kwh"]) == (2, 1.0, 2.8)
    fleet = await pv(PvArguments(hours=2.0), deps)
    assert (fleet["subject_id"], fleet["sites_with_pv"], fleet["kwh"]) == ("fleet", 3, 3.2)


async def test_panels_without_a_forecast_are_named_and_no_panels_are_none(bench: Bench) -> None:
    deps = await sunny(bench, {FIRST: 1000.0, SECOND: 0.0})
    found = await pv(PvArguments(subject_id="feeder-1", hours=2.0), deps)
    assert (found["kwh"], found["no_forecast_for"]) == (2.0, [SECOND])
    with pytest.raises(ToolUnavailableError, match="no PV forecast reaches 2 h ahead"):
        await pv(PvArguments(subject_id=SECOND, hours=2.0), deps)
    assert await pv(PvArguments(subject_id=OTHER), deps) == {
        "subject_id": OTHER,
        "sites_with_pv": 0,
        "rated_kw": 0.0,
    }
    with pytest.raises(ToolInputError, match="'moon' is neither a site nor a feeder; take one of feeder-1"):
        await pv(PvArguments(subject_id="moon"), deps)


class Past:
    """Twenty days of roll-ups: at the first site no mains for an hour every other day; of the third nothing is known."""

    asked = 0

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        self.asked += 1
        steps = (end - start) // STEP
        load = np.full((len(site_ids), steps), 2000.0, np.float32)
        load[:, : steps - 20 * 96] = np.nan
        load[site_ids.index(OTHER)] = np.nan
        grid = load.copy()
        for day in range(1, 20, 2):
            grid[0, steps - day * 96 : steps - day * 96 + 4] = 0.0
        return dict(zip(metrics, (grid, load), strict=True))


async def test_a_site_that_failed_every_other_day_is_likely_to_fail(bench: Bench) -> None:
    past = Past()
    chances = OutageChances(readings=past, past=timedelta(days=60), at_once=timedelta(days=60))
    deps = replace(bench.deps().tools, outage_chances=chances)
    found = await outage_risk(OutageArguments(limit=2), deps)
    assert (found["sites_judged"], found["sites_not_known"], found["sites_likely"]) == (5, 1, 1)
    sites = found["sites"]
    assert isinstance(sites, list)
    assert [one["site_id"] for one in sites] == [FIRST, SECOND]
    # Half-lives of 3, 14 and 60 days, each drawn by half of it to the fleet's 10 of 100 days: the first site's
    # (2.68 + 0.15) / (4.80 + 1.5) = 0.449, (6.66 + 0.7) / (13.0 + 7) = 0.368, (9.03 + 3) / (17.9 + 30) = 0.251, mean 0.356;
    # its neighbour's 0.15 / 6.3, 0.7 / 20 and 3 / 47.9, mean 0.040.
    assert (sites[0]["chance_pct"], sites[1]["chance_pct"]) == (35.6, 4.0)
    assert (sites[0]["day"], sites[0]["required_h"]) == (f"{NOW + timedelta(days=1):%Y-%m-%d}", 2.0)
    one = await outage_risk(OutageArguments(site_id=FIRST), deps)
    assert one["sites"] == sites[:1]
    assert past.asked == 1  # worked out once a day


async def test_too_short_a_past_is_no_chance(bench: Bench) -> None:
    with pytest.raises(ToolUnavailableError, match="the past of any site is too short"):
        await outage_risk(OutageArguments(), bench.deps().tools)
    deps = replace(bench.deps().tools, outage_chances=OutageChances(readings=Past()))
    with pytest.raises(ToolUnavailableError, match="the past of cbs-0005 is too short"):
        await outage_risk(OutageArguments(site_id=OTHER), deps)
    with pytest.raises(ToolInputError, match="there is no site 'cbs-9'"):
        await outage_risk(OutageArguments(site_id="cbs-9"), deps)


async def test_a_picture_names_what_is_drawn_and_holds_no_points(bench: Bench) -> None:
    deps = await sunny(bench, {FIRST: 1000.0})
    ahead = await picture(PictureArguments(subject_id="feeder-1", what="forecast"), deps)
    assert (ahead["picture"], ahead["peak_kw"]) == ("forecast", 120.333)  # 112 kW and 4 x 2 kW / 0.96
    sun = await picture(PictureArguments(subject_id=FIRST, what="pv", hours=2.0), deps)
    assert (sun["picture"], sun["kwh"], sun["made_at"]) == ("pv", 2.0, floor_step(NOW).isoformat())
    bench.sql(
        "INSERT INTO rollup (site_id, bucket, samples, completeness, load_w) VALUES (%s, %s, 3, 1, 1900)",
        FIRST,
        floor_step(NOW) - timedelta(hours=2),
    )
    past = await picture(PictureArguments(subject_id=FIRST, metric="load_w", hours=48.0), deps)
    assert (past["picture"], past["metric"], past["mean"]) == ("metric", "load_w", 1900.0)
    assert "points" not in past


@pytest.mark.parametrize(
    ("subject_id", "what", "words"),
    [
        ("feeder-1", "metric", "feeder-1 is a feeder: take what = 'forecast'"),
        (OTHER, "pv", "cbs-0005 has no PV to draw"),
        ("moon", "metric", "there is no site 'moon'"),
    ],
)
async def test_what_cannot_be_drawn_is_an_input_error(
    bench: Bench, subject_id: str, what: str, words: str
) -> None:
    arguments = PictureArguments.model_validate({"subject_id": subject_id, "what": what})
    with pytest.raises(ToolInputError, match=words):
        await picture(arguments, await sunny(bench, {FIRST: 1000.0}))


async def test_every_sentence_about_them_is_grounded(bench: Bench) -> None:
    deps = replace(
        await sunny(bench, {FIRST: 1000.0, SECOND: 0.0}), outage_chances=OutageChances(readings=Past())
    )
    for name, found in (
        ("pv", await pv(PvArguments(), deps)),
        ("pv", await pv(PvArguments(subject_id=OTHER), deps)),
        ("outage_risk", await outage_risk(OutageArguments(), deps)),
        ("picture", await picture(PictureArguments(subject_id=FIRST, what="pv"), deps)),
        ("picture", await picture(PictureArguments(subject_id=FIRST, what="forecast"), deps)),
    ):
        text = answer_for({"tool": name, "result": found})
        grounded = ground(text, [found])
        assert (grounded.dropped, grounded.sentences > 0) == ((), True)
