"""Many quarter hours to few points, extremes kept (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from telemetry.model.series import STEP
from telemetry.reading_store import Bucket

_UNITS = {"w": "W", "wh": "Wh", "v": "V", "a": "A", "c": "degC", "hz": "Hz", "frac": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinned:
    """Four columns of one length."""

    at: list[datetime]
    mean: list[float]
    low: list[float]
    high: list[float]


def unit_of(metric: str) -> str:
    """Return the unit that a metric's name ends in."""
    return _UNITS[metric.rpartition("_")[2]]


def thin(
    means: Sequence[Bucket],
    lows: Sequence[Bucket],
    highs: Sequence[Bucket],
    start: datetime,
    end: datetime,
    points: int,
) -> Thinned:
    """Return at most `points` stretches of whole quarter hours: mean of means, lowest low, highest high.

    Energies become their mean per quarter hour. What was not measured leaves no point.
    """
    steps = max(1, -(-(end - start) // STEP))
    per_point = -(-steps // points)
    low_at = {one.start: one.value for one in lows}
    high_at = {one.start: one.value for one in highs}
    groups: dict[int, list[tuple[datetime, float, float, float]]] = {}
    for one in means:
        if one.value is None:
            continue
        low, high = low_at.get(one.start), high_at.get(one.start)
        groups.setdefault((one.start - start) // (STEP * per_point), []).append(
            (one.start, one.value, one.value if low is None else low, one.value if high is None else high)
        )
    rows = list(groups.values())
    return Thinned(
        at=[row[0][0] for row in rows],
        mean=[sum(one[1] for one in row) / len(row) for row in rows],
        low=[min(one[2] for one in row) for row in rows],
        high=[max(one[3] for one in row) for row in rows],
    )
