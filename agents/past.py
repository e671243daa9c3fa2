"""Past incidents and decisions go into the library, so that "have we seen this before?" is a search."""

from datetime import datetime
from typing import Any

from agents.deps import AgentDeps
from edge.plan import Plan
from knowledge.history import decision_document, incident_document


async def keep_incidents(deps: AgentDeps, *, at: datetime) -> None:
    """Keep the incidents that are open as pages; one that has not changed is left alone."""
    found = await deps.tools.incidents()
    if not found:
        return
    sites = (await deps.tools.fleet()).limits.sites
    known = [one for one in found if one.site_id in sites]
    await deps.remember([incident_document(one, simulated=sites[one.site_id].simulated) for one in known], at)


async def keep_decision(
    deps: AgentDeps, plan: Plan, *, message: str, outcome: dict[str, Any], at: datetime, simulated: bool
) -> None:
    """Keep what became of a plan as a page: the two sentences of the report, and its figures."""
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
    kind = plan.objective.kind.value.replace("_", " ")
    page = decision_document(
        str(plan.plan_id),
        title=f"{kind.capitalize()} on {', '.join(plan.objective.feeder_ids[:3])}",
        why=message,
        at=at,
        site_ids=tuple(str(site.site_id) for site in plan.sites),
        figures=figures,
        simulated=simulated,
    )
    await deps.remember([page], at)
