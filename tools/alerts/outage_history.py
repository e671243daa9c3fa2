"""What days were like at each site, and what tomorrow's outage is told from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Floats = npt.NDArray[np.floating]
Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

RATE_DAYS = (1.0, 3.0, 7.0, 14.0, 30.0, 90.0, 300.0)
DEFICIT_DAYS = (1.0, 3.0, 14.0, 60.0)
COUNT_DAYS = (1.0, 7.0, 30.0)
NEIGHBOURS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyHistory:
    """Days of a fleet; arrays of shape (sites, days) unless said otherwise, NaN where nothing is known.

    Attributes:
        first_day: Of column 0.
        seen: Whether a day was recorded at all.
        failed: Whether the site failed on a day; False where not seen.
        deficit: How much was lost that day, in any unit that is zero on a good day.
        levels: Further quantities of a day (losses by technology), zero on a good day.
        counts: Alarms of a day by group.
        place: Position of each site in any plane unit, shape (sites, 2), NaN where unknown.
        traits: What does not change, as numbers, shape (sites,).
        weather: Of the whole area, shape (days,).
        weather_ahead: Whether tomorrow's weather is known today (a forecast; in backtests what was observed then).
    """

    first_day: date
    seen: Bools
    failed: Bools
    deficit: Floats
    levels: Mapping[str, Floats] = field(default_factory=dict)
    counts: Mapping[str, Floats] = field(default_factory=dict)
    place: Floats | None = None
    traits: Mapping[str, Floats] = field(default_factory=dict)
    weather: Mapping[str, Floats] = field(default_factory=dict)
    weather_ahead: bool = False

    @property
    def days(self) -> int:
        """Number of columns."""
        return int(self.seen.shape[1])


def recent_mean(values: Floats, half_life_days: float) -> Floats:
    """Return the exponentially weighted mean up to each day, from zero, along the last axis."""
    keep = 0.5 ** (1.0 / half_life_days)
    return np.asarray(lfilter([1.0 - keep], [1.0, -keep], values, axis=-1))


def recent_rate(history: DailyHistory, half_life_days: float, *, prior_days: float) -> Floats:
    """Return the share of recent days with a failure, drawn towards the fleet's share up to that day.

    Args:
        history: Days.
        half_life_days: After so many days a day counts half.
        prior_days: Weight of the fleet's share, in days of full weight.
    """
    keep = 0.5 ** (1.0 / half_life_days)
    seen = history.seen.astype(np.float64)
    base = np.cumsum(history.failed.sum(axis=0)) / np.maximum(np.cumsum(history.seen.sum(axis=0)), 1)
    failed = lfilter([1.0], [1.0, -keep], history.failed.astype(np.float64), axis=1)
    weight = lfilter([1.0], [1.0, -keep], seen, axis=1)
    return np.asarray((failed + prior_days * base) / (weight + prior_days))


def chance_by_rate(history: DailyHistory) -> Floats:
    """Return tomorrow's chance of failure from how often each site failed lately, shape (sites,).

    The mean of three recent rates, a few days, a fortnight and two months, each drawn towards the fleet's: no model is
    learnt, so it serves from the first week on.
    """
    parts = [recent_rate(history, days, prior_days=days / 2.0)[:, -1] for days in (3.0, 14.0, 60.0)]
    return np.asarray(np.mean(parts, axis=0))


def features(history: DailyHistory) -> tuple[Float32, tuple[str, ...]]:
    """Return what is known at the end of each day, shape (sites, days, features), with the features' names."""
    found: dict[str, Floats] = {}
    failed = history.failed.astype(np.float64)
    for days in RATE_DAYS:
        found[f"rate_{days:g}d"] = recent_rate(history, days, prior_days=1.0)
    deficit = np.log1p(np.nan_to_num(history.deficit))
    found["deficit"] = deficit
    for days in DEFICIT_DAYS:
        found[f"deficit_{days:g}d"] = recent_mean(deficit, days)
    for name, values in history.levels.items():
        level = np.log1p(np.nan_to_num(values))
        found[name], found[f"{name}_7d"] = level, recent_mean(level, 7.0)
        found[f"{name}_known"] = np.isfinite(values).astype(np.float64)
    for name, values in history.counts.items():
        for days in COUNT_DAYS:
            found[f"{name}_{days:g}d"] = recent_mean(np.log1p(values), days)
    found |= _timing(failed, history.seen)
    found |= _around(history, failed)
    found |= _shared(history)
    names = tuple(found)
    shape = history.seen.shape
    table = np.stack([np.broadcast_to(found[name], shape) for name in names], axis=2)
    return table.astype(np.float32), names


def _timing(failed: Floats, seen: Bools) -> dict[str, Floats]:
    days = failed.shape[1]
    index = np.arange(days)[None]
    last = np.maximum.accumulate(np.where(failed > 0.0, index, -400), axis=1)
    run = np.zeros(failed.shape)
    for t in range(days):
        run[:, t] = np.where(failed[:, t] > 0.0, (run[:, t - 1] if t else 0.0) + 1.0, 0.0)
    weekly = np.zeros(failed.shape)
    for lag in range(6, min(56, days), 7):
        weekly[:, lag:] += failed[:, : days - lag]
    total = np.cumsum(failed, axis=1)
    count = np.cumsum(seen, axis=1)
    base = np.cumsum(failed.sum(axis=0)) / np.maximum(np.cumsum(seen.sum(axis=0)), 1)
    return {
        "since_failure": np.minimum(index - last, 400).astype(np.float64),
        "failing_for": run,
        "same_weekday": weekly,
        "share_ever": (total + 30.0 * base) / (count + 30.0),
        "known_days": count.astype(np.float64),
    }


def _around(history: DailyHistory, failed: Floats) -> dict[str, Floats]:
    share = failed.sum(axis=0) / np.maximum(history.seen.sum(axis=0), 1)
    found = {"fleet": share[None], "fleet_5d": recent_mean(share, 5.0)[None]}
    if history.place is None or len(failed) <= NEIGHBOURS:
        return found
    place = np.where(np.isfinite(history.place), history.place, 1e6)
    far = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    np.fill_diagonal(far, np.inf)
    near = np.argsort(far, axis=1, kind="stable")[:, :NEIGHBOURS]
    around = failed[near].mean(axis=1)
    total = recent_rate(history, 300.0, prior_days=30.0)
    found |= {
        "near": around,
        "near_5d": recent_mean(around, 5.0),
        "near_share": total[near].mean(axis=1),
        "near_distance": np.sqrt(np.sort(far, axis=1)[:, NEIGHBOURS - 1])[:, None],
        "east": place[:, :1],
        "north": place[:, 1:],
    }
    return found


def _shared(history: DailyHistory) -> dict[str, Floats]:
    days = [history.first_day + timedelta(days=k + 1) for k in range(history.days)]
    found: dict[str, Floats] = {name: values[:, None] for name, values in history.traits.items()}
    found["weekday_ahead"] = np.array([float(day.weekday()) for day in days])[None]
    season = np.array([2.0 * np.pi * day.timetuple().tm_yday / 365.25 for day in days])
    found["season_sin"], found["season_cos"] = np.sin(season)[None], np.cos(season)[None]
    for name, values in history.weather.items():
        found[name] = values[None]
        if history.weather_ahead:
            found[f"{name}_ahead"] = np.append(values[1:], np.nan)[None]
    return found
