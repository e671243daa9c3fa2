"""Tool: ask control to look at a plan. It hands over an id; control decides, signs and sends, or refuses."""

from collections.abc import Mapping

from edge.approvals import count_approvals
from edge.plan import ApprovalTier, PlanId, PlanStatus
from tools.arguments import Arguments, PlanIdText
from tools.deps import Deps
from tools.errors import ToolInputError, ToolUnavailableError


class DispatchArguments(Arguments):
    """One plan that is validated and approved."""

    plan_id: PlanIdText


async def dispatch_request(arguments: DispatchArguments, deps: Deps) -> Mapping[str, object]:
    """Request dispatch of a plan; asking twice asks once. Refused here for what control would refuse anyway."""
    plan_id, now = PlanId(arguments.plan_id), deps.now()
    stored = await deps.plans.fetch(plan_id)
    if stored is None:
        raise ToolInputError(f"there is no plan {arguments.plan_id!r}")
    if stored.plan.status not in {PlanStatus.VALIDATED, PlanStatus.APPROVED}:
        raise ToolInputError(f"plan {plan_id} is {stored.plan.status}, not validated or approved")
    if now >= stored.plan.window_start:
        raise ToolInputError(f"plan {plan_id} should have begun at {stored.plan.window_start.isoformat()}")
    tier = deps.tier(stored.plan, await deps.fleet())
    if tier is None:
        raise ToolUnavailableError("the approval policy lets nobody approve this plan")
    if tier is not ApprovalTier.AUTOMATIC:
        count = count_approvals(
            await deps.dispatch.approvals(plan_id),
            envelope_digest=stored.envelope_digest,
            tier=tier,
            now=now,
        )
        if count.missing:
            raise ToolInputError(f"plan {plan_id} still needs {count.missing} approval(s) by people")
    await deps.dispatch.request_dispatch(plan_id, at=now)
    return {"plan_id": plan_id, "requested": True, "tier": tier.value}
