"""Capacity from counted charge: whole discharges, and parts of one where the state of charge is known at both ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import sqrt

import numpy as np
import numpy.typing as npt

from tools.health.estimate import NotJudged, SohEstimate

FloatArray = npt.NDArray[np.floating]

LEAST_DEPTH_FRAC = 0.3
"""A part of a discharge smaller than this says less than the SoC's own error [I]."""
COUNT_ERROR_FRAC = 0.01
"""Error of the current sensor over a discharge, one standard deviation [I]."""
FULL_FRAC = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Discharge:
    """One discharge as it was measured.

    Attributes:
        drawn_frac: What was drawn, counted, over the rated amount (both Ah, or both Wh at the cells).
        soc_from_frac: State of charge when it began, known apart from the counting.
        soc_to_frac: State of charge when it ended.
        soc_error_frac: Error of either state of charge (95 %).
        reached_cut_off: Whether it ended at the end-of-discharge voltage.
        battery_c: Mean temperature, degC.
        at: When it ended, aware UTC.
    """

    drawn_frac: float
    soc_from_frac: float
    soc_to_frac: float
    soc_error_frac: float
    reached_cut_off: bool
    battery_c: float
    at: datetime


def counted_ah(at_h: FloatArray, current_a: FloatArray) -> float:
    """Return the charge drawn, Ah, by the trapezoidal rule; charging positive, so a discharge counts positive here.

    Args:
        at_h: Hours, ascending, shape (samples,).
        current_a: A, discharging negative, shape (samples,).

    Raises:
        ValueError: Fewer than two samples, time that does not ascend, or a value that is not finite.
    """
    if len(at_h) < 2 or not (np.diff(at_h) > 0.0).all():
        raise ValueError("counting needs two or more samples in ascending time")
    if not (np.isfinite(at_h).all() and np.isfinite(current_a).all()):
        raise ValueError("a count over gaps is no count")
    return float(-np.trapezoid(current_a, at_h))


def soh_of(discharge: Discharge, *, capacity_frac: float) -> SohEstimate | NotJudged:
    """Return the state of health that a discharge shows.

    Args:
        discharge: What was measured.
        capacity_frac: Share of full capacity to be had at its temperature (`TemperatureBand.capacity_frac`).

    Source:
        Whole discharge: capacity is what was drawn between full and cut-off (IEEE 450 and 1188, capacity test).
        Part: drawn over the SoC's change; the SoC's errors at both ends are taken as independent.
    """
    one = discharge
    if not (0.0 < one.drawn_frac < 2.0 and 0.0 < capacity_frac <= 1.0):
        return NotJudged(reason=f"{one.drawn_frac:.2f} of rated capacity drawn is not plausible")
    if one.reached_cut_off and one.soc_from_frac >= FULL_FRAC:
        soh = one.drawn_frac / capacity_frac
        return SohEstimate(
            soh_frac=soh,
            sd_frac=soh * COUNT_ERROR_FRAC,
            at=one.at,
            method="full_discharge",
            evidence=f"{one.drawn_frac:.1%} of rated capacity from full to cut-off at {one.battery_c:.0f} degC",
        )
    depth = one.soc_from_frac - one.soc_to_frac
    if depth < LEAST_DEPTH_FRAC:
        return NotJudged(reason=f"{depth:.0%} of charge moved, {LEAST_DEPTH_FRAC:.0%} needed")
    soh = one.drawn_frac / depth
    # Half of a 95 % error is about one standard deviation; two ends, one at full being known better.
    ends = [0.0 if one.soc_from_frac >= FULL_FRAC else one.soc_error_frac / 2.0, one.soc_error_frac / 2.0]
    relative = sqrt(COUNT_ERROR_FRAC**2 + sum(e**2 for e in ends) / depth**2)
    return SohEstimate(
        soh_frac=soh,
        sd_frac=soh * relative,
        at=one.at,
        method="partial_discharge",
        evidence=f"{one.drawn_frac:.1%} of rated capacity for {depth:.0%} of charge",
    )
