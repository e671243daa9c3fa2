"""Replay day after day what would have been served, with choice and intervals made from earlier days alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.forecasting.backtest import Backtest
from tools.forecasting.clear_sky import sky_over
from tools.forecasting.fleet_forecast import QUANTILES
from tools.forecasting.forecaster import PointModel
from tools.forecasting.history import LoadHistory
from tools.forecasting.intervals import interval_paths
from tools.forecasting.selector import select_from

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Paths of each model, and of what was served, over consecutive days.

    Attributes:
        actual: Measured, shape (days, sites, steps); NaN where nothing was measured and, for PV, in the dark.
        paths: Model to its paths, same shape; "served" is what the selection chose.
        served_names: Model served, by day and site.
        covered_80: Share inside the 10 to 90 % interval, shape (days, sites).
        covered_95: Share inside the 2.5 to 97.5 % interval, shape (days, sites).
        energy_covered_95: Whether the day's energy lay inside its 95 % interval, shape (days, sites).
        pinball: Mean quantile loss, shape (days, sites).
    """

    actual: Float32
    paths: Mapping[str, Float32]
    served_names: tuple[tuple[str, ...], ...]
    covered_80: npt.NDArray[np.float64]
    covered_95: npt.NDArray[np.float64]
    energy_covered_95: npt.NDArray[np.float64]
    pinball: npt.NDArray[np.float64]

    def wape(self, model: str) -> npt.NDArray[np.float64]:
        """Return each site's sum of absolute errors over its sum of actuals, shape (sites,)."""
        error = np.nansum(np.abs(self.actual - self.paths[model]), axis=(0, 2), dtype=np.float64)
        return np.asarray(error / np.nansum(np.abs(self.actual), axis=(0, 2), dtype=np.float64))

    def mape(self, model: str) -> float:
        """Return the mean of absolute relative errors over everything, a fraction."""
        return float(np.nanmean(np.abs((self.actual - self.paths[model]) / self.actual)))

    def mae(self, model: str) -> npt.NDArray[np.float64]:
        """Return each site's mean absolute error in the unit of the values, shape (sites,)."""
        error = np.abs(self.actual - self.paths[model])
        return np.asarray(np.nanmean(error, axis=(0, 2), dtype=np.float64))


def replay(
    history: LoadHistory,
    models: Sequence[PointModel],
    *,
    first: int,
    days: int,
    steps: int,
    folds: int = 7,
    blend: bool = True,
    lower_bound: float | None = 0.0,
) -> Replay:
    """Replay daily forecasts over [first, first + days) days of the history.

    Args:
        history: Everything measured, the replayed days too (they are the truth to score against).
        models: Candidates; the seasonal naives must be among them, being the gate.
        first: Column of the first origin.
        days: Daily origins.
        steps: Horizon of each forecast in grid steps; the selection sees backtests of the `folds` origins whose
            whole horizon had been measured by then.
        folds: Backtests behind each selection.
        blend: Whether means of two candidates are candidates.
        lower_bound: Least possible value, or None.
    """
    day = history.steps_per_day
    lead = -(-steps // day)  # days until an origin's horizon is all measured
    origins = [first + (k - folds - lead + 1) * day for k in range(folds + lead - 1 + days)]
    found = {model.name: model.paths(history, origins, steps) for model in models}
    actual = np.stack([history.values[:, o : o + steps] for o in origins]).astype(np.float32)
    offset = folds + lead - 1
    served = np.empty((days, *actual.shape[1:]), dtype=np.float32)
    judged = np.empty_like(served)
    shares = np.empty((4, days, actual.shape[1]))
    names = []
    for d in range(days):
        now = offset + d
        past = [now - lead - k for k in range(folds)]
        tests = {
            name: Backtest(
                origins=tuple(origins[p] for p in past),
                ahead=0,
                residuals=actual[past] - paths[past],
                point=paths[now],
            )
            for name, paths in found.items()
        }
        selection = select_from(tests, blend=blend)
        values, energy = interval_paths(history.before(origins[now]), selection.tested, lower_bound)
        served[d] = selection.tested.point
        names.append(tuple(selection.names[k] for k in selection.chosen))
        judged[d] = _by_daylight(history, actual[now], origins[now])
        shares[:, d] = _shares(actual[now], judged[d], values, energy, history.step_h)
    paths = {name: own[offset:] for name, own in found.items()} | {"served": served}
    return Replay(
        actual=judged,
        paths=paths,
        served_names=tuple(names),
        covered_80=shares[0],
        covered_95=shares[1],
        energy_covered_95=shares[2],
        pinball=shares[3],
    )


def _by_daylight(history: LoadHistory, actual: Float32, first: int) -> Float32:
    """Return what is scored from column `first` on: what was measured, for PV by daylight only."""
    sky = sky_over(history, first, actual.shape[1])
    return actual if sky is None else np.where(sky > 0.0, actual, np.float32(np.nan))


def _shares(
    actual: Float32, judged: Float32, values: Float32, energy: Float32, step_h: float
) -> npt.NDArray[np.float64]:
    """Return 80 and 95 % coverage, coverage of the whole energy and pinball loss, shape (4, sites); NaN: unknown."""
    at = {level: QUANTILES.index(level) for level in (0.025, 0.1, 0.9, 0.975)}
    known = np.isfinite(judged)
    count = known.sum(axis=1)
    inside = [
        ((judged >= values[:, at[a]]) & (judged <= values[:, at[b]])).sum(axis=1)
        for a, b in ((0.1, 0.9), (0.025, 0.975))
    ]
    total = actual.sum(axis=1) * step_h
    whole = (total >= energy[:, at[0.025], -1]) & (total <= energy[:, at[0.975], -1])
    levels = np.array(QUANTILES)[None, :, None]
    gap = np.where(known, judged, np.float32(0.0))[:, None, :] - values
    loss = (np.maximum(levels * gap, (levels - 1.0) * gap) * known[:, None]).sum(axis=(1, 2)) / len(QUANTILES)
    found = np.stack([*inside, np.zeros_like(count), loss]).astype(np.float64)
    found = np.where(count > 0, found / np.maximum(count, 1), np.nan)
    found[2] = np.where(np.isfinite(total), whole, np.nan)
    return found
