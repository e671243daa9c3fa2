"""Reserve products on synthetic frequency steps at 10 Hz: when, how much, for how long; and what a site must refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as alter

from edge.gateway.check_devices import check_reserves
from edge.gateway.frequency import (
    FastPath,
    NoReserve,
    Response,
    droop_w,
    offered,
    refuse_reserve,
    refuse_reserve_command,
    respond,
)
from edge.gateway.limits import Reason, Site
from edge.gateway.products import Shape, parse_products, shipped_products
from edge.plan import GridReserve
from tests.edge.gateway.bench import LIMITS, NOON
from tests.edge.gateway.test_commands import CAPABILITIES, FIELD, SAMPLE

TICK = timedelta(milliseconds=100)
FCR_D = GridReserve(
    product="fcr_d",
    up_w=1000.0,
    down_w=0.0,
    droop_hz=0.4,
    dead_band_hz=0.1,
    activation_s=8.0,
    energy_wh=300.0,
)
FFR = replace(FCR_D, product="ffr_1.3", droop_hz=0.2, activation_s=0.5)
QUICK = FastPath(meter_error_hz=0.01, meter_period_s=0.1, actuator_s=0.2, ramp_w_per_s=5000.0)
ROOMY = replace(SAMPLE, soc_frac=0.6, load_w=2000.0, pv_w=0.0)
MEASURES = replace(CAPABILITIES, frequency_step_hz=0.01)
SEES = replace(FIELD, sample=ROOMY, capabilities=MEASURES)


def run(reserve: GridReserve, steps: list[tuple[float, float | None]]) -> list[Response]:
    """Return the responses of a 10 Hz loop; each step is (seconds, Hz)."""
    response, out = Response(at=NOON), []
    for seconds, hz in steps:
        for _ in range(round(seconds * 10)):
            response = respond(response, reserve, shipped_products()[reserve.product], hz, response.at + TICK)
            out.append(response)
    return out


@pytest.mark.parametrize(
    ("hz", "expected_w"),
    [(50.0, 0.0), (49.9, 0.0), (49.7, -500.0), (49.5, -1000.0), (49.0, -1000.0), (50.5, 0.0)],
)
def test_fcr_d_up_is_half_at_49_7_and_full_at_49_5(hz: float, expected_w: float) -> None:
    assert droop_w(FCR_D, hz) == pytest.approx(expected_w, abs=1e-6)


def test_fcr_d_down_charges_above_the_dead_band() -> None:
    assert droop_w(replace(FCR_D, down_w=800.0), 50.3) == pytest.approx(400.0)


def test_a_step_is_half_answered_in_half_the_activation_time_and_full_in_all_of_it() -> None:
    seen = run(FCR_D, [(1.0, 50.0), (30.0, 49.4)])
    # 1,000 W in 8 s are 12.5 W a tick.
    assert seen[9].power_w == 0.0
    assert seen[10].power_w == pytest.approx(-12.5)
    assert seen[49].power_w == pytest.approx(-500.0)
    assert seen[59].power_w == pytest.approx(-625.0)  # the market asks for 50 % in 5 s
    assert seen[89].power_w == pytest.approx(-1000.0)


def test_recovery_goes_back_at_the_rate_of_the_activation() -> None:
    seen = run(FCR_D, [(25.0, 49.4), (20.0, 50.0)])
    assert seen[249].power_w == pytest.approx(-1000.0)
    assert seen[289].power_w == pytest.approx(-500.0)
    assert seen[329].power_w == pytest.approx(0.0, abs=1e-9)


def test_energy_is_the_ramp_and_what_follows() -> None:
    last = run(FCR_D, [(60.0, 49.4)])[-1]
    # 8 s at 500 W mean, then 52 s at 1,000 W: 56,000 Ws = 15.56 Wh, less half a tick of the loop.
    assert last.up_wh == pytest.approx(15.56, abs=0.05)
    assert last.down_wh == 0.0


def test_energy_that_is_used_up_ends_the_answer() -> None:
    seen = run(replace(FCR_D, energy_wh=10.0), [(90.0, 49.4)])
    assert seen[-1].power_w == pytest.approx(0.0, abs=1e-9)
    # The way back to zero takes 8 s at 500 W mean: 1.1 Wh beyond the bound.
    assert seen[-1].up_wh == pytest.approx(11.1, abs=0.05)


def test_ffr_gives_all_within_its_time_holds_and_is_ready_again_after_a_quarter_of_an_hour() -> None:
    seen = run(FFR, [(1.0, 50.0), (0.5, 49.70), (34.0, 50.0), (1.0, 49.6)])
    assert seen[9].power_w == 0.0
    assert seen[14].power_w == pytest.approx(-1000.0)  # 0.5 s after the trigger at 49.7 Hz
    assert seen[310].power_w == pytest.approx(-1000.0)  # held though the frequency is back
    assert seen[330].power_w == pytest.approx(0.0, abs=1e-9)
    assert seen[-1].power_w == pytest.approx(0.0, abs=1e-9)  # not ready yet
    again = run(FFR, [(0.5, 49.69), (900.0, 50.0), (0.5, 49.69)])
    assert again[-1].power_w == pytest.approx(-1000.0)


def test_ffr_does_not_answer_above_its_trigger() -> None:
    assert run(FFR, [(5.0, 49.71)])[-1].power_w == 0.0


def test_without_a_frequency_nothing_is_held() -> None:
    seen = run(FCR_D, [(30.0, 49.4), (0.1, None)])
    assert seen[-2].power_w == pytest.approx(-1000.0)
    assert seen[-1].power_w == 0.0


def test_an_instant_that_does_not_move_changes_nothing() -> None:
    response = Response(at=NOON, power_w=-10.0)
    assert respond(response, FCR_D, shipped_products()["fcr_d"], 49.0, NOON) is response


def fast(**changes: float) -> FastPath:
    return alter(QUICK, **changes)


@pytest.mark.parametrize(
    ("changes", "path", "expected"),
    [
        ({}, QUICK, None),
        ({"product": "mfrr"}, QUICK, NoReserve.PRODUCT_NOT_OFFERED),
        ({"droop_hz": 0.0}, QUICK, NoReserve.RESERVE_UNSOUND),
        ({"up_w": -1.0}, QUICK, NoReserve.RESERVE_UNSOUND),
        ({"product": "fcr_n"}, QUICK, NoReserve.RESERVE_UNSOUND),  # symmetric
        ({"product": "ffr_1.3", "droop_hz": 0.2, "down_w": 10.0}, QUICK, NoReserve.RESERVE_UNSOUND),
        # FFR of 1.3 s is triggered at 49.7 Hz and nowhere else.
        ({"product": "ffr_1.3", "droop_hz": 0.2, "activation_s": 0.5}, QUICK, None),
        ({"product": "ffr_1.3", "droop_hz": 0.21, "activation_s": 0.5}, QUICK, NoReserve.RESERVE_UNSOUND),
        ({"energy_wh": 0.0}, QUICK, NoReserve.RESERVE_UNSOUND),
        ({}, None, NoReserve.NO_FAST_METER),
        ({}, fast(meter_error_hz=0.011), NoReserve.METER_TOO_COARSE),
        ({}, fast(meter_period_s=0.11), NoReserve.METER_TOO_COARSE),
        ({}, fast(actuator_s=2.41), NoReserve.ACTUATOR_TOO_SLOW),  # 0.1 + 2.41 > 2.5 s
        ({}, fast(actuator_s=0.8), None),
        ({"activation_s": 9.5}, QUICK, NoReserve.ACTIVATION_TOO_SLOW),  # half of it: 0.3 + 4.75 > 5 s
        ({"activation_s": 9.3}, QUICK, None),
        (
            {"product": "fcr", "up_w": 500.0, "down_w": 500.0, "activation_s": 29.8},
            QUICK,
            NoReserve.ACTIVATION_TOO_SLOW,
        ),
        ({"product": "fcr", "up_w": 500.0, "down_w": 500.0, "activation_s": 29.6}, QUICK, None),
        # FFR in 0.7 s over a 1 s loop: refused; with the quick actuator the ramp of 0.2 s just fits.
        ({"product": "ffr_0.7", "activation_s": 0.3}, fast(actuator_s=1.0), NoReserve.ACTUATOR_TOO_SLOW),
        ({"product": "ffr_0.7", "activation_s": 0.3}, QUICK, None),
        ({"product": "ffr_0.7", "activation_s": 0.5}, QUICK, NoReserve.ACTIVATION_TOO_SLOW),
        ({"up_w": 2001.0}, QUICK, NoReserve.RESERVE_POWER),  # the load is 2,000 W
        # (0.6 - 0.15) x 15,360 x 0.97 = 6,705 Wh
        ({"energy_wh": 6706.0}, QUICK, NoReserve.RESERVE_ENERGY),
        ({"energy_wh": 6704.0}, QUICK, None),
    ],
)
def test_what_the_hardware_cannot_meet_is_refused_with_its_reason(
    changes: dict[str, Any], path: FastPath | None, expected: NoReserve | None
) -> None:
    assert refuse_reserve(replace(FCR_D, **changes), path, MEASURES, ROOMY, LIMITS) == expected


def test_a_battery_that_floats_has_no_room_for_down_regulation() -> None:
    symmetric = replace(FCR_D, product="fcr", up_w=500.0, down_w=500.0)
    assert refuse_reserve(symmetric, QUICK, MEASURES, ROOMY, LIMITS) is None
    full = replace(ROOMY, soc_frac=1.0)
    assert refuse_reserve(symmetric, QUICK, MEASURES, full, LIMITS) is NoReserve.RESERVE_ENERGY
    unknown = replace(ROOMY, soc_frac=None)
    assert refuse_reserve(FCR_D, QUICK, MEASURES, unknown, LIMITS) is NoReserve.RESERVE_ENERGY


def test_the_energy_of_one_full_activation_must_be_there_whatever_the_command_says() -> None:
    # fcr_n lasts an hour: 1,000 W up need 1,000 Wh above the floor of 0.15; 1,000 / 0.97 / 15,360 = 0.0671.
    hour = replace(FCR_D, product="fcr_n", up_w=1000.0, down_w=1000.0, energy_wh=1.0)
    for soc_frac, expected in ((0.2172, None), (0.2170, NoReserve.RESERVE_ENERGY)):
        sample = replace(ROOMY, soc_frac=soc_frac)
        assert refuse_reserve(hour, QUICK, MEASURES, sample, LIMITS) == expected


@pytest.mark.parametrize(
    ("step_hz", "expected"),
    [(None, NoReserve.NO_FAST_METER), (0.1, NoReserve.METER_TOO_COARSE), (0.01, None), (0.001, None)],
)
def test_the_meter_counts_as_the_device_has_it_not_as_the_file_says(
    step_hz: float | None, expected: NoReserve | None
) -> None:
    seen = replace(MEASURES, frequency_step_hz=step_hz)
    assert refuse_reserve(FCR_D, QUICK, seen, ROOMY, LIMITS) == expected


def test_what_is_offered_follows_from_the_hardware_alone() -> None:
    # 0.1 + 1.1 s: too late for FFR (reacts within 0.35 to 0.65 s), in time for the rest.
    found = offered(fast(actuator_s=1.1), MEASURES)
    assert {name for name, reason in found.items() if reason is None} == {"fcr", "fcr_d", "fcr_n"}
    assert {found[name] for name in ("ffr_0.7", "ffr_1.0", "ffr_1.3")} == {NoReserve.ACTUATOR_TOO_SLOW}
    assert set(offered(QUICK, MEASURES).values()) == {None}
    assert set(offered(None, MEASURES).values()) == {NoReserve.NO_FAST_METER}


BODY = FCR_D


@pytest.mark.parametrize(
    ("body", "site", "expected"),
    [
        (BODY, SEES, None),
        (replace(BODY, energy_wh=float("nan")), SEES, Reason.NOT_FINITE),
        (replace(BODY, droop_hz=float("inf")), SEES, Reason.NOT_FINITE),
        (BODY, replace(SEES, sample=None), Reason.STALE_FIELD_DATA),
        (BODY, replace(SEES, fault=True), Reason.DEVICE_FAULT),
        (
            BODY,
            replace(SEES, capabilities=replace(MEASURES, full_load_blocks_only=True)),
            Reason.PARTIAL_POWER_NOT_OFFERED,
        ),
        (BODY, replace(SEES, sample=replace(ROOMY, bus_v=47.0)), Reason.BUS_WINDOW),
        (BODY, replace(SEES, sample=replace(ROOMY, battery_c=61.0)), Reason.C_RATE_BY_TEMPERATURE),
        # 300 Wh of 15,360 are 0.0195 of a cycle.
        (BODY, replace(SEES, cycles_today=0.9803), None),
        (BODY, replace(SEES, cycles_today=0.9806), Reason.CYCLES_PER_DAY),
    ],
)
def test_a_reserve_is_refused_whole_by_the_sites_own_limits(
    body: GridReserve, site: Site, expected: Reason | None
) -> None:
    until = NOON + timedelta(hours=4)
    assert refuse_reserve_command(body, NOON, until, site, LIMITS, QUICK, NOON) == expected


def test_a_reserve_longer_than_the_hold_is_refused() -> None:
    for hours, expected in ((24.0, None), (24.01, Reason.HOLD_TOO_LONG)):
        until = NOON + timedelta(hours=hours)
        assert refuse_reserve_command(BODY, NOON, until, SEES, LIMITS, QUICK, NOON) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"x: {shape: step, react_s: 1, activation_s: 1, full_h: 1}",  # a step without a trigger
        b"x: {shape: droop, react_s: 1, activation_s: 1, full_h: 1, trigger_hz: 49.7}",
        b"x: {shape: droop, react_s: 2, activation_s: 1, full_h: 1}",
        b"x: {shape: droop, react_s: 1, activation_s: 1, full_h: 1, hold: 3}",  # a misspelt key
        b"x: {shape: droop, react_s: 1, activation_s: 1}",
    ],
)
def test_a_product_that_contradicts_itself_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_products(text)


def test_the_check_names_what_can_be_offered_and_why_the_rest_cannot() -> None:
    assert "no fast frequency meter" in check_reserves(None, MEASURES).found
    told = check_reserves(fast(actuator_s=1.1), MEASURES)
    assert told.found.startswith("fcr_n, fcr_d, fcr; not offered: ffr_1.3: actuator_too_slow")
    assert told.fix == ""
    none = check_reserves(fast(meter_error_hz=0.05), MEASURES)
    assert none.found.startswith("none; not offered: fcr_n: meter_too_coarse")
    assert none.fix != ""


def test_ffr_pairs_are_those_of_the_market() -> None:
    pairs = {p.trigger_hz: p.activation_s for p in shipped_products().values() if p.shape is Shape.STEP}
    assert pairs == {49.7: 1.3, 49.6: 1.0, 49.5: 0.7}
