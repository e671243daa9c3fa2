"""Backtests of a point model inside a history, at the time of day and horizon at which it is about to be served."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from tools.forecasting.fleet_forecast import MAX_HORIZON
from tools.forecasting.forecaster import NoForecastError, PointModel
from tools.forecasting.history import LoadHistory

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """A point model's paths from origins inside the history, and from its end.

    Attributes:
        origins: Columns the backtests start from, latest first.
        ahead: Steps between an origin and the first step scored (the gap between data and forecast).
        residuals: Measured minus forecast, shape (origins, sites, steps); NaN where nothing was measured.
        point: The path to serve, shape (sites, steps).
    """

    origins: tuple[int, ...]
    ahead: int
    residuals: Float32
    point: Float32

    @property
    def error(self) -> npt.NDArray[np.float64]:
        """Mean absolute error per site over all backtests, shape (sites,); NaN where nothing was measured."""
        absolute = np.abs(self.residuals)
        known = np.isfinite(absolute)
        count = known.sum(axis=(0, 2))
        total = np.where(known, absolute, 0.0).sum(axis=(0, 2), dtype=np.float64)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def latest(self, folds: int) -> Backtest:
        """Return the backtest of its `folds` latest origins."""
        return replace(self, origins=self.origins[:folds], residuals=self.residuals[:folds])


def backtest_origins(history: LoadHistory, total: int, folds: int, train: int) -> tuple[int, ...]:
    """Return up to `folds` daily origins at the time of day the history ends, latest first.

    Args:
        history: What is known.
        total: Steps each backtest must have measured after its origin.
        folds: Most origins wanted.
        train: Steps that must lie before the earliest origin.
    """
    day = history.steps_per_day
    latest = history.steps - -(-total // day) * day
    return tuple(latest - k * day for k in range(folds) if latest - k * day >= train)


def train_steps(model: PointModel, history: LoadHistory, total: int) -> int:
    """Return the steps a model needs before an origin to be backtested over `total` steps."""
    return model.needs_days * history.steps_per_day + (total if model.needs_days > 7 else 0)


def run_backtest(
    model: PointModel, history: LoadHistory, start: datetime, steps: int, *, folds: int
) -> Backtest:
    """Backtest a model at the time of day and horizon at which it is about to be served.

    Raises:
        NoForecastError: The horizon is out of bounds or the history allows no backtest.
    """
    ahead = history.index_of(start) - history.steps
    total = ahead + steps
    if steps < 1 or ahead < 0 or total * history.step > MAX_HORIZON:
        raise NoForecastError(f"forecasts reach from the end of the history to {MAX_HORIZON} after it")
    origins = backtest_origins(history, total, folds, train_steps(model, history, total))
    if not origins:
        raise NoForecastError(
            f"{history.steps / history.steps_per_day:.1f} days of history allow no backtest"
        )
    paths = model.paths(history, [*origins, history.steps], total)[:, :, ahead:]
    residuals = np.stack(
        [history.values[:, o + ahead : o + total] - paths[k] for k, o in enumerate(origins)]
    ).astype(np.float32)
    return Backtest(origins=origins, ahead=ahead, residuals=residuals, point=paths[-1])
