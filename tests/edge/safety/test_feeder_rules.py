"""S6 and S12: what sites do together, from both sides of each limit."""

from dataclasses import replace
from datetime import timedelta
from math import inf, nextafter
from typing import Any

import pytest

from edge.plan import ObjectiveKind, Plan
from edge.safety.limits import FleetState, Limits, Policy
from edge.safety.validator import validate
from edge.safety.verdict import Rejected
from telemetry.model.battery import TemperatureBand
from telemetry.model.series import STEP, Forecast, Quantity
from telemetry.model.site import FeederId, Rectifiers
from tests.edge.safety.examples import (
    FEEDER,
    INVERTER,
    NOW,
    SITE,
    START,
    a_feeder,
    a_forecast,
    a_plan,
    a_site,
    flat,
    limits_of,
    names,
    schedule_of,
    state_of,
    with_battery,
    with_reading,
    with_site,
)

ONE = Rectifiers(module_w=2048.0, count=3, efficiency=1.0)
# At half a C-rate of 4096 Wh the battery takes 2048 W: a power of two, so that shares of it are exact.
BANDS = (
    TemperatureBand(from_c=0.0, to_c=50.0, charge_c_rate=0.125, discharge_c_rate=1.0, capacity_frac=1.0),
)


def background(median_w: float = 131072.0, steps: int = 384) -> Forecast:
    return a_forecast(FEEDER, Quantity.BACKGROUND_W, median_w, (0.0,) * 9, steps)


STATE = with_reading(replace(flat(state_of()), background={FEEDER: background()}), soc_frac=0.75)
LIMITS = with_battery(
    with_site(limits_of(policy=Policy(max_cluster_low_frac=1.0)), rectifiers=ONE), bands=BANDS
)
CHARGE = a_plan(schedule_of(SITE, (4, 512.0)), kind=ObjectiveKind.RECHARGE)
DRAW = a_plan(schedule_of(SITE, (4, -512.0)))


def with_feeder(limits: Limits = LIMITS, **changes: Any) -> Limits:
    feeders = {**limits.feeders, FEEDER: replace(limits.feeders[FEEDER], **changes)}
    return replace(limits, feeders=feeders)


def broken(plan: Plan, state: FleetState = STATE, limits: Limits = LIMITS) -> set[str]:
    return names(validate(plan, state, limits, NOW))


def test_s6_charging_keeps_import_within_the_limit() -> None:
    # 131072 W outside + 1024 W of the site + 512 W.
    assert broken(CHARGE, limits=with_feeder(import_limit_w=132608.0)) == set()
    assert broken(CHARGE, limits=with_feeder(import_limit_w=nextafter(132608.0, 0.0))) == {"S6 feeder_import"}
    # An overloaded feeder is no breach of a plan that does not charge there.
    assert broken(a_plan(schedule_of(SITE, (4, 0.0))), limits=with_feeder(import_limit_w=0.0)) == set()


def test_s6_auxiliaries_and_losses_are_part_of_the_import() -> None:
    lossy = with_site(LIMITS, rectifiers=replace(ONE, efficiency=0.5))
    state = with_reading(STATE, aux_ac_w=256.0)
    # 131072 + 1024 / 0.5 + 256 + 512 / 0.5
    assert broken(CHARGE, state, with_feeder(lossy, import_limit_w=134400.0)) == set()
    assert broken(CHARGE, state, with_feeder(lossy, import_limit_w=nextafter(134400.0, 0.0))) == {
        "S6 feeder_import"
    }


def test_s6_discharge_elsewhere_does_not_pay_for_charging() -> None:
    two = limits_of(
        [replace(a_site(name, cluster=name), rectifiers=ONE) for name in (SITE, "b")],
        [replace(a_feeder(), import_limit_w=133120.0)],
        LIMITS.policy,
    )
    state = replace(flat(flat(state_of([SITE, "b"])), "b"), background={FEEDER: background()})
    state = with_reading(with_reading(state, soc_frac=0.75), "b", soc_frac=0.75)
    plan = a_plan(schedule_of(SITE, (4, 512.0)), schedule_of("b", (4, -512.0)))
    assert "S6 feeder_import" in broken(plan, state, two)


def test_s6_discharging_keeps_export_within_the_limit() -> None:
    # 65536 W flow out beside the site's own 1024 W: 64512 W, and 512 W more by the plan.
    state = replace(STATE, background={FEEDER: background(-65536.0)})
    assert broken(DRAW, state, with_feeder(export_limit_w=65024.0)) == set()
    assert broken(DRAW, state, with_feeder(export_limit_w=nextafter(65024.0, 0.0))) == {"S6 feeder_export"}
    assert broken(CHARGE, state, with_feeder(export_limit_w=0.0)) == set()
    lossy = with_site(LIMITS, rectifiers=replace(ONE, efficiency=0.5))
    # 65536 - 2048 + 1024
    assert broken(DRAW, state, with_feeder(lossy, export_limit_w=64512.0)) == set()
    assert broken(DRAW, state, with_feeder(lossy, export_limit_w=nextafter(64512.0, 0.0))) == {
        "S6 feeder_export"
    }


def test_s6_sun_beyond_the_load_flows_out_only_through_an_inverter() -> None:
    sun = a_forecast(SITE, Quantity.PV_W, 2048.0, (0.0,) * 9)
    state = replace(STATE, background={FEEDER: background(-65536.0)}, pv={SITE: sun})
    plan = a_plan(schedule_of(SITE, (4, -512.0)))
    out = with_site(LIMITS, pv_rated_w=2048.0, inverter=INVERTER)
    # The site gives 1024 W of its sun, and 512 W of the plan.
    assert broken(plan, state, with_feeder(out, export_limit_w=67072.0)) == set()
    assert broken(plan, state, with_feeder(out, export_limit_w=nextafter(67072.0, 0.0))) == {
        "S6 feeder_export"
    }
    neighbour = with_site(LIMITS, pv_rated_w=2048.0)
    found = broken(plan, state, with_feeder(neighbour, export_limit_w=66048.0))
    assert found == {"S3 within_load"}


def test_s6_the_background_must_be_known_over_the_window() -> None:
    for known, reasons in [
        ({}, {"S6 background"}),
        ({FEEDER: background(steps=4)}, set()),
        ({FEEDER: background(steps=3)}, {"S6 background"}),
        ({FEEDER: replace(background(), made_at=NOW - timedelta(hours=6))}, set()),
        (
            {FEEDER: replace(background(), made_at=NOW - timedelta(hours=6, microseconds=1))},
            {"S6 background"},
        ),
        ({FEEDER: replace(background(), quantity=Quantity.LOAD_W)}, {"S6 background"}),
    ]:
        assert broken(CHARGE, replace(STATE, background=known)) == reasons


def test_s6_a_neighbours_live_plan_counts_against_headroom() -> None:
    sites = [replace(a_site(name, cluster=name), rectifiers=ONE) for name in (SITE, "b")]
    state = replace(flat(flat(state_of([SITE, "b"])), "b"), background={FEEDER: background()})
    state = with_reading(with_reading(state, soc_frac=0.75), "b", soc_frac=0.97)  # the neighbour is full
    live = a_plan(schedule_of("b", (4, 256.0)), plan_id="live")
    # 131072 + 2 x 1024 + 512 + 256
    exact = limits_of(sites, [replace(a_feeder(), import_limit_w=133888.0)], LIMITS.policy)
    less = limits_of(sites, [replace(a_feeder(), import_limit_w=nextafter(133888.0, 0.0))], LIMITS.policy)
    assert broken(CHARGE, replace(state, live_plans=(live,)), exact) == set()
    assert broken(CHARGE, replace(state, live_plans=(live,)), less) == {"S6 feeder_import"}
    assert broken(CHARGE, state, less) == set()
    outflow = replace(state, background={FEEDER: background(-65536.0)})
    give = a_plan(schedule_of("b", (4, -256.0)), plan_id="live")
    # -65536 + 2 x 1024 - 256 - 512
    exact = limits_of(sites, [replace(a_feeder(), export_limit_w=64256.0)], LIMITS.policy)
    less = limits_of(sites, [replace(a_feeder(), export_limit_w=nextafter(64256.0, 0.0))], LIMITS.policy)
    assert broken(DRAW, replace(outflow, live_plans=(give,)), exact) == set()
    assert broken(DRAW, replace(outflow, live_plans=(give,)), less) == {"S6 feeder_export"}
    # A neighbour of which nothing is known counts with its highest load, 1280 W, its live plan, and a recharge of 2048 W.
    blind = replace(state, readings={SITE: state.readings[SITE]}, load={SITE: state.load[SITE]})
    blind = replace(blind, live_plans=(live,))
    exact = limits_of(sites, [replace(a_feeder(), import_limit_w=136192.0)], LIMITS.policy)
    less = limits_of(sites, [replace(a_feeder(), import_limit_w=nextafter(136192.0, 0.0))], LIMITS.policy)
    assert broken(CHARGE, blind, exact) == set()
    assert broken(CHARGE, blind, less) == {"S6 feeder_import"}


def test_s6_a_neighbours_panels_without_a_forecast_shine_at_their_rating() -> None:
    sites = [replace(a_site(name, cluster=name), rectifiers=ONE) for name in (SITE, "b")]
    sites[1] = replace(sites[1], pv_rated_w=1024.0)
    state = replace(flat(flat(state_of([SITE, "b"])), "b"), background={FEEDER: background(-65536.0)})
    state = with_reading(state, soc_frac=0.75)
    # -65536 + 1024 of ours, nothing of the neighbour's, - 512
    for limit, reasons in [(65024.0, set()), (nextafter(65024.0, 0.0), {"S6 feeder_export"})]:
        limits = limits_of(sites, [replace(a_feeder(), export_limit_w=limit)], LIMITS.policy)
        assert broken(DRAW, state, limits) == reasons


# S12
def cluster_case(policy: Policy, *socs: float) -> tuple[FleetState, Limits]:
    ids = [f"site-{number}" for number in range(1, len(socs) + 1)]
    state = state_of(ids)
    for site_id, soc in zip(ids, socs, strict=True):
        state = with_reading(flat(state, site_id), site_id, soc_frac=soc)
    return state, limits_of([a_site(site_id) for site_id in ids], policy=policy)


# Low is below 4096 + 1024 Wh; the plan takes 2048 Wh: 7168 Wh is SoC 0.59375.
NEAR = 0.59375


def test_s12_no_more_than_the_allowed_share_of_a_cluster_is_low_at_once() -> None:
    policy = Policy(max_cluster_low_frac=0.5)
    plan = a_plan(*(schedule_of(f"site-{number}", (16, -512.0)) for number in (1, 2, 3)))
    below = nextafter(NEAR, 0.0)
    for socs, kept in [
        ((NEAR, NEAR, NEAR, NEAR), True),
        ((below, below, NEAR, 0.875), True),
        ((below, below, below, 0.875), False),
    ]:
        state, limits = cluster_case(policy, *socs)
        assert broken(plan, state, limits) == (set() if kept else {"S12 cluster_low"}), socs


def test_s12_tells_the_cluster_and_when() -> None:
    plan = a_plan(*(schedule_of(f"site-{number}", (16, -512.0)) for number in (1, 2)))
    state, limits = cluster_case(Policy(max_cluster_low_frac=0.5), nextafter(NEAR, 0.0), nextafter(NEAR, 0.0))
    verdict = validate(plan, state, limits, NOW)
    assert isinstance(verdict, Rejected)
    (breach,) = verdict.broken
    assert (breach.scope, breach.where, breach.by, breach.step, breach.last_step, breach.limit) == (
        "cluster",
        "cluster-1",
        1.0,
        15,
        15,
        1.0,
    )


def test_s12_sites_that_are_low_anyway_are_not_the_plans_doing() -> None:
    policy = Policy(max_cluster_low_frac=0.5)
    idle = a_plan(schedule_of(SITE, (16, 0.0)))
    recharge = a_plan(schedule_of(SITE, (16, 512.0)), kind=ObjectiveKind.RECHARGE)
    low = 0.25
    state, limits = cluster_case(policy, low, low)
    assert broken(idle, state, limits) == set()
    assert broken(recharge, state, limits) == set()
    # The neighbour is low, or nobody knows: then ours may not become low as well.
    plan = a_plan(schedule_of(SITE, (16, -512.0)))
    state, limits = cluster_case(policy, nextafter(NEAR, 0.0), low)
    assert broken(plan, state, limits) == {"S12 cluster_low"}
    blind = replace(state, readings={SITE: state.readings[SITE]})
    assert broken(plan, blind, limits) == {"S12 cluster_low"}
    state, limits = cluster_case(policy, NEAR, low)
    assert broken(plan, state, limits) == set()
    # A neighbour in another cluster does not count, one on another feeder does.
    state, limits = cluster_case(policy, nextafter(NEAR, 0.0), low)
    apart = with_site(limits, "site-2", radio_cluster="elsewhere")
    assert broken(plan, state, apart) == {"S12 cluster_low"}  # alone: one of one
    wide = replace(limits, feeders={**limits.feeders, FeederId("feeder-2"): a_feeder("feeder-2")})
    wide = with_site(wide, "site-2", feeder_id="feeder-2")
    state, _ = cluster_case(policy, nextafter(NEAR, 0.0), 0.875)
    assert broken(plan, state, wide) == set()
    assert broken(plan, with_reading(state, "site-2", soc_frac=low), wide) == {"S12 cluster_low"}


def test_s12_a_site_that_becomes_low_by_its_load_alone_is_not_the_plans_doing() -> None:
    # The load of the steps after the fourth doubles: the floor rises past 8192 Wh whatever the plan does.
    load = {SITE: a_forecast(median_w=[1024.0] * 4 + [2048.0] * 380, spread_w=(0.0,) * 9)}
    state, limits = cluster_case(Policy(max_cluster_low_frac=0.5), 0.75)
    state = replace(state, load=load)
    assert broken(a_plan(schedule_of(SITE, (8, 0.0))), state, limits) == set()
    assert broken(a_plan(schedule_of(SITE, (8, 64.0))), state, limits) == set()
    # Charged first and drawn later, never below where it began: not its doing either.
    plan = a_plan(schedule_of(SITE, (4, 64.0), (1, -1.0), (3, 0.0)))
    assert "S12 cluster_low" not in broken(plan, state, limits)
    assert "S12 cluster_low" in broken(a_plan(schedule_of(SITE, (2, -64.0), (6, 0.0))), state, limits)


@pytest.mark.parametrize("frac", [0.5, 0.49])
def test_s12_what_live_plans_draw_brings_a_site_nearer_to_its_floor(frac: float) -> None:
    state, limits = cluster_case(Policy(max_cluster_low_frac=frac), 0.625, 0.875)
    plan = a_plan(schedule_of(SITE, (16, -512.0)))
    assert broken(plan, state, limits) == set()
    live = a_plan(schedule_of(SITE, (1, -600.0)), start=START - STEP, plan_id="live")
    busy = replace(state, live_plans=(live,))
    assert broken(plan, busy, limits) == set()
    # 2200 W for a quarter of an hour are 550 Wh: 7680 - 550 - 2048 is less than 5120 Wh.
    heavy = a_plan(schedule_of(SITE, (1, -2200.0)), start=START - STEP, plan_id="live")
    assert ("S12 cluster_low" in broken(plan, replace(state, live_plans=(heavy,)), limits)) is (frac < 0.5)


def test_s12_exactly_at_the_edge_is_not_low_yet() -> None:
    # 5120 Wh = 4096 + 1024: SoC 0.3125 + 0.15625. Drawing on it makes the lone site low.
    state, limits = cluster_case(Policy(max_cluster_low_frac=0.5), 0.46875)
    assert broken(a_plan(schedule_of(SITE, (4, -64.0))), state, limits) == {"S12 cluster_low"}


def test_s12_one_end_of_a_step_is_enough() -> None:
    # 5184 Wh at its begin, 5056 Wh at its end.
    state, limits = cluster_case(Policy(max_cluster_low_frac=0.5), 5184.0 / 16384.0 + 0.15625)
    assert broken(a_plan(schedule_of(SITE, (1, -512.0))), state, limits) == {"S12 cluster_low"}
    # The load from step 16 on doubles: floor and an hour are 5120 Wh, then 5376 Wh; without the plan the site would
    # be low only at the end of the step, with it earlier.
    load = {SITE: a_forecast(median_w=[1024.0] * 16 + [2048.0] * 368, spread_w=(0.0,) * 9)}
    state, limits = cluster_case(Policy(max_cluster_low_frac=0.5), 5248.0 / 16384.0 + 0.15625)
    assert broken(a_plan(schedule_of(SITE, (1, 0.0))), replace(state, load=load), limits) == set()
    assert broken(a_plan(schedule_of(SITE, (1, -64.0))), replace(state, load=load), limits) >= {
        "S12 cluster_low"
    }


def test_s6_a_live_plan_that_begins_with_ours_or_ends_with_the_horizon_counts() -> None:
    sites = [replace(a_site(name, cluster=name), rectifiers=ONE) for name in (SITE, "b")]
    state = replace(flat(flat(state_of([SITE, "b"])), "b"), background={FEEDER: background()})
    state = with_reading(with_reading(state, soc_frac=0.75), "b", soc_frac=0.97)
    # 131072 + 2 x 1024 + 512 + 256; the neighbour charges in the first step alone, or just before and after.
    less = limits_of(sites, [replace(a_feeder(), import_limit_w=133887.0)], LIMITS.policy)
    for start, reasons in [(START, {"S6 feeder_import"}), (START - STEP, set()), (START + 4 * STEP, set())]:
        live = a_plan(schedule_of("b", (1, 256.0)), plan_id="live", start=start)
        assert broken(CHARGE, replace(state, live_plans=(live,)), less) == reasons, start
    outflow = replace(state, background={FEEDER: background(-65536.0)})
    tight = limits_of(sites, [replace(a_feeder(), export_limit_w=64255.0)], LIMITS.policy)
    for start, reasons in [(START, {"S6 feeder_export"}), (START - STEP, set()), (START + 4 * STEP, set())]:
        live = a_plan(schedule_of("b", (1, -256.0)), plan_id="live", start=start)
        assert broken(DRAW, replace(outflow, live_plans=(live,)), tight) == reasons, start
    # Beyond the longest recharge nothing counts.
    far = a_plan(schedule_of("b", (4, 256.0)), plan_id="live", start=START + 99 * STEP)
    assert broken(CHARGE, replace(state, live_plans=(far,)), less) == set()


def test_infinite_power_is_refused_before_anything_is_summed() -> None:
    plan = a_plan(schedule_of(SITE, (4, -64.0)))
    endless = replace(plan, sites=(schedule_of(SITE, (4, -inf)),))
    assert broken(endless) == {"S15 number"}
