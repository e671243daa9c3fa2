"""Seasonal naive: the same local time a day or a week ago. Whatever is served must beat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tools.forecasting.history import LoadHistory, filled


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonalNaive:
    """Repeat the last known day or week at the same local time.

    A gap in the season repeated is closed from the season before it.
    """

    season: Literal["day", "week"] = "week"

    @property
    def name(self) -> str:
        """Name of the rule."""
        return f"naive_{self.season}"

    @property
    def version(self) -> str:
        """Version of the rule."""
        return "1"

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin."""
        return 7 if self.season == "week" else 1

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> npt.NDArray[np.float32]:
        """Return the paths from several origins, shape (origins, sites, steps)."""
        values = filled(history)
        season = history.steps_per_day * (7 if self.season == "week" else 1)
        out = np.empty((len(origins), len(history.site_ids), steps), dtype=np.float32)
        for row, origin in enumerate(origins):
            out[row] = values[:, _sources(history, origin, steps, season)]
        return out


def _sources(history: LoadHistory, origin: int, steps: int, season: int) -> npt.NDArray[np.int64]:
    """Return the column each step repeats: the latest known one at the same local time, daylight saving heeded.

    Raises:
        ValueError: The history before `origin` is shorter than one season.
    """
    if origin < season:
        raise ValueError(f"seasonal naive needs {season} steps before the origin, and has {origin}")
    offset = history.phase(0, origin + steps).offset
    target = np.arange(origin, origin + steps)
    lag = ((target - origin) // season + 1) * season
    source = target - lag
    source = source + offset[target] - offset[source]
    # Across the change of clock a repeated hour can reach the origin itself, or the time before the history.
    source = np.where(source >= origin, source - season, source)
    return np.where(source < 0, target - lag, source).astype(np.int64)
