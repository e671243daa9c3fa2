"""One clock for every process: domain time from a shared epoch, whatever speed it runs at.

Domain instants (readings, plans, expiries) come from a `Clock`. TLS, MQTT and process time-outs use wall time.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from telemetry.model.errors import ControlError

_LONGEST_NAP = timedelta(milliseconds=200)  # a change of speed is noticed within this much wall time


class ClockError(ControlError):
    """A clock file is missing or says something impossible."""


class Clock(Protocol):
    """Tells and waits in domain time."""

    def now(self) -> datetime:
        """Return the present instant, aware UTC."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait until `duration` of domain time has passed."""
        ...

    def to_wall(self, duration: timedelta) -> timedelta:
        """Return how much wall time `duration` of domain time takes at the present speed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A stretch of constant speed: at wall instant `wall` the domain instant was `domain`.

    `speed` is domain seconds per wall second; 0 stands still.
    """

    wall: datetime
    domain: datetime
    speed: float

    def __post_init__(self) -> None:
        if self.wall.tzinfo is None or self.domain.tzinfo is None:
            raise ClockError("a pace needs aware instants")
        if not 0.0 <= self.speed <= 100_000.0:
            raise ClockError(f"speed {self.speed} is outside 0..100000")

    def at(self, wall: datetime) -> datetime:
        """Return the domain instant at the wall instant."""
        return self.domain + (wall - self.wall) * self.speed


def read_wall() -> datetime:
    """Return the wall clock's instant, aware UTC."""
    return datetime.now(UTC)


class PacedClock:
    """A clock that follows a pace, asked for anew at each look, so that a change of speed is seen by all."""

    def __init__(self, pace: Callable[[], Pace], wall: Callable[[], datetime] = read_wall) -> None:
        self._pace = pace
        self._wall = wall

    @property
    def speed(self) -> float:
        """Domain seconds per wall second, at present."""
        return self._pace().speed

    def now(self) -> datetime:
        return self._pace().at(self._wall())

    def to_wall(self, duration: timedelta) -> timedelta:
        speed = self._pace().speed
        return timedelta.max if speed == 0.0 else duration / speed

    async def sleep(self, duration: timedelta) -> None:
        end = self.now() + duration
        while (left := end - self.now()) > timedelta(0):  # noqa: ASYNC110 (the speed may change while we wait)
            await asyncio.sleep(min(self.to_wall(left), _LONGEST_NAP).total_seconds())


def wall_clock() -> PacedClock:
    """Return the clock of a real fleet: domain time is wall time."""
    start = datetime(2000, 1, 1, tzinfo=UTC)
    pace = Pace(wall=start, domain=start, speed=1.0)
    return PacedClock(lambda: pace)


class FilePace:
    """A pace kept in a small JSON file, which is how a change of speed is announced to every process."""

    def __init__(self, path: Path, look_every: timedelta = timedelta(milliseconds=50)) -> None:
        self._path = path
        self._look_every_s = look_every.total_seconds()
        self._looked_s = time.monotonic()
        self._stamp = 0
        self._pace = self._load()

    def __call__(self) -> Pace:
        if time.monotonic() - self._looked_s >= self._look_every_s:
            self._looked_s = time.monotonic()
            if self._path.stat().st_mtime_ns != self._stamp:
                self._pace = self._load()
        return self._pace

    def _load(self) -> Pace:
        try:
            self._stamp = self._path.stat().st_mtime_ns
            doc = json.loads(self._path.read_text())
            return Pace(
                wall=datetime.fromisoformat(doc["wall"]),
                domain=datetime.fromisoformat(doc["domain"]),
                speed=float(doc["speed"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClockError(f"clock file {self._path}: {error}") from error


def write_pace(path: Path, pace: Pace) -> None:
    """Announce a pace to every process that follows the file (atomic)."""
    doc = {"wall": pace.wall.isoformat(), "domain": pace.domain.isoformat(), "speed": pace.speed}
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_text(json.dumps(doc))
    fresh.replace(path)


def change_speed(path: Path, speed: float, wall: Callable[[], datetime] = read_wall) -> Pace:
    """Go on from the present domain instant at another speed, and return the new pace."""
    now = wall()
    pace = Pace(wall=now, domain=FilePace(path)().at(now), speed=speed)
    write_pace(path, pace)
    return pace
