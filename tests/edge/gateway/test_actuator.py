"""The fast loop's voltage: bounds that hold for whatever a sensor says, and a battery followed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gateway.actuator import Actuator, aim, start_actuator
from edge.gateway.control import start_loop
from edge.gateway.frequency import Response, respond
from edge.gateway.limits import Reason
from edge.gateway.products import shipped_products
from edge.modbus.port import QuickSample
from tests.edge.gateway.bench import LIMITS, NOON
from tests.edge.gateway.test_commands import CAPABILITIES
from tests.edge.gateway.test_frequency import FCR_D, FFR, TICK

KNOWN = Actuator(rest_v=53.2, ohm=0.005, volts=53.23, known=True, moved_v=0.0)
IDLE = QuickSample(bus_v=53.23, battery_w=0.0)
any_power = st.floats(-20_000.0, 20_000.0)


def test_a_known_battery_is_answered_in_one_look() -> None:
    # 1,064.6 W at 53.23 V are 20 A: 0.1 V under the rest voltage.
    assert aim(KNOWN, -1064.6, IDLE, CAPABILITIES, LIMITS).volts == pytest.approx(53.10)
    assert aim(KNOWN, 0.0, IDLE, CAPABILITIES, LIMITS).volts == pytest.approx(53.23)
    charged = aim(KNOWN, 1064.6, IDLE, CAPABILITIES, LIMITS)
    assert charged.volts == 54.4
    assert charged.charge_limit_a == pytest.approx(20.0)


def test_an_unknown_battery_is_felt_for_in_small_moves_and_known_after_two_looks() -> None:
    start = start_actuator(start_loop(CAPABILITIES, LIMITS), 0.7, CAPABILITIES, LIMITS)
    assert (start.known, start.volts) == (False, 54.4)
    # 3.335 V a cell at 0.7: 53.36 V; a step of standby above it.
    first = aim(start, 0.0, QuickSample(bus_v=54.4, battery_w=0.0), CAPABILITIES, LIMITS)
    assert first.volts == pytest.approx(53.39)
    second = aim(first, 0.0, QuickSample(bus_v=53.39, battery_w=0.0), CAPABILITIES, LIMITS)
    assert second.volts == pytest.approx(53.37)
    third = replace(second, moved_v=-0.02)
    seen = aim(third, 0.0, QuickSample(bus_v=53.37, battery_w=-106.74), CAPABILITIES, LIMITS)
    assert (seen.known, seen.volts) == (False, 53.37)  # a second look decides
    known = aim(seen, 0.0, QuickSample(bus_v=53.37, battery_w=-106.74), CAPABILITIES, LIMITS)
    # 2 A over 1.5 x 50 / 15,360 = 4.88 mOhm: it begins 9.8 mV higher, and standby is 30 mV above that.
    assert known.known
    assert known.rest_v == pytest.approx(53.3798, abs=1e-3)
    assert known.volts == pytest.approx(53.41)


def test_a_rest_voltage_that_has_fallen_is_found_again() -> None:
    actuator, volts = KNOWN, []
    for _ in range(12):  # asked for 10 A, none flows: the battery rests lower than thought
        actuator = aim(
            actuator, -532.0, QuickSample(bus_v=actuator.volts, battery_w=0.0), CAPABILITIES, LIMITS
        )
        volts.append(actuator.volts)
    assert volts[0] == pytest.approx(53.15)
    assert volts[-1] < 53.0
    assert all(b <= a for a, b in pairwise(volts))


def test_at_the_backstop_what_is_missing_is_named() -> None:
    low = replace(KNOWN, rest_v=47.05, volts=47.0)
    held = aim(low, -2000.0, QuickSample(bus_v=47.0, battery_w=-500.0), CAPABILITIES, LIMITS)
    assert (held.volts, held.held) == (47.0, Reason.BACKSTOP)


@given(
    target_w=any_power,
    bus_v=st.floats(0.0, 60.0),
    battery_w=any_power,
    rest_v=st.floats(40.0, 60.0),
    ohm=st.floats(1e-4, 1.0),
    volts=st.floats(47.0, 54.4),
    known=st.booleans(),
    discharges=st.booleans(),
)
def test_no_reading_writes_a_voltage_outside_backstop_and_float(
    target_w: float,
    bus_v: float,
    battery_w: float,
    rest_v: float,
    ohm: float,
    volts: float,
    known: bool,
    discharges: bool,
) -> None:
    before = Actuator(rest_v=rest_v, ohm=ohm, volts=volts, known=known, moved_v=0.0)
    sample = QuickSample(bus_v=bus_v, battery_w=battery_w)
    after = aim(before, target_w, sample, CAPABILITIES, LIMITS, discharges=discharges)
    assert 47.0 <= after.volts <= 54.4
    assert 0.0 <= after.charge_limit_a <= max(0.0, target_w) / 40.0
    if after.volts < 54.4:
        assert after.charge_limit_a == 0.0
        assert discharges
    assert 0.0 < after.ohm <= 4.0 * ohm


@given(
    hz=st.lists(st.one_of(st.none(), st.floats(45.0, 55.0)), min_size=1, max_size=200),
    product=st.sampled_from(["fcr_d", "fcr", "ffr_1.3"]),
)
def test_no_frequency_asks_for_more_than_was_promised_or_faster(hz: list[float | None], product: str) -> None:
    reserve = FFR if product == "ffr_1.3" else replace(FCR_D, product=product, down_w=700.0, energy_wh=1.0)
    response = Response(at=NOON)
    fastest_w = max(reserve.up_w, reserve.down_w) * 0.1 / reserve.activation_s
    for value in hz:
        after = respond(response, reserve, shipped_products()[product], value, response.at + TICK)
        assert -reserve.up_w <= after.power_w <= reserve.down_w
        grown_w = abs(after.power_w) - abs(response.power_w)
        assert grown_w <= fastest_w + 1e-9
        if value is None:
            assert after.power_w == 0.0
        response = after
    # Beyond the promised energy only the way back to zero, at half power for the activation time.
    tail_wh = reserve.up_w * (reserve.activation_s + 0.2) / 3600.0
    assert response.up_wh <= reserve.energy_wh + tail_wh


def test_what_the_battery_gave_counts_where_it_is_more_than_what_was_asked() -> None:
    spent = Response(at=NOON, up_wh=10.0, given_wh=300.0)
    after = respond(spent, FCR_D, shipped_products()["fcr_d"], 49.0, NOON + timedelta(seconds=1))
    assert after.power_w == 0.0
