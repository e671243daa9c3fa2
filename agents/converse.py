"""The node of a chat turn: one choice of the planner, a tool call or an answer that says only what the tools said."""

from langgraph.runtime import Runtime

from agents.answers import HELP
from agents.deps import AgentDeps
from agents.grounding import ground
from agents.plan import earliest_start
from agents.questions import FinalAnswer, ask_tool
from agents.state import State
from agents.steps import call, choose, noted, show
from tools.goal import PlanGoal

_NOTHING_LEFT = "I have no tool result that would support an answer."


async def converse(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Ask the planner for the next tool or the answer, and carry it out."""
    deps, now = runtime.context, runtime.context.tools.now()
    fleet = await deps.tools.fleet(now)
    steps = state.get("steps", [])
    used = {step["tool"] for step in steps}
    limits = fleet.limits
    facts: dict[str, object] = {
        "now": now.isoformat(),
        "earliest_start": earliest_start(now, deps.settings.lead).isoformat(),
        "time_zone": next((site.time_zone for site in limits.sites.values()), "UTC"),
        "request": state["request"],
        "history": state.get("history", [])[-6:],
        "feeder_ids": list(limits.feeders)[:50],
        "site_ids": list(limits.sites)[:200],
        "done": steps,
    }
    choice = await choose(ask_tool(facts, used), deps)
    out: State = {"planner": choice.label, "notes": noted(choice)}
    if isinstance(choice.option, FinalAnswer) or len(steps) >= deps.settings.read_only_steps:
        text = choice.option.text if isinstance(choice.option, FinalAnswer) else _NOTHING_LEFT
        return {**out, **_answer(text, state)}
    if isinstance(choice.option, PlanGoal):
        return {
            **out,
            "stage": "goal",
            "goal": choice.option.model_dump(mode="json"),
            "why": choice.option.why,
        }
    return {**out, "stage": "looked", "steps": [await call(choice.name, choice.option, deps)]}


def _answer(text: str, state: State) -> State:
    """Return the answer with every sentence dropped that no tool result supports."""
    if text == HELP:
        return {"stage": "answered", "message": text}
    earlier = [step.get("result", step.get("error")) for step in state.get("steps", [])]
    found = ground(text, earlier)
    for sentence in found.text.splitlines():
        show("token", {"text": sentence})
    notes = [f"dropped {len(found.dropped)} of {found.sentences} sentences that no tool result supports"]
    return {
        "stage": "answered",
        "message": found.text or _NOTHING_LEFT,
        "notes": notes if found.dropped else [],
    }
