"""Standing objectives: what an operator wants kept true, said in words, kept as data. Pure.

The words stay beside what was read out of them, so that people see both; only what was read binds the automated loop.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from agents.wording import id_like, named

_LEAVES_OUT = re.compile(
    r"\b(never use|do not use|don't use|not use|without|leave out|keep out|keep .* out|exclude|spare|no dispatch (?:of|at|from)|except)\b"
)
_PAUSES = re.compile(
    r"\b(no dispatch|do not dispatch|don't dispatch|pause|hold everything|no plans?|stand still|nothing (?:is|may be) dispatched)\b"
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingObjective:
    """What was read: sites left out, or everything paused; until when, or for good."""

    text: str
    exclude_site_ids: tuple[str, ...] = ()
    pause: bool = False
    until: datetime | None = None

    def doc(self) -> dict[str, Any]:
        """Return it as it is kept and as planners see it."""
        return {
            "text": self.text,
            "exclude_site_ids": list(self.exclude_site_ids),
            "pause": self.pause,
            "until": None if self.until is None else self.until.isoformat(),
        }


class NotUnderstoodError(ValueError):
    """The words say nothing that can be kept; the message says what would."""


def read_objective(text: str, site_ids: Iterable[str], now: datetime, time_zone: str) -> StandingObjective:
    """Return what the words ask to be kept.

    Raises:
        NotUnderstoodError: They name no site to leave out and no pause, or a site that does not exist.
    """
    lower, known = text.lower(), list(site_ids)
    sites = tuple(named(known, lower))
    strange = [one for one in id_like(lower) if one not in {name.lower() for name in known}]
    if strange:
        raise NotUnderstoodError(f"there is no site {strange[0]}")
    until = _until(lower, now, time_zone)
    if sites and _LEAVES_OUT.search(lower):
        return StandingObjective(text=text, exclude_site_ids=sites, until=until)
    if not sites and _PAUSES.search(lower):
        return StandingObjective(text=text, pause=True, until=until)
    raise NotUnderstoodError(
        "say which sites are to be left out ('never use site-1'), or that dispatch is paused ('no dispatch until friday')"
    )


def in_force(documents: Sequence[Mapping[str, Any]], now: datetime) -> list[Mapping[str, Any]]:
    """Return the objectives whose time is not over."""
    return [
        one for one in documents if not one.get("until") or datetime.fromisoformat(str(one["until"])) > now
    ]


def _until(text: str, now: datetime, time_zone: str) -> datetime | None:
    """Return the start of the day that `until` names, in the sites' time zone; None: for good."""
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    found = re.search(r"\b(?:until|till) (?:next )?(\d{4}-\d{2}-\d{2}|tomorrow|[a-z]+day)\b", text)
    if found is None:
        return None
    day: date
    if found[1] == "tomorrow":
        day = today + timedelta(days=1)
    elif found[1] in _DAYS:
        day = today + timedelta(days=(_DAYS.index(found[1]) - today.weekday()) % 7 or 7)
    else:
        try:
            day = date.fromisoformat(found[1])
        except ValueError as error:
            raise NotUnderstoodError(f"{found[1]} is no day") from error
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
