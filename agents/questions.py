"""What planners are asked beside tools: a goal or none, one of the compared plans or none, the words of an answer."""

from datetime import datetime

from pydantic import Field

from agents.model_client import Option, Question
from tools.arguments import PlanIdText
from tools.catalogue import SETS, TOOLS
from tools.deps import Fleet
from tools.dispatch_request import DispatchArguments
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


class Watch(Option):
    """The request asks what is or will be: fleet, sites, data, incidents, forecasts, backup."""


class Act(Option):
    """The request is about plans: make, compare, explain or dispatch one; lower a peak, give power, recharge."""


class Ahead(Option):
    """The request asks for PV (sun, panels), for the risk of an outage, or for a picture: a chart, plot or drawing."""


class Know(Option):
    """The request asks how to do something, for a rule, whether something was seen before, or for battery health and replacement."""


TOPICS: dict[str, type[Option]] = {"watch": Watch, "act": Act, "ahead": Ahead, "know": Know}


def ask_topic(facts: dict[str, object]) -> Question:
    """Ask which set of tools the request needs, so that no planner chooses among more than eight."""
    return Question(name="topic", facts=facts, options=TOPICS)


def _turns(facts: dict[str, object]) -> list[dict[str, str]]:
    turns = facts.get("history", [])
    return turns if isinstance(turns, list) else []


def ask_tool(
    facts: dict[str, object], topic: str, used: set[str], fleet: Fleet, earliest: datetime
) -> Question:
    """Ask for the next tool of a set, each at most once per request, or for the final answer."""
    words = " ".join([str(facts.get("request", "")), *(one["text"] for one in _turns(facts))])

    def check(_: str, option: Option) -> None:
        if isinstance(option, PlanGoal):
            check_goal(option, fleet, earliest)
        if isinstance(option, DispatchArguments) and option.plan_id not in words:
            raise ToolInputError("dispatch of a plan that nobody in this conversation has named")

    options: dict[str, type[Option]] = {
        name: TOOLS[name].arguments for name in SETS[topic] if name not in used
    }
    return Question(name="tool", facts=facts, options={**options, "final_answer": FinalAnswer}, check=check)


def ask_again(facts: dict[str, object], unsupported: tuple[str, ...]) -> Question:
    """Ask for the answer once more, without the sentences that no tool result supports."""
    return Question(
        name="tool", facts={**facts, "unsupported": list(unsupported)}, options={"final_answer": FinalAnswer}
    )
