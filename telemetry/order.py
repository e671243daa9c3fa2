"""What the sequence numbers and clocks of one site's messages say: gap, out of order, duplicate, clock skew (pure)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from telemetry.ranges import Span

_LAG = timedelta(
    seconds=120
)  # a live message is seconds old; a gateway that catches up is older, by ever less
_STEADY = timedelta(seconds=10)
_STEADY_MESSAGES = 6
_STEADY_OVER = timedelta(seconds=30)
_SPACED = _STEADY_OVER / (_STEADY_MESSAGES - 1)
_MOST_HOLES = 16


class Stamped(Protocol):
    """Something with the number and the instant of one reading."""

    @property
    def sequence(self) -> int: ...

    @property
    def at(self) -> datetime: ...


class Stamp(NamedTuple):
    """Number and instant of one reading."""

    sequence: int
    at: datetime


class Doubt(NamedTuple):
    """A suspicion about reading `place` of a message; `name` is `sequence` or `at`."""

    place: int
    name: str
    reason: str


class Track(msgspec.Struct, frozen=True, gc=False):
    """What is known of a site's newest boot.

    Attributes:
        boot_id: Of the newest message.
        high: Highest sequence seen.
        at: Instant of that reading.
        holes: Numbers below `high` that have not come, oldest first, at most 16.
        lags: Arrival and age of some of the last messages that were old on arrival, without a break.
    """

    boot_id: str
    high: int
    at: datetime
    holes: tuple[Span, ...] = ()
    lags: tuple[tuple[datetime, timedelta], ...] = ()


def follow(
    track: Track | None, boot_id: str, stamps: Sequence[Stamped], arrived_at: datetime
) -> tuple[Track, list[Doubt]]:
    """Return the track after a message, and what is doubtful in it.

    Args:
        track: None for the first message of a site; what came before it is then unknown, and no gap.
        boot_id: Of the message.
        stamps: Its readings, in the order in which they stand there.
        arrived_at: Domain time.
    """
    doubts: list[Doubt] = []
    if track is None or track.boot_id != boot_id:
        first = stamps[0]
        lags = () if track is None else track.lags
        track = Track(boot_id, first.sequence - 1, first.at - timedelta(microseconds=1), (), lags)
    high, at, holes = track.high, track.at, track.holes
    for place, stamp in enumerate(stamps):
        number = stamp.sequence
        if number <= high:
            late = any(hole.first <= number <= hole.last for hole in holes)
            holes = _without(holes, number) if late else holes
            doubts.append(Doubt(place, "sequence", f"out of order, after {high}" if late else "duplicate"))
            continue
        if number > high + 1:
            holes = (*holes, Span(high + 1, number - 1))[-_MOST_HOLES:]
            doubts.append(Doubt(place, "sequence", f"gap: {number - 1 - high} readings missing before this"))
        if stamp.at < at:
            back_s = (at - stamp.at).total_seconds()
            doubts.append(Doubt(place, "at", f"clock stepped back by {back_s:.0f} s"))
        high, at = number, stamp.at
    # What comes again, or late, says nothing about the clock: gateways send again while the database is away.
    is_new = stamps[-1].sequence > track.high
    lags = _lags(track.lags, arrived_at, arrived_at - stamps[-1].at) if is_new else track.lags
    if _is_steady(lags):
        behind_s = lags[-1][1].total_seconds()
        doubts += [
            Doubt(place, "at", f"clock {behind_s:.0f} s behind, steadily") for place in range(len(stamps))
        ]
    return Track(boot_id, high, at, holes, lags), doubts


def _without(holes: tuple[Span, ...], number: int) -> tuple[Span, ...]:
    left: list[Span] = []
    for hole in holes:
        if hole.first <= number <= hole.last:
            parts = (Span(hole.first, number - 1), Span(number + 1, hole.last))
            left += [part for part in parts if part.first <= part.last]
        else:
            left.append(hole)
    return tuple(left)


def _lags(
    before: tuple[tuple[datetime, timedelta], ...], arrived_at: datetime, lag: timedelta
) -> tuple[tuple[datetime, timedelta], ...]:
    """Return the ages to remember: spaced out, so that messages in quick succession cannot crowd out the past."""
    if lag <= _LAG:
        return ()
    if before and arrived_at - before[-1][0] < _SPACED:
        return before if abs(lag - before[-1][1]) <= _STEADY else ((arrived_at, lag),)
    return (*before, (arrived_at, lag))[-_STEADY_MESSAGES:]


def _is_steady(lags: tuple[tuple[datetime, timedelta], ...]) -> bool:
    """A backlog's age falls as it is sent; a clock that is wrong stays as wrong as it is."""
    if len(lags) < _STEADY_MESSAGES or lags[-1][0] - lags[0][0] < _STEADY_OVER:
        return False
    ages = [lag for _, lag in lags]
    return max(ages) - min(ages) <= _STEADY
