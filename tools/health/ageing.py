"""What using and keeping a battery costs of its life, by depth and temperature. Pure; the optimiser may call it.

Figures marked [V] were read in a data sheet, [I] are inferred defaults to be set per battery type (DOMAIN.md section 3).
Nothing here was fitted to telecom strings in the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telemetry.model.battery import Chemistry
from tools.health.rainflow import Cycle

FloatArray = npt.NDArray[np.float64]

REFERENCE_C = 20.0
REFERENCE_DEPTH_FRAC = 0.8
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeingModel:
    """How a battery type ages; 1 unit of wear takes it from new to `end_of_life_frac`.

    Attributes:
        cycles_at_80: Full cycles of 80 % depth to the end of life, at 20 degC.
        depth_exponent: Cycles to the end of life go with (0.8 / depth) ** exponent.
        calendar_years: Years to the end of life on float at 20 degC, without a cycle.
        halving_c: Kelvin above 20 degC that halve the life.
        end_of_life_frac: State of health at which it is to be replaced.
    """

    cycles_at_80: float
    depth_exponent: float
    calendar_years: float
    halving_c: float
    end_of_life_frac: float = 0.8

    def __post_init__(self) -> None:
        if not all(
            np.isfinite(value) and value > 0.0
            for value in (self.cycles_at_80, self.depth_exponent, self.calendar_years, self.halving_c)
        ):
            raise ValueError("an ageing model needs figures above zero")
        if not 0.0 < self.end_of_life_frac < 1.0:
            raise ValueError(f"end_of_life_frac {self.end_of_life_frac} must lie between 0 and 1")


# V-LFP48100: 4,000 cycles at 80 % [V]; exponent, calendar life and temperature [I].
LFP_AGEING = AgeingModel(cycles_at_80=4000.0, depth_exponent=1.1, calendar_years=12.0, halving_c=12.0)
# 200-500 cycles at 80 % [V], the middle taken; life halves per 8-10 degC above 20 [V]; exponent and calendar life [I].
VRLA_AGEING = AgeingModel(cycles_at_80=350.0, depth_exponent=1.2, calendar_years=10.0, halving_c=9.0)
AGEING = {Chemistry.LFP: LFP_AGEING, Chemistry.VRLA: VRLA_AGEING}


def heat_factor(battery_c: npt.ArrayLike, model: AgeingModel) -> FloatArray:
    """Return by how much a temperature speeds up ageing: 1 up to 20 degC, doubled every `halving_c` above."""
    above = np.maximum(np.asarray(battery_c, dtype=np.float64) - REFERENCE_C, 0.0)
    return np.asarray(2.0 ** (above / model.halving_c), dtype=np.float64)


def cycle_wear(depth_frac: npt.ArrayLike, battery_c: npt.ArrayLike, model: AgeingModel) -> FloatArray:
    """Return the wear of one full cycle (down and up again) of a depth at a temperature, share of life."""
    depth = np.asarray(depth_frac, dtype=np.float64)
    if not ((depth >= 0.0) & (depth <= 1.0)).all():
        raise ValueError("a depth lies between 0 and 1")
    whole = (depth / REFERENCE_DEPTH_FRAC) ** model.depth_exponent / model.cycles_at_80
    return np.asarray(whole * heat_factor(battery_c, model), dtype=np.float64)


def calendar_wear(days: float, battery_c: npt.ArrayLike, model: AgeingModel) -> FloatArray:
    """Return the wear of `days` on float at a temperature, share of life."""
    if not days >= 0.0:
        raise ValueError(f"{days} days is no time on float")
    per_day = 1.0 / (model.calendar_years * DAYS_PER_YEAR)
    return np.asarray(days * per_day * heat_factor(battery_c, model), dtype=np.float64)


def cost_per_kwh(
    depth_frac: npt.ArrayLike,
    battery_c: npt.ArrayLike,
    model: AgeingModel,
    *,
    replacement_cost: float,
    rated_kwh: float,
) -> FloatArray:
    """Return what a discharged kWh costs of the battery, in the currency of `replacement_cost`.

    The hook of the optimiser: the wear of a cycle of this depth times the price of the battery, over the energy that
    the cycle delivers. Half of it belongs to each direction where charging and discharging are priced apart.

    Args:
        depth_frac: Depth of the cycle, above 0 and at most 1, any shape.
        battery_c: Temperature, degC, same shape or one value.
        model: Of the battery type.
        replacement_cost: Price of a new battery in its place, labour included.
        rated_kwh: Its rated energy.
    """
    depth = np.asarray(depth_frac, dtype=np.float64)
    if not ((depth > 0.0) & (depth <= 1.0)).all():
        raise ValueError("a depth lies above 0 and at most at 1")
    if not (replacement_cost >= 0.0 and rated_kwh > 0.0):
        raise ValueError("the battery needs a price of zero or more and rated energy above zero")
    wear = cycle_wear(depth, battery_c, model)
    return np.asarray(wear * replacement_cost / (depth * rated_kwh), dtype=np.float64)


def wear_of(
    cycles: Sequence[Cycle], battery_c: npt.NDArray[np.floating], days: float, model: AgeingModel
) -> float:
    """Return the wear of a stretch of time, share of life: its cycles at their temperatures, and its calendar.

    Args:
        cycles: Rainflow cycles of its path of charge.
        battery_c: Temperature at each sample of that path, degC; NaN where unknown (the stretch's mean is taken).
        days: Its length.
        model: Of the battery type.
    """
    known = battery_c[np.isfinite(battery_c)]
    mean_c = float(known.mean()) if known.size else REFERENCE_C
    warm = np.where(np.isfinite(battery_c), battery_c, mean_c)
    used = sum(
        one.count
        * float(
            cycle_wear(
                min(one.depth_frac, 1.0),
                float(warm[min(one.first, one.last) : max(one.first, one.last) + 1].mean()),
                model,
            )
        )
        for one in cycles
    )
    kept = float(np.mean(calendar_wear(days, warm if warm.size else mean_c, model)))
    return used + kept
