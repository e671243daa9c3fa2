"""Reads a window of time out of an operator's words, in the sites' time zone. Pure; invents nothing.

What is not understood is None, and the planner asks. English only; a language model may read the rest and is told what was
read here, so that no clock arithmetic is left to it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tools.outlook import ceil_step, floor_step

UNNAMED_END = timedelta(hours=4)  # of a window whose start alone is named; the answer says so
PARTS: Mapping[str, tuple[int, int]] = {
    "morning": (6, 10), "noon": (11, 14), "afternoon": (13, 17), "evening": (17, 22), "tonight": (22, 24), "night": (22, 24),
}  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERS = {
    "half an": 0.5, "a quarter of an": 0.25, "an": 1.0, "a": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0,
    "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0,
}  # fmt: skip
_HOUR = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_LONGEST = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window on whole quarter hours, UTC; `assumed` says in words what was not named."""

    start: datetime
    end: datetime
    assumed: str = ""


@dataclass(frozen=True, slots=True)
class _Time:
    """A time of day in minutes since midnight; `sure` where am, pm or 24-hour notation settles which half of the day."""

    minute: int
    sure: bool


def read_window(text: str, earliest: datetime, time_zone: str) -> Window | None:
    """Return the window that the words name, none of it before `earliest`; None where they name no time.

    A window of today that is over means tomorrow's; one that has begun starts at `earliest`.
    """
    text = _plain(text)
    if re.search(r"\b(?:yesterday|ago)\b", text):
        return None
    # A zone that the operator names goes before the sites' own.
    zone = ZoneInfo("UTC" if re.search(r"\b(?:utc|gmt)\b|\d\s?z\b", text) else time_zone)
    today = earliest.astimezone(zone).date()
    day = _day(text, today)
    lasts = _duration(text)
    part = next((hours for word, hours in PARTS.items() if re.search(rf"\b{word}\b", text)), None)
    times = _times(text, part)
    assumed = ""
    if times:
        start = _at(day or today, times[0], zone)
        end = _at(day or today, times[1], zone) if len(times) > 1 else None
        if end is None and lasts is None:
            end, assumed = start + UNNAMED_END, "no end was named, so four hours are assumed"
    elif part is not None and lasts is None:
        start, end = (_at(day or today, hour * 60, zone) for hour in part)
    elif part is not None:
        start, end = _at(day or today, part[0] * 60, zone), None
    elif lasts is not None and (day is None or day == today):
        start, end = earliest, None
    elif re.search(r"\b(?:now|at once|immediately|right away)\b", text):
        start, end, assumed = (
            earliest,
            earliest + UNNAMED_END,
            "no end was named, so four hours are assumed",
        )
    else:
        return None
    return _settled(start, end, lasts, earliest, day is None, assumed, zone)


def _settled(
    start: datetime,
    end: datetime | None,
    lasts: timedelta | None,
    earliest: datetime,
    may_move: bool,
    assumed: str,
    zone: ZoneInfo,
) -> Window | None:
    """Return the window with its end after its start, and no part of it past."""
    if lasts is not None:
        end = start + lasts
    assert end is not None
    while end <= start:
        end = _next_day(end, zone)
    if end <= earliest:
        if not may_move:
            return None
        start, end = _next_day(start, zone), _next_day(end, zone)
    if start < earliest:
        end = earliest + lasts if lasts is not None else end
        start = earliest
    begin = floor_step(start)
    return Window(
        start=max(begin, floor_step(earliest)), end=min(ceil_step(end), begin + _LONGEST), assumed=assumed
    )


def _next_day(at: datetime, zone: ZoneInfo) -> datetime:
    """Return the same time on the wall a day later."""
    return (at.astimezone(zone) + timedelta(days=1)).astimezone(UTC)


def _plain(text: str) -> str:
    """Return the text in small letters, ids taken out, with spoken times written as numbers."""
    text = re.sub(r"\b[a-z]+(?:-[a-z0-9]+)*-\d[\w-]*", " ", text.lower())
    text = re.sub(r"[\d.]+ ?(?:kwh|kw|mwh|mw|wh|w|watts?|%|v|volts?)\b", " ", text)
    return re.sub(r"\bo'?clock\b", ":00", text)


def _day(text: str, today: date) -> date | None:
    """Return the day that is named; None: none is."""
    if found := re.search(r"\b(\d{4})-(\d{2})-(\d{2})\b", text):
        try:
            return date(int(found[1]), int(found[2]), int(found[3]))
        except ValueError:
            return None
    if "day after tomorrow" in text:
        return today + timedelta(days=2)
    if re.search(r"\btom+or+ow\b", text):
        return today + timedelta(days=1)
    for number, name in enumerate(_DAYS):
        if re.search(rf"\b{name}\b", text):
            ahead = (number - today.weekday()) % 7
            return today + timedelta(days=ahead or (7 if "next" in text else 0))
    return today if re.search(r"\b(?:today|tonight|this (?:morning|afternoon|evening))\b", text) else None


def _times(text: str, part: tuple[int, int] | None) -> list[int]:
    """Return up to two times of day in minutes, in the order of the text."""
    text = re.sub(r"\b\d{4}-\d{2}-\d{2}[t ]?", " ", text)
    found: list[tuple[int, _Time]] = []
    taken: list[tuple[int, int]] = []
    for pattern, read in _READERS:
        for match in re.finditer(pattern, text):
            time = read(match)
            if time is not None and not any(a < match.end() and match.start() < b for a, b in taken):
                found.append((match.start(), time))
                taken.append(match.span())
    ordered = [time for _, time in sorted(found, key=lambda each: each[0])][:2]
    return _on_24_hours(ordered, text, part)


def _on_24_hours(times: list[_Time], text: str, part: tuple[int, int] | None) -> list[int]:
    """Settle which half of the day is meant: by am or pm beside either time, by the part of the day, by the other time."""
    late = re.search(r"\b(?:pm|p\.m\.)", text) is not None
    early = re.search(r"\b(?:am|a\.m\.)", text) is not None
    out: list[int] = []
    for time in times:
        minute = time.minute
        if not time.sure and minute < 12 * 60:
            in_the_afternoon = part is not None and part[1] > 12
            if (late and not early) or in_the_afternoon:
                minute += 12 * 60
        out.append(minute)
    return out


def _clock(hour: str, minute: str | None, half: str | None) -> _Time | None:
    h, m = int(hour), int(minute or 0)
    if half:
        if not 1 <= h <= 12:
            return None
        return _Time((h % 12 + (12 if half.startswith("p") else 0)) * 60 + m, True)
    return _Time(h * 60 + m, h > 12 or h == 0 or len(hour) == 2) if h <= 24 and m < 60 else None


def _spoken(match: re.Match[str]) -> _Time:
    hour = int(_NUMBERS[match["hour"]])
    shift = {"half past": 30, "quarter past": 15, "quarter to": -15}[match["how"]]
    return _Time(hour * 60 + shift, False)


_READERS = (
    (
        r"\b(?P<h>\d{1,2})(?::|\.)(?P<m>[0-5]\d)(?: ?h)? ?(?P<x>[ap]\.?m\b)?",
        lambda m: _clock(m["h"], m["m"], m["x"]),
    ),
    (r"\b(?P<h>[01]\d|2[0-3])(?P<m>[0-5]\d) ?h(?:ours|rs)?\b", lambda m: _clock(m["h"], m["m"], None)),
    (r"\b(?P<h>1[0-2]|0?[1-9]) ?(?P<x>[ap]\.?m\b)", lambda m: _clock(m["h"], None, m["x"])),
    (r"\b(?P<h>2[0-3]|1?\d) ?:00", lambda m: _clock(m["h"], None, None)),
    (rf"\b(?P<how>half past|quarter past|quarter to) (?P<hour>{_HOUR})\b", _spoken),
    (r"\bmidnight\b", lambda _: _Time(24 * 60, True)),
    (
        rf"\b(?:from|at|between|until|till|to|and|by|form) (?P<h>2[0-4]|1?\d|{_HOUR})\b(?! ?(?:h|hours?|min|minutes?|days?|sites?|feeders?)\b)",
        lambda m: _clock(str(int(_NUMBERS.get(m["h"], 0))) if m["h"] in _NUMBERS else m["h"], None, None),
    ),
)


def _at(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return a time of a day, which may be its end."""
    whole = day + timedelta(days=minute // (24 * 60))
    at = datetime(whole.year, whole.month, whole.day, minute // 60 % 24, minute % 60, tzinfo=zone)
    return at.astimezone(UTC)


def _duration(text: str) -> timedelta | None:
    words = "|".join(sorted(_NUMBERS, key=len, reverse=True))
    found = re.search(
        rf"\b(?:for|over|during|next|lasting)(?: about)?(?: the)?(?: next)? (\d+(?:\.\d+)?|{words}) ?(h|hours?|hrs?|min|minutes?)\b(?: and a (half|quarter))?",
        text,
    ) or re.search(
        rf"\b(\d+(?:\.\d+)?|{words}) (hours?|minutes?)(?: and a (half|quarter))?(?: long| only)\b", text
    )
    if found is None:
        return None
    number = _NUMBERS.get(found.group(1))
    amount = float(found.group(1)) if number is None else number
    hours = amount / (60.0 if found.group(2).startswith("min") else 1.0)
    hours += {"half": 0.5, "quarter": 0.25}.get(found.group(3) or "", 0.0)
    return timedelta(hours=min(max(hours, 0.25), 24.0))
