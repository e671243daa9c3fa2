"""PV on the forecasters' protocol: a clear sky times the share of it that the site usually turns into power.

Both models read the clear sky from the history's regressors (`clear_sky.clear_sky_of`) and look at nothing measured
after their origin; observed irradiance is never an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.forecasting.clear_sky import sky_over
from tools.forecasting.history import LoadHistory

Float32 = npt.NDArray[np.float32]

DUSK_W_M2 = np.float32(20.0)
"""Below this irradiance a share of it is noise: power is then compared with this instead."""
LEVELS = (0.25, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearSkyShare:
    """The median share of the clear sky at the same time of day over the last weeks; a PointModel.

    The panels' direction, shading and a logger's clock are all in the share, which is learnt per site and step of the
    UTC day. What the last hour had more or less than its share fades within hours: clouds do not last.

    Attributes:
        days: Days that the share is learnt from.
        carry: Part of the last hour's deviation that is carried into the next step.
        carry_half_life_h: Hours in which it halves.
    """

    days: int = 28
    carry: float = 0.7
    carry_half_life_h: float = 1.0

    @property
    def name(self) -> str:
        """Name of the model."""
        return "clear_sky"

    @property
    def version(self) -> str:
        """Version of the rule and its settings."""
        return f"1:{self.days}d:c{self.carry:g}/{self.carry_half_life_h:g}h"

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin."""
        return 5

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> Float32:
        """Return the paths from several origins, shape (origins, sites, steps).

        Raises:
            ValueError: The history carries no clear sky, or one that does not reach far enough.
        """
        sky = sky_of(history, max(origins) + steps)
        out = np.empty((len(origins), len(sky), steps), dtype=np.float32)
        for row, origin in enumerate(origins):
            usual = usual_shares(history, sky, origin, self.days, (0.5,))[0]
            out[row] = shared_sky(tiled(usual, steps), sky[:, origin : origin + steps])
            out[row] *= 1.0 + self._carried(history, sky, origin, usual, steps)
        return out

    def _carried(
        self, history: LoadHistory, sky: Float32, origin: int, usual: Float32, steps: int
    ) -> Float32:
        """Return by which part the path is raised or lowered after the last hour, shape (sites, steps)."""
        hour = max(round(1.0 / history.step_h), 1)
        last = slice(max(origin - hour, 0), origin)
        seen = np.asarray(history.values[:, last], dtype=np.float32)
        expected = shared_sky(usual[:, -seen.shape[1] :], sky[:, last])
        lit = np.isfinite(seen) & (sky[:, last] > DUSK_W_M2)
        had, due = (np.where(lit, part, np.float32(0.0)).sum(axis=1) for part in (seen, expected))
        off = np.clip(np.where(due > 0.0, had / np.maximum(due, np.float32(1e-6)) - 1.0, 0.0), -1.0, 1.0)
        ahead_h = (np.arange(steps) + 1.0) * history.step_h
        fade = self.carry * 0.5 ** (ahead_h / self.carry_half_life_h)
        return np.asarray(off[:, None] * fade[None], dtype=np.float32)


def sky_of(history: LoadHistory, steps: int) -> Float32:
    """Return the clear sky over the first `steps` columns, W/m2, shape (sites, steps).

    Raises:
        ValueError: The history carries none.
    """
    sky = sky_over(history, 0, steps)
    if sky is None:
        raise ValueError("a PV model needs the clear sky among the history's regressors")
    return sky


def unit_of(sky: Float32) -> Float32:
    """Return what power is compared with, W/m2: the clear sky, and not less than dusk."""
    return np.maximum(sky, DUSK_W_M2)


def shared_sky(share: Float32, sky: Float32) -> Float32:
    """Return power from shares of the sky, nothing while the sun is down."""
    return np.where(sky > 0.0, share * unit_of(sky), np.float32(0.0)).astype(np.float32)


def tiled(day: Float32, steps: int) -> Float32:
    """Return a day's columns repeated over `steps`, shape (sites, steps)."""
    return np.tile(day, -(-steps // day.shape[1]))[:, :steps]


def usual_shares(
    history: LoadHistory, sky: Float32, origin: int, days: int, levels: Sequence[float]
) -> Float32:
    """Return quantiles of the share by step of the 24 hours before `origin`, shape (levels, sites, steps per day).

    A step takes its neighbours' shares too. One without any measurement has share 0.
    """
    day = history.steps_per_day
    whole = min(days, origin // day)
    past = slice(origin - whole * day, origin)
    share = np.asarray(history.values[:, past], dtype=np.float32) / unit_of(sky[:, past])
    share = np.where(sky[:, past] > 0.0, share, np.float32(np.nan)).reshape(len(sky), whole, day)
    near = np.concatenate([np.roll(share, turn, axis=2) for turn in (-1, 0, 1)], axis=1)
    ordered = np.sort(near, axis=1)  # NaN last
    known = np.isfinite(ordered).sum(axis=1)
    out = np.empty((len(levels), len(sky), day), dtype=np.float32)
    for number, level in enumerate(levels):
        at = np.clip(np.round(level * (known - 1)), 0, None).astype(np.int64)
        found = np.take_along_axis(ordered, at[:, None, :], axis=1)[:, 0]
        out[number] = np.where(known > 0, found, np.float32(0.0))
    return out
