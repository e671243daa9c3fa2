"""What planners are asked beside tools: a goal or none, one of the compared plans or none, the words of an answer."""

from datetime import datetime

from pydantic import Field

from agents.model_client import Option, Question
from tools.arguments import PlanIdText
from tools.catalogue import SETS, TOOLS
from tools.deps import Fleet
from tools.errors import ToolInputError
from tools.goal import PlanGoal, check_goal


class NoAction(Option):
    """Do nothing, and say why in one sentence."""

    why: str = Field(min_length=1, max_length=300)


class PickPlan(Option):
    """Take one of the compared plans, and say why in one sentence."""

    plan_id: PlanIdText
    why: str = Field(min_length=1, max_length=300)


class FinalAnswer(Option):
    """Answer the operator: short sentences, every number and id copied from the tool results."""

    text: str = Field(min_length=1, max_length=2000)


def ask_goal(facts: dict[str, object], fleet: Fleet, earliest: datetime) -> Question:
    """Ask what to plan for, if anything."""

    def check(_: str, option: Option) -> None:
        if isinstance(option, PlanGoal):
            check_goal(option, fleet, earliest)

    return Question(name="goal", facts=facts, options={"plan": PlanGoal, "no_action": NoAction}, check=check)


def ask_pick(facts: dict[str, object], plan_ids: list[str]) -> Question:
    """Ask which of the compared plans to take, if any."""

    def check(_: str, option: Option) -> None:
        if isinstance(option, PickPlan) and option.plan_id not in plan_ids:
            raise ToolInputError(f"plan {option.plan_id!r} is not among the compared ones")

    return Question(
        name="pick", facts=facts, options={"pick_plan": PickPlan, "no_action": NoAction}, check=check
    )


def ask_tool(facts: dict[str, object], used: set[str]) -> Question:
    """Ask for the next tool, each at most once per question, or for the final answer."""
    names = [name for tools in SETS.values() for name in tools if name not in used]
    options: dict[str, type[Option]] = {name: TOOLS[name].arguments for name in dict.fromkeys(names)}
    return Question(name="tool", facts=facts, options={**options, "final_answer": FinalAnswer})
