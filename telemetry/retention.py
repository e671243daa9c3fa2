"""How long what is kept, and what that means at an instant (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from telemetry.model.errors import ControlError

_LONGEST_DAYS = 36_500
_LEAST_DAYS = {"readings": 3}  # ingest counts on that much


class RetentionError(ControlError):
    """A setting of retention is no number of days that makes sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How long each kind of row is kept; `ahead` is for how long partitions are made beforehand.

    Readings serve what looks at single minutes; everything else reads roll-ups. A forecast is of no use once it is past.
    """

    readings: timedelta = timedelta(days=14)
    quarters: timedelta = timedelta(days=5 * 366)
    hours: timedelta = timedelta(days=5 * 366)
    forecasts: timedelta = timedelta(days=14)
    quarantine: timedelta = timedelta(days=90)
    ahead: timedelta = timedelta(days=3)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "RetentionPolicy":
        """Read `CELLWATT_KEEP_READINGS_DAYS`, `..._QUARTERS_DAYS`, `..._HOURS_DAYS`, `..._FORECASTS_DAYS`, `..._QUARANTINE_DAYS`.

        Raises:
            RetentionError: One of them is no whole number of days, from 1 on (readings: from 3 on).
        """
        given = {}
        for name in ("readings", "quarters", "hours", "forecasts", "quarantine"):
            key = f"CELLWATT_KEEP_{name.upper()}_DAYS"
            if text := env.get(key, ""):
                least = _LEAST_DAYS.get(name, 1)
                if not text.isdecimal() or not least <= int(text) <= _LONGEST_DAYS:
                    raise RetentionError(
                        f"{key}: {text[:20]!r} is no number of days, {least}..{_LONGEST_DAYS}"
                    )
                given[name] = timedelta(days=int(text))
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What goes: days and instants before these."""

    readings: date
    quarters: date
    hours: date
    forecasts: datetime
    quarantine: datetime


def limits(policy: RetentionPolicy, now: datetime, newest: datetime | None) -> Limits | None:
    """Return before when everything goes, None while nothing has been stored.

    Args:
        policy: How long what is kept.
        now: Domain instant.
        newest: Of the newest reading of any site. Age counts from there at the latest, so that a clock that jumped ahead
            drops nothing that would still be looked at.
    """
    if newest is None:
        return None
    at = min(now, newest + timedelta(days=1)).astimezone(UTC)
    return Limits(
        readings=(at - policy.readings).date(),
        quarters=(at - policy.quarters).date(),
        hours=(at - policy.hours).date(),
        forecasts=at - policy.forecasts,
        quarantine=at - policy.quarantine,
    )
