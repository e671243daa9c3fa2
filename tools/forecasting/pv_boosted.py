"""The learned correction of the clear sky: one boosted model over all sites with panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tools.forecasting.boosted import fitted_trees, refit_groups
from tools.forecasting.clear_sky import CLEAR_SKY
from tools.forecasting.history import LoadHistory
from tools.forecasting.pv import DUSK_W_M2, LEVELS, ClearSkyShare, sky_of, tiled, unit_of, usual_shares

Float32 = npt.NDArray[np.float32]

FORTNIGHT = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedPv:
    """LightGBM (median loss) on the share of the clear sky, in units of each site's share on clear days; a PointModel.

    One row per (site, origin, step of daylight): season, time of day, height of the sky, usual shares and their
    spread, the shares of the last days, what the clear-sky model says, and what is known ahead of the weather (such as
    a temperature: warm for the season and a wide daily range mean sun). Rows weigh by the sky, so that watts count.

    Attributes:
        base: Clear-sky model whose path is an input.
        train_days: Days of origins before the cut-off that rows are taken from.
        warm_days: Days before the first training origin.
        refit_days: An origin this much past the last training calls for the next one.
        trees: Boosting rounds.
        members: Models with seeds of their own whose mean is served: with a year of one site, half of a single model's
            deviation from another is the luck of its samples.
        max_rows: Rows trained on; above it rows are sampled with `seed`.
        threads: LightGBM threads.
    """

    base: ClearSkyShare = field(default_factory=ClearSkyShare)
    train_days: int = 365
    warm_days: int = 8
    refit_days: int = 30
    trees: int = 150
    members: int = 4
    leaves: int = 7
    learning_rate: float = 0.05
    min_leaf: int = 200
    max_rows: int = 250_000
    threads: int = 1
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the model."""
        return "clear_sky_boosted"

    @property
    def version(self) -> str:
        """Version of the rule and the settings that change its figures."""
        return f"1:{self.members}x{self.trees}x{self.leaves}:d{self.train_days}:{self.base.version}"

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin, the horizon apart."""
        return self.warm_days + 7

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> Float32:
        """Return the paths from several origins, shape (origins, sites, steps).

        Raises:
            ValueError: No clear sky among the regressors, or no origin lies early enough to train on.
        """
        sky = sky_of(history, max(origins) + steps)
        out = np.empty((len(origins), len(sky), steps), dtype=np.float32)
        for cutoff, members in refit_groups(origins, self.refit_days * history.steps_per_day):
            boosters = self._train(history, sky, cutoff, steps)
            for member in members:
                origin = origins[member]
                window = sky[:, origin : origin + steps]
                features, level = sky_features(history, sky, origin, steps, self.base)
                rows = features.reshape(-1, features.shape[-1])
                learnt = np.mean([booster.predict(rows) for booster in boosters], axis=0)
                share = np.maximum(np.asarray(learnt, dtype=np.float32).reshape(window.shape), 0.0)
                out[member] = np.where(window > 0.0, share * level[:, None] * unit_of(window), 0.0)
        return out

    def _train(self, history: LoadHistory, sky: Float32, cutoff: int, steps: int) -> list[Any]:
        day = history.steps_per_day
        last = cutoff - -(-steps // day) * day
        past = [last - k * day for k in range(self.train_days) if last - k * day >= self.warm_days * day]
        if not past:
            raise ValueError(
                f"the PV correction needs {self.warm_days} days and one horizon before an origin"
            )
        rng = np.random.default_rng(self.seed)
        # Twice the rows wanted: half of them are dark or gaps. A large fleet then costs what a small one does.
        wanted = -(-2 * self.max_rows // (len(past) * steps))
        if wanted < len(sky):
            chosen = np.sort(rng.choice(len(sky), wanted, replace=False))
            history, sky = history.rows(chosen), sky[chosen]
        rows, shares, weights = [], [], []
        for origin in past:
            features, level = sky_features(history, sky, origin, steps, self.base)
            window = sky[:, origin : origin + steps]
            measured = np.asarray(history.values[:, origin : origin + steps], dtype=np.float32)
            used = np.isfinite(measured) & (window > 0.0)
            rows.append(features[used])
            shares.append((measured / (unit_of(window) * level[:, None]))[used])
            weights.append(unit_of(window)[used])
        table, target, weight = np.concatenate(rows), np.concatenate(shares), np.concatenate(weights)
        if len(table) > self.max_rows:
            kept = np.sort(rng.choice(len(table), self.max_rows, replace=False))
            table, target, weight = table[kept], target[kept], weight[kept]
        settings = {
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": min(self.min_leaf, max(len(table) // 20, 5)),
            "feature_fraction": 0.6,
            "bagging_fraction": 0.6,
            "lambda_l2": 5.0,
            "num_threads": self.threads,
        }
        return [
            fitted_trees(settings | {"seed": self.seed + k}, table, target, self.trees, weight=weight)
            for k in range(self.members)
        ]


def sky_features(
    history: LoadHistory, sky: Float32, origin: int, steps: int, base: ClearSkyShare
) -> tuple[Float32, Float32]:
    """Return what is known at an origin of each step ahead, and the sites' levels.

    Returns:
        Features of shape (sites, steps, features), shares in units of the level; levels of shape (sites,): the share
        on clear days, W per W/m2, above zero. It is a property of the panels, so sites of any size learn together.
    """
    day = history.steps_per_day
    ahead = slice(origin, origin + steps)
    usual = usual_shares(history, sky, origin, base.days, LEVELS)
    unit = unit_of(sky[:, ahead])
    daily = _daily_shares(history, sky, origin, min(30, origin // day))
    level = _clear_level(usual[LEVELS.index(0.9)], sky[:, origin - day : origin])
    past = slice(origin - 7 * day, origin)
    week = (np.asarray(history.values[:, past], dtype=np.float32) / unit_of(sky[:, past])).reshape(
        len(sky), 7, day
    )
    halves = [_share_between(history, sky, origin - day + a, origin - day + b) for a, b in ((0, day // 2), (day // 2, day))]  # fmt: skip
    phase = history.phase(origin, steps)
    begin_s = int(history.start.timestamp()) % 86400
    slot = (begin_s // int(history.step.total_seconds()) + origin + np.arange(steps)) % day
    wide = (len(sky), steps)
    in_level: list[npt.NDArray[np.floating]] = [
        *(tiled(one, steps) for one in usual),
        tiled(week[:, -1], steps),
        tiled(week[:, -2], steps),
        tiled(_mean_known(week), steps),
        base.paths(history, [origin], steps)[0] / unit,
        *(np.broadcast_to(one[:, None], wide) for one in (daily[:, -1], daily[:, -2], *halves)),
        np.broadcast_to(_mean_known(daily[:, -7:, None]), wide),
        np.broadcast_to(_mean_known(daily[:, :, None]), wide),
    ]
    other: list[npt.NDArray[np.floating]] = [
        np.broadcast_to(slot.astype(np.float32)[None], wide),
        np.broadcast_to(((phase.ordinal % 365.2425) / 365.2425)[None], wide),
        np.broadcast_to((np.arange(steps) // max(day // 24, 1))[None], wide),
        sky[:, ahead] / 1000.0,
        *_weather(history, origin, steps, wide),
    ]
    columns = [one / level[:, None] for one in in_level] + other
    return np.stack(columns, axis=-1).astype(np.float32), level


def _clear_level(clear: Float32, day_sky: Float32) -> Float32:
    """Return each site's share on clear days, weighed by the sky, shape (sites,), above zero."""
    lit = np.where(day_sky > DUSK_W_M2, day_sky, np.float32(0.0))
    level = (clear * lit).sum(axis=1) / np.maximum(lit.sum(axis=1), np.float32(1.0))
    floor = max(1e-2 * float(np.median(level)), 1e-6)
    return np.asarray(np.maximum(level, floor), dtype=np.float32)


def _daily_shares(history: LoadHistory, sky: Float32, origin: int, days: int) -> Float32:
    """Return the share of each of the `days` days before an origin, shape (sites, days), oldest first."""
    day = history.steps_per_day
    parts = [
        _share_between(history, sky, origin - k * day, origin - (k - 1) * day) for k in range(days, 0, -1)
    ]
    return np.stack(parts, axis=1)


def _share_between(history: LoadHistory, sky: Float32, first: int, last: int) -> Float32:
    """Return power over clear sky summed over columns [first, last), shape (sites,); NaN without sun or measurement."""
    seen = np.asarray(history.values[:, first:last], dtype=np.float32)
    lit = np.isfinite(seen) & (sky[:, first:last] > DUSK_W_M2)
    had = np.where(lit, seen, np.float32(0.0)).sum(axis=1)
    could = np.where(lit, sky[:, first:last], np.float32(0.0)).sum(axis=1)
    share = np.where(could > 0.0, had / np.maximum(could, np.float32(1.0)), np.float32(np.nan))
    return np.asarray(share, dtype=np.float32)


def _mean_known(values: Float32) -> Float32:
    """Return the mean over axis 1 of what is known, NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, np.float32(0.0)).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _weather(
    history: LoadHistory, origin: int, steps: int, shape: tuple[int, int]
) -> list[npt.NDArray[np.floating]]:
    """Return of each other regressor its value, and the day's highest and range: as they are and beside the last days'."""
    day = history.steps_per_day
    found: list[npt.NDArray[np.floating]] = []
    for number, item in enumerate(history.regressors):
        if item.name == CLEAR_SKY:
            continue
        now = history.regressor(number, origin, steps)
        back = min(FORTNIGHT, origin // day)
        before = history.regressor(number, origin - back * day, back * day).reshape(len(now), back, day)
        high, low = (_by_day(now, day, kind) for kind in ("max", "min"))
        highs, ranges = before.max(axis=2), before.max(axis=2) - before.min(axis=2)
        columns = (
            now,
            now - tiled(before[:, -1].astype(np.float32), steps),
            high - low,
            high - highs[:, [-1]],
            high - highs.mean(axis=1, keepdims=True),
            high - low - ranges[:, [-1]],
            high - low - ranges.mean(axis=1, keepdims=True),
        )
        found += [np.broadcast_to(one, shape) for one in columns]
    return found


def _by_day(
    values: npt.NDArray[np.floating], day: int, kind: Literal["max", "min"]
) -> npt.NDArray[np.floating]:
    """Return the highest or lowest value of each 24 hours of the horizon at each of its steps."""
    blocks = [values[:, first : first + day] for first in range(0, values.shape[1], day)]
    ends = [one.max(axis=1) if kind == "max" else one.min(axis=1) for one in blocks]
    return np.concatenate(
        [np.broadcast_to(end[:, None], one.shape) for end, one in zip(ends, blocks, strict=True)], axis=1
    )
