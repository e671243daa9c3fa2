"""Alerts live as incidents: raised, carried on, closed by the forecast when they are over, with the outcome. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.site import SiteId
from tools.alerts.alert import CHECK_FIRST, Alert, AlertKind

WHO = "forecast"
KINDS = frozenset(kind.value for kind in AlertKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How alerts are kept from coming and going.

    Attributes:
        calm: An alert that is no longer expected for so long is closed.
        again: The same matter is not raised anew within so long of its closing, unless it is graver now.
        most: New incidents at one look; the gravest and nearest are taken.
    """

    calm: timedelta = timedelta(minutes=40)
    again: timedelta = timedelta(hours=2)
    most: int = 20


def update_alerts(
    known: Sequence[Incident], alerts: Iterable[Alert], now: datetime, patience: Patience | None = None
) -> tuple[Incident, ...]:
    """Return the incidents of alerts that changed or are new at this look.

    An incident keeps its id while the matter lasts, whatever its due hour does; its severity never falls. It is closed
    by the forecast when it has not been expected for a while, and says then whether its hour had come.

    Args:
        known: Incidents of these kinds, open ones and those closed lately.
        alerts: What is expected now, folded.
        now: Aware UTC.
        patience: Settings.
    """
    waits = patience or Patience()
    found = {one.key: one for one in alerts}
    mine = [one for one in known if one.kind in KINDS]
    changed: list[Incident] = []
    for incident in mine:
        if incident.state is IncidentState.CLOSED:
            continue
        alert = found.pop((AlertKind(incident.kind), str(incident.site_id)), None)
        if alert is not None:
            changed.append(_carried_on(incident, alert, now))
        elif now - _seen_at(incident) >= waits.calm:
            changed.append(_closed(incident, now))
    fresh = [one for one in found.values() if not _just_closed(one, mine, now, waits.again)]
    fresh.sort(key=lambda a: (-list(Severity).index(a.severity), a.due_at, a.subject_id))
    return (*changed, *(_raised(one, now) for one in fresh[: waits.most]))


def folded(known: Iterable[Incident]) -> frozenset[tuple[AlertKind, str]]:
    """Return kind and feeder of the open incidents that stand for many sites."""
    return frozenset(
        (AlertKind(one.kind), str(one.site_id))
        for one in known
        if one.kind in KINDS and one.state is not IncidentState.CLOSED and "site_count" in one.evidence
    )


def evidence_of(alert: Alert, now: datetime) -> dict[str, float | str]:
    """Return an alert as an incident's evidence; instants are ISO 8601."""
    found: dict[str, float | str] = {
        "says": alert.says,
        "due_at": alert.due_at.isoformat(),
        "earliest_at": alert.earliest_at.isoformat(),
        "field": alert.field,
        "expected": alert.expected,
        "limit": alert.limit,
        "check_first": CHECK_FIRST[alert.kind],
        "subject": "feeder" if alert.of_feeder else "site",
        "seen_at": now.isoformat(),
    }
    if alert.latest_at is not None:
        found["latest_at"] = alert.latest_at.isoformat()
    if alert.chance_frac is not None:
        found["chance_frac"] = alert.chance_frac
    if alert.backup_h is not None:
        found["backup_at_stake_h"] = alert.backup_h
    return found | alert.more


def _raised(alert: Alert, now: datetime) -> Incident:
    text = f"{alert.kind}|{alert.subject_id}|{now.isoformat()}"
    return Incident(
        incident_id=f"alert-{sha256(text.encode()).hexdigest()[:16]}",
        site_id=SiteId(alert.subject_id),
        kind=alert.kind.value,
        since=now,
        until=None,
        score=1.0 if alert.chance_frac is None else alert.chance_frac,
        severity=alert.severity,
        evidence=evidence_of(alert, now),
        state=IncidentState.OPEN,
        history=(IncidentChange(at=now, who=WHO, state=IncidentState.OPEN, why=alert.says),),
    )


def _carried_on(incident: Incident, alert: Alert, now: datetime) -> Incident:
    severity = max((incident.severity, alert.severity), key=list(Severity).index)
    history = incident.history
    if severity is not incident.severity:
        history = (
            *history,
            IncidentChange(at=now, who=WHO, state=incident.state, why=f"now {severity}: {alert.says}"),
        )
    return replace(incident, severity=severity, evidence=evidence_of(alert, now), history=history)


def _closed(incident: Incident, now: datetime) -> Incident:
    due = datetime.fromisoformat(str(incident.evidence["due_at"]))
    came = due <= _seen_at(incident)
    why = "its hour came, and it is over" if came else "no longer expected: it was averted or did not come"
    outcome = "came" if came else "did not come"
    change = IncidentChange(at=now, who=WHO, state=IncidentState.CLOSED, why=why)
    return replace(
        incident,
        state=IncidentState.CLOSED,
        until=now,
        evidence={**incident.evidence, "outcome": outcome},
        history=(*incident.history, change),
    )


def _seen_at(incident: Incident) -> datetime:
    return datetime.fromisoformat(str(incident.evidence["seen_at"]))


def _just_closed(alert: Alert, mine: Iterable[Incident], now: datetime, again: timedelta) -> bool:
    """Whether the same matter was closed a moment ago and is no graver now."""
    for one in mine:
        if (one.kind, str(one.site_id)) != (alert.kind.value, alert.subject_id) or one.until is None:
            continue
        graver = list(Severity).index(alert.severity) > list(Severity).index(one.severity)
        if one.state is IncidentState.CLOSED and now - one.until < again and not graver:
            return True
    return False
