"""Reserve products on synthetic frequency steps at 10 Hz: when, how much, for how long; and what a site must refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as alter

from edge.gateway.frequency import (
    PRODUCTS,
    FastPath,
    NoReserve,
    Response,
    droop_w,
    refuse_reserve,
    respond,
)
from edge.plan import GridReserve
from edge.simulator.faults import Fault
from tests.edge.gateway.bench import LIMITS, NOON, bench
from tests.edge.gateway.test_commands import SAMPLE

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


def run(reserve: GridReserve, steps: list[tuple[float, float | None]]) -> list[Response]:
    """Return the responses of a 10 Hz loop; each step is (seconds, Hz)."""
    response, out = Response(at=NOON), []
    for seconds, hz in steps:
        for _ in range(round(seconds * 10)):
            response = respond(response, reserve, PRODUCTS[reserve.product], hz, response.at + TICK)
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
    assert respond(response, FCR_D, PRODUCTS["fcr_d"], 49.0, NOON) is response


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
        ({"product": "ffr_1.3", "down_w": 10.0}, QUICK, NoReserve.RESERVE_UNSOUND),
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
    assert refuse_reserve(replace(FCR_D, **changes), path, ROOMY, LIMITS) == expected


def test_a_battery_that_floats_has_no_room_for_down_regulation() -> None:
    symmetric = replace(FCR_D, product="fcr", up_w=500.0, down_w=500.0)
    assert refuse_reserve(symmetric, QUICK, ROOMY, LIMITS) is None
    full = replace(ROOMY, soc_frac=1.0)
    assert refuse_reserve(symmetric, QUICK, full, LIMITS) is NoReserve.RESERVE_ENERGY
    assert refuse_reserve(FCR_D, QUICK, replace(ROOMY, soc_frac=None), LIMITS) is NoReserve.RESERVE_ENERGY


async def test_a_step_seen_through_the_meter_of_a_simulated_site(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        response = Response(at=NOON)
        for tick in range(1, 61):
            if tick == 11:
                made.fleet.put(Fault(site=0, kind="grid_frequency", value=49.4))
            made.fleet.advance_to(made.clock.now() + tick * TICK)
            hz = await made.port.read_grid_hz()
            response = respond(response, FCR_D, PRODUCTS["fcr_d"], hz, NOON + tick * TICK)
        # The step is seen one tick late at the most: 4.9 s or 5 s of ramp at 125 W/s.
        assert -625.0 <= response.power_w <= -610.0
