"""Capacity tests that take part of the charge only: when one may run, and what it says against the first whole one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telemetry.model.battery import Battery
from tools.health.capacity import LEAST_DEPTH_FRAC
from tools.health.estimate import NotJudged

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialTest:
    """A test that may run: a discharge into the site's own load, ended by whichever comes first.

    Attributes:
        power_w: Mean power of the discharge, W, at the terminals (a magnitude).
        stop_soc_frac: State of charge at which it ends.
        longest_h: Time after which it ends.
        stop_bus_v: Bus voltage at which it ends.
    """

    power_w: float
    stop_soc_frac: float
    longest_h: float
    stop_bus_v: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Every reason against a test."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUnderTest:
    """What decides whether a site may test its battery now.

    Attributes:
        battery: As registered.
        soc_frac: State of charge.
        soh_frac: State of health as believed; its lower bound where there is an interval.
        battery_c: Temperature, degC.
        load_w: Least load expected over the test, W (discharge goes into the load).
        reserve_wh: Energy that must stay for outages, counted from the disconnect, Wh.
        backstop_v: Live backstop of the bus, V.
        mains_ok: Whether mains is present.
        outage_expected: Whether an outage or a storm is announced before the battery would be full again.
    """

    battery: Battery
    soc_frac: float
    soh_frac: float
    battery_c: float
    load_w: float
    reserve_wh: float
    backstop_v: float
    mains_ok: bool
    outage_expected: bool


def partial_test(site: SiteUnderTest, *, depth_frac: float = 0.4) -> PartialTest | Refused:
    """Return the test that a site may run, or every reason against it.

    This is a proposal: what runs is a plan, and the validator judges it like any other. The depth is cut so that the
    backup reserve stays whole with the SoC's error against it.
    """
    battery = site.battery
    full_wh = battery.rated_wh * site.soh_frac
    kept = battery.disconnect_soc_frac + site.reserve_wh / full_wh + battery.soc_error_frac
    stop = max(site.soc_frac - depth_frac, kept, battery.soc_min_frac, battery.backstop_soc_frac)
    band = battery.band_at(site.battery_c)
    limit_w = 0.0 if band is None else band.discharge_c_rate * battery.rated_wh
    power_w = min(site.load_w, limit_w)
    checks = {
        "mains is absent": not site.mains_ok,
        "an outage is expected": site.outage_expected,
        f"the battery may not be discharged at {site.battery_c:.0f} degC": not limit_w > 0.0,
        "the state of charge is not at full": not site.soc_frac >= 0.95,
        f"only {max(site.soc_frac - stop, 0.0):.0%} of charge may be taken above the backup reserve": not (
            site.soc_frac - stop >= LEAST_DEPTH_FRAC
        ),
        "there is no load to discharge into": not site.load_w > 0.0,
    }
    if any(checks.values()):
        return Refused(reasons=tuple(reason for reason, broken in checks.items() if broken))
    drawn_wh = (site.soc_frac - stop) * full_wh * battery.discharge_efficiency
    return PartialTest(
        power_w=power_w, stop_soc_frac=stop, longest_h=1.5 * drawn_wh / power_w, stop_bus_v=site.backstop_v
    )


def charge_to_voltage_ah(
    at_h: FloatArray, current_a: FloatArray, bus_v: FloatArray, *, floor_v: float, resistance_ohm: float
) -> float | NotJudged:
    """Return the charge drawn until the voltage, freed of the resistance's share, falls to a floor, Ah.

    Without the correction a battery whose resistance has risen seems emptier than it is: on the NASA cells it halves
    the error of a state of health taken from a part of a discharge.

    Args:
        at_h: Hours since the discharge began, ascending, shape (samples,).
        current_a: A, discharging negative.
        bus_v: Voltage at the battery, V.
        floor_v: Open-circuit voltage at which the count ends.
        resistance_ohm: Of the battery at that time (`resistance_of`, or the jump at the discharge's beginning).
    """
    open_v = np.minimum.accumulate(bus_v - current_a * resistance_ohm)
    if open_v.size < 2 or not open_v[-1] <= floor_v <= open_v[0]:
        return NotJudged(reason=f"the discharge does not pass {floor_v:g} V")
    steps_ah = -(current_a[1:] + current_a[:-1]) / 2.0 * np.diff(at_h)
    drawn_ah = np.concatenate([[0.0], np.cumsum(steps_ah)])
    return float(np.interp(-floor_v, -open_v, drawn_ah))


def first_jump_ohm(current_a: FloatArray, bus_v: FloatArray) -> float | NotJudged:
    """Return the resistance from the jump with which a discharge begins: voltage over current, sample to sample."""
    jump_a = np.diff(current_a)
    if jump_a.size == 0 or not np.isfinite(jump_a).all():
        return NotJudged(reason="the beginning of the discharge was not measured")
    at = int(np.argmin(jump_a))
    if not jump_a[at] < 0.0:
        return NotJudged(reason="no discharge begins here")
    ohm = float((bus_v[at + 1] - bus_v[at]) / jump_a[at])
    return ohm if ohm > 0.0 else NotJudged(reason="the voltage did not fall with the current")
