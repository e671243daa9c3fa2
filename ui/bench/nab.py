"""The Numenta Anomaly Benchmark's files and its scoring protocol, written anew from its description.

Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark", ICMLA 2015; weights
and probation as in NAB v1.1: a detection within a window counts by a sigmoid of its place (early is worth more), once a
window; one outside costs by its distance behind the last window; the first 15 % of a file, 750 rows at most, count for
nothing. 0 is a detector that says nothing, 1 a perfect one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a false alarm and a missed window cost; a window found early earns 1."""

    false_alarm: float
    miss: float


STANDARD = Profile(false_alarm=0.11, miss=1.0)
LOW_FALSE = Profile(false_alarm=0.22, miss=1.0)
LOW_MISS = Profile(false_alarm=0.11, miss=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One file: `name` as `folder/file.csv`, instants, values, and its windows as [first, last] rows, both included."""

    name: str
    at_s: FloatArray
    values: FloatArray
    windows: tuple[tuple[int, int], ...]

    @property
    def folder(self) -> str:
        """The part of the corpus."""
        return self.name.partition("/")[0]

    @property
    def probation(self) -> int:
        """Rows at the beginning that are not scored."""
        return int(min(floor(0.15 * len(self.values)), 750))


def read_nab(folder: Path) -> tuple[Series, ...]:
    """Read every labelled series below a folder: `part/file.csv` or `.csv.gz`, with `combined_windows.json`."""
    windows = json.loads((folder / "combined_windows.json").read_text())
    found = []
    for path in sorted([*folder.glob("*/*.csv"), *folder.glob("*/*.csv.gz")]):
        name = f"{path.parent.name}/{path.name.removesuffix('.gz')}"
        if name in windows:
            found.append(_read(path, name, windows[name]))
    return tuple(found)


def _read(path: Path, name: str, windows: Sequence[Sequence[str]]) -> Series:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = [line.split(",") for line in text.splitlines()[1:] if line]
    instants = [_instant(row[0]) for row in rows]
    place = {at: k for k, at in reversed(list(enumerate(instants)))}
    return Series(
        name=name,
        at_s=np.array([at.timestamp() for at in instants]),
        values=np.array([float(row[1]) for row in rows]),
        windows=tuple((place[_instant(first)], place[_instant(last)]) for first, last in windows),
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)


def worth(series: Series, profile: Profile) -> tuple[FloatArray, Ints]:
    """Return what an alarm at each row earns or costs, and the window that it lies in (-1: none)."""
    rows = len(series.values)
    out = np.full(rows, -profile.false_alarm)
    window = np.full(rows, -1, dtype=np.int64)
    best = float(_sigmoid(np.array(-1.0)))
    for k, (first, last) in enumerate(series.windows):
        width = last - first + 1
        inside = np.arange(first, last + 1)
        out[inside] = _sigmoid(-(last - inside + 1) / width) / best
        window[inside] = k
        end = series.windows[k + 1][0] if k + 1 < len(series.windows) else rows
        after = np.arange(last + 1, end)
        out[after] = _sigmoid((after - last) / max(width - 1.0, 1e-9)) * profile.false_alarm
    return out, window


def _sigmoid(place: FloatArray | float) -> FloatArray:
    place = np.asarray(place, dtype=np.float64)
    return np.where(place > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, 3.0))) - 1.0)


def earned(series: Series, alarms: Ints, profile: Profile) -> float:
    """Return what a detector earns on one file, misses taken off."""
    value, window = worth(series, profile)
    alarms = alarms[alarms >= series.probation]
    total = float(value[alarms][window[alarms] < 0].sum())
    for k in range(len(series.windows)):
        mine = alarms[window[alarms] == k]
        total += float(value[mine].max()) if mine.size else -profile.miss
    return total


def score(corpus: Iterable[Series], alarms: Mapping[str, Ints], profile: Profile) -> float:
    """Return the score of a detector over a corpus: 0 for one that says nothing, 1 for a perfect one."""
    series = tuple(corpus)
    total = sum(earned(one, alarms[one.name], profile) for one in series)
    count = sum(len(one.windows) for one in series)
    nothing = -profile.miss * count
    return (total - nothing) / (count - nothing) if count else 0.0
