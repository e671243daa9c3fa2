"""Past incidents and decisions go into the library, so that "have we seen this before?" is a search."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from agents.deps import AgentDeps
from agents.state import State
from edge.plan import Plan, PlanId
from knowledge.history import decision_document, incident_document

LOOK_BACK = timedelta(days=7)
"""How long ago an incident may have changed to be looked at again: a loop that was away for days misses no end."""
_ENDED = {
    "declined": "declined",
    "expired": "not approved in time",
    "not_allowed": "not allowed by the policy",
    "given_up": "rejected by the safety gate",
    "no_action": "not made",
    "refused": "refused by control",
    "no_answer": "not answered by control",
    "aborted": "aborted",
    "verified": "carried out",
}


async def keep_incidents(deps: AgentDeps, *, at: datetime) -> None:
    """Keep the incidents that are open or have changed of late as pages; a page that has not changed is left alone."""
    found = {one.incident_id: one for one in await deps.tools.incidents()}
    found |= {one.incident_id: one for one in await deps.changed_incidents(at - LOOK_BACK)}
    if not found:
        return
    sites = (await deps.tools.fleet()).limits.sites
    known = [one for one in found.values() if one.site_id in sites]
    await deps.remember([incident_document(one, simulated=sites[one.site_id].simulated) for one in known], at)


async def keep_decision(deps: AgentDeps, state: State, *, message: str, at: datetime) -> None:
    """Keep what a run decided as a page: the two sentences of the report, and its figures.

    A plan has one page, whatever became of it. So has each choice of none of the compared plans. To do nothing about a feeder
    above its limit has one page a day and feeder, the last one's words; that nothing was above its limit decides nothing and is
    not kept, nor is that a running plan goes on unchanged.
    """
    goes_on = state.get("kind") == "replan" and state["stage"] == "given_up"
    if state["stage"] not in _ENDED or goes_on:
        return
    chosen, compared = state.get("plan_id", ""), state.get("plan_ids", [])
    if chosen or compared:
        stored = await deps.tools.plans.fetch(PlanId(chosen or compared[0]))
        if stored is not None:
            await _keep_plan(deps, stored.plan, state, chosen or state["run_id"], message, at)
    elif weighed := state.get("weighed", {}):
        await _keep_nothing(deps, weighed, message, at)


async def _keep_plan(
    deps: AgentDeps, plan: Plan, state: State, decision_id: str, message: str, at: datetime
) -> None:
    outcome = state.get("outcome", {})
    figures = {
        "relief_expected_kw": round(plan.expected.relief_w / 1e3, 2),
        "discharge_expected_kwh": round(plan.expected.discharge_wh / 1e3, 2),
        "sites": float(len(plan.sites)),
        **{
            name: float(outcome[name])
            for name in ("commanded_kwh", "delivered_kwh", "deviation_pct", "sites_accepted")
            if isinstance(outcome.get(name), int | float)
        },
    }
    sites = (await deps.tools.fleet()).limits.sites
    kind = plan.objective.kind.value.replace("_", " ").capitalize()
    page = decision_document(
        decision_id,
        title=f"{kind} on {', '.join(plan.objective.feeder_ids[:3])}: {_ENDED[state['stage']]}",
        why=message,
        at=at,
        site_ids=tuple(str(site.site_id) for site in plan.sites),
        figures=figures,
        simulated=any(sites[one.site_id].simulated for one in plan.sites if one.site_id in sites),
    )
    await deps.remember([page], at)


async def _keep_nothing(deps: AgentDeps, weighed: Mapping[str, Any], message: str, at: datetime) -> None:
    feeder_id = weighed["feeder_id"]
    sites = [site for site in (await deps.tools.fleet()).limits.sites.values() if site.feeder_id == feeder_id]
    page = decision_document(
        f"nothing-{feeder_id}-{at:%Y%m%d}",
        title=f"No action on {feeder_id}, above its import limit",
        why=message,
        at=at,
        site_ids=tuple(str(site.site_id) for site in sites),
        figures={name: float(value) for name, value in weighed.items() if name != "feeder_id"},
        simulated=any(site.simulated for site in sites),
    )
    await deps.remember([page], at)
