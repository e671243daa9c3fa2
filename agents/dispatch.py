"""The nodes after the gate: approval, the request, what came of it, and the report."""

import asyncio
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from agents.delivery import delivery_of, still_open
from agents.deps import AgentDeps
from agents.past import keep_decision
from agents.state import State
from agents.steps import did, show
from agents.words import report_words
from edge.approvals import count_approvals
from edge.plan import ApprovalTier, Plan, PlanId, PlanStatus
from tools.errors import ToolUnavailableError
from tools.plan_fleet import card
from tools.planning.dispatch_store import DispatchOutcome
from tools.planning.plan_store import StoredPlan

_PHYSICAL = frozenset(
    {"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S12", "S17", "S19", "S20"}
)
_LEAST_NAP_S = 0.05  # however fast the domain's clock runs, the database is not asked more often than this


async def _stored(deps: AgentDeps, plan_id: str) -> StoredPlan:
    stored = await deps.tools.plans.fetch(PlanId(plan_id))
    if stored is None:
        raise ToolUnavailableError(f"plan {plan_id} is not in the plan book")
    return stored


async def approve(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Go on at once where the policy approves; else wait, hours if need be, for as many people as the tier asks.

    The answer that wakes this node is only a reason to look: what counts is what the API wrote into the database.
    """
    deps = runtime.context
    stored = await _stored(deps, state["plan_id"])
    plan, fleet = stored.plan, await deps.tools.fleet()
    now = fleet.state.at
    tier = deps.tools.tier(plan, fleet)
    if tier is None:
        return {"stage": "not_allowed", "why": "the approval policy lets nobody approve this plan"}
    if plan.status is PlanStatus.DECLINED:
        noes = await deps.tools.dispatch.declines(plan.plan_id)
        why = f"declined by {noes[-1].who}: {noes[-1].reason}" if noes else "declined"
        return {"stage": "declined", "tier": tier.value, "why": why}
    if now >= plan.window_start:
        return {"stage": "expired", "tier": tier.value, "why": "nobody approved before the window began"}
    if tier is ApprovalTier.AUTOMATIC and not state.get("asked_again"):
        return {"stage": "approved", "tier": tier.value}
    count = count_approvals(
        await deps.tools.dispatch.approvals(plan.plan_id),
        envelope_digest=stored.envelope_digest,
        tier=ApprovalTier.ONE_PERSON if tier is ApprovalTier.AUTOMATIC else tier,
        now=now,
    )
    if not count.missing:
        return {"stage": "approved", "tier": tier.value}
    interrupt(
        {
            "kind": "approval",
            "run_id": state["run_id"],
            "plan_id": plan.plan_id,
            "tier": tier.value,
            "missing": count.missing,
            "until": plan.window_start.isoformat(),
            "card": dict(card(plan, fleet)),
        }
    )
    return {"stage": "waiting", "tier": tier.value}


async def request_dispatch(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Hand the plan's id to control, once."""
    deps, began, now = runtime.context, monotonic(), runtime.context.tools.now()
    number = await deps.tools.dispatch.request_dispatch(PlanId(state["plan_id"]), at=now)
    step = did("dispatch_request", {"plan_id": state["plan_id"]}, {"request_id": number}, began)
    return {"stage": "requested", "requested_at": now.isoformat(), "steps": [step]}


async def verify(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Wait for control and the sites, then for the plan's end, and set delivered against commanded."""
    deps, began = runtime.context, monotonic()
    plan = (await _stored(deps, state["plan_id"])).plan
    requested_at = datetime.fromisoformat(state["requested_at"])
    give_up = requested_at + deps.settings.acknowledge_within
    patience_s = deps.settings.patience.total_seconds()
    while pending := await still_open(deps.tools, plan.plan_id, requested_at):
        await deps.clock.sleep(deps.settings.look_every)
        await asyncio.sleep(_LEAST_NAP_S)
        if monotonic() - began > patience_s:
            break
    outcome = await deps.tools.dispatch.outcome(plan.plan_id)
    now = deps.tools.now()
    if pending and now < give_up:
        _wait(state, min(now + timedelta(seconds=30), give_up), pending)
        return {"stage": "running"}
    if outcome is None or outcome.outcome != "authorised":
        return _not_sent(state, deps, plan, outcome, now)
    end = plan.window_end + deps.settings.grace
    status = (await _stored(deps, plan.plan_id)).plan.status
    if now < end and status is not PlanStatus.ABORTED:
        _wait(state, end, "the plan runs")
        return {"stage": "running"}
    found = await delivery_of(deps.tools, plan, now)
    while (
        found["unmeasured_quarter_hours"] + found["incomplete_quarter_hours"]
        and monotonic() - began < patience_s
    ):
        await asyncio.sleep(
            10 * _LEAST_NAP_S
        )  # telemetry is on its way; wall time, since the domain's may be fast
        found = await delivery_of(deps.tools, plan, now)
    step = did("verify", {"plan_id": plan.plan_id}, found, began)
    stage = "aborted" if status is PlanStatus.ABORTED else "verified"
    return {"stage": stage, "outcome": found, "steps": [step]}


def _not_sent(
    state: State, deps: AgentDeps, plan: Plan, outcome: DispatchOutcome | None, now: datetime
) -> State:
    """Return what follows when control sends nothing: ask a person, plan anew on fresh state, or end."""
    if outcome is None:
        return {"stage": "no_answer", "why": "the control process did not answer in time", "outcome": {}}
    if outcome.outcome == "needs_approval" and not state.get("asked_again"):
        return {"stage": "needs_approval", "asked_again": True}
    why, round_ = _refusal(outcome), state.get("round", 0) + 1
    early = now + deps.settings.lead < plan.window_start
    if early and round_ < deps.settings.max_rounds and _mendable(outcome):
        return {"stage": "replan", "round": round_, "why": why}
    return {"stage": "refused", "why": why, "outcome": {}}


def _refusal(outcome: DispatchOutcome) -> str:
    """Return what control said, in its own words."""
    broken = [str(one.get("message") or one.get("name") or one) for one in outcome.doc.get("broken", [])]
    return f"control answered {outcome.outcome}: {'; '.join(broken[:3]) or 'without a reason'}"


def _mendable(outcome: DispatchOutcome) -> bool:
    """Whether control refused for what the sites or feeders can take by now, so that a fresh plan may do."""
    rules = {str(one.get("rule", "")) for one in outcome.doc.get("broken", [])}
    return bool(rules) and rules <= _PHYSICAL


def _wait(state: State, until: datetime, what: str) -> None:
    interrupt(
        {
            "kind": "wait",
            "run_id": state["run_id"],
            "plan_id": state["plan_id"],
            "until": until.isoformat(),
            "for": what,
        }
    )


async def report(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Say in two sentences what was done or not done and why; keep the report of a plan that was dispatched."""
    deps, now = runtime.context, runtime.context.tools.now()
    message = state.get("message") or await report_words(state, deps.tools)
    plan_id = state.get("plan_id", "")
    if state["stage"] in {"verified", "aborted", "refused", "no_answer"} and plan_id:
        doc = await report_doc(state, deps, message)
        await deps.tools.dispatch.put_report(PlanId(plan_id), at=now, doc=doc)
        if (
            state["stage"] == "verified"
            and (await _stored(deps, plan_id)).plan.status is PlanStatus.DISPATCHED
        ):
            await deps.tools.plans.set_status(
                PlanId(plan_id), PlanStatus.COMPLETED, at=now, who="loop", reason="its window is over"
            )
    await keep_decision(deps, state, message=message, at=now)
    notes = list(dict.fromkeys(state.get("notes", [])))  # the same reason at each step is told once
    show(
        "message",
        {
            "text": message,
            "stage": state["stage"],
            "plan_id": plan_id,
            "planner": state.get("planner", deps.model.label),
            "notes": notes,
        },
    )
    return {"message": message, "stage": f"told:{state['stage']}"}


async def report_doc(state: State, deps: AgentDeps, message: str) -> dict[str, Any]:
    """Return the report that is kept: forecast, plans compared, who approved, commanded against delivered."""
    plan = (await _stored(deps, state["plan_id"])).plan
    rows = await deps.tools.dispatch.approvals(plan.plan_id)
    return {
        "plan_id": plan.plan_id,
        "run_id": state["run_id"],
        "stage": state["stage"],
        "message": message,
        "goal": state.get("goal"),
        "planner": state.get("planner", ""),
        "notes": state.get("notes", []),
        "compared": state.get("plan_ids", []),
        "rounds": state.get("round", 0) + 1,
        "tier": state.get("tier", ""),
        "approvers": [row.approver for row in rows],
        "delivery": state.get("outcome", {}),
    }
