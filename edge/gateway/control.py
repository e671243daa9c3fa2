"""The closed loop on battery current: which rectifier voltage and charge limit make the battery do what is asked.

Pure. The rectifier is never switched off: discharge is made by lowering its voltage, never below the live backstop,
so that it takes over the load at once when the battery's protection opens (DOMAIN.md section 1, bus continuity).
Charge is made at float voltage by the charging current limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from math import floor
from typing import Final

from edge.gateway.limits import OwnLimits, Reason, exported_w, spare_load_w
from edge.modbus.port import Capabilities, FieldSample
from telemetry.model.battery import Chemistry

# Of the current error, removed per step: towards more discharge stable for a resistance known within a factor of two,
# towards less all of it at once: a gateway that executes may only reduce.
_GAIN: Final = 0.7
_LESS_GAIN: Final = 1.0
_MAX_STEP_V: Final = 0.6
_SEEK_V: Final = 0.01  # the least move while no current flows
_KNOWN_SOC_FRAC: Final = 0.03  # a rest voltage that was seen counts while the SoC is this near
_IDLE_A: Final = 0.3  # below this no current flows: the bus lies between charge and discharge voltage
_FREE_V: Final = 0.15  # the bus lies this far above the setpoint: the battery alone carries the load
_CARRIES_FRAC: Final = 0.985  # of load less PV: as far as the meters can tell, the battery alone carries it
_LESS_FRAC: Final = 0.10  # of the setpoint: the most that gives back energy delivered too much in the quarter
_MORE_FRAC: Final = (
    0.02  # of the setpoint: what the BMS and the independent meter may disagree about, no more
)
_CORRECTION_S: Final = 45.0
# Where discharge begins, (SoC, V/cell): upper side of published LFP and lead-acid rest curves [I]. Only a first guess:
# the loop feels its way down from there and remembers what it found.
_REST_V: Final = {
    Chemistry.LFP: (
        16,
        ((0.0, 3.0), (0.1, 3.22), (0.3, 3.29), (0.6, 3.31), (0.7, 3.335), (0.95, 3.35), (1.0, 3.39)),
    ),
    Chemistry.VRLA: (24, ((0.0, 1.95), (0.2, 2.0), (0.5, 2.06), (0.8, 2.12), (1.0, 2.17))),
}


def rest_guess_v(chemistry: Chemistry, soc_frac: float) -> float:
    """Return the bus voltage under which a battery of that charge probably begins to discharge, V."""
    cells, curve = _REST_V[chemistry]
    for (low, low_v), (high, high_v) in pairwise(curve):
        if soc_frac <= high:
            return cells * (low_v + (high_v - low_v) * max(0.0, soc_frac - low) / (high - low))
    return cells * curve[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """The loop's memory and its outputs: rectifier voltage, V, and charging limit, A.

    `want_v` is the voltage before rounding to the device's step, `ohm` the present estimate of the battery's
    resistance, `rest_v` of the voltage at which discharge begins, seen at `rest_soc_frac` (None: not yet seen).
    `last_v`, `last_a` are the discharge sample that `ohm` is learned from; `after_w` the battery power expected right
    after the write (None: not known). `inverter_w` is asked of a declared inverter, W at its AC side, charging positive.
    """

    want_v: float
    volts: float
    charge_limit_a: float
    ohm: float
    rest_v: float | None = None
    rest_soc_frac: float = -1.0
    last_v: float = 0.0
    last_a: float = 0.0
    held: Reason | None = None
    after_w: float | None = None
    inverter_w: float = 0.0


def start_loop(capabilities: Capabilities, limits: OwnLimits) -> Loop:
    """Return a loop at float with charging closed; resistance 1.5 ohm per rated Ah at 50 V [I], learned from there."""
    return Loop(
        want_v=capabilities.float_v,
        volts=capabilities.float_v,
        charge_limit_a=0.0,
        ohm=1.5 * 50.0 / limits.rated_wh,
    )


def at_float(loop: Loop, capabilities: Capabilities, charge_limit_a: float = 0.0) -> Loop:
    """Return the outputs for float voltage with a charging limit; what was learned stays."""
    return replace(
        loop,
        want_v=capabilities.float_v,
        volts=capabilities.float_v,
        charge_limit_a=charge_limit_a,
        last_a=0.0,
        held=None,
        after_w=None,
        inverter_w=0.0,
    )


def step(
    loop: Loop, target_w: float, sample: FieldSample, capabilities: Capabilities, limits: OwnLimits
) -> Loop:
    """Return the next outputs for a battery power, W; `held` names what physically keeps it from the target."""
    if target_w < 0.0:
        inverter_w = exported_w(target_w, sample, limits)
        seen = sample
        if limits.export is not None:  # what the inverter takes from the bus is load to the battery
            seen = replace(sample, load_w=sample.load_w - loop.inverter_w / limits.export.efficiency)
        return replace(_discharge(loop, target_w, seen, capabilities, limits), inverter_w=inverter_w)
    if target_w > 0.0:
        return _charge(loop, target_w, sample, capabilities)
    return at_float(loop, capabilities)


def _charge(loop: Loop, target_w: float, sample: FieldSample, capabilities: Capabilities) -> Loop:
    wanted_a = target_w / max(sample.bus_v, 40.0)
    closed = at_float(loop, capabilities, charge_limit_a=wanted_a)
    accepts_less = sample.battery_w < 0.95 * target_w and loop.charge_limit_a >= 0.98 * wanted_a
    return replace(closed, held=Reason.BATTERY_ACCEPTANCE if accepts_less else None)


def _discharge(
    loop: Loop, target_w: float, sample: FieldSample, capabilities: Capabilities, limits: OwnLimits
) -> Loop:
    floor_v = max(capabilities.backstop_v, limits.bus_min_v)
    if capabilities.full_load_blocks_only:
        whole = -target_w >= 0.95 * spare_load_w(sample)
        volts = floor_v if whole else capabilities.float_v
        held = None if whole else Reason.PARTIAL_POWER_NOT_OFFERED
        return replace(loop, want_v=volts, volts=volts, charge_limit_a=0.0, held=held)
    learned = _learn(loop, sample)
    wanted_a = target_w / max(sample.bus_v, 40.0)
    actual_a = sample.battery_w / max(sample.bus_v, 40.0)
    want_v = _move(learned, wanted_a, actual_a, sample, limits)
    bounded_v = max(floor_v, min(capabilities.float_v, want_v))
    short = actual_a - wanted_a > max(1.0, 0.05 * -wanted_a)
    volts = on_grid(bounded_v, floor_v, capabilities)
    follows = actual_a < -_IDLE_A and not sample.bus_v > loop.volts + _FREE_V
    after_a = actual_a + (volts - loop.volts) / learned.ohm
    held = Reason.BACKSTOP if short and bounded_v <= floor_v and loop.volts <= floor_v + 0.01 else None
    return replace(
        learned,
        want_v=bounded_v,
        volts=volts,
        charge_limit_a=0.0,
        held=held,
        after_w=after_a * sample.bus_v if follows else None,
    )


def _move(loop: Loop, wanted_a: float, actual_a: float, sample: FieldSample, limits: OwnLimits) -> float:
    """Return the next voltage."""
    free = sample.bus_v > loop.volts + _FREE_V and actual_a < -_IDLE_A
    error_a = wanted_a - actual_a
    if actual_a > -_IDLE_A and wanted_a < -_IDLE_A:
        # No current yet: jump to where discharge should begin, then feel the way in moves that cannot overshoot far.
        seen = (
            loop.rest_v is not None and abs(loop.rest_soc_frac - (sample.soc_frac or 0.0)) < _KNOWN_SOC_FRAC
        )
        known_v = loop.rest_v if seen else rest_guess_v(limits.chemistry, sample.soc_frac or 0.0)
        if known_v is not None and loop.want_v > known_v + _SEEK_V:
            return known_v + (0.8 * wanted_a * loop.ohm if seen else 0.0)
        return loop.want_v - max(_SEEK_V, -wanted_a * loop.ohm)
    carries = actual_a < -_IDLE_A and -sample.battery_w >= _CARRIES_FRAC * spare_load_w(sample)
    if (free or carries) and error_a < 0.0:
        return (
            loop.want_v
        )  # the battery carries all there is; a lower voltage would wait for the load to rise
    base_v = sample.bus_v if free else loop.want_v
    gain = _GAIN if error_a < 0.0 else _LESS_GAIN
    return base_v + max(-_MAX_STEP_V, min(_MAX_STEP_V, gain * error_a * loop.ohm))


def _learn(loop: Loop, sample: FieldSample) -> Loop:
    """Learn resistance and rest voltage from two discharge samples that differ enough to tell."""
    current_a, volts = sample.battery_w / max(sample.bus_v, 40.0), sample.bus_v
    if current_a > -1.0:
        return replace(loop, last_a=0.0)
    ohm = loop.ohm
    moved_a = current_a - loop.last_a
    if loop.last_a < -1.0 and abs(moved_a) > 3.0 and abs(volts - loop.last_v) > 0.02:
        seen = (volts - loop.last_v) / moved_a
        if 0.25 * ohm < seen < 4.0 * ohm:
            ohm += 0.3 * (seen - ohm)
    return replace(
        loop,
        ohm=ohm,
        rest_v=volts - current_a * ohm,
        rest_soc_frac=sample.soc_frac or 0.0,
        last_v=volts,
        last_a=current_a,
    )


def on_grid(volts: float, floor_v: float, capabilities: Capabilities) -> float:
    """Round to the device's voltage step, never under the floor."""
    step_v = capabilities.voltage_step_v
    if step_v <= 0.0:
        return volts
    rounded = floor(volts / step_v + 0.5) * step_v
    if rounded < floor_v:
        rounded += step_v
    return round(min(rounded, capabilities.float_v), 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """The energy account of the running quarter of an hour, Wh at the battery terminals, signed."""

    wanted_wh: float = 0.0
    actual_wh: float = 0.0

    def add(self, wanted_w: float, actual_w: float, elapsed: timedelta) -> Quarter:
        """Return the account after a stretch at these powers."""
        hours = elapsed.total_seconds() / 3600.0
        return Quarter(
            wanted_wh=self.wanted_wh + wanted_w * hours, actual_wh=self.actual_wh + actual_w * hours
        )


NO_ENERGY: Final = Quarter()


def corrected_w(allowed_w: float, quarter: Quarter, left: timedelta, period: timedelta) -> float:
    """Return the power that brings the quarter's energy to what was asked.

    Up to 10 % of the allowed power less; more only by what the meters may disagree about (2 %): a gateway that
    executes may only reduce. Never turns the direction around; the caller's limits bound the result again.
    """
    if allowed_w == 0.0:
        return 0.0
    horizon_s = max(min(_CORRECTION_S, left.total_seconds()), 4.0 * period.total_seconds(), 5.0)
    repay_w = (quarter.wanted_wh - quarter.actual_wh) * 3600.0 / horizon_s
    direction = 1.0 if allowed_w > 0.0 else -1.0
    less_w, more_w = -_LESS_FRAC * abs(allowed_w), _MORE_FRAC * abs(allowed_w)
    return allowed_w + direction * max(less_w, min(more_w, direction * repay_w))
