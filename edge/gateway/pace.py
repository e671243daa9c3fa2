"""When the gateway acts next, at any clock speed, and whether the clock can be believed. Pure.

Periods are domain time. At a speed above 1 the wall-time bounds win, so that a fast simulation asks no more of the
machine than real time does: the control period stretches to `control_min_wall_s x speed` domain seconds, and every
energy account uses the time that really passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from telemetry.model.clock import Clock

_SECOND = timedelta(seconds=1)


def speed_of(clock: Clock) -> float:
    """Return domain seconds per wall second; almost zero for a clock that stands still."""
    return 1.0 / clock.to_wall(_SECOND).total_seconds()


def stretched_s(period_s: float, min_wall_s: float, speed: float) -> float:
    """Return the period in domain seconds, stretched so that it takes at least `min_wall_s` of wall time."""
    return max(period_s, min_wall_s * speed) if speed > 1.0 else period_s


def wall_wait_s(domain_s: float, speed: float, longest_s: float = 1.0) -> float:
    """Return how long to wait in wall time; never so long that a change of speed is missed."""
    return min(longest_s, max(0.0, domain_s) / max(speed, 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """An instant as the domain clock and the monotonic wall clock saw it, with the speed then."""

    at: datetime
    wall_s: float
    speed: float


def jumped(before: Tick, after: Tick, tolerance_s: float) -> bool:
    """Return whether the domain clock moved otherwise than its speed and the monotonic clock explain.

    Between two looks the speed may have changed from one to the other at any moment. `tolerance_s` is in domain
    seconds at speed 1 and grows with the speed.
    """
    wall_s = after.wall_s - before.wall_s
    low, high = sorted((before.speed, after.speed))
    slack_s = tolerance_s * max(1.0, high)
    moved_s = (after.at - before.at).total_seconds()
    return not low * wall_s - slack_s <= moved_s <= high * wall_s + slack_s
