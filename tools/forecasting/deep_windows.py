"""What the deep model sees: windows of the past and of the steps ahead, in units of each site's own level. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.boosted import feature_table
from tools.forecasting.forecaster import PointModel
from tools.forecasting.history import LoadHistory

Float32 = npt.NDArray[np.float32]

HOUR = timedelta(hours=1)
WEEK_H = 168
PAST_FEATURES = 5
MOST_LEVELS = 8.0
"""Values beyond so many times a site's level teach nothing more."""
MOST_SPREADS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Inputs of every (origin, site), in that order.

    Attributes:
        past: Hour by hour up to the origin: value and value a week earlier in units of the level, local time of day as
            sine and cosine, day off; shape (samples, hours, 5).
        ahead: Calendar, lags, levels and regressors of each step; shape (samples, steps, features).
        base: Path that the network corrects, in the unit of the values; shape (samples, steps).
        level: Mean of the week before the origin, the unit of all else; shape (samples,).
    """

    past: Float32
    ahead: Float32
    base: Float32
    level: Float32


def windows(
    history: LoadHistory, values: Float32, origins: Sequence[int], steps: int, base: PointModel, past_h: int
) -> Windows:
    """Return what is known at each origin about each site; nothing at or after an origin enters its rows.

    Args:
        history: The fleet, for its calendar and regressors.
        values: Its values without gaps.
        origins: Columns, each at least `past_h` hours and a week after the first.
        steps: Grid steps ahead.
        base: Model whose path is corrected.
        past_h: Hours of the past that are read one by one.

    Raises:
        ValueError: An origin lies too early, or an hour is no whole number of steps.
    """
    per_hour = HOUR // history.step
    if per_hour < 1 or HOUR % history.step:
        raise ValueError(f"an hour is no whole number of steps of {history.step}")
    if min(origins) < (past_h + WEEK_H) * per_hour:
        raise ValueError(f"an origin needs {past_h + WEEK_H} hours before it")
    table = feature_table(history, values, origins, steps, base)
    count, sites = table.level.shape
    ahead = _ahead(table.features, history.steps_per_day, history.step_h)
    return Windows(
        past=_past(history, values, origins, table.level, past_h, per_hour).reshape(
            count * sites, past_h, -1
        ),
        ahead=ahead.reshape(count * sites, steps, -1),
        base=table.base.reshape(count * sites, steps),
        level=table.level.reshape(-1),
    )


def targets(history: LoadHistory, origins: Sequence[int], found: Windows) -> tuple[Float32, Float32]:
    """Return what the network should say: the step's distance from the base and the mean of it so far.

    Both in units of the level, shape (samples, steps); NaN where nothing was measured, the mean from the first gap on.
    """
    steps = found.base.shape[1]
    actual = np.concatenate([history.values[:, o : o + steps] for o in origins])
    apart = ((actual - found.base) / found.level[:, None]).astype(np.float32)
    so_far = np.cumsum(apart, axis=1) / np.arange(1, steps + 1, dtype=np.float32)
    return apart, np.asarray(so_far, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Mean and spread of each feature of the steps ahead, over what was learnt from; shape (features,)."""

    mean: Float32
    spread: Float32

    def __call__(self, ahead: Float32) -> Float32:
        """Return features centred and in spreads, none further out than `MOST_SPREADS`."""
        scaled = (ahead - self.mean) / self.spread
        return np.asarray(np.clip(scaled, -MOST_SPREADS, MOST_SPREADS), dtype=np.float32)


def scaling_of(ahead: Float32) -> Scaling:
    """Return the scaling of features of shape (samples, steps, features); a feature that never changes stays at zero."""
    rows = ahead.reshape(-1, ahead.shape[-1])
    spread = rows.std(axis=0, dtype=np.float64)
    return Scaling(
        mean=rows.mean(axis=0, dtype=np.float64).astype(np.float32),
        spread=np.where(spread > 1e-6, spread, 1.0).astype(np.float32),
    )


def _past(
    history: LoadHistory, values: Float32, origins: Sequence[int], level: Float32, past_h: int, per_hour: int
) -> Float32:
    phase = history.phase(0, max(origins))
    out = np.empty((len(origins), values.shape[0], past_h, PAST_FEATURES), dtype=np.float32)
    for row, origin in enumerate(origins):
        for k, back in enumerate((0, WEEK_H * per_hour)):
            last = origin - back
            hourly = values[:, last - past_h * per_hour : last].reshape(-1, past_h, per_hour).mean(axis=2)
            out[row, :, :, k] = np.clip(hourly / level[row][:, None], -MOST_LEVELS, MOST_LEVELS)
        hours = np.arange(origin - past_h * per_hour, origin, per_hour)
        angle = 2.0 * np.pi * phase.slot[hours] / history.steps_per_day
        out[row, :, :, 2], out[row, :, :, 3] = np.sin(angle), np.cos(angle)
        out[row, :, :, 4] = phase.day_type[hours] >= 5
    return out


def _ahead(features: Float32, steps_per_day: int, step_h: float) -> Float32:
    """Return the boosted model's features with slot and day of the week as a network reads them."""
    slot, day_type, holiday, step = (features[..., k] for k in range(4))
    angle = 2.0 * np.pi * slot / steps_per_day
    calendar = [f(n * angle) for n in (1, 2) for f in (np.sin, np.cos)]
    days = [day_type == 5.0, day_type == 6.0, day_type == 0.0, day_type == 4.0, holiday]
    shared = np.stack([*calendar, *days, step * step_h / 24.0], axis=-1).astype(np.float32)
    return np.concatenate([shared, features[..., 4:]], axis=-1)
