"""Tool: why a plan was refused."""

from collections.abc import Mapping
from typing import Any

from edge.plan import PlanId
from tools.arguments import Arguments, PlanIdText
from tools.deps import Deps
from tools.errors import ToolInputError


class PlanArguments(Arguments):
    """One plan."""

    plan_id: PlanIdText


async def explain_rejection(arguments: PlanArguments, deps: Deps) -> Mapping[str, object]:
    """Show every rule that a gate found broken, where and by how much; or that none was."""
    plan_id = PlanId(arguments.plan_id)
    stored = await deps.plans.fetch(plan_id)
    if stored is None:
        raise ToolInputError(f"there is no plan {arguments.plan_id!r}")
    verdicts = await deps.plans.verdicts(plan_id)
    last = verdicts[-1] if verdicts else None
    broken: list[dict[str, Any]] = [] if last is None else last.doc.get("broken", [])
    outcome = await deps.dispatch.outcome(plan_id)
    return {
        "plan_id": arguments.plan_id,
        "status": stored.plan.status.value,
        "gate": None if last is None else last.gate,
        "accepted": None if last is None else last.approved,
        "broken_rules": len(broken),
        "broken": [
            {key: one[key] for key in ("rule", "where", "message") if key in one} for one in broken[:8]
        ],
        "control": None if outcome is None else outcome.outcome,
        "declined": [f"{no.who}: {no.reason}" for no in await deps.dispatch.declines(plan_id)][:3],
    }
