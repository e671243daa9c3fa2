"""Resistance from load steps: how far the voltage moves when the current jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.health.estimate import NotJudged

FloatArray = npt.NDArray[np.floating]

FEWEST_STEPS = 5
LONGEST_STEP_S = 60.0
"""Between samples further apart than this the state of charge moves too, and the slope is no longer resistance [I]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resistance:
    """Median slope of voltage over current, ohm, with its standard error and the steps behind it."""

    ohm: float
    sd_ohm: float
    steps: int


def resistance_of(
    at_s: FloatArray, current_a: FloatArray, bus_v: FloatArray, *, least_step_a: float
) -> Resistance | NotJudged:
    """Return the battery's resistance from jumps between neighbouring samples.

    Args:
        at_s: Seconds, ascending, shape (samples,).
        current_a: Battery current, A, charging positive.
        bus_v: Voltage at the battery, V.
        least_step_a: Smaller jumps are noise of the sensors.

    A slope that is not above zero is no resistance (the rectifier moved the bus meanwhile) and is left out.
    """
    apart_s, jump_a, jump_v = np.diff(at_s), np.diff(current_a), np.diff(bus_v)
    step = (apart_s > 0.0) & (apart_s <= LONGEST_STEP_S) & (np.abs(jump_a) >= least_step_a)
    step &= np.isfinite(jump_a) & np.isfinite(jump_v)
    slopes = jump_v[step] / jump_a[step]
    slopes = slopes[slopes > 0.0]
    if slopes.size < FEWEST_STEPS:
        return NotJudged(
            reason=f"{slopes.size} load steps of {least_step_a:g} A or more, {FEWEST_STEPS} needed"
        )
    middle = float(np.median(slopes))
    spread = 1.4826 * float(np.median(np.abs(slopes - middle)))
    # Standard error of a median; a spread of nothing still leaves the sensors' resolution, taken as 1 %.
    error = max(1.2533 * spread / np.sqrt(slopes.size), 0.01 * middle)
    return Resistance(ohm=middle, sd_ohm=float(error), steps=int(slopes.size))
