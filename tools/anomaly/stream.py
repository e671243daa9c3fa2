"""One series, value by value: many simple looks at it, each turned into a surprise, and their mean.

No look is trusted alone: levels, changes and spreads over a quarter of an hour's to four hours' worth of values, the
distance to yesterday's same hour, and how far the last stretch is from every earlier stretch, at several lengths. Each
is measured against its own past, so that nothing needs a scale. Their mean, each capped, is the score: it is high when
several looks agree, and no member or weight was chosen by labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.anomaly.surprise import surprise

FloatArray = npt.NDArray[np.float64]

CAP = 5.0
"""A look counts as one chance in 100,000 at most: beyond that tails are guesses."""
DEFAULT_THRESHOLD = 1.1
REST = 100
"""Values after an alarm, and after its score has fallen again, in which there is no new alarm."""
LEVELS = (1, 4, 12, 48)
SPREADS = (12, 48)
SEASONAL = (1, 6, 24)
STRETCHES = (
    (8, 1, False),
    (16, 1, False),
    (24, 6, False),
    (32, 3, False),
    (32, 24, False),
    (48, 12, False),
    (16, 1, True),
    (24, 6, True),
)
"""Length in points, values averaged to a point, and whether the local level is taken out."""
DAY_S = 86_400.0
SAME_HOUR_S = 900.0
DAYS_BACK = 7
MOST_KEPT = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One statistic of a series, higher is stranger, NaN where it says nothing; `warm` values pass before it is heard."""

    name: str
    values: FloatArray
    warm: int


def stream_score(at_s: FloatArray, values: FloatArray, *, learning: int) -> FloatArray:
    """Return how strange each value is by the values before it alone, shape (values,).

    Args:
        at_s: Instants, seconds since any epoch, rising.
        values: The series, finite.
        learning: Values at the beginning that are taken as normal.
    """
    total = np.zeros(len(values))
    count = 0
    for look in looks(at_s, values, learning):
        total += np.minimum(surprise(look.values, look.warm), CAP)
        count += 1
    return total / count


def alarms(score: FloatArray, threshold: float, *, rest: int = REST) -> npt.NDArray[np.int64]:
    """Return where alarms are raised: the first value at or above the threshold after a rest.

    The rest begins anew with every value above the threshold, so that one long event is one alarm.
    """
    found = []
    last = -rest - 1
    for i in np.flatnonzero(score >= threshold):
        if i - last > rest:
            found.append(int(i))
        last = int(i)
    return np.array(found, dtype=np.int64)


def looks(at_s: FloatArray, values: FloatArray, learning: int) -> Iterator[Look]:
    """Yield every look at a series."""
    warm = max(learning // 3, 50)
    for width in LEVELS:
        mean = trailing_mean(values, width)
        change = np.zeros(len(values))
        change[width:] = np.abs(mean[width:] - mean[:-width])
        yield Look(name=f"high_{width}", values=mean, warm=warm)
        yield Look(name=f"low_{width}", values=-mean, warm=warm)
        yield Look(name=f"change_{width}", values=change, warm=warm)
    for width in SPREADS:
        variance = trailing_mean(values**2, width) - trailing_mean(values, width) ** 2
        floor = 1e-3 * (float(np.std(values[:learning])) + 1e-9)
        spread = np.log(np.sqrt(np.maximum(variance, 0.0)) + floor)
        yield Look(name=f"wild_{width}", values=spread, warm=warm)
        yield Look(name=f"still_{width}", values=-spread, warm=warm)
    residual = seasonal_residual(at_s, values)
    for width in SEASONAL:
        mean = trailing_mean(np.nan_to_num(residual), width)
        mean[np.isnan(residual)] = np.nan
        yield Look(name=f"above_usual_{width}", values=mean, warm=50)
        yield Look(name=f"below_usual_{width}", values=-mean, warm=50)
    for length, width, centred in STRETCHES:
        yield Look(
            name=f"new_{length}x{width}{'c' if centred else ''}",
            values=novelty(values, length, width, centred),
            warm=warm,
        )


def trailing_mean(values: FloatArray, width: int) -> FloatArray:
    """Return the mean of each value and the `width` - 1 before it; at the beginning of what there is."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - width, 0)
    return np.asarray((sums[end] - sums[begin]) / (end - begin))


def seasonal_residual(at_s: FloatArray, values: FloatArray) -> FloatArray:
    """Return each value less the median of its hour on the days before, NaN with fewer than two such days."""
    found = np.full((DAYS_BACK, len(values)), np.nan)
    for back in range(1, DAYS_BACK + 1):
        then = at_s - back * DAY_S
        first = np.searchsorted(at_s, then - SAME_HOUR_S, side="left")
        last = np.searchsorted(at_s, then + SAME_HOUR_S, side="right")
        for i in np.flatnonzero((last > first) & (then >= at_s[0])):
            found[back - 1, i] = np.median(values[first[i] : last[i]])
    days = np.isfinite(found).sum(axis=0)
    usual = np.full(len(values), np.nan)
    usual[days >= 2] = np.nanmedian(found[:, days >= 2], axis=0)
    return np.asarray(values - usual)


def novelty(values: FloatArray, length: int, width: int, centred: bool) -> FloatArray:
    """Return the distance of each last stretch to the most like earlier one that does not touch it, NaN at the beginning.

    A stretch is `length` points, each the mean of `width` values, half of them overlapping; of very long series every
    n-th earlier stretch is kept, so that one step costs a bounded time.
    """
    step = max(width // 2, 1)
    points = trailing_mean(values, width)[::step]
    if centred:
        points = points - trailing_mean(points, 2 * length)
    distance = _nearest(points, length)
    return np.asarray(np.repeat(distance, step)[: len(values)])


def _nearest(points: FloatArray, length: int, block: int = 512) -> FloatArray:
    out = np.full(len(points), np.nan)
    if len(points) <= length:
        return out
    rows = np.lib.stride_tricks.sliding_window_view(points, length).astype(np.float32)
    square = (rows * rows).sum(axis=1)
    kept = np.arange(0, len(rows), max(1, len(rows) // MOST_KEPT))
    for begin in range(0, len(rows), block):
        at = np.arange(begin, min(begin + block, len(rows)))
        far = square[at][:, None] + square[kept][None] - 2.0 * rows[at] @ rows[kept].T
        far[kept[None] > at[:, None] - length] = np.inf
        out[at + length - 1] = np.sqrt(np.maximum(far.min(axis=1), 0.0))
    return np.where(np.isfinite(out), out, np.nan)
