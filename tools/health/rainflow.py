"""Cycles in a path of state of charge.

Source:
    ASTM E1049-85 (2017), section 5.4.4, rainflow counting; half cycles at the ends count 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One counted cycle.

    Attributes:
        depth_frac: Range of SoC, 0..1.
        mean_frac: Mean SoC.
        count: 1 for a closed cycle, 0.5 for half a cycle.
        first: Index of the sample where it begins.
        last: Index of the sample where its range ends.
    """

    depth_frac: float
    mean_frac: float
    count: float
    first: int
    last: int


def turning_points(soc_frac: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Return the indices of first, last and every sample at which the path turns; NaN is passed over."""
    known = np.flatnonzero(np.isfinite(soc_frac))
    if known.size < 2:
        return np.asarray(known, dtype=np.intp)
    moved = np.concatenate([[True], np.diff(soc_frac[known]) != 0.0])
    kept = known[moved]
    if kept.size < 2:
        return np.asarray(kept, dtype=np.intp)
    up = np.diff(soc_frac[kept]) > 0.0
    turns = np.flatnonzero(up[1:] != up[:-1]) + 1
    return np.asarray(kept[np.concatenate([[0], turns, [kept.size - 1]])], dtype=np.intp)


def rainflow(soc_frac: npt.NDArray[np.floating]) -> tuple[Cycle, ...]:
    """Return the cycles of a path, in the order in which they close, half cycles last."""
    found: list[Cycle] = []
    open_: list[int] = []
    for point in turning_points(soc_frac).tolist():
        open_.append(point)
        while len(open_) >= 3:
            newest = abs(soc_frac[open_[-1]] - soc_frac[open_[-2]])
            before = abs(soc_frac[open_[-2]] - soc_frac[open_[-3]])
            if newest < before:
                break
            if len(open_) == 3:
                found.append(_cycle(soc_frac, open_[0], open_[1], 0.5))
                del open_[0]
            else:
                found.append(_cycle(soc_frac, open_[-3], open_[-2], 1.0))
                del open_[-3:-1]
    found += [_cycle(soc_frac, a, b, 0.5) for a, b in pairwise(open_)]
    return tuple(found)


def _cycle(soc_frac: npt.NDArray[np.floating], first: int, last: int, count: float) -> Cycle:
    a, b = float(soc_frac[first]), float(soc_frac[last])
    return Cycle(depth_frac=abs(b - a), mean_frac=(a + b) / 2.0, count=count, first=first, last=last)


def full_cycles(cycles: tuple[Cycle, ...]) -> float:
    """Return the throughput in equivalent full cycles."""
    return sum(one.count * one.depth_frac for one in cycles)
