"""What the agent says without a model: two sentences from data, with the numbers behind them."""

from datetime import datetime

from agents.state import State
from edge.plan import Plan, PlanId
from tools.deps import Deps


def clock(at: datetime) -> str:
    """Return an instant as people read it in a sentence."""
    return f"{at:%d %b %H:%M} UTC"


async def report_words(state: State, deps: Deps) -> str:
    """Return what was done or not done, and why."""
    stored = await deps.plans.fetch(PlanId(state["plan_id"])) if state.get("plan_id") else None
    why = state.get("why", "").rstrip(".")
    stage = state["stage"]
    if stored is None:
        compared = len(state.get("plan_ids", []))
        none = f"None of the {compared} compared plans was taken" if compared else "No plan was made"
        return {
            "no_action": f"{none}. {why}.",
            "unavailable": f"Nothing can be planned now. {why}.",
            "kept": f"Plan {state.get('supersedes', '')} goes on unchanged: {why}.",
        }.get(stage, f"Nothing was dispatched. {why}.")
    plan = stored.plan
    match stage:
        case "verified" | "aborted":
            return _delivered(plan, state)
        case "no_action":
            return f"None of the {len(state.get('plan_ids', []))} compared plans was taken. {why}."
        case "rejected" | "given_up" if state["kind"] == "replan":
            return f"Plan {state['supersedes']} goes on unchanged: the safety gate rejected its successor, {why}."
        case "given_up":
            return (
                f"Nothing was dispatched: the safety gate rejected {state.get('round', 0)} plans in a row."
                f" The last reason: {why}."
            )
        case _:
            words = {
                "declined": "was declined",
                "expired": "was not approved in time",
                "not_allowed": "may not be approved by anybody",
                "refused": "was refused by the control process",
                "no_answer": "was requested, but control did not answer",
                "unavailable": "could not be carried on",
                "replan": "was refused by the control process",
            }
            return f"Plan {plan.plan_id} {words.get(stage, 'ended')}: {_what(plan)}. {why}."


def _what(plan: Plan) -> str:
    kind = plan.objective.kind.value.replace("_", " ")
    return (
        f"{kind} with {len(plan.sites)} sites from {clock(plan.window_start)} to {clock(plan.window_end)},"
        f" {plan.expected.relief_w / 1e3:.1f} kW expected"
    )


def _delivered(plan: Plan, state: State) -> str:
    found = state["outcome"]
    ended = "was aborted" if state["stage"] == "aborted" else "is done"
    deviation = found["deviation_pct"]
    off = "no quarter hour was measured" if deviation is None else f"deviation {deviation:.2f} %"
    first = (
        f"Plan {plan.plan_id} {ended}: {_what(plan)}; {found['sites_accepted']} of {found['sites_planned']} sites"
        f" took part and delivered {abs(found['delivered_kwh']):.2f} of {abs(found['commanded_kwh']):.2f} kWh, {off}."
    )
    effects = "; ".join(
        f"{one.feeder_id} {one.peak_without_w / 1e3:.1f} kW without and {one.peak_with_w / 1e3:.1f} kW with it,"
        f" limit {one.limit_w / 1e3:.1f} kW"
        for one in plan.expected.feeders[:3]
    )
    return f"{first} Promised at the upper forecast: {effects}."
