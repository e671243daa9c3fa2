"""The facts that a planner decides on: small, from data, the same for a language model and for the policy planner."""

from datetime import datetime
from typing import Any

from agents.deps import AgentDeps
from agents.objectives import in_force
from agents.state import State
from edge.plan import Plan, PlanStatus
from telemetry.model.site import FeederId
from tools.deps import Deps, Fleet
from tools.eligible import ineligible
from tools.outlook import FeederOutlook, look_ahead, reach

_OPEN = (PlanStatus.VALIDATED, PlanStatus.APPROVED, PlanStatus.DISPATCHED)


async def open_plans(deps: Deps, now: datetime) -> list[Plan]:
    """Return the plans that wait for approval, are approved or run, and have not ended."""
    kept = [one for one in await deps.plans.recent(50, statuses=_OPEN) if one.window_end > now]
    stored = [await deps.plans.fetch(one.plan_id) for one in kept]
    return [one.plan for one in stored if one is not None]


async def goal_facts(state: State, deps: AgentDeps, fleet: Fleet, earliest: datetime) -> dict[str, Any]:
    """Return what bears on the choice of a goal."""
    now = deps.tools.now()
    running = await open_plans(deps.tools, now)
    feeders = []
    for feeder in fleet.limits.feeders.values():
        steps = reach(fleet, feeder, earliest, deps.settings.horizon)
        feeders.append(_feeder_facts(fleet, look_ahead(fleet, feeder, earliest, steps), running, now))
    learnt = [f"{one['kind']} {one['where']}: {one['because']}" for one in state.get("constraints", [])][:10]
    return {
        "now": now.isoformat(),
        "earliest_start": earliest.isoformat(),
        "request": state["request"],
        "operating_mode": fleet.state.mode.value,
        "feeders": feeders,
        "standing_objectives": [dict(one) for one in in_force(await deps.standing(), now)],
        "rejected_because": learnt or ([state["why"]] if state.get("round", 0) and state.get("why") else []),
    }


def _feeder_facts(fleet: Fleet, outlook: FeederOutlook, running: list[Plan], now: datetime) -> dict[str, Any]:
    sites = [site for site in fleet.limits.sites.values() if site.feeder_id == outlook.feeder_id]
    free = [site for site in sites if not ineligible(fleet, site.site_id, now)]
    run = outlook.worst_run()
    covered = [plan.plan_id for plan in running if run is not None and _covers(plan, outlook.feeder_id, run)]
    return {
        "feeder_id": outlook.feeder_id,
        "import_limit_kw": round(outlook.limit_w / 1e3, 1),
        "peak_kw": None if outlook.peak_w is None else round(outlook.peak_w / 1e3, 1),
        "peak_at": None if outlook.peak_at is None else outlook.peak_at.isoformat(),
        "over_limit_kw": round(max(outlook.excess_w, default=0.0) / 1e3, 1),
        "over_from": None if run is None else run[0].isoformat(),
        "over_until": None if run is None else run[1].isoformat(),
        "sites": len(sites),
        "dispatchable_sites": len(free),
        "covered_by_plans": covered,
        "no_forecast_for": list(outlook.missing[:3]),
    }


def _covers(plan: Plan, feeder_id: FeederId, run: tuple[datetime, datetime]) -> bool:
    return feeder_id in plan.objective.feeder_ids and plan.window_start < run[1] and run[0] < plan.window_end
