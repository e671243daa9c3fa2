"""What one observation says of a battery's state of health, and how several are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite, sqrt

Z_95 = 1.959964
DRIFT_FRAC_PER_YEAR = 0.04
"""How fast an old estimate loses its worth: what a battery may lose in a year without anybody looking [I]."""
YEAR = timedelta(days=365.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class SohEstimate:
    """State of health with its standard error, both shares of rated capacity.

    Attributes:
        soh_frac: Present full capacity over rated capacity.
        sd_frac: Standard error, above zero.
        at: When the observation was made, aware UTC.
        method: How it was found: `full_discharge`, `partial_discharge`, `charge_curve`, `reported`, `joined`.
        evidence: What was seen, in words.
    """

    soh_frac: float
    sd_frac: float
    at: datetime
    method: str
    evidence: str = ""

    def __post_init__(self) -> None:
        if not (isfinite(self.soh_frac) and self.soh_frac > 0.0):
            raise ValueError(f"soh_frac {self.soh_frac} must be above zero")
        if not (isfinite(self.sd_frac) and self.sd_frac > 0.0):
            raise ValueError(f"sd_frac {self.sd_frac} must be above zero")
        if self.at.tzinfo is None:
            raise ValueError("an estimate needs an aware instant")

    @property
    def low_frac(self) -> float:
        """Lower end of the 95 % interval."""
        return max(self.soh_frac - Z_95 * self.sd_frac, 0.0)

    @property
    def high_frac(self) -> float:
        """Upper end of the 95 % interval."""
        return self.soh_frac + Z_95 * self.sd_frac


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJudged:
    """An observation from which nothing may be concluded, and why."""

    reason: str


def joined(estimates: Sequence[SohEstimate], now: datetime) -> SohEstimate | NotJudged:
    """Return the estimates weighed by their precision; age widens an estimate by `DRIFT_FRAC_PER_YEAR`."""
    past = [one for one in estimates if one.at <= now]
    if not past:
        return NotJudged(reason="nothing was observed from which capacity follows")
    weights = [1.0 / (one.sd_frac**2 + (DRIFT_FRAC_PER_YEAR * ((now - one.at) / YEAR)) ** 2) for one in past]
    total = sum(weights)
    newest = max(past, key=lambda one: one.at)
    return SohEstimate(
        soh_frac=sum(w * one.soh_frac for w, one in zip(weights, past, strict=True)) / total,
        sd_frac=sqrt(1.0 / total),
        at=newest.at,
        method="joined",
        evidence=f"{len(past)} observations, the newest {newest.method} of {newest.at:%Y-%m-%d}",
    )
