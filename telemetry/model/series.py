"""Forecasts: quantiles of a quantity on 15-minute steps."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import isfinite

STEP = timedelta(minutes=15)
STEP_H = 0.25
MAX_STEPS = 384  # 96 h
QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
LOWER, MEDIAN, UPPER = 0.025, 0.5, 0.975


class Quantity(StrEnum):
    """What a forecast is of; the subject is a site, or a feeder for `background_w`."""

    LOAD_W = "load_w"
    PV_W = "pv_w"
    BACKGROUND_W = "background_w"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Quantiles of a quantity's mean over each step, and of its energy summed from the start.

    `values_w[q][t]` belongs to `QUANTILES[q]` and the step that begins at `start + t x STEP`;
    `cumulative_wh[q][t]` is the same quantile of the energy from `start` to the end of step `t` (quantiles of the
    sum, not sums of quantiles).
    """

    subject_id: str
    quantity: Quantity
    made_at: datetime
    start: datetime
    values_w: tuple[tuple[float, ...], ...]
    cumulative_wh: tuple[tuple[float, ...], ...]
    model: str
    version: str
    reason: str = ""

    def __post_init__(self) -> None:
        if self.made_at.tzinfo is None or self.start.tzinfo is None:
            raise ValueError(f"{self.subject_id}: a forecast needs aware instants")
        for rows, name in ((self.values_w, "values_w"), (self.cumulative_wh, "cumulative_wh")):
            if len(rows) != len(QUANTILES) or len({len(row) for row in rows}) != 1:
                raise ValueError(f"{self.subject_id}: {name} needs {len(QUANTILES)} rows of one length")
            if not 1 <= len(rows[0]) <= MAX_STEPS:
                raise ValueError(f"{self.subject_id}: {name} has {len(rows[0])} steps, not 1..{MAX_STEPS}")
        if len(self.values_w[0]) != len(self.cumulative_wh[0]):
            raise ValueError(f"{self.subject_id}: values_w and cumulative_wh differ in length")
        if not all(
            isfinite(value) for rows in (self.values_w, self.cumulative_wh) for row in rows for value in row
        ):
            raise ValueError(f"{self.subject_id}: a forecast must be finite")

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.values_w[0])

    def quantile_w(self, level: float) -> tuple[float, ...]:
        """Return one quantile row, W by step."""
        return self.values_w[QUANTILES.index(level)]

    def energy_wh(self, level: float) -> tuple[float, ...]:
        """Return one quantile row of the energy summed from the start, Wh by step."""
        return self.cumulative_wh[QUANTILES.index(level)]
