"""How surprising each value of a series is, given all that came before it: tail probabilities learnt on the way.

Below the 98 % quantile of the past the empirical rank tells; beyond it a generalised Pareto tail, fitted by moments to
the past's exceedances (Hosking and Wallis 1987; peaks over threshold as in Siffer et al., KDD 2017).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from math import inf, log, log10

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TAIL = 0.02
REFIT_EVERY = 8
MOST = 30.0
_SHAPES = (-0.2, 0.5)
_LEAST_TAIL = 10


def surprise(values: FloatArray, warm: int) -> FloatArray:
    """Return -log10 of the chance that a value as high as each one comes, by the values before it; 0..30.

    Args:
        values: In order of time; NaN is skipped and surprises nobody.
        warm: With fewer values before it a value surprises nobody.
    """
    out = np.zeros(len(values))
    past: list[float] = []
    tail = _Tail.of([0.0] * (2 * _LEAST_TAIL))
    fitted = -REFIT_EVERY
    for i, value in enumerate(values.tolist()):
        if value != value:  # noqa: PLR0124 - NaN
            continue
        if len(past) >= warm:
            if i - fitted >= REFIT_EVERY:
                tail, fitted = _Tail.of(past), i
            out[i] = tail.surprise(value, past)
        insort(past, value)
    return np.minimum(out, MOST)


class _Tail:
    """The upper tail of a sorted past: threshold, share beyond it, scale and shape of the Pareto tail."""

    __slots__ = ("above", "scale", "shape", "share")

    def __init__(self, above: float, share: float, scale: float, shape: float) -> None:
        self.above, self.share, self.scale, self.shape = above, share, scale, shape

    @staticmethod
    def of(past: list[float]) -> _Tail:
        count = max(int(TAIL * len(past)), _LEAST_TAIL)
        above = past[max(len(past) - count - 1, 0)]
        excess = np.array(past[-count:]) - above
        least = abs(past[len(past) // 2]) * 1e-6 + 1e-9
        mean = max(float(excess.mean()), least)
        ratio = mean * mean / max(float(excess.var()), least * least)
        shape = min(max(0.5 * (1.0 - ratio), _SHAPES[0]), _SHAPES[1])
        return _Tail(above, count / len(past), max(mean * (1.0 - shape), least), shape)

    def surprise(self, value: float, past: list[float]) -> float:
        if value <= self.above:
            rank = (len(past) - bisect_left(past, value)) / len(past)
            return -log10(max(rank, self.share))
        z = (value - self.above) / self.scale
        if abs(self.shape) < 1e-3:
            return -log10(self.share) + z / log(10.0)
        grown = 1.0 + self.shape * z
        beyond = inf if grown <= 0.0 else log(grown) / self.shape
        return -log10(self.share) + beyond / log(10.0)
