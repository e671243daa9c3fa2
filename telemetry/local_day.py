"""The days and hours of a place: a day in spring has 23 hours there and one in autumn 25 (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from telemetry.model.series import STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDay:
    """A calendar day of a place, from its midnight to the next one."""

    day: date
    start: datetime
    end: datetime

    @property
    def quarters(self) -> int:
        """How many quarters of an hour it has: 96, but 92 or 100 where the clock changes by an hour."""
        return (self.end - self.start) // STEP

    @property
    def hours(self) -> float:
        """How long it is, h."""
        return (self.end - self.start) / timedelta(hours=1)


def local_day(day: date, time_zone: str) -> LocalDay:
    """Return a day of a place; `start` and `end` are aware UTC.

    Raises:
        ZoneInfoNotFoundError: There is no such zone.
    """
    zone = ZoneInfo(time_zone)
    start, end = (_first_instant(one, zone) for one in (day, day + timedelta(days=1)))
    return LocalDay(day=day, start=start, end=end)


def local_days(start: datetime, end: datetime, time_zone: str) -> Iterator[LocalDay]:
    """Yield the days of a place that touch `[start, end)`, in order."""
    day = start.astimezone(ZoneInfo(time_zone)).date()
    while (found := local_day(day, time_zone)).start < end:
        yield found
        day += timedelta(days=1)


def _first_instant(day: date, zone: ZoneInfo) -> datetime:
    # Where the clock jumps over midnight the day begins after the jump: `fold` 0 counts on from before it.
    return datetime.combine(day, time(), zone).astimezone(UTC)
