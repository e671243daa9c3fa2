"""The node of a chat turn: one choice of the planner, a tool call or an answer that says only what the tools said."""

from collections.abc import Iterable

from langgraph.runtime import Runtime

from agents.deps import AgentDeps
from agents.fixed import FIXED
from agents.grounding import Grounded, claims_of, ground
from agents.model_client import Choice
from agents.plan import earliest_start
from agents.policy import LABEL
from agents.questions import FinalAnswer, ask_again, ask_tool, ask_topic
from agents.reasons import reason_of
from agents.state import State, Step
from agents.steps import call, choose, noted, show
from tools.errors import ToolInputError
from tools.goal import PlanGoal

_NOTHING_LEFT = "I have no tool result that would support an answer."


async def converse(state: State, runtime: Runtime[AgentDeps]) -> State:
    """Ask the planner for the tool set first, then for the next tool or the answer, and carry it out."""
    deps = runtime.context
    fleet = await deps.tools.fleet()
    now = fleet.state.at
    earliest = earliest_start(now, deps.settings.lead)
    steps = state.get("steps", [])
    facts: dict[str, object] = {
        "request": state["request"],
        "now": now.isoformat(),
        "earliest_start": earliest.isoformat(),
        "time_zone": next((site.time_zone for site in fleet.limits.sites.values()), "UTC"),
        "history": state.get("history", []),  # shortened already: a summary, then the last turns
        "feeder_ids": _named_first(fleet.limits.feeders, state["request"], 50),
        "site_ids": _named_first(fleet.limits.sites, state["request"], 100),
        "done": steps,
    }
    topic = state.get("topic", "")
    if not topic:
        choice = await choose(ask_topic(facts), deps)
        return {"stage": "looked", "topic": choice.name, "planner": choice.label, "notes": noted(choice)}
    used = used_up(steps)
    choice = await choose(ask_tool(facts, topic, used, fleet, earliest), deps)
    out: State = {"planner": choice.label, "notes": noted(choice)}
    if isinstance(choice.option, FinalAnswer):
        return {**out, **await _answer(choice, state, facts, deps)}
    if len(steps) >= deps.settings.read_only_steps:
        return {**out, "stage": "answered", "message": _NOTHING_LEFT}
    if isinstance(choice.option, PlanGoal):
        reason = reason_of(choice, facts)
        goal = {**choice.option.model_dump(mode="json"), "why": reason.text}
        notes = [*noted(choice), *reason.notes]
        return {**out, "stage": "goal", "goal": goal, "why": reason.text, "notes": notes}
    return {**out, "stage": "looked", "steps": [await call(choice.name, choice.option, deps)]}


def used_up(steps: Iterable[Step]) -> set[str]:
    """Return the tools that may not be called again: each once, and once more where its arguments were wrong."""
    again: dict[str, int] = {}
    used: set[str] = set()
    for step in steps:
        tool = step["tool"]
        again[tool] = again.get(tool, 0) + 1
        if step.get("error", {}).get("kind") != ToolInputError.kind or again[tool] > 1:
            used.add(tool)
    return used


def _named_first(names: Iterable[str], text: str, most: int) -> list[str]:
    """Return ids, those that the text names before the others: a fleet has more than a prompt can hold."""
    lower = text.lower()
    return sorted(names, key=lambda name: name.lower() not in lower)[:most]


async def _answer(choice: Choice, state: State, facts: dict[str, object], deps: AgentDeps) -> State:
    """Return the answer; what no tool result supports is asked to be repaired once, then dropped."""
    text = _text(choice)
    if text in FIXED:
        return {"stage": "answered", "message": text}
    steps = state.get("steps", [])
    found, notes = _ground(text, steps), noted(choice)
    if found.dropped and choice.label != LABEL:
        repaired = await choose(ask_again(facts, found.dropped), deps)
        if repaired.label == choice.label:
            found = _ground(_text(repaired), steps)
    if found.dropped:
        notes.append(
            f"dropped {len(found.dropped)} of {found.sentences} sentences that no tool result supports"
        )
    for line in found.text.splitlines():
        show("token", {"text": line})
    return {"stage": "answered", "message": found.text or _NOTHING_LEFT, "notes": notes}


def _text(choice: Choice) -> str:
    return choice.option.text if isinstance(choice.option, FinalAnswer) else ""


def _ground(text: str, steps: list[Step]) -> Grounded:
    results = [step.get("result", step.get("error")) for step in steps]
    return ground(text, results, claims=claims_of(steps))
