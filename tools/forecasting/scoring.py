"""How good a forecast was, once it is known what happened; and whether a model has drifted from its backtests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.forecasting.fleet_forecast import FleetForecast

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Accuracy per site, each of shape (sites,); NaN where nothing was measured.

    Attributes:
        mae: Mean absolute error of the median, in the unit of the quantity.
        wape: Sum of absolute errors over the sum of absolute actuals, a fraction.
        pinball: Mean quantile loss over all levels, in the unit of the quantity.
        covered_80: Share of steps inside the 10 to 90 % interval.
        covered_95: Share of steps inside the 2.5 to 97.5 % interval.
        energy_covered_95: Whether the energy of the whole window lay inside its 95 % interval, 0 or 1.
    """

    mae: npt.NDArray[np.float64]
    wape: npt.NDArray[np.float64]
    pinball: npt.NDArray[np.float64]
    covered_80: npt.NDArray[np.float64]
    covered_95: npt.NDArray[np.float64]
    energy_covered_95: npt.NDArray[np.float64]


def score(forecast: FleetForecast, actual: FloatArray) -> Score:
    """Score a forecast.

    Args:
        forecast: What was served.
        actual: What was measured, shape (sites, steps), NaN for gaps, rows in the order of the forecast's sites.

    Raises:
        ValueError: The shapes differ.
    """
    if actual.shape != (len(forecast.site_ids), forecast.steps):
        raise ValueError(f"actual has shape {actual.shape}")
    known = np.isfinite(actual)
    truth = np.where(known, actual, 0.0).astype(np.float64)
    absolute = np.abs(truth - forecast.at(0.5))
    levels = np.array(forecast.quantiles)[None, :, None]
    gap = truth[:, None, :] - forecast.values
    loss = np.maximum(levels * gap, (levels - 1.0) * gap).mean(axis=1)
    step_h = forecast.step.total_seconds() / 3600.0
    energy = truth.sum(axis=1) * step_h
    whole = known.all(axis=1)
    low, high = forecast.cumulative_at(0.025)[:, -1], forecast.cumulative_at(0.975)[:, -1]
    return Score(
        mae=_mean(absolute, known),
        wape=_mean(absolute, known) / np.maximum(_mean(np.abs(truth), known), 1e-12),
        pinball=_mean(loss, known),
        covered_80=_mean(_inside(truth, forecast.at(0.1), forecast.at(0.9)), known),
        covered_95=_mean(_inside(truth, forecast.at(0.025), forecast.at(0.975)), known),
        energy_covered_95=np.where(whole, _inside(energy, low, high), np.nan),
    )


def _inside(values: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return ((values >= low) & (values <= high)).astype(np.float64)


def _mean(values: FloatArray, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Whether live errors left the range that backtests promised.

    Attributes:
        ratio: Live error over backtest error, exponentially weighted, shape (sites,).
        alarmed: Sites to select a model for again, shape (sites,).
    """

    ratio: npt.NDArray[np.float64]
    alarmed: npt.NDArray[np.bool_]


def drift(
    live_error: FloatArray, backtest_error: FloatArray, *, half_life: float = 3.0, limit: float = 1.5
) -> Drift:
    """Compare live errors with the backtest's.

    Args:
        live_error: Mean absolute error of each served day, oldest first, shape (days, sites); NaN where unscored.
        backtest_error: Mean absolute backtest error, shape (sites,).
        half_life: Served days after which a day counts half.
        limit: Ratio above which a site is alarmed; a single day never alarms.
    """
    weight = 0.5 ** (np.arange(live_error.shape[0])[::-1] / half_life)
    known = np.isfinite(live_error)
    total = (weight[:, None] * known).sum(axis=0)
    live = (weight[:, None] * np.where(known, live_error, 0.0)).sum(axis=0) / np.maximum(total, 1e-12)
    floor = max(float(np.nanmedian(backtest_error)) * 1e-3, 1e-12)
    ratio = np.where(total > 0.0, live / np.maximum(backtest_error, floor), np.nan)
    alarmed = (ratio > limit) & (known.sum(axis=0) >= 2)
    return Drift(ratio=np.asarray(ratio, dtype=np.float64), alarmed=np.asarray(alarmed))
