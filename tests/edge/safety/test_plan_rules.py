"""Rules about the plan as a whole, from both sides."""

from dataclasses import replace
from datetime import timedelta
from math import inf, nan, nextafter
from typing import Any

import pytest

from edge.plan import (
    ControlBounds,
    FeederEffect,
    GridReserve,
    MoneyEffect,
    ObjectiveKind,
    Plan,
    PlanId,
    SitePlan,
)
from edge.safety.limits import FleetState, Limits, OperatingMode, Policy
from edge.safety.validator import validate
from telemetry.model.series import STEP
from telemetry.model.site import FeederId, SiteMode
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
    limits_of,
    names,
    schedule_of,
    state_of,
    with_envelope,
    with_reading,
    with_site,
    with_status,
)

STATE, LIMITS = state_of(), limits_of(policy=Policy(max_cluster_low_frac=1.0))
PLAN = a_plan()
US = timedelta(microseconds=1)


def broken(plan: Plan = PLAN, state: FleetState = STATE, limits: Limits = LIMITS) -> set[str]:
    return names(validate(plan, state, limits, NOW))


def moved(start: Any, steps: int = 4, ahead: timedelta = timedelta(hours=48)) -> Plan:
    plan = a_plan(schedule_of(SITE, (steps, -64.0)), start=start)
    return with_envelope(plan, valid_until=NOW + ahead)


# S11
def test_s11_the_window_lies_on_quarters_and_is_not_empty() -> None:
    assert "S11 grid" in broken(replace(PLAN, window_start=START + US))
    assert "S11 grid" in broken(replace(PLAN, window_end=PLAN.window_end + US))
    assert broken(replace(PLAN, window_end=START)) == {"S11 empty_window"}
    assert broken(replace(PLAN, window_end=START - STEP)) == {"S11 empty_window"}
    assert broken(a_plan(schedule_of(SITE, (1, -64.0)))) == set()


def test_s11_the_window_begins_now_or_later_and_not_too_late() -> None:
    assert names(validate(moved(START), STATE, LIMITS, START)) == {"S7 stale_reading", "S7 stale_status"}
    assert names(validate(moved(START), STATE, LIMITS, START + US)) == {"S11 past"}
    far = NOW + timedelta(hours=36)
    at_lead = replace(LIMITS, policy=replace(LIMITS.policy, max_lead=START - NOW))
    assert broken(moved(START), limits=at_lead) == set()
    assert broken(
        moved(START), limits=replace(LIMITS, policy=replace(LIMITS.policy, max_lead=START - NOW - US))
    ) == {"S11 lead"}
    assert broken(moved(far + timedelta(minutes=10))) == {"S11 lead"}


def test_s11_duration() -> None:
    policy = replace(LIMITS.policy, max_duration=timedelta(hours=4))
    assert broken(limits=replace(LIMITS, policy=policy)) == set()
    less = replace(LIMITS, policy=replace(policy, max_duration=timedelta(hours=4) - US))
    assert broken(limits=less) == {"S11 duration"}


def test_s11_made_in_the_past_and_still_valid_for_a_sane_time() -> None:
    assert broken(replace(PLAN, created_at=NOW)) == set()
    assert broken(replace(PLAN, created_at=NOW + US)) == {"S11 created"}
    assert broken(with_envelope(PLAN, valid_until=NOW)) == {"S11 expired"}
    assert broken(with_envelope(PLAN, valid_until=NOW + US)) == set()
    assert broken(with_envelope(PLAN, valid_until=NOW + timedelta(hours=48))) == set()
    assert broken(with_envelope(PLAN, valid_until=NOW + timedelta(hours=48) + US)) == {"S11 validity"}


def test_s11_instants_name_their_time_zone() -> None:
    naive = START.replace(tzinfo=None)
    assert broken(replace(PLAN, window_start=naive)) == {"S11 aware"}
    assert broken(replace(PLAN, created_at=naive)) == {"S11 aware"}
    assert broken(with_envelope(PLAN, valid_until=naive)) == {"S11 aware"}
    assert names(validate(PLAN, STATE, LIMITS, naive)) == {"S11 aware"}


# S13
ALLOWED = {
    (OperatingMode.NORMAL, kind): True for kind in ObjectiveKind
} | {
    (OperatingMode.STORM, kind): kind is ObjectiveKind.RECHARGE for kind in ObjectiveKind
} | {
    (OperatingMode.EMERGENCY, kind): kind in (ObjectiveKind.RECHARGE, ObjectiveKind.EMERGENCY_SUPPORT)
    for kind in ObjectiveKind
}  # fmt: skip


@pytest.mark.parametrize(("mode", "kind"), sorted(ALLOWED))
def test_s13_the_mode_in_force_allows_the_kind(mode: OperatingMode, kind: ObjectiveKind) -> None:
    plan = a_plan(schedule_of(SITE, (4, 0.0)), kind=kind)
    found = broken(plan, replace(STATE, mode=mode))
    assert found == (set() if ALLOWED[mode, kind] else {"S13 mode"})


def test_s13_recharge_never_discharges() -> None:
    assert broken(a_plan(schedule_of(SITE, (4, 0.0)), kind=ObjectiveKind.RECHARGE)) == set()
    plan = a_plan(schedule_of(SITE, (4, -5e-324)), kind=ObjectiveKind.RECHARGE)
    assert broken(plan) == {"S13 recharge_only"}


def test_s16_a_mode_that_nobody_knows_allows_nothing() -> None:
    state = replace(STATE, mode="holiday")  # type: ignore[arg-type]
    assert broken(state=state) == {"S16 unknown_mode", "S13 mode"}


# S15
@pytest.mark.parametrize(
    "number", [nan, inf, -inf, nextafter(1e12, inf), nextafter(-1e12, -inf), "512", None]
)
@pytest.mark.parametrize("step", [0, 7, 15])
def test_s15_a_schedule_of_real_numbers(number: Any, step: int) -> None:
    row: list[Any] = [-512.0] * 16
    row[step] = number
    part = replace(PLAN.sites[0], schedule_w=tuple(row))
    assert broken(replace(PLAN, sites=(part,))) == {"S15 number"}


def test_s15_the_largest_number_is_still_a_number() -> None:
    for w in (1e12, -1e12):
        part = replace(PLAN.sites[0], schedule_w=(w,) * 16)
        assert "S15 number" not in broken(replace(PLAN, sites=(part,)))


BAD = [nan, inf, nextafter(1e12, inf), nextafter(-1e12, -inf), True, "1"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("field", ["bound", "gap_frac"])
def test_s15_the_plans_own_numbers(field: str, bad: Any) -> None:
    changes: dict[str, Any] = {field: bad}
    assert broken(replace(PLAN, **changes)) == {"S15 number"}
    assert broken(replace(PLAN, **{field: 1e12})) == set()  # type: ignore[arg-type]
    assert broken(replace(PLAN, **{field: -1e12})) == set()  # type: ignore[arg-type]
    assert broken(replace(PLAN, **{field: 1})) == set()  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["reserve_h", "total_min_w", "total_max_w", "total_discharge_wh"])
def test_s15_the_envelopes_numbers(field: str) -> None:
    assert "S15 number" in broken(with_envelope(PLAN, **{field: nan}))


@pytest.mark.parametrize("field", ["min_w", "max_w", "max_discharge_wh", "max_charge_wh"])
def test_s15_the_bounds_numbers(field: str) -> None:
    changes: dict[str, Any] = {field: nan}
    assert "S15 number" in broken(with_envelope(PLAN, sites=(replace(PLAN.envelope.sites[0], **changes),)))


@pytest.mark.parametrize(
    "field", ["relief_w", "discharge_wh", "charge_wh", "throughput_cycles", "score", "min_autonomy_margin_h"]
)
def test_s15_the_promised_numbers(field: str) -> None:
    changes: dict[str, Any] = {field: nan}
    assert broken(replace(PLAN, expected=replace(PLAN.expected, **changes))) == {"S15 number"}


@pytest.mark.parametrize("field", ["energy", "refill", "demand", "wear"])
def test_s15_the_promised_money(field: str) -> None:
    changes: dict[str, Any] = {field: nan}
    parts = {"energy": -1.5, "refill": 0.5, "demand": 0.0, "wear": 0.25}
    money = MoneyEffect(currency="EUR", source="tariff t", **parts)
    assert money.total == -0.75
    assert broken(replace(PLAN, expected=replace(PLAN.expected, money=money))) == set()
    absurd = replace(money, **changes)
    assert broken(replace(PLAN, expected=replace(PLAN.expected, money=absurd))) == {"S15 number"}


@pytest.mark.parametrize("field", ["peak_without_w", "peak_with_w", "limit_w"])
def test_s15_the_promised_effect_on_feeders(field: str) -> None:
    effect: dict[str, Any] = {
        "feeder_id": FEEDER,
        "peak_without_w": 1.0,
        "peak_with_w": 1.0,
        "limit_w": 1.0,
        field: nan,
    }
    expected = replace(PLAN.expected, feeders=(FeederEffect(**effect),))
    assert broken(replace(PLAN, expected=expected)) == {"S15 number"}


@pytest.mark.parametrize(
    ("hours", "breach"),
    [
        (0.0, False),
        (nextafter(0.0, -inf), True),
        (96.0, False),
        (nextafter(96.0, inf), True),
        (1e12, True),  # an absurd promise is refused before it costs memory
    ],
)
def test_s15_a_promise_of_backup_no_longer_than_a_forecast_reaches(hours: float, breach: bool) -> None:
    assert ("S15 reserve_hours" in broken(with_envelope(PLAN, reserve_h=hours))) is breach


def test_s15_targets_are_numbers_where_there_are_any() -> None:
    objective = replace(PLAN.objective, target_w=nan)
    assert "S15 number" in broken(replace(PLAN, objective=objective))
    assert "S15 number" in broken(with_envelope(PLAN, objective=objective))
    known = replace(PLAN.objective, target_w=-512.0)
    assert broken(with_envelope(replace(PLAN, objective=known), objective=known)) == set()


def test_s15_no_site_missing_and_none_twice() -> None:
    assert broken(replace(PLAN, sites=())) == {"S15 no_site"}
    assert broken(replace(PLAN, sites=PLAN.sites * 2)) == {"S15 duplicate_site"}


def test_s15_with_a_bad_number_the_sites_own_reasons_are_still_told() -> None:
    state = with_status(STATE, local_lock=True)
    assert broken(replace(PLAN, bound=nan), state) == {"S15 number", "S20 local_lock"}
    shadow = with_site(LIMITS, mode=SiteMode.SHADOW)
    verdict = validate(replace(PLAN, bound=nan), STATE, shadow, NOW, allow_shadow=True)
    assert names(verdict) == {"S15 number"}


def test_s15_a_setpoint_for_every_step() -> None:
    assert broken(replace(PLAN, sites=(schedule_of(SITE, (15, -512.0)),))) == {"S15 steps"}
    assert broken(replace(PLAN, sites=(schedule_of(SITE, (17, -512.0)),))) == {"S15 steps"}


RESERVE = GridReserve(
    product="afrr", up_w=64.0, down_w=0.0, droop_hz=0.2, dead_band_hz=0.0, activation_s=1.0, energy_wh=64.0
)
BOUNDS = ControlBounds(min_w=-64.0, max_w=64.0, grid_import_limit_w=0.0)


def test_s15_exactly_one_order_for_a_site() -> None:
    row = PLAN.sites[0].schedule_w
    for part in (
        SitePlan(site_id=SITE),
        SitePlan(site_id=SITE, schedule_w=row, bounds=BOUNDS),
        SitePlan(site_id=SITE, schedule_w=row, grid_reserve=RESERVE),
        SitePlan(site_id=SITE, bounds=BOUNDS, grid_reserve=RESERVE),
    ):
        assert broken(replace(PLAN, sites=(part,))) == {"S15 one_order"}
    for part in (SitePlan(site_id=SITE, bounds=BOUNDS), SitePlan(site_id=SITE, grid_reserve=RESERVE)):
        wide = replace(PLAN.envelope.sites[0], max_w=64.0, max_charge_wh=512.0)
        assert broken(with_envelope(replace(PLAN, sites=(part,)), sites=(wide,), total_max_w=64.0)) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"min_w": nan},
        {"max_w": inf},
        {"grid_import_limit_w": nan},
        {"min_w": nextafter(64.0, inf)},
        {"grid_import_limit_w": -5e-324},
    ],
)
def test_s15_bounds_of_sane_numbers(changes: dict[str, Any]) -> None:
    part = SitePlan(site_id=SITE, bounds=replace(BOUNDS, **changes))
    assert broken(replace(PLAN, sites=(part,))) == {"S15 number"}


def test_s15_bounds_may_be_one_point() -> None:
    part = SitePlan(site_id=SITE, bounds=replace(BOUNDS, min_w=64.0))
    assert "S15 number" not in broken(replace(PLAN, sites=(part,)))


@pytest.mark.parametrize("field", ["up_w", "down_w", "droop_hz", "dead_band_hz", "activation_s", "energy_wh"])
def test_s15_a_reserve_of_real_numbers(field: str) -> None:
    changes: dict[str, Any] = {field: nan}
    part = SitePlan(site_id=SITE, grid_reserve=replace(RESERVE, **changes))
    assert broken(replace(PLAN, sites=(part,))) == {"S15 number"}


# S16
def test_s16_unknown_feeders_sites_and_plans() -> None:
    other = FeederId("feeder-9")
    assert broken(a_plan(feeder_ids=(FEEDER, other))) == {"S16 unknown_feeder"}
    assert broken(a_plan(feeder_ids=())) == set()
    two = limits_of([a_site()], [a_feeder(), a_feeder(other)], LIMITS.policy)
    assert broken(a_plan(feeder_ids=(other,)), limits=two) == {"S16 foreign_feeder"}
    lost = with_site(LIMITS, feeder_id=other)
    assert broken(a_plan(feeder_ids=()), limits=lost) == {"S16 unknown_feeder"}
    assert broken(a_plan(schedule_of("ghost", (4, -64.0)))) == {"S16 unknown_site"}
    assert broken(replace(PLAN, supersedes=PlanId("gone"))) == {"S16 unknown_plan"}
    assert broken(with_envelope(PLAN, objective=replace(PLAN.objective, text="other"))) == {"S16 objective"}


# S9
def live(start: Any, steps: int = 4, site_id: str = SITE, plan_id: str = "live") -> Plan:
    """Return a plan under an envelope of its own."""
    return a_plan(
        schedule_of(site_id, (steps, -64.0)), start=start, plan_id=plan_id, kind=ObjectiveKind.ARBITRAGE
    )


def test_s9_no_overlap_but_windows_may_touch() -> None:
    plan = a_plan(schedule_of(SITE, (4, -64.0)))
    for start, free in [
        (START - 4 * STEP, True),
        (START - 3 * STEP, False),
        (START, False),
        (START + 3 * STEP, False),
        (START + 4 * STEP, True),
    ]:
        state = replace(STATE, live_plans=(live(start),))
        assert broken(plan, state) == (set() if free else {"S9 overlap"}), start
    assert broken(plan, replace(STATE, live_plans=(live(START, site_id="other"),))) == set()


def test_s9_only_the_superseded_plan_may_overlap() -> None:
    old, other = live(START), live(START, plan_id="other")
    plan = replace(a_plan(schedule_of(SITE, (4, -64.0))), supersedes=old.plan_id)
    assert broken(plan, replace(STATE, live_plans=(old,))) == set()
    assert broken(plan, replace(STATE, live_plans=(old, other))) == {"S9 overlap"}
    strange = live(START, site_id="elsewhere")
    assert broken(plan, replace(STATE, live_plans=(strange,))) == {"S9 stranger"}


def test_s9_a_plan_that_a_live_one_superseded_no_longer_binds() -> None:
    first = live(START - 4 * STEP, 12, plan_id="first")
    second = replace(live(START - 2 * STEP, 10, plan_id="second"), supersedes=first.plan_id)
    plan = replace(a_plan(schedule_of(SITE, (4, -64.0))), supersedes=second.plan_id)
    assert broken(plan, replace(STATE, live_plans=(first, second))) == set()
    assert broken(replace(plan, supersedes=None), replace(STATE, live_plans=(first, second))) == {
        "S9 overlap"
    }


def test_what_live_plans_still_draw_counts_against_the_floor() -> None:
    # Known to the watt: the floor is 4096 Wh, 16 x 128 Wh of ours, 4 x 128 Wh of the other plan later.
    load = {SITE: a_forecast(spread_w=(0.0,) * 9)}
    later = a_plan(schedule_of(SITE, (4, -512.0)), start=START + 20 * STEP, plan_id="live")
    need = (4096.0 + 2048.0 + 512.0) / 16384.0 + 0.15625
    none = replace(TERMS, feeder_share_w=(0.0,) * 24)  # nothing can be recharged in between

    state = replace(with_reading(STATE, soc_frac=need), load=load, live_plans=(later,))
    limits = with_site(LIMITS, recharge=none)
    assert broken(PLAN, state, limits) == {"S6 recharge"}
    low = with_reading(state, soc_frac=nextafter(need, 0.0))
    assert broken(PLAN, low, limits) == {"S6 recharge", "S1 recharge_floor"}
    # What the superseded plan asked after our start no longer counts; what it asks before does.
    old = a_plan(schedule_of(SITE, (8, -512.0)), start=START - STEP, plan_id="live")
    ours = replace(PLAN, supersedes=old.plan_id)
    before = (4096.0 + 2048.0 + 128.0) / 16384.0 + 0.15625
    state = replace(with_reading(STATE, soc_frac=before), load=load, live_plans=(old,))
    assert broken(ours, state) == set()
    assert "S1 autonomy_floor" in broken(ours, with_reading(state, soc_frac=nextafter(before, 0.0)))


def test_steps_of_a_live_plan_that_are_past_are_already_in_the_reading() -> None:

    load = {SITE: a_forecast(spread_w=(0.0,) * 9)}
    # Begun at 11:00, now 11:50: the step of 11:45 is the only one still to come.
    running = a_plan(schedule_of(SITE, (4, -512.0)), start=START - 4 * STEP, plan_id="live")
    need = (4096.0 + 2048.0 + 128.0) / 16384.0 + 0.15625
    state = replace(with_reading(STATE, soc_frac=need), load=load, live_plans=(running,))
    assert broken(PLAN, state) == set()
    assert "S1 autonomy_floor" in broken(PLAN, with_reading(state, soc_frac=nextafter(need, 0.0)))
    over = a_plan(schedule_of(SITE, (3, -512.0)), start=START - 4 * STEP, plan_id="live")
    idle = (4096.0 + 2048.0) / 16384.0 + 0.15625
    assert broken(PLAN, replace(with_reading(STATE, soc_frac=idle), load=load, live_plans=(over,))) == set()


def test_what_a_live_plan_charges_before_counts_for_the_ceiling_only() -> None:

    charging = a_plan(schedule_of(SITE, (1, 512.0)), start=START - STEP, plan_id="live")
    ours = a_plan(schedule_of(SITE, (4, 512.0)), kind=ObjectiveKind.RECHARGE)
    # Five steps of 512 W x 0.25 h x 0.9375 / 16384 Wh = 0.03662109375.
    at = 0.9375 - 0.03662109375
    state = replace(with_reading(STATE, soc_frac=at), live_plans=(charging,))
    assert broken(ours, state) == set()
    assert broken(ours, with_reading(state, soc_frac=nextafter(at, 1.0))) == {"S4 soc_ceiling"}


def test_what_a_live_plan_asks_beyond_the_longest_recharge_does_not_count() -> None:
    load = {SITE: a_forecast(spread_w=(0.0,) * 9)}
    need = (4096.0 + 2048.0) / 16384.0 + 0.15625
    # Window, one step of waiting and a day of recharge: 113 steps.
    far = a_plan(schedule_of(SITE, (4, -512.0)), start=START + 113 * STEP, plan_id="live")
    state = replace(with_reading(STATE, soc_frac=need), load=load, live_plans=(far,))
    assert broken(PLAN, state) == set()
