"""Gradient boosting over the whole fleet: one model learns what the ridge leaves, for every site and horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.forecasting.forecaster import PointModel
from tools.forecasting.history import LoadHistory, filled
from tools.forecasting.naive import SeasonalNaive
from tools.forecasting.ridge import BatchedRidge

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosted:
    """LightGBM (median loss) on the ridge's residual, in units of each site's recent mean.

    One row per (site, origin, step ahead): calendar, horizon, the ridge's and both naive paths, recent levels, and
    the regressors. Trained on earlier origins only, and anew whenever an origin lies `refit_days` past the last
    training; sites are sampled so that training costs the same for any fleet.

    Attributes:
        base: Model whose residual is learnt.
        train_days: Days of origins before the cut-off that rows are taken from.
        warm_days: Days before the first training origin, for the base model and the lags.
        trees: Boosting rounds.
        max_rows: Rows trained on; above it, rows are sampled with `seed`.
        threads: LightGBM threads; more than there are idle cores makes it many times slower.
    """

    base: PointModel = field(default_factory=BatchedRidge)
    train_days: int = 28
    warm_days: int = 8
    refit_days: int = 7
    trees: int = 100
    leaves: int = 31
    learning_rate: float = 0.05
    min_leaf: int = 200
    max_rows: int = 250_000
    objective: str = "regression_l1"
    threads: int = 1
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the model."""
        return "boosted"

    @property
    def version(self) -> str:
        """Version of the rule and the settings that change its figures."""
        return f"1:t{self.trees}x{self.leaves}:d{self.train_days}:{self.objective}:{self.base.version}"

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin, the horizon apart: the lags' and a week of training origins."""
        return self.warm_days + 7

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> Float32:
        """Return the paths from several origins, shape (origins, sites, steps).

        Raises:
            ValueError: No origin lies early enough to train on before the first one asked for.
        """
        values = filled(history)
        out = np.empty((len(origins), values.shape[0], steps), dtype=np.float32)
        for cutoff, members in refit_groups(origins, self.refit_days * history.steps_per_day):
            booster = self._train(history, values, cutoff, steps)
            rows = [origins[m] for m in members]
            table = feature_table(history, values, rows, steps, self.base)
            learnt = booster.predict(table.features.reshape(-1, table.features.shape[-1]))
            correction = np.asarray(learnt, dtype=np.float32).reshape(table.base.shape)
            out[members] = table.base + correction * table.level[:, :, None]
        return out

    def _train(self, history: LoadHistory, values: Float32, cutoff: int, steps: int) -> Any:
        day = history.steps_per_day
        last = cutoff - -(-steps // day) * day
        past = [last - k * day for k in range(self.train_days) if last - k * day >= self.warm_days * day]
        if not past:
            raise ValueError(f"boosting needs {self.warm_days} days and one horizon before its first origin")
        table = feature_table(history, values, past, steps, self.base)
        actual = np.stack([history.values[:, o : o + steps] for o in past])
        target = ((actual - table.base) / table.level[:, :, None]).reshape(-1)
        known = np.flatnonzero(np.isfinite(target))
        if known.size > self.max_rows:
            known = np.random.default_rng(self.seed).choice(known, self.max_rows, replace=False)
            known.sort()
        settings = {
            "objective": self.objective,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_leaf,
            "num_threads": self.threads,
            "seed": self.seed,
        }
        features = table.features.reshape(-1, table.features.shape[-1])[known]
        return fitted_trees(settings, features, target[known], self.trees)


def fitted_trees(
    settings: dict[str, Any],
    features: Float32,
    target: npt.NDArray[np.floating],
    trees: int,
    *,
    weight: Float32 | None = None,
) -> Any:
    """Return a LightGBM booster, the same for the same rows; `settings` go before what all models share."""
    import lightgbm  # noqa: PLC0415 - heavy, and only the boosted models need it

    shared = {
        "objective": "regression_l1",
        "feature_fraction": 0.8,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "max_bin": 127,
        "verbose": -1,
        "deterministic": True,
        "force_row_wise": True,
    }
    return lightgbm.train(shared | settings, lightgbm.Dataset(features, target, weight=weight), trees)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Features and base paths of every (origin, site, step).

    Attributes:
        features: Shape (origins, sites, steps, features); levels are relative to `level`.
        base: The base model's paths, shape (origins, sites, steps).
        level: Mean of each site's last week before the origin, at least a small share of the fleet's median,
            shape (origins, sites).
    """

    features: Float32
    base: Float32
    level: Float32


def feature_table(
    history: LoadHistory, values: Float32, origins: Sequence[int], steps: int, base: PointModel
) -> FeatureTable:
    """Return what is known at each origin about each step ahead of it."""
    day = history.steps_per_day
    order = np.argsort(origins)
    shared = base.paths(history, [origins[k] for k in order], steps)[np.argsort(order)]
    plain = [SeasonalNaive(season=s).paths(history, origins, steps) for s in ("day", "week")]
    running = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    level = np.stack([_mean_before(running, o, 7 * day) for o in origins])
    level = np.maximum(np.abs(level), max(1e-2 * float(np.median(np.abs(level))), 1e-6))
    phase = history.phase(0, max(origins) + steps)
    out = np.empty((*shared.shape, 14 + 3 * len(history.regressors)), dtype=np.float32)
    for row, origin in enumerate(origins):
        ahead = slice(origin, origin + steps)
        unit = level[row][:, None]
        week_ago = _slots_mean(values, origin, steps, 7 * day, 4)
        days_ago = _slots_mean(values, origin, steps, day, 4)
        recent = [_mean_before(running, origin, n) for n in (max(day // 24, 1), day // 4, day)]
        columns: list[npt.NDArray[np.floating]] = [
            phase.slot[ahead][None].astype(np.float32),
            phase.day_type[ahead][None].astype(np.float32),
            phase.holiday[ahead][None].astype(np.float32),
            np.arange(steps, dtype=np.float32)[None],
            shared[row] / unit,
            plain[0][row] / unit,
            plain[1][row] / unit,
            week_ago / unit,
            days_ago / unit,
            *(mean[:, None] / unit for mean in recent),
            (week_ago - shared[row]) / unit,
            _last_error(values, shared[row], origin, day) / unit,
        ]
        for k in range(len(history.regressors)):
            now = history.regressor(k, origin, steps)
            before = history.regressor(k, origin - 7 * day, 7 * day)
            columns += [
                now,
                now - before[:, -day:].mean(axis=1, keepdims=True),
                now - _same_slot(before, steps),
            ]
        for k, column in enumerate(columns):
            out[row, :, :, k] = column
    return FeatureTable(features=out, base=shared, level=level.astype(np.float32))


def refit_groups(origins: Sequence[int], refit: int) -> list[tuple[int, list[int]]]:
    """Return (cut-off, positions): origins that share one training, which ends before the earliest of them."""
    groups: list[tuple[int, list[int]]] = []
    for position in np.argsort(origins, kind="stable").tolist():
        if not groups or origins[position] >= groups[-1][0] + refit:
            groups.append((origins[position], []))
        groups[-1][1].append(position)
    return groups


def _mean_before(running: npt.NDArray[np.float64], origin: int, width: int) -> npt.NDArray[np.float64]:
    first = max(origin - width, 0)
    return np.asarray((running[:, origin] - running[:, first]) / max(origin - first, 1))


def _slots_mean(values: Float32, origin: int, steps: int, season: int, most: int) -> Float32:
    """Return the mean over up to `most` past seasons of the same step, shape (sites, steps)."""
    span = -(-steps // season) * season
    parts = []
    for back in range(most):
        first = origin - season - back * season
        if first < 0:
            break
        one = values[:, first : first + season]
        parts.append(np.tile(one, span // season)[:, :steps])
    return np.asarray(np.mean(parts, axis=0), dtype=np.float32)


def _last_error(values: Float32, path: Float32, origin: int, day: int) -> Float32:
    """Return how far yesterday lay from the base path of the same step of the first day, shape (sites, steps)."""
    one = values[:, origin - day : origin]
    repeats = -(-path.shape[1] // day)
    return np.asarray(np.tile(one, repeats)[:, : path.shape[1]] - path, dtype=np.float32)


def _same_slot(before: npt.NDArray[np.floating], steps: int) -> npt.NDArray[np.floating]:
    """Return a regressor's value at the same step of the week before, repeated over the horizon."""
    repeats = -(-steps // before.shape[1])
    return np.tile(before, repeats)[:, :steps]
