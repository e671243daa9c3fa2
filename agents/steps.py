"""What every node does around its work: ask the planner, call tools, and let the operator see each step."""

from collections.abc import Mapping
from time import monotonic
from typing import Any

from langgraph.config import get_stream_writer

from agents.deps import AgentDeps
from agents.model_client import Choice, Question
from agents.state import State, Step
from tools.arguments import Arguments
from tools.catalogue import TOOLS, SideEffect
from tools.errors import ToolError, ToolUnavailableError


def show(kind: str, body: Mapping[str, Any]) -> None:
    """Show something in the thread; kinds are those of `thread_event`."""
    get_stream_writer()({"kind": kind, "body": dict(body)})


async def choose(question: Question, deps: AgentDeps) -> Choice:
    """Ask the planner, and show who chose, how long it took, and why another took over."""
    show("step", {"starting": f"choose {question.name}"})
    choice = await deps.model.choose(question)
    show(
        "step",
        {
            "tool": f"choose {question.name}",
            # Its words come out grounded, as the message or the plan's reason, or not at all.
            "arguments": choice.option.model_dump(mode="json", exclude={"why", "text"}),
            "result": choice.name,
            "planner": choice.label,
            "note": choice.note,
            "seconds": round(choice.seconds, 3),
            "prompt_tokens": choice.prompt_tokens,
            "answer_tokens": choice.answer_tokens,
        },
    )
    return choice


def noted(choice: Choice) -> list[str]:
    """Return the note of a choice, if there is one."""
    return [choice.note] if choice.note else []


async def call(name: str, arguments: Arguments, deps: AgentDeps) -> Step:
    """Call a tool, and return and show what came of it; a tool's own errors are results."""
    tool, began = TOOLS[name], monotonic()
    step: Step = {"tool": name, "arguments": arguments.model_dump(mode="json", exclude_none=True)}
    try:
        if tool.run is None:
            raise ToolUnavailableError(f"{name} is carried out step by step, not called")
        step["result"] = dict(await tool.run(arguments, deps.tools))
    except ToolError as error:
        step["error"] = {"kind": error.kind, "message": str(error)}
    step["seconds"] = round(monotonic() - began, 3)
    step["side_effect"] = tool.side_effect.value
    show("step", step)
    return step


def did(name: str, arguments: Mapping[str, Any], result: Mapping[str, Any], began: float) -> Step:
    """Return and show a step that a node did itself."""
    step: Step = {
        "tool": name,
        "arguments": dict(arguments),
        "result": dict(result),
        "seconds": round(monotonic() - began, 3),
        "side_effect": TOOLS[name].side_effect.value if name in TOOLS else SideEffect.READ.value,
    }
    show("step", step)
    return step


def results_of(state: State) -> list[Step]:
    """Return the tool calls of this run that gave a result."""
    return [step for step in state.get("steps", []) if "result" in step]
