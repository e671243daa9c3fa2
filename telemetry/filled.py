"""Gaps in a series filled on purpose, each filled value marked with how (pure).

Filled values live in `Filled` alone: nothing here makes a `Reading` or writes to a database, and neither the safety core
nor what puts its state together may import this file (an import contract holds it). They serve clustering and pictures; a
verdict sees measured values, and where there are none, nothing.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Marks = npt.NDArray[np.int8]
WEEK_STEPS = 7 * 96
SHORT_GAP_STEPS = 4  # up to an hour is bridged by a straight line


class Mark(IntEnum):
    """Where a value comes from."""

    MEASURED = 0
    LINE = 1  # a short gap: a straight line between its neighbours
    WEEK = 2  # the same time of the week, the mean of the measured weeks
    NOTHING = 3  # nothing to fill with: stays NaN


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Values with their marks, both of shape (sites, steps)."""

    values: Values
    marks: Marks

    @property
    def filled_frac(self) -> Values:
        """Share of each site's values that was not measured, shape (sites,)."""
        share: Values = (self.marks != Mark.MEASURED).mean(axis=1)
        return share


def fill_gaps(values: Values, *, week_steps: int = WEEK_STEPS, short_steps: int = SHORT_GAP_STEPS) -> Filled:
    """Fill the gaps of series on a regular grid.

    Args:
        values: Shape (sites, steps), NaN where nothing was measured; not changed.
        week_steps: Steps in a week (672 quarters of an hour).
        short_steps: Gaps up to this length between two measured values become a straight line.
    """
    found = np.array(values, dtype=np.float64)
    marks = np.where(np.isnan(found), Mark.NOTHING, Mark.MEASURED).astype(np.int8)
    usual = _usual_week(found, week_steps)
    for row, mark in zip(found, marks, strict=True):
        _bridge(row, mark, short_steps)
    gaps = (marks == Mark.NOTHING) & ~np.isnan(usual)
    found[gaps] = usual[gaps]
    marks[gaps] = Mark.WEEK
    return Filled(values=found, marks=marks)


def _bridge(row: Values, mark: Marks, short_steps: int) -> None:
    known = np.flatnonzero(~np.isnan(row))
    apart = np.diff(known)
    for place in np.flatnonzero((apart > 1) & (apart <= short_steps + 1)):
        before, after = known[place], known[place + 1]
        inside = np.arange(before + 1, after)
        row[inside] = np.interp(inside, [before, after], [row[before], row[after]])
        mark[inside] = Mark.LINE


def _usual_week(values: Values, week_steps: int) -> Values:
    """Return what was measured at the same time of the week on average, NaN where never."""
    steps = values.shape[1]
    padded = np.full((len(values), -(-steps // week_steps) * week_steps), np.nan)
    padded[:, :steps] = values
    weeks = padded.reshape(len(values), -1, week_steps)
    count = (~np.isnan(weeks)).sum(axis=1)
    usual = np.where(count > 0, np.nansum(weeks, axis=1) / np.maximum(count, 1), np.nan)
    spread: Values = np.tile(usual, (1, weeks.shape[1]))[:, :steps]
    return spread
