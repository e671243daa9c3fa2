"""What the tools are given: one value per need, so that a test or another store can stand in for each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from edge.plan import ApprovalTier, Plan
from edge.safety.limits import FleetState, Limits
from edge.safety.verdict import Approved, Rejected
from knowledge.documents import ReaderRole
from knowledge.passage_store import PassageStore
from telemetry.model.catalogue import Tariff, TariffId
from telemetry.model.incident import Incident
from telemetry.model.site import SiteId
from telemetry.points import Point
from telemetry.reading_store import Delivered
from tools.health.estimate import NotJudged
from tools.health.resistance import Resistance
from tools.health.site_health import SiteHealth
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is known of the fleet at one instant, what it is allowed to do, and what its energy costs, by tariff."""

    state: FleetState
    limits: Limits
    tariffs: Mapping[TariffId, Tariff] = field(default_factory=dict)


class Readings(Protocol):
    """What is asked of `telemetry.reading_store.ReadingStore`."""

    async def window(
        self, metric: str, site_id: SiteId, start: datetime, end: datetime, points: int
    ) -> list[Point]:
        """Return one metric of one site, down-sampled."""
        ...

    async def delivered(self, site_ids: Sequence[SiteId], start: datetime, end: datetime) -> list[Delivered]:
        """Return metered battery energy by site and quarter of an hour."""
        ...

    async def quality_reasons(self) -> dict[SiteId, dict[str, str]]:
        """Return what is doubtful in each site's data, by field."""
        ...


class Batteries(Protocol):
    """What is asked of `tools.health_look.HealthLook`."""

    async def __call__(
        self, now: datetime, site_ids: Sequence[SiteId] | None = None
    ) -> Mapping[SiteId, SiteHealth]:
        """Return the health of each battery (or of those asked for that exist)."""
        ...

    async def resistance(self, site_id: SiteId, now: datetime) -> Resistance | NotJudged:
        """Return a site's resistance from the load steps of the last hours."""
        ...


async def no_chances(_names: Sequence[SiteId], _now: datetime) -> Mapping[str, float]:
    """Return no site's chance of an outage: none is known."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that a tool may reach. None of it leads to a device.

    Attributes:
        now: The domain instant, aware UTC.
        fleet: The fleet's state and limits; whoever judges them judges at `fleet.state.at`, for no reading is younger.
        refresh_forecasts: Make and keep forecasts of load, PV and background as of an instant; returns how many.
        refresh_incidents: Look for anomalies as of an instant and keep what was found; returns how many are open.
        incidents: The incidents that are not closed, worst first.
        readings: Telemetry.
        health: What looks at batteries.
        plans: Plans and verdicts.
        dispatch: Approvals, dispatch requests, what control made of them, reports.
        check: The validate gate.
        tier: Who must approve a plan by the policy file; None: nobody may.
        outage_chances: Tomorrow's chance of an outage, 0..1, of those of the sites whose past is long enough, as of an instant.
        library: Documents to search; None: there is none here.
        reader: As whom the library is read: the thread's person; the automated loop reads as a viewer.
    """

    now: Callable[[], datetime]
    fleet: Callable[[], Awaitable[Fleet]]
    refresh_forecasts: Callable[[datetime], Awaitable[int]]
    refresh_incidents: Callable[[datetime], Awaitable[int]]
    incidents: Callable[[], Awaitable[Sequence[Incident]]]
    readings: Readings
    health: Batteries
    plans: PlanStore
    dispatch: DispatchStore
    check: Callable[[Plan, Fleet, datetime], Approved | Rejected]
    tier: Callable[[Plan, Fleet], ApprovalTier | None]
    outage_chances: Callable[[Sequence[SiteId], datetime], Awaitable[Mapping[str, float]]] = no_chances
    library: PassageStore | None = None
    reader: ReaderRole = ReaderRole.VIEWER
