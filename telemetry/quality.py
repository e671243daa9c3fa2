"""Checks that name what is wrong with a reading: physically impossible, a slipped unit, or out of balance.

A bad value is set aside (`FieldQuality.raw`) and the field becomes None, so that nothing averages it in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from telemetry.balance import contradictions
from telemetry.model.reading import FieldQuality, Reading, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """A unit that slips: `factor` too large, of a value that is typically between `low` and `high`."""

    factor: float
    low: float
    high: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What a field can be, and how a slipped unit shows."""

    low: float
    high: float
    slip: Slip | None = None


_PERCENT = Slip(factor=100.0, low=0.011, high=1.0, name="percent for fraction")
_TENTHS = Slip(factor=10.0, low=9.0, high=60.0, name="tenths for degrees")
# Wide enough for a fault to be seen, narrow enough that no healthy site of 1-20 kW leaves them (DOMAIN.md section 1) [I].
RANGES: Mapping[str, Range] = {
    "grid_v": Range(low=0.0, high=520.0, slip=Slip(factor=1e3, low=80.0, high=480.0, name="mV for V")),
    "grid_hz": Range(low=0.0, high=66.0, slip=Slip(factor=1e3, low=45.0, high=66.0, name="mHz for Hz")),
    "grid_w": Range(low=-50_000.0, high=50_000.0),
    "aux_ac_w": Range(low=-50.0, high=20_000.0),
    "rectifier_w": Range(low=-50.0, high=40_000.0),
    "load_w": Range(low=0.0, high=20_000.0),
    "bus_v": Range(low=0.0, high=60.0, slip=Slip(factor=1e3, low=40.0, high=60.0, name="mV for V")),
    "battery_a": Range(low=-600.0, high=600.0),
    "battery_w": Range(low=-30_000.0, high=30_000.0),
    "meter_battery_w": Range(low=-30_000.0, high=30_000.0),
    "soc_frac": Range(low=0.0, high=1.0, slip=_PERCENT),
    "soh_frac": Range(low=0.0, high=1.2, slip=_PERCENT),
    "battery_c": Range(low=-40.0, high=90.0, slip=_TENTHS),
    "ambient_c": Range(low=-60.0, high=70.0, slip=_TENTHS),
    "pv_w": Range(low=-50.0, high=50_000.0),
    "genset_w": Range(low=-50.0, high=50_000.0),
    "fuel_frac": Range(low=0.0, high=1.0, slip=_PERCENT),
}
FUTURE_TOLERANCE = timedelta(seconds=60)


def judge(reading: Reading, now: datetime) -> Reading:
    """Return the reading with a verdict on each doubtful field and its bad values set aside.

    Args:
        reading: As decoded.
        now: When it was received, domain time.
    """
    doubts = dict(reading.quality)
    for name, allowed in RANGES.items():
        value = getattr(reading, name)
        # Written as "not inside" so that NaN is bad too.
        if value is not None and not (allowed.low <= value <= allowed.high):
            doubts[name] = FieldQuality(verdict=Verdict.BAD, reason=_why(value, allowed), raw=value)
    amps = RANGES["battery_a"]
    if reading.string_a and not all(amps.low <= value <= amps.high for value in reading.string_a):
        doubts["string_a"] = FieldQuality(
            verdict=Verdict.BAD, reason=_why(max(reading.string_a, key=abs), amps)
        )
    if reading.at - now > FUTURE_TOLERANCE:
        ahead_s = (reading.at - now).total_seconds()
        doubts["at"] = FieldQuality(verdict=Verdict.SUSPECT, reason=f"clock {ahead_s:.0f} s in the future")
    bad: dict[str, Any] = {
        name: None for name, doubt in doubts.items() if doubt.verdict is Verdict.BAD and name != "at"
    }
    cleaned = replace(reading, **bad) if bad else reading
    doubts |= {name: doubt for name, doubt in contradictions(cleaned).items() if name not in doubts}
    return replace(cleaned, quality=doubts) if doubts else cleaned


def goodness(reading: Reading) -> float:
    """Return the share of measured fields that are good, 0..1; nothing measured is 0."""
    measured = sum(1 for name in RANGES if getattr(reading, name) is not None)
    doubtful = sum(1 for name in reading.quality if name in RANGES)
    bad = sum(1 for name, doubt in reading.quality.items() if name in RANGES and doubt.verdict is Verdict.BAD)
    clock = 0.5 if "at" in reading.quality else 1.0
    total = measured + bad
    return clock * (total - doubtful) / total if total else 0.0


def _why(value: float, allowed: Range) -> str:
    slip = allowed.slip
    if slip is not None and slip.low <= value / slip.factor <= slip.high:
        return f"unit slip, {slip.name}"
    return f"outside {allowed.low:g}..{allowed.high:g}"
