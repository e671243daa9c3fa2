"""Each rule about one site, from both sides of its limit, one representable step apart."""

from dataclasses import replace
from datetime import timedelta
from math import inf, nan, nextafter
from typing import Any

import pytest

from edge.plan import ControlBounds, GridReserve, ObjectiveKind, Plan, PlanId, SitePlan
from edge.safety.limits import DayUse, FleetState, Limits, Policy
from edge.safety.products import activation_wh
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Rejected
from telemetry.model.battery import TemperatureBand
from telemetry.model.series import STEP, Quantity
from telemetry.model.site import Genset, Rectifiers
from tests.edge.safety.examples import (
    AUTONOMY,
    BUS,
    INVERTER,
    NOW,
    SITE,
    START,
    TERMS,
    a_forecast,
    a_plan,
    bounds_of,
    flat,
    limits_of,
    names,
    schedule_of,
    state_of,
    with_battery,
    with_envelope,
    with_reading,
    with_site,
)

# S12 is judged elsewhere: a lone site may come near its floor here.
STATE, LIMITS = flat(state_of()), limits_of(policy=Policy(max_cluster_low_frac=1.0))
UP, DOWN = inf, -inf


def broken(plan: Plan, state: FleetState = STATE, limits: Limits = LIMITS) -> set[str]:
    return names(validate(plan, state, limits, NOW))


def a_band(charge: float = 0.5, discharge: float = 1.0, capacity: float = 1.0) -> tuple[TemperatureBand, ...]:
    return (
        TemperatureBand(
            from_c=0.0, to_c=50.0, charge_c_rate=charge, discharge_c_rate=discharge, capacity_frac=capacity
        ),
    )


# S1. Load 1024 W to the watt: floor 4096 Wh. 16 steps of 512 W take 2048 Wh. So the backup must begin at 6144 Wh:
# 16384 x (SoC - 0.03125 - 0.125) = 6144 at SoC 0.53125.
def test_s1_backup_may_reach_the_autonomy_floor_and_go_no_lower() -> None:
    assert broken(a_plan(), with_reading(STATE, soc_frac=0.53125)) == set()
    below = broken(a_plan(), with_reading(STATE, soc_frac=nextafter(0.53125, 0.0)))
    assert below == {"S1 autonomy_floor", "S1 recharge_floor"}


def test_s1_tells_where_and_by_how_much() -> None:
    verdict = validate(a_plan(), with_reading(STATE, soc_frac=0.53125 - 0.015625), LIMITS, NOW)
    assert isinstance(verdict, Rejected)
    breach = next(one for one in verdict.broken if one.name == "autonomy_floor")
    # 0.015625 x 16384 = 256 Wh too little: two steps of 128 Wh before the end.
    assert (breach.by, breach.unit, breach.step, breach.last_step) == (256.0, "Wh", 15, 16)
    assert breach.message == (
        "site site-1: backup falls below the autonomy floor by 256 Wh, 2026-03-10 15:45-16:00 UTC"
    )


def test_s1_out_of_band_start_may_recharge_but_not_discharge() -> None:
    # 16384 x (0.25 - 0.15625) = 1536 Wh: far below the floor of 4096 Wh.
    low = with_reading(STATE, soc_frac=0.25)
    assert broken(a_plan(schedule_of(SITE, (16, 1024.0)), kind=ObjectiveKind.RECHARGE), low) == set()
    assert broken(a_plan(schedule_of(SITE, (16, 0.0))), low) == set()
    # Charging first does not excuse discharging while still below the floor.
    assert "S1 autonomy_floor" in broken(a_plan(schedule_of(SITE, (4, 1024.0), (1, 0.0), (1, -128.0))), low)
    assert "S1 autonomy_floor" in broken(a_plan(schedule_of(SITE, (1, -1.0))), low)


def test_s1_a_floor_that_is_broken_anyway_is_the_plans_fault_only_if_it_drew() -> None:
    # The load doubles after the window, so the floor rises above what the battery holds anyway: 6144 Wh.
    rising = replace(
        STATE, load={SITE: a_forecast(median_w=[1024.0] * 20 + [2048.0] * 364, spread_w=(0.0,) * 9)}
    )
    state = with_reading(rising, soc_frac=0.53125)
    assert broken(a_plan(schedule_of(SITE, (4, 0.0))), state) == set()
    assert "S1 recharge_floor" in broken(a_plan(schedule_of(SITE, (3, 0.0), (1, -8.0))), state, _no_share())


def _no_share() -> Limits:
    return with_site(LIMITS, recharge=replace(TERMS, feeder_share_w=(0.0,) * 24))


def test_s1_dispatch_ends_at_the_backstop_with_the_error_of_the_soc() -> None:
    # No autonomy asked: the floor is the backstop. Level at the end 2048 Wh = 16384 x (0.25 - 0.125) with min 0.25.
    limits = with_site(LIMITS, autonomy=replace(AUTONOMY, autonomy_h=0.0))
    limits = with_battery(limits, soc_min_frac=0.25, backstop_soc_frac=0.25)
    state = with_reading(STATE, soc_frac=0.25 + 0.03125 + 0.125)
    assert broken(a_plan(), state, limits) == set()
    assert broken(a_plan(), with_reading(STATE, soc_frac=nextafter(0.40625, 0.0)), limits) == {
        "S1 dispatch_floor"
    }
    # The lowest SoC of the registry counts as measured: 0.28125 less the error of 0.03125 is the same 0.25.
    limits = with_battery(limits, soc_min_frac=0.28125, backstop_soc_frac=0.1875)
    assert broken(a_plan(), state, limits) == set()
    assert broken(a_plan(), with_reading(STATE, soc_frac=nextafter(0.40625, 0.0)), limits) == {
        "S1 dispatch_floor"
    }
    # A site that does not discharge may be below.
    assert broken(a_plan(schedule_of(SITE, (4, 0.0))), with_reading(STATE, soc_frac=0.2), limits) == set()


def test_s1_cold_and_age_shrink_the_battery() -> None:
    # Half the capacity by cold, or by age: 8192 x (0.875 - 0.15625) = 5888 Wh, less than 4096 + 2048 Wh.
    assert "S1 autonomy_floor" in broken(a_plan(), limits=with_battery(LIMITS, bands=a_band(capacity=0.5)))
    assert "S1 autonomy_floor" in broken(a_plan(), with_reading(STATE, soh_frac=0.5))
    assert broken(a_plan(schedule_of(SITE, (14, -512.0))), with_reading(STATE, soh_frac=0.5)) == set()
    # A battery that tests above its plate counts as new: 6144 Wh at SoC 0.53125, not more.
    tight = with_reading(STATE, soc_frac=nextafter(0.53125, 0.0), soh_frac=1.1)
    assert "S1 autonomy_floor" in broken(a_plan(), tight)


def test_s1_the_envelopes_reserve_counts_where_it_is_longer() -> None:
    state = with_reading(STATE, soc_frac=0.53125)
    assert broken(with_envelope(a_plan(), reserve_h=4.0), state) == set()
    assert "S1 autonomy_floor" in broken(with_envelope(a_plan(), reserve_h=4.25), state)
    assert broken(with_envelope(a_plan(), reserve_h=4.25), with_reading(STATE, soc_frac=0.546875)) == set()


GENSET = Genset(rated_w=1024.0 / 0.9375 + 256.0, tank_wh=8192.0, proven_at=NOW - timedelta(days=1))
GENSET_AUTONOMY = replace(AUTONOMY, genset_allowed=True, failed_start_h=2.0, max_load_w=1024.0)


def _genset_limits(**changes: Any) -> Limits:
    genset = replace(
        GENSET,
        **{name: value for name, value in changes.items() if name in ("rated_w", "tank_wh", "proven_at")},
    )
    autonomy = replace(
        GENSET_AUTONOMY,
        **{name: value for name, value in changes.items() if name not in ("rated_w", "tank_wh", "proven_at")},
    )
    return with_site(LIMITS, genset=genset, autonomy=autonomy)


def test_s1_proven_fuel_covers_the_duty_and_the_battery_a_failed_start() -> None:
    # 2 h of 1024 W = 2048 Wh for the failed start, 2048 Wh for the plan: SoC (4096 / 16384) + 0.15625 = 0.40625.
    full = with_reading(STATE, soc_frac=0.40625, fuel_frac=1.0, aux_ac_w=256.0)
    assert broken(a_plan(), full, _genset_limits()) == set()
    below = with_reading(full, soc_frac=nextafter(0.40625, 0.0))
    assert "S1 autonomy_floor" in broken(a_plan(), below, _genset_limits())
    for name, limits, state in [
        ("not allowed", _genset_limits(genset_allowed=False), full),
        ("never proven", _genset_limits(proven_at=None), full),
        ("proven long ago", _genset_limits(proven_at=NOW - timedelta(days=365, microseconds=1)), full),
        ("too weak", _genset_limits(rated_w=nextafter(GENSET.rated_w, 0.0)), full),
        ("fuel unknown", _genset_limits(), with_reading(full, fuel_frac=None)),
        ("no genset", with_site(_genset_limits(), genset=None), full),
        ("tank unknown", _genset_limits(tank_wh=inf), full),
        (
            "shelf too weak",
            with_site(_genset_limits(), rectifiers=Rectifiers(module_w=512.0, count=2, efficiency=0.9375)),
            full,
        ),
        ("load may be higher", _genset_limits(max_load_w=1025.0), full),
    ]:
        assert "S1 autonomy_floor" in broken(a_plan(), state, limits), name


def test_s1_a_shelf_that_just_carries_the_load_carries_the_genset_too() -> None:
    full = with_reading(STATE, soc_frac=0.40625, fuel_frac=1.0, aux_ac_w=256.0)
    just = with_site(_genset_limits(), rectifiers=Rectifiers(module_w=1024.0, count=2, efficiency=0.9375))
    assert "S1 autonomy_floor" not in broken(a_plan(), full, just)


def test_s1_too_little_fuel_leaves_the_rest_to_the_battery() -> None:
    # Fuel gives (8192 x 0.3125 - 256 x 4) x 0.9375 = 1440 Wh of the 4096 Wh: 2656 Wh are left to the battery.
    soc = (2656.0 + 2048.0) / 16384.0 + 0.15625
    state = with_reading(STATE, soc_frac=soc, fuel_frac=0.3125, aux_ac_w=256.0)
    assert broken(a_plan(), state, _genset_limits()) == set()
    assert "S1 autonomy_floor" in broken(
        a_plan(), with_reading(state, soc_frac=nextafter(soc, 0.0)), _genset_limits()
    )
    # A failed start is never longer than the duty itself: 1.75 h of 1024 W.
    short = _genset_limits(autonomy_h=1.75, failed_start_h=2.0)
    soc = (1792.0 + 2048.0) / 16384.0 + 0.15625
    state = with_reading(STATE, soc_frac=soc, fuel_frac=1.0, aux_ac_w=256.0)
    assert broken(a_plan(), state, short) == set()


def test_s1_with_an_inverter_the_battery_feeds_the_auxiliaries_too() -> None:
    # 256 W for 4 h: 1024 Wh more, which is 0.0625 of SoC.
    limits = with_site(LIMITS, inverter=INVERTER)
    assert broken(a_plan(), with_reading(STATE, soc_frac=0.59375, aux_ac_w=256.0), limits) == set()
    assert "S1 autonomy_floor" in broken(
        a_plan(), with_reading(STATE, soc_frac=nextafter(0.59375, 0.0), aux_ac_w=256.0), limits
    )
    assert broken(a_plan(), with_reading(STATE, soc_frac=0.53125, aux_ac_w=256.0)) == set()


def test_s1_sun_counts_for_autonomy_by_its_lower_quantile_and_no_further_than_its_rating() -> None:
    # 256 W of sun for sure: the floor is 768 W x 4 h = 3072 Wh.
    pv = {SITE: a_forecast(quantity=Quantity.PV_W, median_w=256.0, spread_w=(0.0,) * 9)}
    state = replace(with_reading(STATE, soc_frac=0.46875), pv=pv)
    limits = with_site(LIMITS, pv_rated_w=256.0)
    assert broken(a_plan(), state, limits) == set()
    assert "S1 autonomy_floor" in broken(
        a_plan(), with_reading(state, soc_frac=nextafter(0.46875, 0.0)), limits
    )
    bright = {SITE: a_forecast(quantity=Quantity.PV_W, median_w=2048.0, spread_w=(0.0,) * 9)}
    plan = a_plan(schedule_of(SITE, (16, 0.0)))
    assert broken(plan, replace(state, pv=bright), limits) == set()
    # A forecast of more sun than the panels can give is worth their rating, no more.
    shown = replace(with_reading(STATE, soc_frac=nextafter(0.46875, 0.0)), pv=bright)
    assert "S1 autonomy_floor" in broken(a_plan(), shown, limits)
    negative = {SITE: a_forecast(quantity=Quantity.PV_W, median_w=-256.0, spread_w=(0.0,) * 9)}
    assert broken(a_plan(), replace(with_reading(STATE, soc_frac=0.53125), pv=negative), limits) == set()


# S2
def test_s2_discharge_within_what_the_cells_give() -> None:
    assert broken(a_plan(), limits=with_battery(LIMITS, bands=a_band(discharge=0.03125))) == set()
    less = with_battery(LIMITS, bands=a_band(discharge=nextafter(0.03125, 0.0)))
    assert broken(a_plan(), limits=less) == {"S2 discharge_power"}


CHARGE = a_plan(schedule_of(SITE, (4, 512.0)), kind=ObjectiveKind.RECHARGE)
HALF = with_reading(STATE, soc_frac=0.5)


def test_s2_charge_within_what_the_cells_take() -> None:
    assert broken(CHARGE, HALF, with_battery(LIMITS, bands=a_band(charge=0.03125))) == set()
    less = with_battery(LIMITS, bands=a_band(charge=nextafter(0.03125, 0.0)))
    assert broken(CHARGE, HALF, less) == {"S2 charge_power"}


def test_s2_charge_within_the_rectifiers_with_one_module_failed() -> None:
    # Load 1024 W + 512 W = one module of two.
    assert (
        broken(
            CHARGE, HALF, with_site(LIMITS, rectifiers=Rectifiers(module_w=1536.0, count=2, efficiency=1.0))
        )
        == set()
    )
    less = Rectifiers(module_w=nextafter(1536.0, 0.0), count=2, efficiency=1.0)
    assert broken(CHARGE, HALF, with_site(LIMITS, rectifiers=less)) == {"S2 charge_power"}


def test_s2_charge_within_the_connection_beside_the_auxiliaries() -> None:
    # AC: (2304 - 256) W x 0.75 = 1536 W DC.
    shelf = Rectifiers(module_w=2048.0, count=3, efficiency=0.75)
    state = with_reading(HALF, aux_ac_w=256.0)
    assert broken(CHARGE, state, with_site(LIMITS, rectifiers=shelf, grid_import_limit_w=2304.0)) == set()
    less = with_site(LIMITS, rectifiers=shelf, grid_import_limit_w=nextafter(2304.0, 0.0))
    assert broken(CHARGE, state, less) == {"S2 charge_power"}


def test_s2_a_site_over_its_own_connection_is_not_blamed_if_it_does_not_charge() -> None:
    idle = a_plan(schedule_of(SITE, (4, 0.0)))
    assert broken(idle, HALF, with_site(LIMITS, grid_import_limit_w=0.0)) == set()


# S3, S18
def test_s3_discharge_within_the_lower_load_less_the_upper_sun() -> None:
    plan = a_plan(schedule_of(SITE, (1, -896.0)))
    state = state_of()  # load 896..1152 W
    assert broken(plan, state) == set()
    assert broken(a_plan(schedule_of(SITE, (1, nextafter(-896.0, DOWN)))), state) == {"S3 within_load"}
    sun = replace(state, pv={SITE: a_forecast(quantity=Quantity.PV_W, median_w=128.0)})  # upper 256 W
    limits = with_site(LIMITS, pv_rated_w=512.0)
    assert broken(a_plan(schedule_of(SITE, (1, -640.0))), sun, limits) == set()
    assert broken(a_plan(schedule_of(SITE, (1, nextafter(-640.0, DOWN)))), sun, limits) == {"S3 within_load"}


def test_s3_more_sun_than_load_leaves_nothing_to_discharge() -> None:
    sun = replace(STATE, pv={SITE: a_forecast(quantity=Quantity.PV_W, median_w=4096.0)})
    limits = with_site(LIMITS, pv_rated_w=4096.0)
    assert broken(a_plan(schedule_of(SITE, (1, 0.0))), sun, limits) == set()
    assert broken(a_plan(schedule_of(SITE, (1, -5e-324))), sun, limits) == {"S3 within_load"}


def test_s3_where_the_forecast_has_ended_no_load_is_counted_on() -> None:
    short = replace(STATE, load={SITE: a_forecast(steps=15, spread_w=(0.0,) * 9)})
    assert broken(a_plan(schedule_of(SITE, (15, -64.0))), short) == set()
    assert "S3 within_load" in broken(a_plan(schedule_of(SITE, (16, -64.0))), short)


def test_s3_a_certified_inverter_exports_up_to_its_rating() -> None:
    fast = with_site(LIMITS, inverter=INVERTER, ramp_w_per_step=4096.0)
    assert broken(a_plan(schedule_of(SITE, (1, -3072.0))), limits=fast) == set()
    assert broken(a_plan(schedule_of(SITE, (1, nextafter(-3072.0, DOWN)))), limits=fast) == {"S3 within_load"}
    bare = with_site(fast, inverter=replace(INVERTER, certificate=None))
    assert broken(a_plan(schedule_of(SITE, (1, -1024.0))), limits=bare) == set()
    assert broken(a_plan(schedule_of(SITE, (1, nextafter(-1024.0, DOWN)))), limits=bare) == {
        "S3 within_load",
        "S18 certificate",
    }
    broken_rating = with_site(fast, inverter=replace(INVERTER, rated_w=nan))
    assert broken(a_plan(schedule_of(SITE, (1, -512.0))), limits=broken_rating) == {"S3 within_load"}


# S4
def test_s4_never_charged_above_the_highest_soc() -> None:
    # 4 x 512 W x 0.25 h x 0.9375 / 16384 Wh = 0.029296875
    assert broken(CHARGE, with_reading(STATE, soc_frac=0.9375 - 0.029296875)) == set()
    above = nextafter(0.9375 - 0.029296875, 1.0)
    assert broken(CHARGE, with_reading(STATE, soc_frac=above)) == {"S4 soc_ceiling"}
    assert broken(a_plan(schedule_of(SITE, (4, 0.0))), with_reading(STATE, soc_frac=1.0)) == set()
    # Room made by discharging first counts: 2 x 512 x 0.25 / 16384 out, the same by 0.9375 in.
    plan = a_plan(schedule_of(SITE, (2, -512.0), (2, 512.0)))
    assert broken(plan, with_reading(STATE, soc_frac=0.9375 + 0.0009765625)) == set()
    assert broken(plan, with_reading(STATE, soc_frac=0.9375 + 0.001)) == {"S4 soc_ceiling"}


def test_s4_no_charge_at_a_temperature_that_forbids_it() -> None:
    cold = with_reading(HALF, battery_c=-10.0)
    assert broken(CHARGE, cold) == {"S4 charge_window", "S2 charge_power"}
    assert broken(a_plan(schedule_of(SITE, (4, 0.0))), cold) == set()
    assert broken(a_plan(schedule_of(SITE, (1, -64.0))), cold) == {"S6 recharge"}  # it could not be recharged


# S5
@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ((-1024.0,), True),
        ((nextafter(-1024.0, DOWN),), False),
        ((1024.0,), True),
        ((nextafter(1024.0, UP),), False),
        ((-512.0, 512.0), True),
        ((-512.0, nextafter(1024.0, UP) - 512.0), False),
        ((512.0, -512.0), True),
        ((512.0, 512.0 - nextafter(1024.0, UP)), False),
    ],
)
def test_s5_ramp_from_float_and_from_step_to_step(row: tuple[float, ...], kept: bool) -> None:
    plan = a_plan(SitePlan(site_id=SITE, schedule_w=row))
    found = broken(plan, with_reading(STATE, soc_frac=0.75), with_site(LIMITS, inverter=INVERTER))
    assert ("S5 ramp" in found) is not kept


def test_s5_ramp_starts_from_what_a_live_plan_asks_just_before() -> None:
    before = a_plan(schedule_of(SITE, (4, -512.0)), start=START - 4 * STEP, plan_id="live")
    state = replace(STATE, live_plans=(before,))
    slow = with_site(LIMITS, ramp_w_per_step=512.0)
    assert broken(a_plan(schedule_of(SITE, (1, -1024.0))), state, slow) == set()
    assert broken(a_plan(schedule_of(SITE, (1, 1.0))), state, slow) == {"S5 ramp"}
    earlier = replace(
        STATE, live_plans=(a_plan(schedule_of(SITE, (4, -512.0)), start=START - 5 * STEP, plan_id="live"),)
    )
    assert broken(a_plan(schedule_of(SITE, (1, 1.0))), earlier, slow) == set()
    assert broken(a_plan(schedule_of(SITE, (1, -1024.0))), earlier, slow) == {"S5 ramp"}
    later = replace(
        STATE, live_plans=(a_plan(schedule_of(SITE, (4, -512.0)), start=START + STEP, plan_id="live"),)
    )
    assert broken(a_plan(schedule_of(SITE, (1, -1024.0))), later, slow) == {"S5 ramp"}


# S10. 16 x 512 W x 0.25 h / 16384 Wh = 0.125 cycles.
def test_s10_daily_cycles() -> None:
    assert broken(a_plan(), limits=with_battery(LIMITS, max_cycles_per_day=0.125)) == set()
    less = with_battery(LIMITS, max_cycles_per_day=nextafter(0.125, 0.0))
    assert broken(a_plan(), limits=less) == {"S10 daily_cycles"}
    used = replace(STATE, day_use={SITE: DayUse(cycles=0.125, discharged_wh=0.0)})
    assert broken(a_plan(), used, with_battery(LIMITS, max_cycles_per_day=0.25)) == set()
    assert broken(a_plan(), used, with_battery(LIMITS, max_cycles_per_day=nextafter(0.25, 0.0))) == {
        "S10 daily_cycles"
    }
    told_in_wh = replace(STATE, day_use={SITE: DayUse(cycles=0.0, discharged_wh=2048.0)})
    assert broken(a_plan(), told_in_wh, with_battery(LIMITS, max_cycles_per_day=0.25)) == set()
    assert broken(a_plan(), told_in_wh, with_battery(LIMITS, max_cycles_per_day=0.249)) == {
        "S10 daily_cycles"
    }


@pytest.mark.parametrize(
    ("cycles", "wh", "known"),
    [(0.0, 0.0, True), (-5e-324, 0.0, False), (0.0, -5e-324, False), (nan, 0.0, False), (0.0, nan, False)],
)
def test_s10_what_was_done_today_must_be_known(cycles: float, wh: float, known: bool) -> None:
    state = replace(STATE, day_use={SITE: DayUse(cycles=cycles, discharged_wh=wh)})
    assert broken(a_plan(), state) == (set() if known else {"S10 day_use"})
    assert broken(a_plan(), replace(STATE, day_use={})) == {"S10 day_use"}
    assert broken(CHARGE, replace(HALF, day_use={})) == set()


def test_s10_days_are_the_sites_own() -> None:
    # 16 steps from 22:00 UTC: in Oslo (UTC+1) 4 steps belong to today and 12 to tomorrow.
    late = START + timedelta(hours=10)
    plan = a_plan(start=late)
    used = replace(STATE, day_use={SITE: DayUse(cycles=0.9, discharged_wh=0.0)})
    tight = with_battery(LIMITS, max_cycles_per_day=0.9 + 4 / 128)
    assert broken(plan, used, tight) == set()
    assert broken(plan, used, with_battery(LIMITS, max_cycles_per_day=0.9 + 3.9 / 128)) == {
        "S10 daily_cycles"
    }
    # In UTC 8 steps belong to today; in a zone that nobody knows all do.
    assert broken(plan, used, with_site(tight, time_zone="UTC")) == {"S10 daily_cycles"}
    utc = with_site(with_battery(LIMITS, max_cycles_per_day=0.9 + 8.1 / 128), time_zone="UTC")
    assert broken(plan, used, utc) == set()
    assert broken(plan, used, with_site(utc, time_zone="No/Where")) == {"S10 daily_cycles"}
    most = with_battery(LIMITS, max_cycles_per_day=0.9 + 16.1 / 128)
    assert broken(plan, used, with_site(most, time_zone="No/Where")) == set()


def test_s10_what_live_plans_ask_on_the_same_day_counts() -> None:
    live = a_plan(schedule_of(SITE, (4, -512.0)), start=START + 16 * STEP, plan_id="live")
    state = replace(STATE, live_plans=(live,))
    assert broken(a_plan(), state, with_battery(LIMITS, max_cycles_per_day=0.15625)) == set()
    assert broken(a_plan(), state, with_battery(LIMITS, max_cycles_per_day=0.156)) == {"S10 daily_cycles"}
    tomorrow = a_plan(schedule_of(SITE, (4, -512.0)), start=START + timedelta(hours=11), plan_id="live")
    assert (
        broken(
            a_plan(), replace(STATE, live_plans=(tomorrow,)), with_battery(LIMITS, max_cycles_per_day=0.125)
        )
        == set()
    )
    tonight = replace(
        tomorrow,
        window_start=START + timedelta(hours=10, minutes=45),
        window_end=START + timedelta(hours=11, minutes=45),
    )
    assert broken(
        a_plan(), replace(STATE, live_plans=(tonight,)), with_battery(LIMITS, max_cycles_per_day=0.125)
    ) == {"S10 daily_cycles"}


# S17: a coarse controller gives full-load blocks only, so a discharging step counts with the whole load.
def test_s17_a_coarse_controller_empties_the_battery_by_the_whole_load() -> None:
    state = with_reading(STATE, soc_frac=0.53125)
    fine = with_site(LIMITS, bus=replace(BUS, voltage_step_v=0.02))
    coarse = with_site(LIMITS, bus=replace(BUS, voltage_step_v=nextafter(0.02, 1.0)))
    assert broken(a_plan(), state, fine) == set()
    assert "S1 autonomy_floor" in broken(a_plan(), state, coarse)
    assert "S1 autonomy_floor" in broken(
        a_plan(), state, with_site(LIMITS, bus=replace(BUS, voltage_step_v=nan))
    )
    # 8 steps of 1024 W are 2048 Wh, however little is asked.
    assert broken(a_plan(schedule_of(SITE, (8, -1.0), (8, 0.0))), state, coarse) == set()
    assert "S1 autonomy_floor" in broken(a_plan(schedule_of(SITE, (9, -1.0), (7, 0.0))), state, coarse)
    # An exporting site gives more than its load.
    wide = with_site(coarse, inverter=INVERTER, ramp_w_per_step=4096.0)
    assert "S1 autonomy_floor" in broken(a_plan(schedule_of(SITE, (8, -1025.0), (8, 0.0))), state, wide)


# S21
RESERVE = GridReserve(
    product="afrr",
    up_w=512.0,
    down_w=0.0,
    droop_hz=0.2,
    dead_band_hz=0.01,
    activation_s=300.0,
    energy_wh=512.0,
)


def reserve_plan(**changes: Any) -> Plan:
    reserve = replace(RESERVE, **changes)
    part = SitePlan(site_id=SITE, grid_reserve=reserve)
    bounds = replace(
        bounds_of(part), min_w=-2048.0, max_w=2048.0, max_discharge_wh=8192.0, max_charge_wh=8192.0
    )
    plan = a_plan(part, kind=ObjectiveKind.GRID_RESERVE)
    return with_envelope(
        plan,
        sites=(bounds,),
        total_min_w=-2048.0,
        total_max_w=2048.0,
        total_discharge_wh=8192.0,
        window_end=plan.window_end,
    )


def test_s21_a_reserve_is_judged_by_its_worst_case_activation() -> None:
    # 512 Wh on top of the floor of 4096 Wh: 4608 / 16384 + 0.15625 = 0.4375.
    assert broken(reserve_plan(), with_reading(STATE, soc_frac=0.4375)) == set()
    below = with_reading(STATE, soc_frac=nextafter(0.4375, 0.0))
    assert broken(reserve_plan(), below) == {"S1 autonomy_floor", "S1 recharge_floor"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"product": "ffr"}, {"S21 product"}),
        ({"energy_wh": nextafter(512.0, 0.0)}, {"S21 energy"}),
        ({"energy_wh": 1024.0}, set()),
        ({"droop_hz": 0.0}, {"S21 droop"}),
        ({"droop_hz": 5e-324}, set()),
        ({"dead_band_hz": 0.0}, set()),
        ({"dead_band_hz": -5e-324}, {"S21 droop"}),
        ({"activation_s": 0.0}, {"S21 droop"}),
        ({"activation_s": 5e-324}, set()),
        ({"up_w": 0.0}, {"S21 nothing"}),
        ({"up_w": 0.0, "down_w": 5e-324}, set()),
        ({"down_w": -5e-324}, {"S21 sign"}),
        ({"up_w": 1024.0, "energy_wh": 1024.0}, set()),
        ({"up_w": nextafter(1024.0, UP), "energy_wh": 1025.0}, {"S3 within_load"}),
        ({"up_w": 0.0, "down_w": 512.0}, set()),
        ({"product": "fcr_n", "energy_wh": 700.0, "down_w": 512.0}, set()),
        ({"product": "fcr_n", "energy_wh": 700.0}, {"S21 symmetric"}),
    ],
)
def test_s21_reserves(changes: dict[str, Any], expected: set[str]) -> None:
    assert broken(reserve_plan(**changes), with_reading(STATE, soc_frac=0.75)) == expected


def test_s21_room_to_charge_for_full_activation() -> None:
    # 512 Wh into a battery of 16384 Wh at 0.9375: 0.029296875 of SoC.
    plan = reserve_plan(up_w=0.0, down_w=512.0)
    assert broken(plan, with_reading(STATE, soc_frac=0.9375 - 0.029296875)) == set()
    assert broken(plan, with_reading(STATE, soc_frac=0.9375 - 0.0292)) == {"S21 room"}
    assert broken(reserve_plan(), with_reading(STATE, soc_frac=1.0)) == set()


def test_s21_products_ask_for_more_power_than_is_offered() -> None:
    # FCR-N: 134 % of 512 W = 686.08 W; FCR-D up: 20 % of 512 W down = 102.4 W.
    weak = with_battery(LIMITS, bands=a_band(discharge=686.0 / 16384.0))
    plan = reserve_plan(product="fcr_n", down_w=512.0, energy_wh=700.0)
    state = with_reading(STATE, soc_frac=0.75)
    assert broken(plan, state, weak) == {"S2 discharge_power"}
    assert broken(plan, state, with_battery(LIMITS, bands=a_band(discharge=686.1 / 16384.0))) == set()
    fcr_d = reserve_plan(product="fcr_d", energy_wh=512.0)
    assert broken(fcr_d, state, with_battery(LIMITS, bands=a_band(charge=102.0 / 16384.0))) == {
        "S2 charge_power"
    }
    assert broken(fcr_d, state, with_battery(LIMITS, bands=a_band(charge=102.5 / 16384.0))) == set()
    down = reserve_plan(product="fcr_d", up_w=0.0, down_w=512.0, energy_wh=512.0)
    assert broken(down, state, with_battery(LIMITS, bands=a_band(discharge=102.0 / 16384.0))) == {
        "S2 discharge_power"
    }
    assert broken(down, state, with_battery(LIMITS, bands=a_band(discharge=102.5 / 16384.0))) == set()


# Bounds for a controller at the site count as their worst, both ways.
def bounds_plan(low_w: float, high_w: float) -> Plan:
    part = SitePlan(site_id=SITE, bounds=ControlBounds(min_w=low_w, max_w=high_w, grid_import_limit_w=8192.0))
    bounds = replace(
        bounds_of(part), min_w=-2048.0, max_w=2048.0, max_discharge_wh=8192.0, max_charge_wh=8192.0
    )
    return with_envelope(
        a_plan(part), sites=(bounds,), total_min_w=-2048.0, total_max_w=2048.0, total_discharge_wh=8192.0
    )


def test_bounds_are_judged_by_their_worst_both_ways() -> None:
    assert broken(bounds_plan(-512.0, 0.0), with_reading(STATE, soc_frac=0.53125)) == set()
    low = with_reading(STATE, soc_frac=nextafter(0.53125, 0.0))
    assert broken(bounds_plan(-512.0, 0.0), low) == {"S1 autonomy_floor", "S1 recharge_floor"}
    # What it may charge does not pay for what it may discharge, nor the other way round.
    assert "S1 autonomy_floor" in broken(bounds_plan(-512.0, 512.0), low)
    # 16 x 512 x 0.25 x 0.9375 / 16384 = 0.1171875
    assert broken(bounds_plan(-64.0, 512.0), with_reading(STATE, soc_frac=0.9375 - 0.1171875)) == set()
    full = with_reading(STATE, soc_frac=nextafter(0.9375 - 0.1171875, 1.0))
    assert broken(bounds_plan(-64.0, 512.0), full) == {"S4 soc_ceiling"}


def test_bounds_may_swing_no_further_than_the_ramp() -> None:
    state = with_reading(STATE, soc_frac=0.75)
    assert broken(bounds_plan(-512.0, 512.0), state) == set()
    assert broken(bounds_plan(-512.0, nextafter(1024.0, UP) - 512.0), state) == {"S5 ramp"}
    # Bounds above or below zero still let the controller rest at zero.
    assert broken(bounds_plan(-512.0, -256.0), state) == set()
    assert broken(bounds_plan(64.0, 128.0), state) == set()


def test_an_approved_plan_tells_its_tightest_margins() -> None:
    verdict = validate(a_plan(), with_reading(STATE, soc_frac=0.53125), LIMITS, NOW)
    assert isinstance(verdict, Approved)
    told = {(one.rule, one.name): (one.margin, one.unit, one.where) for one in verdict.passed}
    assert told["S1", "autonomy_floor"] == (0.0, "Wh", SITE)
    assert told["S2", "discharge_power"] == (16384.0 - 512.0, "W", SITE)
    assert told["S5", "ramp"] == (512.0, "W", SITE)
    assert told["S7", ""] == (None, "", "")
    assert verdict.margins[0].autonomy_h == 0.0


def test_s4_a_live_plan_that_overlaps_is_no_charge_before_the_window() -> None:
    charging = a_plan(
        schedule_of(SITE, (1, 512.0)), start=START, plan_id="live", kind=ObjectiveKind.ARBITRAGE
    )
    state = replace(with_reading(STATE, soc_frac=0.9375 - 0.029296875), live_plans=(charging,))
    assert broken(CHARGE, state) == {"S9 overlap"}


def test_s5_a_live_plan_that_ended_a_step_earlier_left_the_site_in_float() -> None:
    plan = a_plan(schedule_of(SITE, (1, -1024.0)), start=START + 4 * STEP)
    live = a_plan(schedule_of(SITE, (3, 512.0)), plan_id="live")
    assert broken(plan, replace(with_reading(STATE, soc_frac=0.75), live_plans=(live,))) == set()


def test_s5_the_worst_of_what_may_be_going_on_just_before_counts() -> None:
    state, slow = with_reading(STATE, soc_frac=0.75), with_site(LIMITS, ramp_w_per_step=700.0)
    live = replace(bounds_plan(-512.0, 512.0), plan_id=PlanId("live"))
    live = replace(live, window_start=START - STEP, window_end=START)
    ours = a_plan(schedule_of(SITE, (1, 256.0)))
    assert broken(ours, replace(state, live_plans=(live,)), slow) == {"S5 ramp"}
    down = a_plan(schedule_of(SITE, (1, -256.0)))
    assert broken(down, replace(state, live_plans=(live,)), slow) == {"S5 ramp"}
    two = tuple(
        a_plan(schedule_of(SITE, (1, w)), start=START - STEP, plan_id=f"live {w}")
        for w in (-512.0, 0.0, 512.0)
    )
    assert broken(ours, replace(state, live_plans=two), slow) == {"S5 ramp"}


def test_s10_midnight_belongs_to_the_new_day() -> None:
    # 23:00 UTC is midnight in Oslo. One step of 512 W then, 4 from 23:30 on: 5 x 128 / 16384 Wh on the new day.
    midnight = START + timedelta(hours=11)
    live = a_plan(schedule_of(SITE, (1, -512.0)), start=midnight, plan_id="live")
    plan = a_plan(schedule_of(SITE, (4, -512.0)), start=midnight + 2 * STEP)
    state = replace(STATE, live_plans=(live,))
    assert broken(plan, state, with_battery(LIMITS, max_cycles_per_day=0.0390625)) == set()
    assert broken(plan, state, with_battery(LIMITS, max_cycles_per_day=0.039)) == {"S10 daily_cycles"}


def test_s10_a_day_that_began_before_the_window_counts_the_whole_window() -> None:
    # From 01:00 UTC, 02:00 in Oslo: 16 steps, 0.125 cycles, all on one day.
    plan = a_plan(start=START + timedelta(hours=13))
    assert broken(plan, limits=with_battery(LIMITS, max_cycles_per_day=0.125)) == set()
    verdict = validate(plan, STATE, with_battery(LIMITS, max_cycles_per_day=0.0625), NOW)
    assert isinstance(verdict, Rejected)
    (breach,) = verdict.broken
    told = "site site-1: more cycles than its battery may on one day, 2026-03-11 01:00-05:00 UTC"
    assert breach.message == f"{told} (0.0625 cycles too much)"


def test_s10_the_tightest_of_two_days_is_told() -> None:
    # 4 steps today and 12 tomorrow in Oslo: 1 - 12 / 128 is less than 1 - 4 / 128.
    verdict = validate(a_plan(start=START + timedelta(hours=10)), STATE, LIMITS, NOW)
    assert isinstance(verdict, Approved)
    told = {one.name: one.margin for one in verdict.passed if one.rule == "S10"}
    assert told == {"daily_cycles": 0.90625}


def test_s21_the_products_own_margin_is_part_of_the_activation() -> None:
    # FCR-N of 512 W: 134 % for an hour are 686.08 Wh, whatever is declared. 600 Wh above the floor are too few.
    plan = reserve_plan(product="fcr_n", down_w=512.0, energy_wh=512.0)
    few = with_reading(STATE, soc_frac=(4096.0 + 600.0) / 16384.0 + 0.15625)
    assert "S1 autonomy_floor" in broken(plan, few)
    enough = with_reading(STATE, soc_frac=(4096.0 + 687.0) / 16384.0 + 0.15625)
    assert broken(plan, enough) == set()
    # What is declared beyond that counts as declared.
    more = reserve_plan(product="fcr_n", down_w=512.0, energy_wh=700.0)
    assert "S1 autonomy_floor" in broken(more, enough)


def test_s21_the_larger_side_sets_the_energy_of_an_activation() -> None:
    # 512 W x 1.25 x 0.5 h, whichever way it is offered.
    assert activation_wh(replace(RESERVE, product="fcr", energy_wh=0.0)) == 320.0
    assert activation_wh(replace(RESERVE, product="fcr", energy_wh=0.0, up_w=0.0, down_w=512.0)) == 320.0
    assert activation_wh(replace(RESERVE, product="unknown", energy_wh=7.0)) == 7.0
