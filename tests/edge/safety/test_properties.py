"""Properties with NaN and infinities: nothing without sense is approved, and an approval implies what it promises."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.plan import ObjectiveKind, SitePlan
from edge.safety.limits import DayUse, Policy
from edge.safety.validator import validate
from edge.safety.verdict import Approved
from tests.edge.safety.examples import (
    NOW,
    SITE,
    a_plan,
    flat,
    limits_of,
    schedule_of,
    state_of,
    with_battery,
    with_envelope,
    with_reading,
)

LIMITS = limits_of(policy=Policy(max_cluster_low_frac=1.0))
STATE = flat(state_of())
WIDE: dict[str, Any] = {"total_min_w": -1e9, "total_max_w": 1e9, "total_discharge_wh": 1e9}
ANY = st.floats(allow_nan=True, allow_infinity=True)
NEAR = st.one_of(ANY, st.floats(-2000.0, 2000.0))


def wide(*row: float) -> Any:
    plan = a_plan(schedule_of(SITE, (len(row), 0.0)), kind=ObjectiveKind.ARBITRAGE)
    bounds = replace(plan.envelope.sites[0], min_w=-1e9, max_w=1e9, max_discharge_wh=1e9, max_charge_wh=1e9)
    plan = with_envelope(plan, sites=(bounds,), **WIDE)
    return replace(plan, sites=(SitePlan(site_id=SITE, schedule_w=tuple(row)),))


@settings(max_examples=150, deadline=None)
@given(row=st.lists(NEAR, min_size=1, max_size=8), soc_frac=st.one_of(ANY, st.floats(0.0, 1.0)))
def test_an_approved_schedule_is_within_load_ramp_floor_and_ceiling(
    row: list[float], soc_frac: float
) -> None:
    verdict = validate(wide(*row), with_reading(STATE, soc_frac=soc_frac), LIMITS, NOW)
    if isinstance(verdict, Approved):
        assert 0.0 <= soc_frac <= 1.0
        assert all(-1024.0 <= w <= 3072.0 for w in row)
        assert all(abs(b - a) <= 1024.0 for a, b in zip([0.0, *row], row, strict=False))
        level, soc, drew = 16384.0 * (soc_frac - 0.15625), soc_frac, False
        for w in row:
            drew = drew or w < 0.0
            level += w * 0.25 if w < 0.0 else w * 0.25 * 0.9375
            soc += w * 0.25 * (1.0 if w < 0.0 else 0.9375) / 16384.0
            assert w >= 0.0 or level >= 4096.0 - 1e-6
            assert w <= 0.0 or soc <= 0.9375 + 1e-9
        assert len(verdict.passed) >= 21


@settings(max_examples=100, deadline=None)
@given(
    soc_frac=ANY,
    soh_frac=ANY,
    battery_c=ANY,
    load_w=ANY,
    bus_v=ANY,
    cycles=ANY,
    score=ANY,
)
def test_nothing_is_approved_on_readings_without_sense(**values: float) -> None:
    names = ("soc_frac", "soh_frac", "battery_c", "load_w", "bus_v")
    state = with_reading(STATE, **{name: values[name] for name in names})
    state = replace(
        state,
        day_use={SITE: DayUse(cycles=values["cycles"], discharged_wh=0.0)},
        quality_score={SITE: values["score"]},
    )
    verdict = validate(a_plan(), state, LIMITS, NOW)
    if isinstance(verdict, Approved):
        assert 0.53125 <= values["soc_frac"] <= 1.0
        assert 0.05 <= values["soh_frac"] <= 1.2
        assert -20.0 <= values["battery_c"] < 60.0
        assert values["load_w"] >= 0.0
        assert 36.0 <= values["bus_v"] <= 60.0
        assert 0.0 <= values["cycles"] <= 0.875
        assert 0.9 <= values["score"] <= 1.0


@settings(max_examples=100, deadline=None)
@given(
    reserve_h=ANY,
    total_min_w=ANY,
    total_max_w=ANY,
    total_discharge_wh=ANY,
    min_w=ANY,
    max_w=ANY,
    out_wh=ANY,
    in_wh=ANY,
    bound=ANY,
)
def test_an_envelope_without_sense_is_never_approved(**values: float) -> None:
    plan = a_plan()
    bounds = replace(
        plan.envelope.sites[0],
        min_w=values["min_w"],
        max_w=values["max_w"],
        max_discharge_wh=values["out_wh"],
        max_charge_wh=values["in_wh"],
    )
    totals = {
        name: values[name] for name in ("reserve_h", "total_min_w", "total_max_w", "total_discharge_wh")
    }
    plan = replace(with_envelope(plan, sites=(bounds,), **totals), bound=values["bound"])
    if isinstance(validate(plan, STATE, LIMITS, NOW), Approved):
        assert values["min_w"] <= -512.0
        assert values["total_min_w"] <= -512.0
        assert values["out_wh"] >= 2048.0
        assert values["total_discharge_wh"] >= 2048.0
        assert values["in_wh"] >= 0.0
        assert values["reserve_h"] <= 9.5
        assert abs(values["bound"]) <= 1e12


@settings(max_examples=100, deadline=None)
@given(cut=st.floats(0.0, 1.0), soc_frac=st.floats(0.3, 1.0), w=st.floats(-1024.0, 0.0))
def test_asking_for_less_of_the_same_is_never_worse(cut: float, soc_frac: float, w: float) -> None:
    state = with_reading(STATE, soc_frac=soc_frac)
    if isinstance(validate(wide(w, w, w, w), state, LIMITS, NOW), Approved):
        assert isinstance(validate(wide(*[cut * w] * 4), state, LIMITS, NOW), Approved)


@settings(max_examples=50, deadline=None)
@given(error=st.floats(0.0, 0.5), soc_frac=st.floats(0.3, 1.0))
def test_a_less_certain_soc_is_never_treated_more_kindly(error: float, soc_frac: float) -> None:
    state = with_reading(STATE, soc_frac=soc_frac)
    if isinstance(validate(a_plan(), state, with_battery(LIMITS, soc_error_frac=error), NOW), Approved):
        surer = with_battery(LIMITS, soc_error_frac=error / 2.0)
        assert isinstance(validate(a_plan(), state, surer, NOW), Approved)
