"""The simulated fleet that the agent is asked about in its evaluation: eight sites on two feeders, one morning in March.

It is 09:00 in Rome, 08:00 UTC, on 10 March 2026. One site is offline, one has an open door, and the mains
of one are likely to fail tomorrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from edge.plan import ApprovalTier, Plan
from edge.safety.limits import OperatingMode
from edge.safety.validator import validate
from telemetry.model.incident import Incident, IncidentState, Severity
from telemetry.model.reading import SiteState
from telemetry.model.site import SiteId
from tools.deps import Batteries, Deps, Fleet, Readings
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from ui.bench.safety import fleet_case

NOW = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
ZONE = "Europe/Rome"
SITES, FEEDERS = 8, 2
SITE_IDS = tuple(f"site-{number:05d}" for number in range(SITES))
OFFLINE, DOOR = 2, 4  # which sites, counted from zero, are not well
LIKELY = 6  # whose mains are likely to fail tomorrow
FLEET_TOOLS = frozenset(
    {"fleet_state", "site_state", "site_autonomy", "forecast", "pv", "outage_risk", "incidents"}
)
"""Tools that need nothing but the fleet; the others read the database and are scored by the call alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChange:
    """What is different about the fleet in one case; `soc` is a share, 0..1."""

    mode: OperatingMode = OperatingMode.NORMAL
    offline: frozenset[str] = frozenset()
    soc: Mapping[str, float] = field(default_factory=dict)


def evaluation_fleet(seed: int = 7) -> Fleet:
    """Return the fleet as of `NOW`."""
    _, state, limits = fleet_case(seed, SITES, FEEDERS, 96)
    ids = list(limits.sites)
    read_at = NOW - timedelta(seconds=20)
    statuses = {
        site_id: replace(status, at=read_at, online=True, state=SiteState.FLOAT)
        for site_id, status in state.statuses.items()
    }
    statuses[ids[OFFLINE]] = replace(statuses[ids[OFFLINE]], online=False, state=SiteState.OFFLINE)
    readings = {site_id: replace(reading, at=read_at) for site_id, reading in state.readings.items()}
    readings[ids[DOOR]] = replace(readings[ids[DOOR]], alarms=("door open",))
    sites = {site_id: replace(site, time_zone=ZONE) for site_id, site in limits.sites.items()}
    fresh = NOW - timedelta(minutes=10)
    return Fleet(
        state=replace(
            state,
            at=NOW,
            statuses=statuses,
            readings=readings,
            load={name: replace(one, made_at=fresh) for name, one in state.load.items()},
            background={name: replace(one, made_at=fresh) for name, one in state.background.items()},
        ),
        limits=replace(limits, sites=sites),
    )


def changed(fleet: Fleet, change: FleetChange) -> Fleet:
    """Return the fleet as a case has it."""
    state = fleet.state
    return replace(
        fleet,
        state=replace(
            state,
            mode=change.mode,
            statuses={
                name: replace(one, online=False, state=SiteState.OFFLINE) if name in change.offline else one
                for name, one in state.statuses.items()
            },
            readings={
                name: replace(one, soc_frac=change.soc.get(name, one.soc_frac))
                for name, one in state.readings.items()
            },
        ),
    )


def evaluation_deps(fleet: Fleet) -> Deps:
    """Return dependencies for the tools of `FLEET_TOOLS`: there is no database behind them, and none is asked."""

    async def same_fleet() -> Fleet:
        return fleet

    async def nothing_new(_: datetime) -> int:
        return 0

    async def open_incidents() -> Sequence[Incident]:
        return (_incident(list(fleet.limits.sites)[DOOR]),)

    async def chances(names: Sequence[SiteId], _: datetime) -> Mapping[str, float]:
        return {name: 0.4 if number == LIKELY else 0.02 for number, name in enumerate(names)}

    def tier(_plan: Plan, _fleet: Fleet) -> ApprovalTier | None:
        return None

    return Deps(
        now=lambda: NOW,
        fleet=same_fleet,
        refresh_forecasts=nothing_new,
        refresh_incidents=nothing_new,
        incidents=open_incidents,
        readings=cast("Readings", None),
        health=cast("Batteries", None),
        plans=cast("PlanStore", None),
        dispatch=cast("DispatchStore", None),
        check=lambda plan, known, now: validate(plan, known.state, known.limits, now),
        tier=tier,
        outage_chances=chances,
    )


def _incident(site_id: SiteId) -> Incident:
    return Incident(
        incident_id="inc-1",
        site_id=site_id,
        kind="door",
        since=NOW - timedelta(hours=1),
        until=None,
        score=1.0,
        evidence={},
        severity=Severity.WARNING,
        state=IncidentState.OPEN,
    )
