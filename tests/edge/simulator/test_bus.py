from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.simulator.bus import BusInput, solve_bus


def one(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([value])


# One string of 52 V at rest, 20 mOhm, charging above 52.2 V; rectifier of 5 kW at 54 V; 1,040 W of load.
BUS = BusInput(
    load_w=one(1040.0),
    pv_w=one(0.0),
    pv_max_v=one(55.0),
    rectifier_v=one(54.0),
    rectifier_w=one(5000.0),
    charge_limit_a=one(1e9),
    discharge_limit_a=one(1e9),
    charge_v=np.array([[52.2]]),
    discharge_v=np.array([[52.0]]),
    charge_ohm=np.array([[0.02]]),
    discharge_ohm=np.array([[0.02]]),
    closed=np.array([[True]]),
    last_v=one(53.0),
)
# With the rectifier below it, the string carries the load alone: V (52 - V) / 0.02 = 1,040.
ALONE_V = (52.0 + sqrt(52.0**2 - 4.0 * 0.02 * 1040.0)) / 2.0


def test_rectifier_holds_its_voltage_and_charges_the_string() -> None:
    bus = solve_bus(replace(BUS, rectifier_w=one(9000.0)))
    assert bus.bus_v[0] == 54.0
    assert bus.string_a[0, 0] == pytest.approx(90.0)  # (54 - 52.2) / 0.02
    assert bus.rectifier_a[0] == pytest.approx(90.0 + 1040.0 / 54.0)


def test_a_rectifier_at_its_limit_charges_with_what_it_has() -> None:
    bus = solve_bus(BUS)  # 90 A x 54 V and the load are above 5 kW
    # 3,960 W are left for the string: V (V - 52.2) / 0.02 = 3,960.
    assert bus.bus_v[0] == pytest.approx((52.2 + sqrt(52.2**2 + 4.0 * 0.02 * 3960.0)) / 2.0)
    assert bus.rectifier_a[0] * bus.bus_v[0] == pytest.approx(5000.0)
    assert bus.string_a[0, 0] * bus.bus_v[0] == pytest.approx(3960.0)


def test_a_rectifier_below_the_string_gives_nothing_and_the_string_carries_the_load() -> None:
    bus = solve_bus(replace(BUS, rectifier_v=one(47.0)))
    assert bus.rectifier_a[0] == 0.0
    assert bus.bus_v[0] == pytest.approx(ALONE_V)
    assert bus.bus_v[0] * -bus.string_a[0, 0] == pytest.approx(1040.0)


def test_between_rest_and_full_load_the_rectifier_shares_with_the_string() -> None:
    bus = solve_bus(replace(BUS, rectifier_v=one(51.8)))
    assert bus.string_a[0, 0] == pytest.approx(-10.0)  # (51.8 - 52) / 0.02
    assert bus.rectifier_a[0] == pytest.approx(1040.0 / 51.8 - 10.0)


def test_an_open_string_leaves_the_load_to_the_rectifier_at_its_lower_voltage() -> None:
    bus = solve_bus(replace(BUS, rectifier_v=one(47.0), closed=np.array([[False]])))
    assert (bus.up[0], bus.bus_v[0]) == (True, 47.0)
    assert bus.rectifier_a[0] == pytest.approx(1040.0 / 47.0)


def test_no_string_and_no_rectifier_is_a_dead_bus_even_with_sun() -> None:
    dead = replace(BUS, rectifier_w=one(0.0), closed=np.array([[False]]), pv_w=one(3000.0))
    bus = solve_bus(dead)
    assert (bus.up[0], bus.bus_v[0], bus.pv_w[0]) == (False, 0.0, 0.0)


def test_a_rectifier_at_its_limit_lets_the_string_give_the_rest() -> None:
    bus = solve_bus(replace(BUS, rectifier_w=one(500.0)))
    volts, amps = bus.bus_v[0], bus.string_a[0, 0]
    assert bus.rectifier_a[0] * volts == pytest.approx(500.0)
    assert -amps * volts == pytest.approx(540.0)


def test_surplus_sun_is_curtailed_at_the_chargers_voltage() -> None:
    sunny = replace(BUS, rectifier_v=one(47.0), pv_w=one(20_000.0), pv_max_v=one(53.0))
    bus = solve_bus(sunny)
    assert bus.bus_v[0] == 53.0
    assert bus.string_a[0, 0] == pytest.approx(40.0)  # (53 - 52.2) / 0.02
    assert bus.pv_w[0] == pytest.approx(1040.0 + 40.0 * 53.0)


def test_the_charge_limit_binds() -> None:
    bus = solve_bus(replace(BUS, charge_limit_a=one(30.0)))
    assert bus.string_a[0, 0] == pytest.approx(30.0)
    assert bus.bus_v[0] == 54.0


def test_sun_that_the_charge_limit_cannot_take_at_the_chargers_voltage_settles_below_it() -> None:
    weak_sun = replace(
        BUS,
        rectifier_w=one(0.0),
        load_w=one(0.0),
        pv_w=one(1060.0),
        pv_max_v=one(55.0),
        charge_limit_a=one(20.0),
    )
    bus = solve_bus(weak_sun)
    # Without the limit 53.0 V would take 40 A; at 20 A the 1,060 W of the sun are all taken at 53.0 V.
    assert bus.string_a[0, 0] == pytest.approx(20.0)
    assert bus.bus_v[0] == pytest.approx(53.0)
    assert bus.pv_w[0] == pytest.approx(1060.0)


def test_two_unlike_strings_share_by_their_own_voltage() -> None:
    two = replace(
        BUS,
        rectifier_w=one(0.0),
        charge_v=np.array([[52.2, 51.2]]),
        discharge_v=np.array([[52.0, 51.0]]),
        charge_ohm=np.array([[0.02, 0.02]]),
        discharge_ohm=np.array([[0.02, 0.02]]),
        closed=np.array([[True, True]]),
        load_w=one(100.0),
    )
    bus = solve_bus(two)
    # The fuller string gives the load and charges the emptier one.
    assert bus.string_a[0, 0] < 0.0 < bus.string_a[0, 1]
    assert bus.string_a.sum() * bus.bus_v[0] == pytest.approx(-100.0)


@settings(max_examples=200, deadline=None)
@given(
    load_w=st.floats(0.0, 12_000.0),
    pv_w=st.floats(0.0, 6_000.0),
    rectifier_v=st.floats(44.0, 56.0),
    rectifier_w=st.one_of(st.just(0.0), st.floats(100.0, 12_000.0)),
    rest_v=st.lists(st.floats(42.0, 54.0), min_size=3, max_size=3),
    ohm=st.lists(st.floats(0.005, 0.1), min_size=3, max_size=3),
    closed=st.lists(st.booleans(), min_size=3, max_size=3),
    charge_limit_a=st.sampled_from([0.0, 20.0, 1e9]),
    discharge_limit_a=st.sampled_from([0.0, 20.0, 1e9]),
)
def test_power_balances_and_no_part_does_what_it_cannot(
    load_w: float,
    pv_w: float,
    rectifier_v: float,
    rectifier_w: float,
    rest_v: list[float],
    ohm: list[float],
    closed: list[bool],
    charge_limit_a: float,
    discharge_limit_a: float,
) -> None:
    inp = BusInput(
        load_w=one(load_w),
        pv_w=one(pv_w),
        pv_max_v=one(55.0),
        rectifier_v=one(rectifier_v),
        rectifier_w=one(rectifier_w),
        charge_limit_a=one(charge_limit_a),
        discharge_limit_a=one(discharge_limit_a),
        charge_v=np.array([rest_v]) + 0.2,
        discharge_v=np.array([rest_v]),
        charge_ohm=np.array([ohm]),
        discharge_ohm=np.array([ohm]),
        closed=np.array([closed]),
        last_v=one(52.0),
    )
    bus = solve_bus(inp)
    volts, amps = float(bus.bus_v[0]), bus.string_a[0]
    assert 0.0 <= bus.rectifier_a[0] * volts <= rectifier_w * (1.0 + 1e-9)
    assert 0.0 <= bus.pv_w[0] <= pv_w + 1e-9
    assert all(a == 0.0 for a, c in zip(amps, closed, strict=True) if not c)
    if not bus.up[0]:
        assert (volts, float(np.abs(amps).sum())) == (0.0, 0.0)
        # Only an overload, or nothing to form the bus with, brings it down.
        assert rectifier_w < load_w or not (any(closed) or rectifier_w > 0.0)
        return
    given_w = bus.rectifier_a[0] * volts + bus.pv_w[0]
    assert given_w - load_w - amps.sum() * volts == pytest.approx(0.0, abs=1e-5 * max(load_w, pv_w, 100.0))
