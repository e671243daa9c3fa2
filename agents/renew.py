"""The node of the rolling horizon: a running plan worked out again from live state, inside what was approved."""

import asyncio
from time import monotonic
from typing import Any

from langgraph.runtime import Runtime

from agents.deps import AgentDeps
from agents.state import State
from agents.steps import did, show
from edge.plan import Plan, PlanId, PlanStatus
from tools.deps import Deps
from tools.outlook import ceil_step
from tools.plan_fleet import card
from tools.replan_fleet import Keep, consider, successor_id

_MAY_GO_ON = frozenset({PlanStatus.PROPOSED, PlanStatus.VALIDATED, PlanStatus.APPROVED})


async def renew(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Propose the successor of a plan in force, once per quarter of an hour, or say why the plan stays."""
    deps, began = runtime.context, monotonic()
    running = await _in_force(deps.tools, state["supersedes"])
    if isinstance(running, str):
        return {"stage": "kept", "why": running}
    fleet = await deps.tools.fleet()
    now = fleet.state.at
    plan_id = successor_id(running, ceil_step(now + deps.settings.lead))
    known = await deps.tools.plans.fetch(plan_id)
    if known is not None:
        if known.plan.status not in _MAY_GO_ON:
            return {"stage": "kept", "why": f"{plan_id} was {known.plan.status} this quarter of an hour"}
        return _proposed(known.plan, known.plan.provenance.get("why", ""))
    provenance = {"run": state["run_id"], "model": "optimiser", **deps.extra}
    found = await asyncio.to_thread(
        consider, fleet, running, now, lead=deps.settings.lead, provenance=provenance
    )
    result: dict[str, Any] = {"changed": False, "why": found.why}
    if isinstance(found, Keep):
        step = did("replan", {"plan_id": running.plan_id}, result, began)
        return {"stage": "kept", "why": found.why, "steps": [step]}
    await deps.tools.plans.insert(found.plan, thread_id=state["thread_id"], who="loop", at=now)
    result = {
        "changed": True,
        "why": found.why,
        "plan_id": found.plan.plan_id,
        "recovered_wh": round(found.recovered_wh, 1),
        "changes": list(found.changes[:20]),
    }
    step = did("replan", {"plan_id": running.plan_id}, result, began)
    show("plan", {"plans": [card(found.plan, fleet)], "chosen": found.plan.plan_id, "why": found.why})
    return {**_proposed(found.plan, found.why), "steps": [step]}


async def _in_force(tools: Deps, plan_id: str) -> Plan | str:
    """Return the running plan, or why it is none any more."""
    stored = await tools.plans.fetch(PlanId(plan_id))
    if stored is None:
        return f"plan {plan_id} is not in the plan book"
    if stored.plan.status is not PlanStatus.DISPATCHED:
        return f"it is {stored.plan.status}"
    return stored.plan


def _proposed(plan: Plan, why: str) -> State:
    return {"stage": "proposed", "plan_id": plan.plan_id, "plan_ids": [plan.plan_id], "why": why}
