"""What control is given: where plans, facts, limits and verdicts come from, and what carries its messages."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from edge.plan import Approval, ApprovalTier, Plan, PlanId
from edge.safety.limits import FleetState, Limits
from telemetry.model.clock import Clock
from telemetry.model.site import SiteId


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """The gate's yes: which sites are sent their part, and which are withheld and why."""

    sites: tuple[SiteId, ...]
    withheld: dict[SiteId, list[str]]
    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The gate's no: every broken rule. `wait` where nothing but a valid approval is missing."""

    broken: list[dict[str, Any]]
    wait: bool = False


class Gate(Protocol):
    """The second gate; `edge.control.gate.SafetyGate` is the real one."""

    def tier(self, plan: Plan, state: FleetState, limits: Limits) -> ApprovalTier | None:
        """Return who must say yes, None where nobody may."""
        ...

    def decide(
        self, plan: Plan, approvals: Sequence[Approval], state: FleetState, limits: Limits, now: datetime
    ) -> Send | Hold:
        """Return the verdict on fresh state."""
        ...


class FetchedPlan(Protocol):
    """A plan as the database holds it, row and document checked against each other."""

    @property
    def plan(self) -> Plan: ...

    @property
    def envelope_digest(self) -> str: ...


class PlanSource(Protocol):
    """Reads plans; `tools.planning.plan_store.PlanStore` is the real one."""

    async def fetch(self, plan_id: PlanId) -> FetchedPlan | None: ...


FleetStateSource = Callable[[], Awaitable[FleetState]]
LimitsSource = Callable[[], Awaitable[Limits]]


class Publish(Protocol):
    """Sends a message, QoS 1; the awaitable is done when the broker has confirmed it."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """How fast and how long; wall time where it is about the network, domain time where it is about a plan.

    Defaults are our choice [I]. `accept_for` is the least domain time that a site has to take a schedule; where the
    clock runs fast it is stretched to `accept_wall`.
    """

    accept_for: timedelta = timedelta(seconds=60)
    accept_wall: timedelta = timedelta(seconds=20)
    release_for: timedelta = timedelta(hours=24)
    stop_for: timedelta = timedelta(days=3650)
    overdue_after: timedelta = timedelta(minutes=5)
    sends_per_s: float = 200.0
    first_retry: timedelta = timedelta(seconds=3)
    longest_retry: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=5)
    look_every: timedelta = timedelta(seconds=1)
    look_at_waiting_every: timedelta = timedelta(seconds=30)
    sign_head_every: timedelta = timedelta(seconds=30)


def domain_time(clock: Clock, wall: timedelta) -> timedelta:
    """Return how much domain time passes in some wall time at the present speed; none while the clock stands."""
    hour = timedelta(hours=1)  # long, so that its rounding does not show
    return wall * (hour / clock.to_wall(hour))


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The names of the topics."""

    fleet_stop: str = "cbs/v1/fleet/stop"
    fleet_keys: str = "cbs/v1/fleet/keys"
    acks: str = field(default="cbs/v1/+/ack")

    def command(self, site_id: SiteId) -> str:
        """Return the topic on which a site takes commands."""
        return f"cbs/v1/{site_id}/command"
