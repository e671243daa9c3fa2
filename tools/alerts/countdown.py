"""Countdowns for screens: what is expected, and how long until then. Pure; made from incidents as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from telemetry.model.incident import Incident, IncidentState, Severity
from tools.alerts.lifecycle import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """One expected event with its interval; `seconds_left` is zero when its hour has come.

    `subject` is `site` or `feeder`; `latest_at` is None where it may not come at all.
    """

    incident_id: str
    kind: str
    subject: str
    subject_id: str
    severity: Severity
    acknowledged: bool
    due_at: datetime
    earliest_at: datetime
    latest_at: datetime | None
    seconds_left: float
    seconds_left_at_least: float
    says: str
    chance_frac: float | None
    backup_h: float | None


def countdowns(incidents: Iterable[Incident], now: datetime) -> tuple[Countdown, ...]:
    """Return the countdowns of all predictive alerts that are not closed, the nearest first."""
    found = [
        _countdown(one, now)
        for one in incidents
        if one.kind in KINDS and one.state is not IncidentState.CLOSED
    ]
    return tuple(sorted(found, key=lambda c: (c.due_at, c.subject_id)))


def _countdown(one: Incident, now: datetime) -> Countdown:
    seen = one.evidence
    due, earliest = (datetime.fromisoformat(str(seen[name])) for name in ("due_at", "earliest_at"))
    latest = seen.get("latest_at")
    return Countdown(
        incident_id=one.incident_id,
        kind=one.kind,
        subject=str(seen["subject"]),
        subject_id=str(one.site_id),
        severity=one.severity,
        acknowledged=one.state is IncidentState.ACKNOWLEDGED,
        due_at=due,
        earliest_at=earliest,
        latest_at=None if latest is None else datetime.fromisoformat(str(latest)),
        seconds_left=max((due - now).total_seconds(), 0.0),
        seconds_left_at_least=max((earliest - now).total_seconds(), 0.0),
        says=str(seen["says"]),
        chance_frac=_number(seen.get("chance_frac")),
        backup_h=_number(seen.get("backup_at_stake_h")),
    )


def _number(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, float | int) else None
