"""Whether people are asked to approve what a planner called for: worked out by the optimiser, the gate and a real policy."""

import asyncio
import tomllib

from agents.policy import PolicyPlanner
from agents.questions import PickPlan, ask_pick
from edge.plan import ApprovalTier
from edge.safety.policy import load_policy, required_tier
from edge.safety.verdict import Approved
from tools.arguments import Arguments
from tools.deps import Deps, Fleet
from tools.errors import ToolError
from tools.goal import PlanGoal
from tools.plan_fleet import card, propose
from ui.ops.policy_file import DEMO_POLICY


async def asks_approval(called: Arguments, request: str, fleet: Fleet, deps: Deps) -> bool:
    """Return whether a person would be asked; only a plan that passes the gate and that the policy does not approve asks one.

    Args:
        called: The option taken: a goal is worked out, and of its plans the policy planner takes one.
        request: What the operator wrote, for the choice among the plans.
        fleet: State and limits.
        deps: For the gate.
    """
    if not isinstance(called, PlanGoal):
        return False
    now = fleet.state.at
    try:
        proposal = await asyncio.to_thread(
            propose, fleet, called, [], now, id_stem="plan-eval", provenance={"run": "eval"}
        )
    except ToolError:
        return False
    facts: dict[str, object] = {"request": request, "plans": [card(plan, fleet) for plan in proposal.plans]}
    choice = await PolicyPlanner().choose(ask_pick(facts, [str(plan.plan_id) for plan in proposal.plans]))
    if not isinstance(choice.option, PickPlan):
        return False
    taken = next(plan for plan in proposal.plans if plan.plan_id == choice.option.plan_id)
    if not isinstance(deps.check(taken, fleet, now), Approved):
        return False
    tier = required_tier(taken, fleet.state, fleet.limits, load_policy(tomllib.loads(DEMO_POLICY)))
    return tier in {ApprovalTier.ONE_PERSON, ApprovalTier.TWO_PERSONS}
