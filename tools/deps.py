"""What the tools are given: one value per need, so that a test or another store can stand in for each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from edge.plan import ApprovalTier, Plan, PlanId, PlanStatus
from edge.safety.limits import FleetState, Limits
from telemetry.model.incident import Incident
from telemetry.model.site import SiteId


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is known of the fleet at one instant, and what it is allowed to do."""

    state: FleetState
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarterHour:
    """Means over the 15 minutes from `at`; None where nothing was measured. Charging positive, at the terminals."""

    site_id: SiteId
    at: datetime
    completeness: float
    battery_w: float | None
    load_w: float | None
    grid_w: float | None
    pv_w: float | None
    soc_frac: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """How far a site's data can be believed: a score 0..1 and what spoke against it."""

    site_id: SiteId
    at: datetime
    score: float
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFinding:
    """One broken rule: which, where and by how much, in the words of the gate."""

    rule: str
    site_id: SiteId | None
    message: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteProgress:
    """How far one site's part of a plan has come: `state` of its command and the last word of its ISC."""

    site_id: SiteId
    state: str
    verdict: str | None
    reason: str
    read_back_v: float | None
    limited_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who has said yes or no to a plan so far; `declined_by` is None where nobody has refused."""

    approvers: tuple[str, ...]
    expires_at: datetime | None
    declined_by: str | None
    decline_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlOutcome:
    """What the control process made of a dispatch request: authorised, needs_approval or refused, and why."""

    outcome: str
    at: datetime
    reasons: tuple[str, ...]


class PlanBook(Protocol):
    """Where plans, verdicts, requests and reports are kept. Every write may be repeated without a second effect."""

    def open_plans(self, at: datetime) -> Sequence[Plan]:
        """Return the plans that are validated, approved or dispatched and end after `at`."""
        ...

    def add(self, plan: Plan, thread_id: str) -> None:
        """Keep a proposed plan; a plan of that id that is already there stays as it is."""
        ...

    def find(self, plan_id: PlanId) -> Plan | None:
        """Return the plan with its present status."""
        ...

    def move(self, plan_id: PlanId, status: PlanStatus) -> None:
        """Move a plan's status forward; the same status again is no change."""
        ...

    def record_verdict(self, plan_id: PlanId, at: datetime, findings: Sequence[GateFinding]) -> None:
        """Keep what the validate gate said; no findings means accepted."""
        ...

    def findings(self, plan_id: PlanId) -> Sequence[GateFinding]:
        """Return what the gates last found against a plan."""
        ...

    def decision(self, plan_id: PlanId) -> Decision:
        """Return the approvals and the refusal so far."""
        ...

    def request_dispatch(self, plan_id: PlanId, at: datetime) -> None:
        """Ask for dispatch: the plan's id and nothing else, once."""
        ...

    def outcome(self, plan_id: PlanId) -> ControlOutcome | None:
        """Return what control made of the request, None while it has not answered."""
        ...

    def progress(self, plan_id: PlanId) -> Sequence[SiteProgress]:
        """Return one entry per site for which control has minted a command."""
        ...

    def record_report(self, plan_id: PlanId, at: datetime, doc: Mapping[str, object]) -> None:
        """Keep a plan's report."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that a tool may reach. None of it leads to a device.

    Attributes:
        now: The domain instant, aware UTC.
        fleet: The fleet's state and limits as of an instant.
        refresh_forecasts: Make and keep forecasts of load, PV and background; returns how many were made.
        refresh_incidents: Look for anomalies and keep what was found; returns how many incidents are open.
        incidents: The open incidents, worst first.
        quality: Data quality of a site.
        quarters: Quarter-hour means of sites over [start, end), by site and time.
        plans: The plan book.
        check: The validate gate on fresh state: what is wrong with a plan, empty when it is accepted.
        tier: Who must approve a plan by the policy file; None: nobody may.
    """

    now: Callable[[], datetime]
    fleet: Callable[[datetime], Fleet]
    refresh_forecasts: Callable[[datetime], int]
    refresh_incidents: Callable[[datetime], int]
    incidents: Callable[[], Sequence[Incident]]
    quality: Callable[[SiteId], QualityReport | None]
    quarters: Callable[[Sequence[SiteId], datetime, datetime], Sequence[QuarterHour]]
    plans: PlanBook
    check: Callable[[Plan, Fleet, datetime], Sequence[GateFinding]]
    tier: Callable[[Plan, Fleet], ApprovalTier | None]
