"""Quality over time: what a reading says beside the readings before it, for a whole batch in a few array operations.

A site's memory is its last eleven readings and its `Track`. A batch is judged against that memory and changes it only
when `accept` says that the batch is stored: a batch that comes again is judged as it was the first time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from telemetry.balance import TOLERANCE_FRAC, TOLERANCE_W
from telemetry.order import Doubt, Stamped, Track, follow
from telemetry.rows import FLOATS
from telemetry.stuck import SLOW, Line, moved_wh, stuck

STUCK_AFTER = 12  # readings with the same value: two minutes at one in ten seconds
_DEPTH = STUCK_AFTER - 1
_STUCK_WITHIN_S = 3_600.0
_STUCK_LEAST_W = 50.0  # a sensor that says nothing flows may well be right
_SPIKE_WITHIN_S = 120.0
# More than the thing itself can change between two readings at most two minutes apart: thermal mass, C-rate, ageing [I].
_JUMPS: Mapping[str, float] = {
    "battery_c": 8.0, "ambient_c": 12.0, "soc_frac": 0.15, "soh_frac": 0.10, "bus_v": 12.0, "fuel_frac": 0.3,
}  # fmt: skip
_LOAD_JUMP_W, _LOAD_JUMP_FRAC = 2_000.0, 2.0  # air conditioning and a busy cell are well below
_AT = {name: place for place, name in enumerate(FLOATS)}
# Each power from the others; a site without panels or a meter of its auxiliaries has none of those.
_BALANCE: Mapping[str, Mapping[str, float]] = {
    "rectifier_w": {"load_w": 1.0, "battery_w": 1.0, "pv_w": -1.0},
    "load_w": {"rectifier_w": 1.0, "pv_w": 1.0, "battery_w": -1.0},
    "grid_w": {"rectifier_w": 1.0, "aux_ac_w": 1.0},
}
_MAY_BE_ABSENT = frozenset({"pv_w", "aux_ac_w"})
_SLOW_AT = [_AT[name] for name in SLOW]
Doubts = dict[int, list[tuple[str, str]]]  # by place in the batch: field and reason
Floats = npt.NDArray[np.float32]


class Told(NamedTuple):
    """A message: where its samples begin in the batch, and what `order.follow` needs."""

    first: int
    site_id: str
    boot_id: str
    stamps: Sequence[Stamped]
    arrived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Samples of a batch in the order of arrival.

    Attributes:
        counts: How many samples each message has.
        values: Shape (samples, `FLOATS`).
        at_s: Instants, s since 1970.
    """

    counts: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]
    at_s: npt.NDArray[np.float64]


@dataclass(slots=True)
class Watch:
    """The memory of all sites of a worker.

    Args:
        sole: Whether this worker sees every message of a site. With several workers on the shared subscription it sees
            a part of them, and sequence numbers that it misses are no gap.
    """

    sole: bool = True
    _places: dict[str, int] = field(default_factory=dict)
    _values: Floats = field(default_factory=lambda: np.empty((0, _DEPTH, len(FLOATS)), np.float32))
    _at_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, _DEPTH)))
    _tracks: dict[str, Track] = field(default_factory=dict)
    _moved_wh: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, len(SLOW), 2)))
    _staged: tuple[npt.NDArray[np.intp], Floats, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = (
        None
    )
    _staged_tracks: dict[str, Track] = field(default_factory=dict)

    def judge(self, series: Series, told: Sequence[Told]) -> Doubts:
        """Return what is doubtful, by place; `accept` makes the batch part of the memory."""
        doubts: Doubts = {}
        self._staged_tracks = {}
        for message in told:
            for place, name, reason in self._follow(message):
                doubts.setdefault(message.first + place, []).append((name, reason))
        for name, reason, where in self._compare(series, told):
            for place in np.flatnonzero(where).tolist():
                doubts.setdefault(place, []).append((name, reason))
        return doubts

    def accept(self) -> None:
        """Make the batch judged last part of the memory."""
        if self._staged is not None:
            places, values, at_s, moved = self._staged
            self._values[places], self._at_s[places], self._moved_wh[places] = values, at_s, moved
            self._staged = None
        self._tracks |= self._staged_tracks
        self._staged_tracks = {}

    def _follow(self, message: Told) -> list[Doubt]:
        before = self._staged_tracks.get(message.site_id) or self._tracks.get(message.site_id)
        track, doubts = follow(before, message.boot_id, message.stamps, message.arrived_at)
        self._staged_tracks[message.site_id] = track
        return doubts if self.sole else [doubt for doubt in doubts if doubt.name != "sequence"]

    def _compare(self, series: Series, told: Sequence[Told]) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
        """Lay each site's memory before its new samples, and look back from every sample."""
        places = np.repeat(self._places_of(told), series.counts)
        sites, row_of = np.unique(places, return_inverse=True)
        order = np.argsort(row_of, kind="stable")
        counts = np.bincount(row_of)
        starts = np.concatenate(([0], np.cumsum(counts + _DEPTH)))[:-1]
        line = np.arange(_DEPTH)
        remembered = (starts[:, None] + line).ravel()
        within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        new = np.empty(len(order), np.intp)
        new[order] = np.repeat(starts + _DEPTH, counts) + within
        values = np.empty((len(order) + len(remembered), len(FLOATS)), np.float32)
        at_s = np.empty(len(values))
        values[remembered] = self._values[sites].reshape(-1, len(FLOATS))
        at_s[remembered] = self._at_s[sites].ravel()
        values[new], at_s[new] = series.values, series.at_s
        last = starts + counts + line[:, None]  # the newest eleven of each site
        is_new = np.zeros(len(values), np.bool_)
        is_new[new] = True
        slow = values[:, _SLOW_AT].astype(np.float64)
        with np.errstate(invalid="ignore"):
            moved = moved_wh(
                Line(slow, values[:, _AT["battery_w"]].astype(np.float64), at_s, starts + _DEPTH - 1, last[-1], is_new),
                self._moved_wh[sites],
            )  # fmt: skip
            self._staged = (sites, values[last.T], at_s[last.T], moved[last[-1]])
            return [*_spikes(values, at_s, new), *_stuck(values, at_s, new), *stuck(slow[new], moved[new])]

    def _places_of(self, told: Sequence[Told]) -> npt.NDArray[np.intp]:
        known = self._places
        places = np.array([known.setdefault(message.site_id, len(known)) for message in told], np.intp)
        if len(known) > len(self._values):
            more = max(len(known), 2 * len(self._values)) - len(self._values)
            empty = np.full((more, _DEPTH, len(FLOATS)), np.nan, np.float32)
            self._values = np.concatenate((self._values, empty))
            self._at_s = np.concatenate((self._at_s, np.full((more, _DEPTH), np.nan)))
            self._moved_wh = np.concatenate((self._moved_wh, np.zeros((more, len(SLOW), 2))))
        return places


def _spikes(
    values: Floats, at_s: npt.NDArray[np.float64], new: npt.NDArray[np.intp]
) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
    """A value far from both values before it; a step is told once, since its second value agrees with its first."""
    age_s = at_s[new] - at_s[new - 2]
    recent = (age_s >= 0.0) & (age_s <= 2.0 * _SPIKE_WITHIN_S)
    found = []
    for name in (*_JUMPS, "load_w"):
        now, one, two = (values[new - back, _AT[name]] for back in (0, 1, 2))
        if name == "load_w":
            limit: Floats | float = _LOAD_JUMP_W + _LOAD_JUMP_FRAC * np.abs(one)
        else:
            limit = _JUMPS[name]
        spike = recent & (np.abs(now - one) > limit) & (np.abs(now - two) > limit)
        found.append((name, "spike: far from the two readings before it", spike))
    return found


def _stuck(
    values: Floats, at_s: npt.NDArray[np.float64], new: npt.NDArray[np.intp]
) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
    """The same value again and again while the power balance says that it must have moved.

    A rectifier at its limit or a controller that holds the grid's power is steady too, and the balance agrees with it.
    """
    recent = at_s[new] - at_s[new - _DEPTH] <= _STUCK_WITHIN_S
    found = []
    for name, others in _BALANCE.items():
        column = values[:, _AT[name]]
        steps = np.concatenate(
            ([0], np.cumsum(column[1:] == column[:-1]))
        )  # equal to the row before, up to each row
        same = steps[new] - steps[new - _DEPTH] == _DEPTH
        doubted = recent & same & (np.abs(column[new]) > _STUCK_LEAST_W)
        window = new[doubted][:, None] + np.arange(-_DEPTH, 1)
        should = _sum(values, window, others)
        moved = np.max(should, axis=1) - np.min(should, axis=1)
        tolerance_w = TOLERANCE_W + TOLERANCE_FRAC * np.abs(column[new[doubted]])
        doubted[doubted] = moved > tolerance_w
        reason = f"stuck: the same value {STUCK_AFTER} times while the power balance moved"
        found.append((name, reason, doubted))
    return found


def _sum(values: Floats, window: npt.NDArray[np.intp], terms: Mapping[str, float]) -> Floats:
    """Return what a power should be from the others, shape as `window`."""
    total = np.zeros(window.shape, np.float32)
    for name, sign in terms.items():
        term = values[window, _AT[name]]
        total += sign * (np.nan_to_num(term) if name in _MAY_BE_ABSENT else term)
    return total
