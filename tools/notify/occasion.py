"""What people are told of: an incident, or a plan that waits for a decision. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from telemetry.model.incident import Incident, IncidentState, Severity

PLAN_KIND = "plan"
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One thing to be told, once to each target.

    Attributes:
        subject_id: The incident's or the plan's id: what "once" is counted by.
        kind: Kind of incident, or `plan`.
        opened_at: Since when it is known, aware UTC.
        waits: Nobody has taken it up yet; only then it escalates.
        path: Page on a phone, below the public URL.
    """

    subject_id: str
    kind: str
    severity: Severity
    opened_at: datetime
    waits: bool
    title: str
    body: str
    path: str


def of_incident(incident: Incident) -> Occasion | None:
    """Return what is told of an incident; None of one that is closed, or over before anybody was told.

    The body says what was expected and seen, what is at stake and what to check first, out of the evidence alone.
    """
    if incident.state is IncidentState.CLOSED or not incident.history:
        return None
    return Occasion(
        subject_id=incident.incident_id,
        kind=incident.kind,
        severity=incident.severity,
        opened_at=incident.history[0].at,
        waits=incident.state is IncidentState.OPEN,
        title=f"{incident.severity.value}: {in_words(incident.kind)} at {incident.site_id}",
        body="\n".join(evidence_lines(incident)),
        path=f"/m/incidents/{incident.incident_id}",
    )


def of_plan(
    plan_id: str, *, title: str, body: str, asked_at: datetime, expires_at: datetime | None
) -> Occasion:
    """Return what is told of a plan that waits for a person's decision."""
    until = "" if expires_at is None else f"\nDecide before {_instant(expires_at)}."
    return Occasion(
        subject_id=plan_id,
        kind=PLAN_KIND,
        severity=Severity.WARNING,
        opened_at=asked_at,
        waits=True,
        title=f"approval asked: {title}",
        body=f"{body}{until}",
        path=f"/m/plans/{plan_id}",
    )


def of_missing(plan_id: str, site_ids: Sequence[str], since: datetime) -> Occasion:
    """Return what is told of a plan whose commands some sites did not answer: control has given up on them."""
    named = ", ".join(site_ids[:_MOST_NAMED]) + (" and others" if len(site_ids) > _MOST_NAMED else "")
    return Occasion(
        subject_id=f"missing/{plan_id}",
        kind=PLAN_KIND,
        severity=Severity.WARNING,
        opened_at=since,
        waits=True,
        title=f"no answer: {len(site_ids)} sites of a plan",
        body=f"{named} did not answer the commands of {plan_id} in time. Look whether they are online; what they were to"
        " deliver is missing.",
        path=f"/m/plans/{plan_id}",
    )


def in_words(kind: str) -> str:
    """Return a kind as a person reads it."""
    return kind.replace("_", " ")


def evidence_lines(incident: Incident) -> list[str]:
    """Return what an incident rests on, a sentence a line."""
    seen = incident.evidence
    lines = [f"Since {_instant(incident.since)}."]
    if isinstance(said := seen.get("says"), str):
        lines.append(said)
    expected, observed = seen.get("expected"), seen.get("observed")
    if isinstance(expected, float | int) and isinstance(observed, float | int):
        field = str(seen.get("field", "value"))
        lines.append(f"{field}: {observed:.4g} where {expected:.4g} was expected.")
    if isinstance(hours := seen.get("backup_at_stake_h"), float | int):
        lines.append(f"Backup left if this is true: {hours:.1f} h.")
    if isinstance(check := seen.get("check_first"), str):
        lines.append(f"Check first: {check}")
    return lines


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
