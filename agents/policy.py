"""The policy planner: deterministic, no language model. It takes over whenever there is none, or it fails or is slow."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from agents.intents import choose_tool, choose_topic
from agents.model_client import Choice, Option, Question
from agents.questions import NoAction, PickPlan
from tools.goal import PlanGoal

LABEL = "policy planner (no language model)"
_LEAST_MARGIN_H = 0.25  # a plan that keeps less above the backup reserve is taken only if all do
_ENOUGH = 0.98  # relief that counts as the same


class PolicyPlanner:
    """Chooses by fixed rules on the facts of the question."""

    @property
    def label(self) -> str:
        return LABEL

    async def choose(self, question: Question) -> Choice:
        name, option = self._decide(question)
        assumed = (
            option.why.partition("; ")[2]
            if name == "plan" and question.name == "tool" and isinstance(option, PlanGoal)
            else ""
        )
        return Choice(name=name, option=option, label=LABEL, note=assumed)

    def _decide(self, question: Question) -> tuple[str, Option]:
        match question.name:
            case "goal":
                return choose_goal(question.facts)
            case "pick":
                return pick_plan(question.facts)
            case "topic":
                return choose_topic(question.facts)
            case _:
                return choose_tool(question.facts, set(question.options))


def choose_goal(facts: Mapping[str, Any]) -> tuple[str, Option]:
    """Shave the worst excess that no plan covers yet, with every feeder whose excess overlaps it."""
    standing = facts.get("standing_objectives", [])
    if paused := next((one for one in standing if one.get("pause")), None):
        why = f"Standing objective {paused['objective_id']} of {paused['who']} pauses dispatch"
        return "no_action", NoAction(why=f"{why}; {nearest_words(facts['feeders'])}"[:300])
    over = [one for one in uncovered(facts) if one["dispatchable_sites"] > 0]
    if facts["operating_mode"] != "normal" or not over:
        return "no_action", NoAction(why=_why_not(facts))
    worst = max(over, key=lambda one: one["over_limit_kw"])
    begin, end = _window(worst)
    joined = [one for one in over if _window(one)[0] < end and begin < _window(one)[1]]
    earliest = datetime.fromisoformat(facts["earliest_start"])
    start = max(min(_window(one)[0] for one in joined) - timedelta(minutes=15), earliest)
    until = min(max(_window(one)[1] for one in joined), start + timedelta(hours=12))
    names = ", ".join(one["feeder_id"] for one in joined)
    return "plan", PlanGoal(
        objective="peak_shaving",
        feeder_ids=tuple(one["feeder_id"] for one in joined),
        start=start,
        end=until,
        exclude_site_ids=tuple(
            dict.fromkeys(name for one in standing for name in one.get("exclude_site_ids", ()))
        ),
        why=f"{names}: up to {worst['over_limit_kw']:.1f} kW above the import limit at the upper forecast.",
    )


def uncovered(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the feeders that exceed their limit and that no plan covers yet."""
    return [one for one in facts["feeders"] if one["over_limit_kw"] > 0.0 and not one["covered_by_plans"]]


def _window(one: Mapping[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(one["over_from"]), datetime.fromisoformat(one["over_until"])


def _why_not(facts: Mapping[str, Any]) -> str:
    feeders = facts["feeders"]
    if facts["operating_mode"] != "normal":
        mode = facts["operating_mode"]
        return f"The operating mode is {mode}, in which no peak is shaved; {nearest_words(feeders)}"
    unknown = [one["feeder_id"] for one in feeders if one["peak_kw"] is None]
    if unknown:
        names = ", ".join(unknown[:3])
        return f"There is no forecast for {len(unknown)} of {len(feeders)} feeders ({names}), so nothing may be planned there."
    over = [one for one in feeders if one["over_limit_kw"] > 0.0]
    if not over:
        nearest = min(feeders, key=lambda one: one["import_limit_kw"] - one["peak_kw"], default=None)
        if nearest is None:
            return "The registry holds no feeder."
        return (
            f"No feeder exceeds its limit: {nearest['feeder_id']} comes nearest with {nearest['peak_kw']:.1f} kW"
            f" of {nearest['import_limit_kw']:.1f} kW."
        )
    covered = [one for one in over if one["covered_by_plans"]]
    if covered:
        one = covered[0]
        return f"{one['feeder_id']}'s excess of {one['over_limit_kw']:.1f} kW is covered by {one['covered_by_plans'][0]}."
    return f"None of the {over[0]['sites']} sites of {over[0]['feeder_id']} may be dispatched now."


def pick_plan(facts: Mapping[str, Any]) -> tuple[str, Option]:
    """Take the most relief among plans that keep a margin above the reserve; of equals, the one that cycles least."""
    plans = facts["plans"]
    safe = [one for one in plans if one["reserve_margin_h"] >= _LEAST_MARGIN_H] or plans
    most = max(one["relief_kw"] for one in safe)
    good = [one for one in safe if one["relief_kw"] >= _ENOUGH * most]
    best = min(good, key=lambda one: (one["cycles"], one["plan_id"]))
    others = [one for one in plans if one is not best]
    return "pick_plan", PickPlan(plan_id=best["plan_id"], why=compared_words([best, *others]))


def compared_words(plans: Sequence[Mapping[str, Any]]) -> str:
    """Return what plans give and cost, the first one's margin with it; for the explanation of a choice among them."""
    first, *others = plans
    compared = "".join(
        f" {one['alternative']} gives {one['relief_kw']:.1f} kW for {one['discharge_kwh']:.1f} kWh."
        for one in others
    )
    return (
        f"{first['alternative']} gives {first['relief_kw']:.1f} kW for {first['discharge_kwh']:.1f} kWh and keeps"
        f" {first['reserve_margin_h']:.2f} h above the reserve.{compared}"
    )[:300]


def nearest_words(feeders: Sequence[Mapping[str, Any]]) -> str:
    """Return which feeder comes nearest its limit, or exceeds it most, and by how much, at the upper forecast."""
    known = [one for one in feeders if one["peak_kw"] is not None]
    if not known:
        return f"none of the {len(feeders)} feeders has a forecast."
    one = max(known, key=lambda one: one["peak_kw"] - one["import_limit_kw"])
    over = f", {one['over_limit_kw']:.1f} kW above it" if one["over_limit_kw"] > 0.0 else ""
    limit = f"its import limit of {one['import_limit_kw']:.1f} kW"
    return f"{one['feeder_id']} is expected to reach {one['peak_kw']:.1f} kW at {limit}{over}."
