"""What a forecaster learns from: a fleet's past on one regular grid, with its calendar."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.phase import Phase, phase_of

FloatArray = npt.NDArray[np.floating]

STEP = timedelta(minutes=15)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressor:
    """A quantity known over the past and the horizon, such as a temperature forecast.

    Attributes:
        values: Shape (steps,) when every site shares it, or (sites, steps).
        start: Instant of the first column, aware UTC, on the grid of the history.
    """

    name: str
    values: FloatArray
    start: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadHistory:
    """A fleet's measured past on one regular grid.

    Attributes:
        site_ids: One per row of `values`.
        values: Shape (sites, steps); W for load, or the unit of the quantity; NaN where nothing was measured.
        start: Instant of column 0, aware UTC. A column holds the mean over [start + i step, start + (i+1) step).
        zone: IANA time zone whose calendar the values follow.
        step: Grid spacing; must divide a day. 15 minutes for everything that is served.
        holidays: Local dates on which people behave as on a Sunday.
        site_class: Pooling class per row (for example urban, rural); one class for all when empty.
        regressors: Known drivers; they must reach to the end of whatever is forecast.
    """

    site_ids: tuple[str, ...]
    values: FloatArray
    start: datetime
    zone: str
    step: timedelta = STEP
    holidays: frozenset[date] = frozenset()
    site_class: tuple[str, ...] = ()
    regressors: tuple[Regressor, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.start.utcoffset() != timedelta(0):
            raise ValueError("start must be aware UTC")
        if self.values.ndim != 2 or self.values.shape[0] != len(self.site_ids):
            raise ValueError(f"values has shape {self.values.shape} for {len(self.site_ids)} sites")
        if self.step <= timedelta(0) or DAY % self.step:
            raise ValueError(f"step {self.step} does not divide a day")
        if self.site_class and len(self.site_class) != len(self.site_ids):
            raise ValueError("site_class must name a class for each site")
        if np.isinf(self.values).any():
            raise ValueError("values must be finite or NaN")

    @property
    def steps(self) -> int:
        """Number of grid steps held."""
        return int(self.values.shape[1])

    @property
    def end(self) -> datetime:
        """First instant after the history, aware UTC."""
        return self.start + self.steps * self.step

    @property
    def steps_per_day(self) -> int:
        """Grid steps in 24 hours."""
        return DAY // self.step

    @property
    def step_h(self) -> float:
        """Length of a grid step in hours."""
        return self.step / timedelta(hours=1)

    def index_of(self, at: datetime) -> int:
        """Return the column of an instant, which may lie past the end.

        Raises:
            ValueError: The instant is naive or off the grid.
        """
        if at.tzinfo is None:
            raise ValueError("an instant must be aware")
        index, rest = divmod(at - self.start, self.step)
        if rest:
            raise ValueError(f"{at.isoformat()} is not on the {self.step} grid from {self.start.isoformat()}")
        return index

    def phase(self, first: int, steps: int) -> Phase:
        """Return the local calendar phase of `steps` columns from `first`, past the end too."""
        start = (self.start + first * self.step).astimezone(UTC)
        return phase_of(start, steps, self.step, self.zone, self.holidays)

    def columns(self, first: int, steps: int) -> FloatArray:
        """Return the values of columns [first, first + steps), shape (sites, steps)."""
        return self.values[:, first : first + steps]

    def regressor(self, name_index: int, first: int, steps: int) -> FloatArray:
        """Return a regressor over columns [first, first + steps), shape (1 or sites, steps).

        Raises:
            ValueError: It does not reach over the whole window, or holds NaN there.
        """
        item = self.regressors[name_index]
        offset = first - self.index_of(item.start)
        values = np.atleast_2d(item.values)
        if offset < 0 or offset + steps > values.shape[1]:
            raise ValueError(f"regressor {item.name} does not cover the window")
        window = values[:, offset : offset + steps]
        if not np.isfinite(window).all():
            raise ValueError(f"regressor {item.name} has gaps")
        return window

    def rows(self, keep: npt.NDArray[np.intp]) -> LoadHistory:
        """Return the history of a subset of its sites, in the order given."""
        regressors = tuple(
            replace(r, values=r.values[keep]) if r.values.ndim == 2 and len(r.values) > 1 else r
            for r in self.regressors
        )
        return replace(
            self,
            site_ids=tuple(self.site_ids[i] for i in keep),
            values=self.values[keep],
            site_class=tuple(self.site_class[i] for i in keep) if self.site_class else (),
            regressors=regressors,
        )

    def before(self, index: int) -> LoadHistory:
        """Return the history cut before column `index`: what was known at that instant."""
        return replace(self, values=self.values[:, :index])


def measured_days(history: LoadHistory) -> npt.NDArray[np.float64]:
    """Return each site's measured steps expressed in days, shape (sites,)."""
    count = np.isfinite(history.values).sum(axis=1)
    return np.asarray(count / history.steps_per_day, dtype=np.float64)


def filled(history: LoadHistory) -> npt.NDArray[np.float32]:
    """Return the values with gaps closed from the same time of week, then of day, then the site's mean.

    Earlier values are taken before later ones, so that a gap is closed with what was known where possible.
    A site without one measurement stays at zero.
    """
    values = np.array(history.values, dtype=np.float32)
    gappy = np.flatnonzero(np.isnan(values).any(axis=1))
    if gappy.size == 0:
        return values
    rows = values[gappy]
    day = history.steps_per_day
    for lag in (7 * day, 14 * day, 21 * day, 28 * day, -7 * day, -14 * day, day, 2 * day, -day, -2 * day):
        if abs(lag) >= rows.shape[1]:
            continue
        shifted = np.full_like(rows, np.nan)
        if lag > 0:
            shifted[:, lag:] = rows[:, :-lag]
        else:
            shifted[:, :lag] = rows[:, -lag:]
        rows = np.where(np.isnan(rows), shifted, rows)
    known = np.isfinite(rows)
    mean = np.where(known, rows, 0.0).sum(axis=1, keepdims=True) / np.maximum(
        known.sum(axis=1, keepdims=True), 1
    )
    values[gappy] = np.where(known, rows, mean)
    return values
