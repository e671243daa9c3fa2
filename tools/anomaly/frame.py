"""A fleet's readings on one grid, as the detectors take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.phase import Phase, phase_of

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFrame:
    """Readings of a fleet on a regular grid.

    Attributes:
        site_ids: One per row.
        start: Instant of column 0, aware UTC.
        step: Grid spacing, dividing a day.
        zone: IANA time zone whose calendar the loads follow.
        fields: Reading field (unit at the end of its name) to values of shape (sites, steps); NaN where nothing
            was read. A field that no site has is left out.
        peers: Group of like sites per row, as a number; sites of one group explain each other's common moves.
    """

    site_ids: tuple[str, ...]
    start: datetime
    step: timedelta
    zone: str
    fields: Mapping[str, Floats]
    peers: Ints

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.start.utcoffset() != timedelta(0):
            raise ValueError("start must be aware UTC")
        if not self.fields:
            raise ValueError("a frame needs at least one field")
        shapes = {v.shape for v in self.fields.values()}
        if len(shapes) != 1 or next(iter(shapes))[0] != len(self.site_ids):
            raise ValueError(f"fields of shapes {shapes} for {len(self.site_ids)} sites")
        if self.peers.shape != (len(self.site_ids),):
            raise ValueError("peers must name a group for each site")

    @property
    def steps(self) -> int:
        """Number of columns."""
        return int(next(iter(self.fields.values())).shape[1])

    @property
    def steps_per_day(self) -> int:
        """Columns in 24 hours."""
        return timedelta(days=1) // self.step

    def at(self, column: int) -> datetime:
        """Return the instant of a column, which may be the one past the end."""
        return self.start + column * self.step

    def phase(self) -> Phase:
        """Return the local calendar phase of every column."""
        return phase_of(self.start, self.steps, self.step, self.zone)

    def columns(self, first: int, last: int) -> FleetFrame:
        """Return columns [first, last)."""
        return replace(
            self,
            start=self.at(first),
            fields={name: values[:, first:last] for name, values in self.fields.items()},
        )
