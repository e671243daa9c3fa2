"""The nodes that make a plan: look at the fleet, let the planner choose and the optimiser work out, ask the gate."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from langgraph.runtime import Runtime

from agents.deps import AgentDeps
from agents.facts import goal_facts
from agents.past import keep_incidents
from agents.policy import uncovered
from agents.questions import NoAction, PickPlan, ask_goal, ask_pick
from agents.reasons import reason_of
from agents.state import State, Step
from agents.steps import call, choose, did, noted, show
from edge.plan import Plan, PlanId, PlanStatus
from edge.safety.verdict import Approved
from tools.arguments import NoArguments
from tools.deps import Fleet
from tools.errors import ToolError
from tools.goal import Constraint, PlanGoal, check_goal
from tools.incidents import IncidentArguments
from tools.lessons import in_words, lessons
from tools.outlook import ceil_step
from tools.plan_fleet import card
from tools.plan_fleet import propose as plan_fleet


def earliest_start(now: datetime, lead: timedelta) -> datetime:
    """Return the first quarter hour that leaves time for approval and sending."""
    return ceil_step(now + lead)


async def assess(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Bring forecasts and incidents up to date, and look at the fleet."""
    deps, began = runtime.context, monotonic()
    now = deps.tools.now()
    show("step", {"starting": "refresh_forecasts"})
    try:
        made = await deps.tools.refresh_forecasts(now)
        steps = [did("refresh_forecasts", {}, {"forecasts_made": made, "at": now.isoformat()}, began)]
        began = monotonic()
        found = await deps.tools.refresh_incidents(now)
        steps.append(did("refresh_incidents", {}, {"open_incidents": found}, began))
        await keep_incidents(deps, at=now)
    except ToolError as error:
        return {"stage": "unavailable", "why": str(error), "round": 0}
    steps.append(await call("incidents", IncidentArguments(), deps))
    steps.append(await call("fleet_state", NoArguments(), deps))
    return {"stage": "assessed", "steps": steps, "round": state.get("round", 0), "plan_ids": []}


async def propose(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Let the planner choose a goal, if none is set, and one of the plans that the optimiser works out for it."""
    deps = runtime.context
    fleet = await deps.tools.fleet()
    now = fleet.state.at
    earliest = earliest_start(now, deps.settings.lead)
    notes: list[str] = []
    try:
        if state.get("goal") is None:
            facts = await goal_facts(state, deps, fleet, earliest)
            choice = await choose(ask_goal(facts, fleet, earliest), deps)
            reason = reason_of(choice, facts)
            notes += [*noted(choice), *reason.notes]
            if isinstance(choice.option, NoAction):
                return {
                    "stage": "no_action",
                    "why": reason.text,
                    "weighed": _weighed(facts),
                    "planner": choice.label,
                    "notes": notes,
                }
            goal = PlanGoal.model_validate({**choice.option.model_dump(), "why": reason.text})
        else:
            goal = PlanGoal.model_validate(state["goal"])
        check_goal(goal, fleet, earliest)
        plans, left_out = await _plans(state, deps, fleet, goal, now)
    except ToolError as error:
        return {"stage": "unavailable", "why": str(error), "notes": notes}
    cards = [card(plan, fleet) for plan in plans]
    facts = {
        "request": state["request"],
        "goal": goal.model_dump(mode="json"),
        "plans": cards,
        "left_out": left_out,
    }
    plan_ids = [str(plan.plan_id) for plan in plans]
    choice = await choose(ask_pick(facts, plan_ids), deps)
    reason = reason_of(choice, facts)
    out: State = {
        "goal": goal.model_dump(mode="json"),
        "plan_ids": plan_ids,
        "planner": choice.label,
        "notes": [*notes, *noted(choice), *reason.notes],
        "why": reason.text,
    }
    if not isinstance(choice.option, PickPlan):
        return {**out, "stage": "no_action"}
    if choice.option.plan_id not in plan_ids:
        return {**out, "stage": "unavailable", "why": "the planner chose a plan that was not compared"}
    show(
        "plan",
        {"plans": cards, "chosen": choice.option.plan_id, "why": reason.text, "planner": choice.label},
    )
    return {**out, "stage": "proposed", "plan_id": choice.option.plan_id}


def _weighed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the feeder that is worst above its limit and covered by no plan; nothing where there is none."""
    over = uncovered(facts)
    if not over:
        return {}
    worst = max(over, key=lambda one: one["over_limit_kw"])
    return {name: worst[name] for name in ("feeder_id", "peak_kw", "import_limit_kw", "over_limit_kw")}


async def _plans(
    state: State, deps: AgentDeps, fleet: Fleet, goal: PlanGoal, now: datetime
) -> tuple[list[Plan], dict[str, str]]:
    """Return this round's plans: kept ones if an interrupted attempt got that far, else fresh ones, now kept."""
    began, round_ = monotonic(), state.get("round", 0)
    constraints = [Constraint.model_validate(one) for one in state.get("constraints", [])]
    provenance = {"run": state["run_id"], "round": str(round_), "model": deps.model.label, **deps.extra}
    proposal = await asyncio.to_thread(
        plan_fleet,
        fleet,
        goal,
        constraints,
        now,
        id_stem=f"{plan_stem(state['run_id'])}-{round_ + 1}",
        provenance=provenance,
    )
    plans: list[Plan] = []
    for plan in proposal.plans:
        kept = await deps.tools.plans.fetch(plan.plan_id)
        if kept is None:
            await deps.tools.plans.insert(plan, thread_id=state["thread_id"], who="loop", at=now)
        plans.append(plan if kept is None else kept.plan)
    left_out = dict(list(proposal.left_out.items())[:20])
    did(
        "plan",
        {
            "goal": goal.model_dump(mode="json"),
            "constraints": [one.model_dump(mode="json") for one in constraints],
        },
        {"plans": [card(plan, fleet) for plan in plans], "left_out": left_out},
        began,
    )
    return plans, left_out


def plan_stem(run_id: str) -> str:
    """Return how the ids of a run's plans begin."""
    return f"plan-{run_id}"


async def validate(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Ask the gate, on fresh state; a rejection comes back as constraints for the next round."""
    deps, began = runtime.context, monotonic()
    plan_id = PlanId(state["plan_id"])
    stored = await deps.tools.plans.fetch(plan_id)
    if stored is None:
        return {"stage": "unavailable", "why": f"plan {plan_id} is not in the plan book"}
    fleet = await deps.tools.fleet()
    now = fleet.state.at
    verdict = await asyncio.to_thread(deps.tools.check, stored.plan, fleet, now)
    accepted = isinstance(verdict, Approved)
    status = stored.plan.status
    if status is PlanStatus.PROPOSED or (status is PlanStatus.VALIDATED and not accepted):
        await deps.tools.plans.record_verdict(verdict, at=now, who="loop")
    if isinstance(verdict, Approved) and status is PlanStatus.REJECTED:
        # Rejected before this run was interrupted, and the state has changed since: plan anew rather than argue.
        return _again(state, deps, "the plan was rejected a moment ago", [], [])
    if isinstance(verdict, Approved):
        result: dict[str, Any] = {"accepted": True, "rules_passed": len(verdict.passed)}
        return {"stage": "validated", "steps": [did("validate", {"plan_id": plan_id}, result, began)]}
    learnt = lessons(verdict)
    result = {
        "accepted": False,
        "broken": [
            {"rule": one.rule, "where": one.where, "message": one.message} for one in verdict.broken[:8]
        ],
        "constraints": [one.model_dump(mode="json") for one in learnt[:20]],
    }
    steps = [did("validate", {"plan_id": plan_id}, result, began)]
    return _again(state, deps, in_words(verdict.broken), list(learnt), steps)


def _again(state: State, deps: AgentDeps, why: str, learnt: list[Constraint], steps: list[Step]) -> State:
    """Return to propose with what was learnt, or give up after the last round."""
    out: State = {
        "steps": steps,
        "constraints": [one.model_dump(mode="json") for one in learnt if one.kind != "change_plan"],
        "round": state.get("round", 0) + 1,
        "why": why,
    }
    if any(one.kind == "change_plan" for one in learnt):
        out["goal"] = None
    out["stage"] = "given_up" if out["round"] >= deps.settings.max_rounds else "rejected"
    return out
