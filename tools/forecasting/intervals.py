"""Intervals of a served path out of its backtest: step quantiles and quantiles of energy, pooled by site class."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.backtest import Backtest
from tools.forecasting.clear_sky import sky_over
from tools.forecasting.conformal import (
    SMALLEST_CLASS,
    Scale,
    error_scale,
    horizon_bands,
    pooled_quantiles,
)
from tools.forecasting.fleet_forecast import QUANTILES
from tools.forecasting.forecaster import NoForecastError
from tools.forecasting.history import LoadHistory

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SMOOTHING = timedelta(minutes=45)
FEWEST_BACKTESTS = 5
"""Site-backtests in the fleet below which no interval can be given."""


def interval_paths(
    history: LoadHistory, tested: Backtest, lower_bound: float | None
) -> tuple[Float32, Float32]:
    """Return step quantiles and cumulative-energy quantiles, both of shape (sites, quantiles, steps).

    Where the history carries a clear sky, only steps by daylight enter a pool, and nothing is given in the dark:
    nights without error would make days look certain.

    Raises:
        NoForecastError: Too few backtests in the fleet for any interval.
    """
    folds, sites, steps = tested.residuals.shape
    if folds * sites < FEWEST_BACKTESTS:
        raise NoForecastError(f"{folds * sites} site-backtests are too few for an interval")
    slots = history.phase(history.steps + tested.ahead, steps).slot
    scales = _scales(history, tested)
    served, others = scales[-1], scales[:-1]
    normalised = np.stack([r / s.by_slot[:, slots] for r, s in zip(tested.residuals, others, strict=True)])
    lit = _daylight(history, [*tested.origins, history.steps], tested.ahead, steps)
    if lit is not None:
        normalised = np.where(lit[:-1], normalised, np.float32(np.nan))
    bands = horizon_bands(tested.ahead + steps, history.step_h)[tested.ahead :]
    values = np.empty((sites, len(QUANTILES), steps), dtype=np.float32)
    cumulative = np.empty_like(values)
    growth = np.cumsum(served.by_slot[:, slots], axis=1) * np.float32(history.step_h)
    knots = _knots(steps)
    sums = _cumulative_normalised(tested.residuals, others, slots, knots)
    width = served.by_slot[:, slots]
    energy = np.cumsum(tested.point, axis=1) * np.float32(history.step_h)
    for rows, pool in site_pools(history.site_class, sites, folds):
        z = np.empty((len(QUANTILES), steps))
        for band in np.unique(bands):
            inside = bands == band
            near = normalised[:, pool][:, :, inside]
            dark = lit is not None and not np.isfinite(near).any()
            z[:, inside] = 0.0 if dark else pooled_quantiles(near, folds * pool.size)[:, None]
        c = np.stack([pooled_quantiles(sums[:, pool, k], folds * pool.size) for k in range(len(knots))])
        c_all = np.stack([np.interp(np.arange(steps), knots, c[:, q]) for q in range(len(QUANTILES))])
        values[rows] = tested.point[rows][:, None] + width[rows][:, None] * z[None].astype(np.float32)
        cumulative[rows] = energy[rows][:, None] + growth[rows][:, None] * c_all[None].astype(np.float32)
    if lit is not None:
        values *= lit[-1][:, None]
    if lower_bound is not None:
        np.maximum(values, lower_bound, out=values)
        if lower_bound >= 0.0:
            np.maximum(cumulative, 0.0, out=cumulative)
            np.maximum.accumulate(cumulative, axis=2, out=cumulative)
    return values, cumulative


def _daylight(
    history: LoadHistory, origins: Sequence[int], ahead: int, steps: int
) -> npt.NDArray[np.bool_] | None:
    """Return where the sun is up in each origin's window, shape (origins, sites, steps); None without a clear sky."""
    found = [sky_over(history, origin + ahead, steps) for origin in origins]
    return (
        None
        if any(sky is None for sky in found)
        else np.stack([sky > 0.0 for sky in found if sky is not None])
    )


def site_pools(
    site_class: Sequence[str], sites: int, folds: int
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return (rows, pool) per class: the rows to serve and the rows whose errors they share.

    A class with too few backtests borrows the whole fleet's.
    """
    everyone = np.arange(sites, dtype=np.intp)
    if not site_class:
        return [(everyone, everyone)]
    labels = np.array(site_class)
    pools = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        pools.append((rows, rows if rows.size * folds >= SMALLEST_CLASS else everyone))
    return pools


def _scales(history: LoadHistory, tested: Backtest) -> list[Scale]:
    """Return one scale per backtest that leaves that backtest out, and last the one from all."""
    folds, sites, steps = tested.residuals.shape
    day = history.steps_per_day
    slots = history.phase(history.steps + tested.ahead, steps).slot
    sums = np.zeros((folds, sites, day), dtype=np.float32)
    counts = np.zeros_like(sums)
    for first in range(0, steps, day):
        part = slice(first, min(first + day, steps))
        absolute = np.abs(tested.residuals[:, :, part])
        known = np.isfinite(absolute)
        sums[:, :, slots[part]] += np.where(known, absolute, np.float32(0.0))
        counts[:, :, slots[part]] += known
    smooth = min(int(SMOOTHING // history.step), (day - 1) // 2)
    total, number = sums.sum(axis=0), counts.sum(axis=0)
    rest = [
        error_scale(total - sums[k], number - counts[k], smooth)
        if folds > 1
        else error_scale(total, number, smooth)
        for k in range(folds)
    ]
    return [*rest, error_scale(total, number, smooth)]


def _knots(steps: int) -> IntArray:
    """Return the steps at which cumulative quantiles are taken; between them they are interpolated."""
    wanted = np.concatenate([[0, 1, 2, 3], np.geomspace(4, max(steps - 1, 4), 14)]).round().astype(np.int64)
    return np.unique(np.minimum(wanted, steps - 1))


def _cumulative_normalised(
    residuals: Float32, others: Sequence[Scale], slots: IntArray, knots: IntArray
) -> Float32:
    """Return running sums of residuals over running sums of scales at the knots, shape (folds, sites, knots).

    A backtest with gaps is stretched to its full length when at most a tenth is missing, and left out otherwise.
    """
    out = np.empty((*residuals.shape[:2], knots.size), dtype=np.float32)
    length = (knots + 1).astype(np.float32)
    for fold, scale in enumerate(others):
        known = np.isfinite(residuals[fold])
        running = np.cumsum(np.where(known, residuals[fold], np.float32(0.0)), axis=1)[:, knots]
        measured = np.cumsum(known, axis=1, dtype=np.float32)[:, knots]
        growth = np.cumsum(scale.by_slot[:, slots], axis=1)[:, knots]
        full = running * length / np.maximum(measured, np.float32(1.0))
        out[fold] = np.where(measured >= 0.9 * length, full / growth, np.float32(np.nan))
    return out
