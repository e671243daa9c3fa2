"""Findings of one cause become one incident with a life: open, acknowledged, closed, each step signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.site import SiteId
from tools.anomaly.findings import Finding
from tools.anomaly.kinds import Kind

PRECEDENCE = (
    Kind.LINK_GAP,
    Kind.SENSOR_STUCK,
    Kind.SENSOR_SWAPPED,
    Kind.SENSOR_DRIFT,
    Kind.WEAK_STRING,
    Kind.CAPACITY_FADE,
    Kind.BATTERY_VOLTAGE,
    Kind.COOLING,
    Kind.TEMPERATURE,
    Kind.MODULE_LOSS,
    Kind.RECTIFIER_EFFICIENCY,
    Kind.MAINS_QUALITY,
    Kind.ENERGY_THEFT,
    Kind.PV,
    Kind.LOAD,
)
"""Which kind names an incident of several: what cannot be read, then what is broken, then what follows from it."""

COSTLY = frozenset(
    {
        Kind.BATTERY_VOLTAGE,
        Kind.WEAK_STRING,
        Kind.CAPACITY_FADE,
        Kind.COOLING,
        Kind.TEMPERATURE,
        Kind.MODULE_LOSS,
        Kind.RECTIFIER_EFFICIENCY,
        Kind.MAINS_QUALITY,
        Kind.LINK_GAP,
    }
)
"""Kinds that can cost backup if they are true."""

CRITICAL_BACKUP_H = 1.0
WARNING_BACKUP_H = 4.0


class IncidentTransitionError(ValueError):
    """The incident is not in a state from which this step can be taken."""


def severity_of(findings: Sequence[Finding], backup_h_at_stake: float | None) -> Severity:
    """Return severity by consequence: hours of backup left if the finding is true, None where nobody knows.

    Findings that can cost backup are critical when an hour or less would be
    left. Without that figure the strength of the evidence decides, and nothing is called critical.
    """
    worst = max((f.severity for f in findings), key=lambda s: list(Severity).index(s))
    if backup_h_at_stake is None or not any(f.kind in COSTLY for f in findings):
        return worst
    if not backup_h_at_stake > CRITICAL_BACKUP_H:  # NaN is critical too
        return Severity.CRITICAL
    return Severity.WARNING if backup_h_at_stake <= WARNING_BACKUP_H else worst


def at_stake_h(findings: Sequence[Finding], backup_h: float | None) -> float | None:
    """Return the hours of backup left if the findings are true; None where the hours now are not known.

    A battery that has faded holds observed / expected of what is counted on; a string that gives less takes its part away.
    """
    if backup_h is None:
        return None
    left = backup_h
    for one in findings:
        if one.kind is Kind.CAPACITY_FADE and one.expected > 0.0:
            left = min(left, backup_h * min(max(one.observed / one.expected, 0.0), 1.0))
        if one.kind is Kind.WEAK_STRING:
            left = min(left, backup_h * (1.0 - min(max(one.residual, 0.0), 1.0)))
    return left


def group(
    findings: Iterable[Finding], *, gap: timedelta = timedelta(hours=6)
) -> tuple[tuple[Finding, ...], ...]:
    """Return findings joined by cause: the same site, and times that overlap or lie within `gap`.

    One cause shows in several quantities at once; two causes at one site at the same time come out as one
    incident, which is one visit all the same.
    """
    groups: list[list[Finding]] = []
    for one in sorted(findings, key=lambda f: (f.site_id, f.since)):
        last = groups[-1] if groups else []
        if last and last[0].site_id == one.site_id and _reaches(last, one.since, gap):
            last.append(one)
        else:
            groups.append([one])
    return tuple(tuple(g) for g in groups)


def _reaches(findings: Sequence[Finding], at: datetime, gap: timedelta) -> bool:
    return any(f.until is None or at <= f.until + gap for f in findings)


def update(
    known: Sequence[Incident],
    findings: Iterable[Finding],
    *,
    at: datetime,
    backup_h: Mapping[str, float],
    gap: timedelta = timedelta(hours=6),
) -> tuple[Incident, ...]:
    """Return the incidents after new findings: open ones are carried on, others opened; each has one id for life.

    Args:
        known: Incidents so far. Closed ones are returned as they are: a cause that comes back is a new incident.
        findings: Findings of the latest window; seen again, they change nothing but the evidence.
        at: Instant of this look, aware UTC.
        backup_h: Site to the hours of backup left if the findings are true; a site may be missing.
        gap: Quiet time across which findings are one incident.
    """
    result = list(known)
    for members in group(findings, gap=gap):
        site = members[0].site_id
        place = next((k for k, old in enumerate(result) if _continues(old, members, gap)), None)
        fresh = _incident(members, at, at_stake_h(members, backup_h.get(site)))
        if place is None:
            result.append(fresh)
            continue
        old = result[place]
        result[place] = replace(
            old,
            kind=min((old.kind, fresh.kind), key=lambda k: PRECEDENCE.index(Kind(k))),
            until=fresh.until,
            since=min(old.since, fresh.since),
            score=max(old.score, fresh.score),
            severity=max((old.severity, fresh.severity), key=lambda s: list(Severity).index(s)),
            evidence=fresh.evidence,
        )
    return tuple(result)


def _continues(old: Incident, members: Sequence[Finding], gap: timedelta) -> bool:
    if old.state is IncidentState.CLOSED or old.site_id != members[0].site_id:
        return False
    if old.kind not in {
        kind.value for kind in Kind
    }:  # a predictive alert: another matter with a life of its own
        return False
    first = min(f.since for f in members)
    last = None if any(f.until is None for f in members) else max(f.until for f in members if f.until)
    starts_in_time = old.until is None or first <= old.until + gap
    return starts_in_time and (last is None or last + gap >= old.since)


def _incident(members: Sequence[Finding], at: datetime, backup_h: float | None) -> Incident:
    lead = min(members, key=lambda f: (PRECEDENCE.index(f.kind), -f.score))
    since = min(f.since for f in members)
    ends = [f.until for f in members if f.until is not None]
    text = f"{lead.site_id}|{lead.kind}|{since.isoformat()}"
    evidence: dict[str, float | str] = {
        "field": lead.field,
        "expected": lead.expected,
        "observed": lead.observed,
        "residual": lead.residual,
        "since": lead.since.isoformat(),
        "kinds": ", ".join(sorted({f.kind.value for f in members})),
        "check_first": lead.check_first,
    }
    if backup_h is not None:
        evidence["backup_at_stake_h"] = round(backup_h, 2)
    return Incident(
        incident_id=f"inc-{sha256(text.encode()).hexdigest()[:16]}",
        site_id=SiteId(lead.site_id),
        kind=lead.kind.value,
        since=since,
        until=max(ends) if len(ends) == len(members) else None,
        score=max(f.score for f in members),
        severity=severity_of(members, backup_h),
        evidence=evidence,
        state=IncidentState.OPEN,
        history=(IncidentChange(at=at, who="detector", state=IncidentState.OPEN, why=lead.kind.value),),
    )


def acknowledge(incident: Incident, *, who: str, why: str, at: datetime) -> Incident:
    """Return the incident as taken up by a person.

    Raises:
        IncidentTransitionError: It is not open, or nobody or no reason is named.
    """
    if incident.state is not IncidentState.OPEN:
        raise IncidentTransitionError(f"{incident.incident_id} is {incident.state}, not open")
    return _moved(incident, IncidentState.ACKNOWLEDGED, who, why, at)


def close(incident: Incident, *, who: str, why: str, at: datetime) -> Incident:
    """Return the incident as closed; the reason is what the next person learns from.

    Raises:
        IncidentTransitionError: It is closed already, or nobody or no reason is named.
    """
    if incident.state is IncidentState.CLOSED:
        raise IncidentTransitionError(f"{incident.incident_id} is closed already")
    return _moved(incident, IncidentState.CLOSED, who, why, at)


def _moved(incident: Incident, state: IncidentState, who: str, why: str, at: datetime) -> Incident:
    if not who.strip() or not why.strip():
        raise IncidentTransitionError("a change of state names who and why")
    if at < incident.history[-1].at:
        raise IncidentTransitionError("a change of state cannot lie before the last one")
    change = IncidentChange(at=at, who=who, state=state, why=why)
    return replace(incident, state=state, history=(*incident.history, change))


def similar(incident: Incident, past: Iterable[Incident], *, most: int = 3) -> tuple[Incident, ...]:
    """Return closed incidents most like this one: the same kind, then the same site, then the latest."""
    alike = [
        p
        for p in past
        if p.kind == incident.kind
        and p.state is IncidentState.CLOSED
        and p.incident_id != incident.incident_id
    ]
    alike.sort(key=lambda p: (p.site_id == incident.site_id, p.since), reverse=True)
    return tuple(alike[:most])


def with_similar(incident: Incident, past: Iterable[Incident]) -> Incident:
    """Return the incident with the closed ones most like it in its evidence: which, where, and why they were closed."""
    alike = similar(incident, past)
    if not alike:
        return incident
    told = "; ".join(
        f"{one.incident_id} at {one.site_id} from {one.since:%Y-%m-%d}, closed: {one.history[-1].why[:120]}"
        for one in alike
    )
    return replace(incident, evidence={**incident.evidence, "similar": told})
