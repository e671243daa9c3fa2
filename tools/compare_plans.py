"""Tool: plans side by side."""

from collections.abc import Mapping

from pydantic import Field

from edge.plan import PlanId
from tools.arguments import Arguments, PlanIdText
from tools.deps import Deps
from tools.errors import ToolInputError
from tools.plan_fleet import card


class ComparePlansArguments(Arguments):
    """Plans by id; none means the newest two."""

    plan_ids: tuple[PlanIdText, ...] = Field(default=(), max_length=4)


async def compare_plans(arguments: ComparePlansArguments, deps: Deps) -> Mapping[str, object]:
    """Show relief, energy, money (energy, refill, demand, wear), cycles, reserve left and status of each plan."""
    plan_ids = [PlanId(name) for name in arguments.plan_ids]
    if not plan_ids:
        plan_ids = [summary.plan_id for summary in await deps.plans.recent(2)]
    if not plan_ids:
        raise ToolInputError("there are no plans yet; ask for one first")
    fleet = await deps.fleet()
    cards = []
    for plan_id in plan_ids:
        stored = await deps.plans.fetch(plan_id)
        if stored is None:
            raise ToolInputError(f"there is no plan {plan_id!r}")
        cards.append({**card(stored.plan, fleet), "status": stored.plan.status.value})
    return {"plans": cards}
