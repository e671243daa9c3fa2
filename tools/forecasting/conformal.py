"""Intervals from past errors: quantiles of backtest residuals, pooled over the fleet.

Each residual is divided by its site's own error scale at that time of day (learnt from the other backtests, so
that no residual helps to judge itself), then pooled by site class and horizon band. A single site with seven
backtests cannot know its 2.5 % quantile; a fleet can.

Source:
    Split conformal prediction (Vovk et al. 2005; Lei et al., JASA 2018) with a per-site normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tools.forecasting.fleet_forecast import QUANTILES

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BAND_EDGES_H = (2.0, 6.0, 12.0, 24.0, 48.0, 72.0)
POOL_SAMPLE = 60_000
SMALLEST_CLASS = 140
"""Site-backtests a class needs for a pool of its own (20 sites with 7 backtests)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Error scale of each site.

    Attributes:
        by_slot: Mean absolute error by step of the local day, shape (sites, steps per day), above zero.
        spread: Mean absolute error over all slots, shape (sites,), above zero.
    """

    by_slot: Float32
    spread: Float32


def horizon_bands(steps: int, step_h: float) -> IntArray:
    """Return the band of each step of the horizon, shape (steps,)."""
    ahead_h = (np.arange(steps) + 1) * step_h
    return np.asarray(np.searchsorted(BAND_EDGES_H, ahead_h, side="left"), dtype=np.int64)


def error_scale(absolute: Float32, count: Float32, smooth: int) -> Scale:
    """Return scales from sums of absolute errors and their counts, both of shape (sites, steps per day).

    Each slot is smoothed over `smooth` neighbours on either side and drawn towards the site's mean by four
    pseudo-errors, because a handful of backtests says little about one slot.
    """
    total, number = absolute.sum(axis=1), count.sum(axis=1)
    spread = total / np.maximum(number, 1.0)
    floor = max(float(np.median(spread)) * 1e-3, 1e-9)
    spread = np.maximum(spread, floor)
    window = 2 * smooth + 1
    sums = np.stack([_circular_sum(a, smooth) for a in (absolute, count)])
    prior = 4.0
    by_slot = (sums[0] + prior * spread[:, None]) / (sums[1] + prior)
    if window > absolute.shape[1]:
        by_slot = np.repeat(spread[:, None], absolute.shape[1], axis=1)
    return Scale(by_slot=np.maximum(by_slot, floor).astype(np.float32), spread=spread.astype(np.float32))


def _circular_sum(values: Float32, smooth: int) -> Float32:
    padded = np.concatenate([values[:, -smooth:], values, values[:, :smooth]], axis=1) if smooth else values
    running = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    width = 2 * smooth + 1
    return np.asarray(running[:, width:] - running[:, :-width], dtype=np.float32)


def pooled_quantiles(normalised: npt.NDArray[np.floating], independent: int) -> npt.NDArray[np.float64]:
    """Return the quantiles of a pool of normalised residuals at `QUANTILES`, non-decreasing.

    Args:
        normalised: Any shape; NaN is ignored.
        independent: Number of site-backtests behind the pool. Neighbouring steps of one backtest fail together,
            so tails beyond 1 / (independent + 1) are not known: they are widened in the ratio of normal quantiles.
    """
    pool = normalised[np.isfinite(normalised)]
    if pool.size == 0:
        raise ValueError("no residuals to take quantiles from")
    if pool.size > POOL_SAMPLE:
        pool = pool[:: pool.size // POOL_SAMPLE]
    levels = np.array(QUANTILES)
    reach = 1.0 / (independent + 1)
    inner = np.clip(levels, min(reach, 0.5), max(1.0 - reach, 0.5))
    inner = np.where(levels == 0.5, 0.5, inner)
    found = np.quantile(pool, inner)
    middle = found[QUANTILES.index(0.5)]
    normal = NormalDist()
    widen = np.array(
        [
            1.0
            if abs(a - b) < 1e-12 or abs(b - 0.5) < 0.05
            else normal.inv_cdf(float(a)) / normal.inv_cdf(float(b))
            for a, b in zip(levels, inner, strict=True)
        ]
    )
    return np.maximum.accumulate(middle + (found - middle) * widen)
