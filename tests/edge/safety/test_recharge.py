"""S6 and S1 after a release: the slowest recharge for the backup, the fastest for the feeder, from both sides."""

from dataclasses import replace
from datetime import timedelta
from math import nextafter
from typing import Any

import pytest

from edge.plan import ObjectiveKind, Plan
from edge.safety.case import case_of
from edge.safety.limits import FleetState, Limits, Policy
from edge.safety.recharge import fast_ac_w, feeder_row_w, recharge_of, slow_w, wait_steps
from edge.safety.track import track_of
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Rejected
from telemetry.model.battery import TemperatureBand
from telemetry.model.series import STEP, Forecast, Quantity
from telemetry.model.site import RechargeTerms, Rectifiers, Site
from tests.edge.safety.examples import (
    FEEDER,
    NOW,
    SITE,
    START,
    TERMS,
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
BANDS = (
    TemperatureBand(from_c=0.0, to_c=50.0, charge_c_rate=0.125, discharge_c_rate=1.0, capacity_frac=1.0),
)


def background(median_w: float = 131072.0, steps: int = 384) -> Forecast:
    return a_forecast(FEEDER, Quantity.BACKGROUND_W, median_w, (0.0,) * 9, steps)


STATE = with_reading(replace(flat(state_of()), background={FEEDER: background()}), soc_frac=0.75)
LIMITS = with_battery(
    with_site(limits_of(policy=Policy(max_cluster_low_frac=1.0)), rectifiers=ONE), bands=BANDS
)
# 1 step of 720 W takes 180 Wh. Each step of 8 W puts back 8 x 0.25 x 0.9375 = 1.875 Wh: 96 steps, a day.
LITTLE = a_plan(schedule_of(SITE, (1, -720.0)))
# What the one site and the feeder's others draw: 131072 + 1024 W.
OWN_W = 132096.0


def broken(plan: Plan, state: FleetState = STATE, limits: Limits = LIMITS) -> set[str]:
    return names(validate(plan, state, limits, NOW))


def with_feeder(limits: Limits = LIMITS, **changes: Any) -> Limits:
    return replace(limits, feeders={FEEDER: replace(limits.feeders[FEEDER], **changes)})


def share(w: float, terms: RechargeTerms = TERMS, **hours: float) -> RechargeTerms:
    """Return the terms with a share of `w` at every hour but those named, as in `h13=0.0`."""
    row = [hours.get(f"h{hour}", w) for hour in range(24)]
    return replace(terms, feeder_share_w=tuple(row))


def test_what_was_drawn_goes_back_within_a_day_by_the_sites_own_terms() -> None:
    for w, reasons in [(8.0, set()), (nextafter(8.0, 0.0), {"S6 recharge"}), (0.0, {"S6 recharge"})]:
        assert broken(LITTLE, limits=with_site(LIMITS, recharge=share(w))) == reasons, w


def test_a_share_is_told_at_the_ac_side() -> None:
    lossy = with_site(LIMITS, rectifiers=replace(ONE, efficiency=0.5), recharge=share(16.0))
    assert broken(LITTLE, limits=lossy) == set()
    less = with_site(LIMITS, rectifiers=replace(ONE, efficiency=0.5), recharge=share(nextafter(16.0, 0.0)))
    assert broken(LITTLE, limits=less) == {"S6 recharge"}


def test_a_site_cannot_recharge_faster_than_its_cells_or_its_c_rate() -> None:
    slow = tuple(replace(band, charge_c_rate=8.0 / 16384.0) for band in BANDS)
    assert broken(LITTLE, limits=with_battery(LIMITS, bands=slow)) == set()
    slower = tuple(replace(band, charge_c_rate=7.9 / 16384.0) for band in BANDS)
    assert broken(LITTLE, limits=with_battery(LIMITS, bands=slower)) == {"S6 recharge"}
    gentle = with_site(LIMITS, recharge=replace(TERMS, c_rate=8.0 / 16384.0))
    assert broken(LITTLE, limits=gentle) == set()
    gentler = with_site(LIMITS, recharge=replace(TERMS, c_rate=7.9 / 16384.0))
    assert broken(LITTLE, limits=gentler) == {"S6 recharge"}


def test_nothing_is_counted_on_before_the_latest_opening_and_the_whole_ramp() -> None:
    assert [wait_steps(replace(TERMS, max_delay_s=s)) for s in (0.0, 600.0, 600.5, 1500.0)] == [1, 1, 2, 2]
    # A day from the release, one step of it spent with waiting: 95 steps of 8 W are 1.875 Wh short of 180 Wh.
    late = with_site(LIMITS, recharge=share(8.0, replace(TERMS, max_delay_s=1500.0)))
    verdict = validate(LITTLE, STATE, late, NOW)
    assert isinstance(verdict, Rejected)
    (breach,) = verdict.broken
    assert (breach.rule, breach.name, breach.by, breach.step) == ("S6", "recharge", 1.875, 1)
    enough = with_site(LIMITS, recharge=share(8.0 * 96.0 / 95.0 + 1e-9, replace(TERMS, max_delay_s=1500.0)))
    assert broken(LITTLE, limits=enough) == set()
    # As long as a wait may be: nothing is left of the day, and nothing breaks.
    never = replace(TERMS, max_delay_s=4 * 3600.0, ramp_s=4 * 3600.0)
    quick = with_site(replace(LIMITS, policy=Policy(max_recharge=timedelta(hours=1))), recharge=never)
    assert "S6 recharge" in broken(LITTLE, limits=quick)


def test_a_site_that_declares_nothing_is_for_backup_only() -> None:
    undeclared = with_site(LIMITS, recharge=None)
    assert broken(LITTLE, limits=undeclared) >= {"S6 recharge_terms"}
    assert (
        broken(a_plan(schedule_of(SITE, (4, 512.0)), kind=ObjectiveKind.RECHARGE), limits=undeclared) == set()
    )
    # In a reserve plan too nothing comes back, whoever asks.
    case = case_of(LITTLE, STATE, undeclared, NOW)
    track = track_of(undeclared.sites[SITE], case, case.powers[SITE])
    assert track is not None
    assert set(slow_w(track, START)) == {0.0}
    assert recharge_of(track, case).back_wh[-1] == 0.0
    assert wait_steps(None) == 1


def test_an_hour_without_share_puts_nothing_back_and_ends_a_step_early() -> None:
    terms = share(100.0, h13=0.0, h14=40.0)
    # From 12:30: two steps of 100 W, four of 0 W, four of 40 W, then 100 W again.
    at = START + 2 * STEP
    assert feeder_row_w(terms, at, 11, least=False) == [100.0] * 2 + [0.0] * 4 + [40.0] * 4 + [100.0]
    assert feeder_row_w(terms, at, 11, least=True) == [100.0, 0.0] + [0.0] * 4 + [40.0] * 4 + [100.0]
    assert feeder_row_w(TERMS, at, 11, least=True) is None
    # The last quarter before midnight looks at the first hour of the next day; rows go on for days.
    night = share(100.0, h0=7.0)
    assert feeder_row_w(night, START + 47 * STEP, 3, least=True) == [7.0, 7.0, 7.0]
    assert feeder_row_w(night, START, 200, least=False)[144:149] == [7.0] * 4 + [100.0]  # type: ignore[index]


def test_the_fastest_recharge_is_what_terms_rectifiers_connection_and_share_let_in() -> None:
    site = replace(a_site(), rectifiers=ONE)
    assert fast_ac_w(site, [1024.0], 0.0, START) == [2048.0]  # 0.125 x 16384
    assert fast_ac_w(site, [3072.0, 4096.0, 5000.0], 0.0, START) == [
        1024.0,
        0.0,
        0.0,
    ]  # 4096 W, a module failed
    assert fast_ac_w(replace(site, grid_import_limit_w=2048.0), [1024.0], 256.0, START) == [768.0]
    lossy = replace(site, rectifiers=replace(ONE, efficiency=0.5))
    assert fast_ac_w(lossy, [1024.0], 0.0, START) == [4096.0]
    assert fast_ac_w(replace(lossy, recharge=share(300.0)), [1024.0], 0.0, START) == [300.0]
    assert fast_ac_w(replace(lossy, recharge=None), [1024.0], 0.0, START) == [6144.0]


def test_s6_after_a_release_all_may_recharge_at_once_at_their_fastest() -> None:
    # 2048 W beside what is there.
    for limit, reasons in [
        (OWN_W + 2048.0, set()),
        (nextafter(OWN_W + 2048.0, 0.0), {"S6 feeder_rebound"}),
    ]:
        assert broken(LITTLE, limits=with_feeder(import_limit_w=limit)) == reasons
    shared = with_site(LIMITS, recharge=share(64.0))
    for limit, reasons in [(OWN_W + 64.0, set()), (nextafter(OWN_W + 64.0, 0.0), {"S6 feeder_rebound"})]:
        assert broken(LITTLE, limits=with_feeder(shared, import_limit_w=limit)) == reasons
    # A feeder above its limit bears no recharge at all, and a site whose terms know that gives none.
    peak = with_site(LIMITS, recharge=share(2048.0, h12=0.0, h13=0.0))
    high = replace(STATE, background={FEEDER: _until(8, 140000.0)})
    tight = with_feeder(peak, import_limit_w=OWN_W + 2048.0)
    assert broken(LITTLE, high, tight) == set()
    assert broken(LITTLE, high, with_feeder(import_limit_w=OWN_W + 2048.0)) == {"S6 feeder_rebound"}
    longer = replace(STATE, background={FEEDER: _until(9, 140000.0)})
    assert broken(LITTLE, longer, tight) == {"S6 feeder_rebound"}


def _until(steps: int, high_w: float) -> Forecast:
    return a_forecast(
        FEEDER, Quantity.BACKGROUND_W, [high_w] * steps + [131072.0] * (384 - steps), (0.0,) * 9
    )


def test_s6_the_rebound_begins_with_the_first_draw_and_ends_when_the_slowest_is_full() -> None:
    # Drawn in the third step alone. To be full it lacks (0.25 + 0.03125) x 16384 = 4608 Wh and the 256 Wh that were
    # taken, of 2048 x 0.9375 x 0.25 = 480 Wh a step: 4864 Wh, 11 steps, from step 3 + 1 at the latest.
    plan = a_plan(schedule_of(SITE, (2, 0.0), (1, -1024.0)))
    for first, last, reasons in [
        (0, 2, set()),
        (0, 3, {"S6 feeder_rebound"}),
        (14, 15, {"S6 feeder_rebound"}),
        (15, 30, set()),
    ]:
        row = [140000.0 if first <= step < last else 131072.0 for step in range(384)]
        high = replace(STATE, background={FEEDER: a_forecast(FEEDER, Quantity.BACKGROUND_W, row, (0.0,) * 9)})
        assert broken(plan, high, with_feeder(import_limit_w=OWN_W + 2048.0)) == reasons, (first, last)


def test_s6_where_the_background_is_not_known_a_recharge_may_not_last() -> None:
    plan = a_plan(schedule_of(SITE, (2, 0.0), (1, -1024.0)))
    for steps, reasons in [(15, set()), (14, {"S6 feeder_rebound"})]:
        ended = replace(STATE, background={FEEDER: background(steps=steps)})
        assert broken(plan, ended, with_feeder(import_limit_w=OWN_W + 2048.0)) == reasons, steps


def _two(limit_w: float, **changes: Any) -> Limits:
    sites = [
        replace(a_site(name, cluster=name), rectifiers=ONE, battery=replace(a_site().battery, bands=BANDS))
        for name in (SITE, "b")
    ]
    sites[1] = replace(sites[1], **changes)
    return limits_of(sites, [replace(a_feeder(), import_limit_w=limit_w)], LIMITS.policy)


PAIR = with_reading(
    with_reading(
        replace(flat(flat(state_of([SITE, "b"])), "b"), background={FEEDER: background()}), soc_frac=0.75
    ),
    "b",
    soc_frac=0.97,
)
PAIR_W = 131072.0 + 2 * 1024.0


def _edges(plan: Plan, state: FleetState, room_w: float, **changes: Any) -> None:
    """The plan passes with exactly this room on the feeder, and not with less."""
    assert broken(plan, state, _two(PAIR_W + room_w, **changes)) == set()
    assert broken(plan, state, _two(nextafter(PAIR_W + room_w, 0.0), **changes)) == {"S6 feeder_rebound"}


def test_s6_sites_of_the_plan_recharge_together() -> None:
    both = a_plan(schedule_of(SITE, (1, -720.0)), schedule_of("b", (1, -720.0)))
    _edges(both, PAIR, 4096.0)


def test_s6_a_neighbour_that_is_not_full_recharges_beside_them() -> None:
    _edges(LITTLE, PAIR, 2048.0)
    _edges(LITTLE, with_reading(PAIR, "b", soc_frac=nextafter(0.97, 0.0)), 4096.0)
    # One that another plan draws on, before, during or after, is not full then either.
    for steps_on in (-1, 0, 4):
        live = a_plan(schedule_of("b", (1, -64.0)), start=START + steps_on * STEP, plan_id="live")
        _edges(LITTLE, replace(PAIR, live_plans=(live,)), 4096.0)
    feed = a_plan(schedule_of("b", (1, 64.0)), start=START + 90 * STEP, plan_id="live")
    _edges(LITTLE, replace(PAIR, live_plans=(feed,)), 2048.0)
    # Nobody knows how full it is: then with its highest load, 1280 W, and all that its terms let in.
    blind = replace(PAIR, readings={SITE: PAIR.readings[SITE]}, load={SITE: PAIR.load[SITE]})
    _edges(LITTLE, blind, 4096.0 + 256.0)


def test_s6_a_neighbours_recharge_takes_the_headroom_of_what_the_plan_charges() -> None:
    charge = a_plan(schedule_of(SITE, (4, 512.0)), kind=ObjectiveKind.RECHARGE)
    hungry = with_reading(PAIR, "b", soc_frac=0.75)
    for state, room_w in [(PAIR, 512.0), (hungry, 2560.0)]:
        assert broken(charge, state, _two(PAIR_W + room_w)) == set()
        assert broken(charge, state, _two(nextafter(PAIR_W + room_w, 0.0))) == {"S6 feeder_import"}


def test_s6_while_some_are_released_others_of_the_plan_still_charge() -> None:
    # 2048 W of the one and 1024 W that the plan charges into the other, until the window ends.
    mixed = a_plan(schedule_of(SITE, (1, -720.0), (3, 0.0)), schedule_of("b", (4, 1024.0)))
    fuller = with_reading(PAIR, "b", soc_frac=0.75)
    # The other is not full: released, it takes 2048 W by itself.
    _edges(mixed, fuller, 4096.0)
    # A full one that charges counts with what the plan asks.
    battery = replace(a_site().battery, bands=BANDS, soc_max_frac=1.0)
    small = a_plan(schedule_of(SITE, (1, -720.0), (3, 0.0)), schedule_of("b", (1, 0.0), (1, 256.0), (2, 0.0)))
    _edges(small, PAIR, 2304.0, battery=battery)


def test_s6_a_plan_that_draws_on_nobody_rebounds_on_nobody() -> None:
    hungry = with_reading(PAIR, "b", soc_frac=0.5)
    assert broken(a_plan(schedule_of(SITE, (4, 0.0))), hungry, _two(PAIR_W)) == set()
    # Below zero the other is none of its doing: a feeder that is too full already bears no recharge of ours, that is all.
    assert broken(LITTLE, hungry, _two(PAIR_W)) == {"S6 feeder_rebound"}


def test_s6_a_site_bound_before_may_recharge_from_the_first_step() -> None:
    live = a_plan(schedule_of(SITE, (1, -64.0)), start=START - STEP, plan_id="live")
    late = a_plan(schedule_of(SITE, (3, 0.0), (1, -64.0)))
    high = replace(STATE, background={FEEDER: _until(1, 140000.0)})
    limits = with_feeder(import_limit_w=OWN_W + 2048.0)
    assert broken(late, high, limits) == set()
    assert broken(late, replace(high, live_plans=(live,)), limits) == {"S6 feeder_rebound"}
    fed = a_plan(schedule_of(SITE, (1, 64.0)), start=START - STEP, plan_id="live")
    assert broken(late, replace(high, live_plans=(fed,)), limits) == set()


def test_s1_after_a_release_the_floor_holds_until_the_battery_is_back() -> None:
    # The load rises from 1024 to 2048 W at step 20: the floor climbs by 256 Wh a step from step 5 on, to 8192 Wh.
    load = {SITE: a_forecast(median_w=[1024.0] * 20 + [2048.0] * 364, spread_w=(0.0,) * 9)}
    # Backup 16384 x (0.6640625 - 0.15625) = 8320 Wh, 128 Wh above the highest floor.
    state = with_reading(replace(STATE, load=load), soc_frac=0.6640625)
    plan = a_plan(schedule_of(SITE, (1, -1024.0)))
    # 256 Wh are taken. Recharge counts from step 2; 128 Wh of it must be back at step 20: 18 steps of 30.34 W.
    for w, missed in [(30.0, True), (31.0, False)]:
        found = broken(plan, state, with_site(LIMITS, recharge=share(w)))
        assert ("S1 recharge_floor" in found) is missed, w
        assert "S1 autonomy_floor" not in found


def test_s1_while_a_recharge_waits_the_floor_holds_from_what_is_there() -> None:
    # The floor climbs from step 2 on, by 256 Wh a step; a wait of four steps lets it pass the level before anything comes back.
    load = {SITE: a_forecast(median_w=[1024.0] * 17 + [2048.0] * 367, spread_w=(0.0,) * 9)}
    # Floors at steps 1..5: 4096, 4352, 4608, 4864, 5120 Wh. After the draw 4864 Wh are left of 5120 Wh.
    state = with_reading(replace(STATE, load=load), soc_frac=(5120.0 + 2560.0) / 16384.0)
    plan = a_plan(schedule_of(SITE, (1, -1024.0)))
    for delay_s, missed in [(600.0, False), (2400.0, False), (2400.5, True)]:
        terms = replace(TERMS, max_delay_s=delay_s)
        found = broken(plan, state, with_site(LIMITS, recharge=terms))
        assert ("S1 recharge_floor" in found) is missed, delay_s


def test_s1_a_floor_that_rises_only_while_the_recharge_waits_holds_too() -> None:
    # 64 Wh more in step 2 and in step 17: floors at instants 1, 2, 3 are 4160, 4224 and 4160 Wh.
    row = [1024.0 + (256.0 if step in {2, 17} else 0.0) for step in range(384)]
    load = {SITE: a_forecast(median_w=row, spread_w=(0.0,) * 9)}
    plan = a_plan(schedule_of(SITE, (1, -1024.0)))
    late = with_site(LIMITS, recharge=replace(TERMS, max_delay_s=1500.0))
    # After 256 Wh are taken 4192 Wh are left, or 4224 Wh.
    for left_wh, missed in [(4192.0, True), (4224.0, False)]:
        state = with_reading(replace(STATE, load=load), soc_frac=(left_wh + 256.0 + 2560.0) / 16384.0)
        found = broken(plan, state, late)
        assert ("S1 recharge_floor" in found) is missed, left_wh
        assert "S1 autonomy_floor" not in found


def test_a_plan_that_never_takes_the_battery_below_its_start_has_nothing_to_recharge() -> None:
    verdict = validate(a_plan(schedule_of(SITE, (2, 512.0), (1, -64.0))), STATE, LIMITS, NOW)
    assert isinstance(verdict, Approved)
    assert not {one.name for one in verdict.passed} & {"recharge", "recharge_floor"}
    drawn = validate(a_plan(schedule_of(SITE, (4, -512.0))), STATE, LIMITS, NOW)
    assert isinstance(drawn, Approved)
    assert {one.name for one in drawn.passed} >= {"recharge", "recharge_floor", "feeder_rebound"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"max_delay_s": nextafter(14400.0, 1e9)}, "max_delay_s"),
        ({"max_delay_s": -1.0}, "max_delay_s"),
        ({"max_delay_s": float("nan")}, "max_delay_s"),
        ({"ramp_s": 0.0}, "ramp_s"),
        ({"ramp_s": float("inf")}, "ramp_s"),
        ({"c_rate": 0.0}, "c_rate"),
        ({"c_rate": nextafter(0.5, 1.0)}, "c_rate"),
        ({"c_rate": float("nan")}, "c_rate"),
        ({"feeder_share_w": (1.0,) * 23}, "feeder_share_w"),
        ({"feeder_share_w": (1.0,) * 23 + (-1.0,)}, "feeder_share_w"),
        ({"feeder_share_w": (1.0,) * 23 + (float("inf"),)}, "feeder_share_w"),
    ],
)
def test_terms_that_make_no_sense_are_no_terms(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        replace(RechargeTerms(), **changes)
    assert replace(RechargeTerms(), max_delay_s=14400.0, ramp_s=14400.0, c_rate=0.5) is not None


def test_a_site_of_the_registry_without_terms_still_loads() -> None:
    site: Site = replace(a_site(), recharge=None)
    assert site.recharge is None
