"""Numbers and instants as people read them: kW on screens, percent, the reader's own time zone by name. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ui.console import texts

NOTHING = "–"
MOST_AUTONOMY_H = 96.0  # the API looks no further


def kilo(value: float | None, unit: str, digits: int = 1) -> str:
    """Return a quantity given in base units in thousands of them, for instance 1.5 kW."""
    return NOTHING if value is None else f"{value / 1e3:,.{digits}f} k{unit}"


def plain(value: float | None, unit: str, digits: int = 1) -> str:
    """Return a quantity with its unit."""
    return NOTHING if value is None else f"{value:,.{digits}f} {unit}"


def percent(frac: float | None, digits: int = 0) -> str:
    """Return a fraction as a percentage."""
    return NOTHING if frac is None else f"{100.0 * frac:.{digits}f} %"


def hours(value: float | None) -> str:
    """Return hours of backup; what reaches the end of the horizon is "more than"."""
    if value is None:
        return NOTHING
    return f"> {MOST_AUTONOMY_H:.0f} h" if value >= MOST_AUTONOMY_H else f"{value:.2f} h"


def zone_of(name: str | None) -> ZoneInfo:
    """Return a time zone by its name; UTC where it is unknown."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def instant(value: datetime | str | None) -> datetime | None:
    """Return an instant out of the API's JSON, aware."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)


def local(value: datetime | str | None, zone: ZoneInfo) -> datetime | None:
    """Return an instant on the reader's clock."""
    at = instant(value)
    return None if at is None else at.astimezone(zone)


def moment(value: datetime | str | None, zone: ZoneInfo) -> str:
    """Return an instant with day, minute and zone."""
    at = local(value, zone)
    return NOTHING if at is None else f"{at:%d %b %H:%M} {at:%Z}"


def span(start: datetime | str, end: datetime | str, zone: ZoneInfo) -> str:
    """Return a window; the day is said once where it does not change."""
    first, last = local(start, zone), local(end, zone)
    assert first is not None
    assert last is not None
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%d %b %H:%M}"
    return f"{first:%d %b %H:%M} – {until} {last:%Z}"


def ago(value: datetime | str | None, now: datetime) -> str:
    """Return how long ago something was."""
    at = instant(value)
    if at is None:
        return NOTHING
    seconds = (now - at).total_seconds()
    return texts.AGO.format(length=duration(timedelta(seconds=max(0.0, seconds))))


def duration(length: timedelta) -> str:
    """Return a length of time in its largest fitting unit."""
    seconds = length.total_seconds()
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def words(name: str) -> str:
    """Return a name of the API as words: `two_persons` is two persons."""
    return name.replace("_", " ")


def named(names: Mapping[str, str], word: str) -> str:
    """Return a word of the API in the reader's language; one that is not known there as it is."""
    return names.get(word, words(word))


def now_of(fleet: Mapping[str, Any] | None) -> datetime:
    """Return the fleet's own time (simulated time where it is simulated); wall time where there is no fleet."""
    return datetime.now(UTC) if fleet is None else datetime.fromisoformat(fleet["at"])


def harmless(text: str) -> str:
    """Return what a model or a site wrote so that showing it fetches nothing and typesets no formula.

    A picture in Markdown is fetched as it is drawn: its address could carry what a model has read to anybody.
    """
    return text.replace("![", "!\\[").replace("$", "\\$")


def countdown(seconds: float) -> str:
    """Return how long until something: days and hours, hours and minutes, or minutes; `now` below one minute."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return texts.NOW
    days, hours_left = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours_left} h"
    return f"{hours_left} h {minutes % 60:02d} min" if hours_left else f"{minutes} min"
