"""From a reserve's power to a rectifier voltage, ten times a second. Pure.

The one-second loop (`control.py`) feels its way and waits for each move to settle; a reserve cannot. While one is in
force the rectifier stands just above the voltage at which discharge begins, so that an answer is a few centivolts
away, and the voltage follows from resistance and that rest voltage, both learned. As there: never below the live
backstop, the rectifier never off, charging only at float through the charging limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from edge.gateway.control import Loop, on_grid, rest_guess_v
from edge.gateway.limits import OwnLimits, Reason
from edge.modbus.port import Capabilities, QuickSample

_IDLE_A: Final = 0.5  # below this no current flows, as far as a BMS shunt can tell
_SEEN_A: Final = 1.2  # a first current counts above this, in two looks running: four times a shunt's noise
_STANDBY_V: Final = 0.03  # above the voltage at which discharge begins, in standby
_SEEK_V: Final = 0.02  # a move while that voltage is unknown, or turns out to lie lower
_FREE_V: Final = (
    0.15  # the bus lies this far from the setpoint: it is still moving, or the battery carries all
)
_STEADY_V: Final = 0.05  # nothing is learned from the sample after a larger move
_LEARN: Final = 0.3  # of a new observation; a shunt's noise is a millivolt here
_HYSTERESIS: Final = 0.6  # of a voltage step: noise moves no register


@dataclass(frozen=True, slots=True, kw_only=True)
class Actuator:
    """What the fast loop knows and asks: rectifier voltage, V, and charging limit, A.

    `rest_v` is the setpoint at which discharge begins, as the controller's own voltmeter counts it, `known` whether it
    was seen; `ohm` the battery's resistance. `seen_v`, `seen_a` are the setpoint and current that `ohm` is learned
    from; `moved_v` how far the last move went.
    """

    rest_v: float
    ohm: float
    volts: float
    charge_limit_a: float = 0.0
    known: bool = False
    seen_v: float = 0.0
    seen_a: float = 0.0
    moved_v: float = 1.0
    held: Reason | None = None


def start_actuator(loop: Loop, soc_frac: float, capabilities: Capabilities, limits: OwnLimits) -> Actuator:
    """Return the actuator at the start of a reserve: at a guess of where discharge begins, charging closed."""
    guess_v = max(_floor_v(capabilities, limits), rest_guess_v(limits.chemistry, soc_frac))
    guess_v = min(guess_v, capabilities.float_v)
    return Actuator(rest_v=guess_v, ohm=loop.ohm, volts=capabilities.float_v)


def _floor_v(capabilities: Capabilities, limits: OwnLimits) -> float:
    return max(capabilities.backstop_v, limits.bus_min_v)


def aim(
    actuator: Actuator,
    target_w: float,
    sample: QuickSample,
    capabilities: Capabilities,
    limits: OwnLimits,
    *,
    discharges: bool = True,
) -> Actuator:
    """Return the next voltage and charging limit for a battery power, W, charging positive.

    Args:
        actuator: As it was written last.
        target_w: Already within the site's limits.
        sample: Made just now.
        capabilities: The cabinet's.
        limits: The site's own.
        discharges: Whether the reserve may ask for discharge at all; without, float is its standby.
    """
    learned = _learn(actuator, sample)
    bus_v = max(sample.bus_v, 40.0)
    if target_w > 0.0 or not discharges:
        limit_a = max(0.0, target_w) / bus_v
        short = sample.battery_w < 0.9 * target_w and actuator.charge_limit_a >= 0.98 * limit_a
        held = Reason.BATTERY_ACCEPTANCE if short and target_w > 0.0 else None
        moved_v = capabilities.float_v - actuator.volts
        return replace(
            learned, volts=capabilities.float_v, charge_limit_a=limit_a, moved_v=moved_v, held=held
        )
    floor_v = _floor_v(capabilities, limits)
    wanted_a = target_w / bus_v
    wish_v = max(floor_v, min(capabilities.float_v, _wish_v(learned, wanted_a, sample)))
    volts = on_grid(wish_v, floor_v, capabilities)
    if abs(wish_v - actuator.volts) < _HYSTERESIS * capabilities.voltage_step_v:
        volts = actuator.volts
    short = sample.battery_w / bus_v - wanted_a > max(1.0, 0.05 * -wanted_a)
    held = Reason.BACKSTOP if short and volts <= floor_v and actuator.volts <= floor_v + 0.01 else None
    return replace(learned, volts=volts, charge_limit_a=0.0, moved_v=volts - actuator.volts, held=held)


def _wish_v(actuator: Actuator, wanted_a: float, sample: QuickSample) -> float:
    """Return the voltage before rounding: where the current wanted flows, or just above where any does."""
    if actuator.known:
        return actuator.rest_v + (wanted_a * actuator.ohm if wanted_a < -_IDLE_A else _STANDBY_V)
    if actuator.volts > actuator.rest_v + _STANDBY_V + 0.01:
        return actuator.rest_v + _STANDBY_V  # the guess lies on the high side: begin there
    there = abs(sample.bus_v - actuator.volts) < _FREE_V
    waits = not there or actuator.seen_v == actuator.volts  # a second look decides
    return actuator.volts if waits else actuator.volts - _SEEK_V


def _learn(actuator: Actuator, sample: QuickSample) -> Actuator:
    """Learn rest voltage and resistance from a setpoint that held still and a battery that gives only a part."""
    current_a = sample.battery_w / max(sample.bus_v, 40.0)
    steady = abs(actuator.moved_v) <= _STEADY_V and abs(sample.bus_v - actuator.volts) < _FREE_V
    rest_v, ohm = actuator.volts - current_a * actuator.ohm, actuator.ohm
    if not actuator.known:
        flows = steady and current_a < -_SEEN_A
        known = flows and actuator.seen_v == actuator.volts
        seen_v = actuator.volts if flows else 0.0
        return replace(actuator, rest_v=rest_v if known else actuator.rest_v, known=known, seen_v=seen_v)
    if not steady:
        return actuator
    if current_a > -_IDLE_A:  # asked for current below the rest voltage, and none flows: it lies lower
        lower = actuator.volts < actuator.rest_v - _IDLE_A * ohm
        return replace(actuator, rest_v=actuator.rest_v - _SEEK_V) if lower else actuator
    moved_a = current_a - actuator.seen_a
    seen_v, seen_a = actuator.seen_v, actuator.seen_a
    if abs(moved_a) > 5.0:
        seen = (actuator.volts - seen_v) / moved_a
        if 0.25 * ohm < seen < 4.0 * ohm:
            ohm += _LEARN * (seen - ohm)
        seen_v, seen_a = actuator.volts, current_a
    return replace(
        actuator,
        rest_v=actuator.rest_v + _LEARN * (rest_v - actuator.rest_v),
        ohm=ohm,
        seen_v=seen_v,
        seen_a=seen_a,
    )
