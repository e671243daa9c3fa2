"""Why a goal, a plan or nothing was chosen: a model's words as far as the facts it was shown bear them, and figures by code. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.grounding import ground
from agents.model_client import Choice, Option
from agents.policy import LABEL, compared_words, nearest_words
from agents.questions import NoAction, PickPlan
from tools.goal import PlanGoal

_NOTHING = frozenset[str]()  # nothing has happened yet: no reason may say that something was approved or sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """The words that are shown and kept, and what an operator should know of them."""

    text: str
    notes: tuple[str, ...] = ()


def reason_of(choice: Choice, facts: Mapping[str, Any]) -> Reason:
    """Return why a planner chose what it chose.

    Args:
        choice: A goal, one of the compared plans, or nothing.
        facts: What the planner was shown. What people or devices wrote in them bears nothing (D-agent-5).

    A sentence with a number, an id or a link that the facts do not hold is left out, with a note. Where nothing is left the
    figures of the facts stand alone; a model's choice to do nothing always carries them, whatever else it says.
    """
    said = getattr(choice.option, "why", "")
    if choice.label == LABEL:
        return Reason(text=said)
    own = choice.option.model_dump(
        mode="json", exclude={"why"}
    )  # a goal's own window and feeders may be named
    found = ground(said, [dict(facts), own], claims=_NOTHING)
    figures = figures_of(choice.option, facts)
    text = found.text
    if isinstance(choice.option, NoAction) and text:
        text = f"{text.rstrip('.!? ')}; {figures}"
    left_out = len(found.dropped)
    note = f"{left_out} sentence(s) left out of the reason: nothing that the planner was shown bears them"
    return Reason(text=text or (figures if said else ""), notes=(note,) if left_out else ())


def figures_of(option: Option, facts: Mapping[str, Any]) -> str:
    """Return one sentence with the numbers behind a choice."""
    plans: Sequence[Mapping[str, Any]] = facts.get("plans", [])
    feeders: Sequence[Mapping[str, Any]] = facts.get("feeders", [])
    if isinstance(option, PickPlan):
        first = [one for one in plans if one["plan_id"] == option.plan_id]
        return compared_words([*first, *(one for one in plans if one not in first)])
    if isinstance(option, PlanGoal):
        concerned = [one for one in feeders if one["feeder_id"] in option.feeder_ids]
        return nearest_words(concerned) if concerned else _goal_words(option)
    return compared_words(plans) if plans else nearest_words(feeders)


def _goal_words(goal: PlanGoal) -> str:
    power = "" if goal.relief_kw is None else f" of {goal.relief_kw:g} kW"
    until = f"to {goal.end:%d %b %H:%M}" if goal.end is not None else f"for {goal.duration_min} min"
    return (
        f"{goal.objective.replace('_', ' ').capitalize()}{power} was asked for on {', '.join(goal.feeder_ids[:3])},"
        f" from {goal.start:%d %b %H:%M} {until}."
    )[:300]
