"""The site's own limits from both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from math import inf, nan, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as alter

from edge.gateway.acceptance import refuse_schedule
from edge.gateway.limits import OwnLimits, Reason, Site, allow, charge_headroom_w, spare_load_w
from edge.plan import ScheduleBody
from telemetry.model.battery import Chemistry
from tests.edge.gateway.bench import LIMITS, NOON
from tests.edge.gateway.test_commands import CAPABILITIES, FIELD, SAMPLE

END = NOON + timedelta(hours=2)


def refusal(
    setpoint_w: tuple[float, ...],
    *,
    site: Site = FIELD,
    limits: OwnLimits = LIMITS,
    now: datetime = NOON,
    start: datetime = NOON,
    end: datetime = END,
    step_s: int = 900,
) -> Reason | None:
    body = ScheduleBody(start=start, step_s=step_s, setpoint_w=setpoint_w)
    return refuse_schedule(body, end, site, limits, now)


def test_spare_load_is_load_less_pv_and_never_negative() -> None:
    assert spare_load_w(replace(SAMPLE, load_w=2000.0, pv_w=500.0)) == 1500.0
    assert spare_load_w(replace(SAMPLE, load_w=2000.0, pv_w=2500.0)) == 0.0


def test_charge_headroom_is_the_smaller_of_rectifiers_and_connection() -> None:
    # DC: 6,000 - 2,000 = 4,000 W. AC: (3,000 - 100) x 0.96 - 2,000 = 784 W.
    assert charge_headroom_w(SAMPLE, LIMITS) == 4000.0
    assert charge_headroom_w(SAMPLE, alter(LIMITS, grid_import_limit_w=3000.0)) == pytest.approx(784.0)


AGE = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (FIELD, None),
        (replace(FIELD, sample=None), Reason.STALE_FIELD_DATA),
        (replace(FIELD, sampled_at=NOON - AGE), None),
        (replace(FIELD, sampled_at=NOON - AGE - timedelta(microseconds=1)), Reason.STALE_FIELD_DATA),
        (replace(FIELD, sampled_at=NOON + timedelta(microseconds=1)), Reason.STALE_FIELD_DATA),
        (replace(FIELD, sample=replace(SAMPLE, soc_frac=None)), Reason.STALE_FIELD_DATA),
        (replace(FIELD, sample=replace(SAMPLE, soc_frac=nan)), Reason.STALE_FIELD_DATA),
        (replace(FIELD, sample=replace(SAMPLE, battery_c=None)), Reason.STALE_FIELD_DATA),
        (replace(FIELD, fault=True), Reason.DEVICE_FAULT),
        (replace(FIELD, capabilities=replace(CAPABILITIES, can_revert=False)), Reason.NO_CONTINUITY),
        (replace(FIELD, sample=replace(SAMPLE, bus_v=47.0)), Reason.BUS_WINDOW),
        (replace(FIELD, sample=replace(SAMPLE, bus_v=nextafter(47.0, inf))), None),
        (replace(FIELD, sample=replace(SAMPLE, bus_v=57.0)), None),
        (replace(FIELD, sample=replace(SAMPLE, bus_v=nextafter(57.0, inf))), Reason.BUS_WINDOW),
        (replace(FIELD, capabilities=replace(CAPABILITIES, float_v=47.0)), Reason.BUS_WINDOW),
        # 1,000 W for 2 h is 2,000 Wh, 0.1302 of the rated 15,360 Wh: 0.8698 cycles may have been spent before.
        (replace(FIELD, cycles_today=0.8697), None),
        (replace(FIELD, cycles_today=0.8699), Reason.CYCLES_PER_DAY),
    ],
)
def test_what_is_not_known_or_not_possible_is_refused(site: Site, expected: Reason | None) -> None:
    assert refusal((-1000.0,) * 8, site=site) is expected


@pytest.mark.parametrize(
    ("setpoint_w", "expected"),
    [
        ((0.0,), None),
        ((nan,), Reason.NOT_FINITE),
        ((-inf,), Reason.NOT_FINITE),
        # The load is 2,000 W, the tolerance a quarter (and a watt).
        ((-2501.0,), None),
        ((nextafter(-2501.0, -inf),), Reason.EXPORT_NOT_DECLARED),
        # What comes later is judged by the declared maximum, 3,300 W.
        ((0.0, 0.0, -3300.0), None),
        ((0.0, 0.0, nextafter(-3300.0, -inf)), Reason.EXPORT_NOT_DECLARED),
        # At 25 degC: charge 0.5 C = 7,680 W, more than the rectifiers' 6,000 W less 2,000 W of load.
        ((4001.0,), None),
        ((4002.0,), Reason.CHARGE_HEADROOM),
        ((0.0, 6001.0), Reason.CHARGE_HEADROOM),
    ],
)
def test_power_is_refused_whole_and_never_clipped(
    setpoint_w: tuple[float, ...], expected: Reason | None
) -> None:
    assert refusal(setpoint_w) is expected


@pytest.mark.parametrize(
    ("battery_c", "setpoint_w", "expected"),
    [
        (-20.1, -100.0, Reason.C_RATE_BY_TEMPERATURE),
        (-20.1, 0.0, None),
        (-5.0, 100.0, Reason.C_RATE_BY_TEMPERATURE),
        # 0.1 C of 15,360 Wh is 1,536 W from 0 to 10 degC (and a watt of tolerance).
        (5.0, 1537.0, None),
        (5.0, 1538.0, Reason.C_RATE_BY_TEMPERATURE),
        (60.0, -100.0, Reason.C_RATE_BY_TEMPERATURE),
    ],
)
def test_rates_follow_the_temperature(battery_c: float, setpoint_w: float, expected: Reason | None) -> None:
    site = replace(FIELD, sample=replace(SAMPLE, battery_c=battery_c, soc_frac=0.5))
    assert refusal((setpoint_w,), site=site) is expected


def test_the_soc_band_is_resimulated_over_the_whole_schedule() -> None:
    # From 0.30 down to 0.15 there are 2,304 Wh stored: 2,234.9 Wh at the terminals at 97 %, or 1,489.9 W for 1.5 h.
    site = replace(FIELD, sample=replace(SAMPLE, soc_frac=0.30))
    assert refusal((-1489.0,) * 6, site=site) is None
    assert refusal((-1491.0,) * 6, site=site) is Reason.SOC_BAND
    # Half an hour into the schedule only an hour of it is left to do.
    assert (
        refusal((-1491.0,) * 6, site=replace(site, sampled_at=NOON + AGE * 360), now=NOON + AGE * 360) is None
    )


def test_a_soc_out_of_the_band_may_only_recover() -> None:
    low = replace(FIELD, sample=replace(SAMPLE, soc_frac=0.10))
    assert refusal((-100.0,), site=low) is Reason.SOC_BAND
    assert refusal((500.0,), site=low) is None


def test_ramp_is_between_steps_and_from_what_runs_or_from_zero() -> None:
    limits = alter(LIMITS, ramp_w_per_step=1000.0)
    assert refusal((-1001.0, 0.0), limits=limits) is None
    assert refusal((-1002.0, 0.0), limits=limits) is Reason.RAMP
    assert refusal((-1500.0, -500.0), limits=limits, site=replace(FIELD, running_w=-600.0)) is None
    assert refusal((-500.0, 502.0), limits=limits) is Reason.RAMP


def test_a_hold_is_bounded_from_now_to_its_end() -> None:
    limits = alter(LIMITS, max_hold_h=1.0)
    assert refusal((0.0,) * 4, limits=limits) is None
    assert refusal((0.0,) * 5, limits=limits) is Reason.HOLD_TOO_LONG
    assert refusal((0.0,) * 5, limits=limits, end=NOON + timedelta(hours=1)) is None


def test_continuity_that_was_never_shown_refuses_everything() -> None:
    assert refusal((0.0,), limits=alter(LIMITS, continuity_proven=False)) is Reason.NO_CONTINUITY


def test_a_coarse_controller_offers_whole_blocks_only() -> None:
    coarse = replace(FIELD, capabilities=replace(CAPABILITIES, full_load_blocks_only=True))
    assert refusal((-1000.0,), site=coarse) is Reason.PARTIAL_POWER_NOT_OFFERED
    assert refusal((-2000.0,), site=coarse) is None


@pytest.mark.parametrize(
    ("target_w", "sample", "power_w", "reason"),
    [
        (-1000.0, SAMPLE, -1000.0, None),
        (-2500.0, SAMPLE, -2000.0, Reason.LOAD_BELOW_SETPOINT),
        (-1000.0, replace(SAMPLE, pv_w=1400.0), -600.0, Reason.LOAD_BELOW_SETPOINT),
        (-1000.0, replace(SAMPLE, soc_frac=0.15), -0.0, Reason.SOC_BAND),
        (-1000.0, replace(SAMPLE, battery_c=None), -0.0, Reason.C_RATE_BY_TEMPERATURE),
        (9000.0, SAMPLE, 4000.0, Reason.GRID_IMPORT_LIMIT),
        (1600.0, replace(SAMPLE, battery_c=5.0), 1536.0, Reason.C_RATE_BY_TEMPERATURE),
        (100.0, replace(SAMPLE, soc_frac=1.0), 0.0, Reason.SOC_BAND),
        (0.0, SAMPLE, 0.0, None),
    ],
)
def test_execution_only_reduces_and_says_why(
    target_w: float, sample: object, power_w: float, reason: object
) -> None:
    assert isinstance(sample, type(SAMPLE))
    allowed = allow(target_w, sample, LIMITS)
    assert allowed.power_w == pytest.approx(power_w)
    assert allowed.reason is reason


@given(
    target_w=st.floats(-1e6, 1e6),
    load_w=st.floats(0.0, 1e5),
    pv_w=st.floats(0.0, 1e5),
    soc_frac=st.floats(0.0, 1.0),
    battery_c=st.floats(-60.0, 90.0),
)
def test_execution_never_raises_magnitude_and_never_exports(
    target_w: float, load_w: float, pv_w: float, soc_frac: float, battery_c: float
) -> None:
    sample = replace(SAMPLE, load_w=load_w, pv_w=pv_w, soc_frac=soc_frac, battery_c=battery_c)
    power_w = allow(target_w, sample, LIMITS).power_w
    assert abs(power_w) <= abs(target_w)
    assert power_w * target_w >= 0.0
    assert -power_w <= max(0.0, load_w - pv_w)
    assert power_w >= 0.0 or soc_frac > LIMITS.soc_min_frac


def test_vrla_takes_its_own_bands() -> None:
    limits = alter(LIMITS, chemistry=Chemistry.VRLA)
    band = limits.band_at(25.0)
    assert band is not None
    assert band.charge_c_rate == 0.15
