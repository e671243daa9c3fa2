"""What went wrong at a site, told once however many findings point at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from telemetry.model.site import SiteId


class IncidentState(StrEnum):
    """Where an incident is in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class Severity(StrEnum):
    """Severity by consequence: hours of backup at stake."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChange:
    """One entry of an incident's history: who, when, what and why."""

    at: datetime
    who: str
    state: IncidentState
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Findings of one cause at one site, with the evidence that an operator checks first."""

    incident_id: str
    site_id: SiteId
    kind: str
    since: datetime
    until: datetime | None
    score: float
    severity: Severity
    evidence: Mapping[str, float | str]
    state: IncidentState
    history: tuple[IncidentChange, ...] = ()
