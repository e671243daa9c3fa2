"""Absolute local calendar phase of a grid of instants: a forecast that is a day out of phase is worthless."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Local calendar position of each step, all of shape (steps,).

    Attributes:
        slot: Step of the local day, 0 .. steps_per_day - 1.
        weekday: 0 Monday .. 6 Sunday, local.
        holiday: Whether the local date is a holiday.
        offset: UTC offset in grid steps; changes with daylight saving.
        ordinal: Local proleptic day number.
    """

    slot: IntArray
    weekday: IntArray
    holiday: npt.NDArray[np.bool_]
    offset: IntArray
    ordinal: IntArray
    steps_per_day: int

    @property
    def day_type(self) -> IntArray:
        """0 Monday .. 6 Sunday, with holidays as Sundays."""
        return np.where(self.holiday, 6, self.weekday).astype(np.int64)


def phase_of(
    start: datetime, steps: int, step: timedelta, zone: str, holidays: frozenset[date] = frozenset()
) -> Phase:
    """Return the local phase of `steps` instants from `start` (aware UTC)."""
    local = pd.date_range(start=start, periods=steps, freq=pd.Timedelta(step)).tz_convert(zone)
    wall = local.tz_localize(None)
    wall_s = wall.as_unit("s").asi8
    utc_s = local.as_unit("s").asi8
    step_s = int(step.total_seconds())
    ordinal = wall_s // 86400
    epoch = date(1970, 1, 1)
    special = np.array(sorted((d - epoch).days for d in holidays), dtype=np.int64)
    return Phase(
        slot=(wall_s % 86400) // step_s,
        weekday=(ordinal + 3) % 7,  # 1970-01-01 was a Thursday
        holiday=np.isin(ordinal, special),
        offset=(wall_s - utc_s) // step_s,
        ordinal=ordinal,
        steps_per_day=86400 // step_s,
    )
