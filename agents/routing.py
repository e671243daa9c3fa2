"""Which node comes next. Pure: the last node's `stage` decides, nothing else."""

from typing import Literal

from agents.state import State


def enter(state: State) -> Literal["converse", "assess", "renew"]:
    """A chat turn begins with a conversation, a cycle with a look at the fleet, a re-plan with the plan in force."""
    match state["kind"]:
        case "chat":
            return "converse"
        case "replan":
            return "renew"
        case _:
            return "assess"


def after_renew(state: State) -> Literal["validate", "report"]:
    """A successor, or the plan in force stays."""
    return "validate" if state["stage"] == "proposed" else "report"


def after_converse(state: State) -> Literal["converse", "assess", "report"]:
    """More tools, a plan, or the answer."""
    match state["stage"]:
        case "looked":
            return "converse"
        case "goal":
            return "assess"
        case _:
            return "report"


def after_assess(state: State) -> Literal["propose", "report"]:
    """Something to propose, or nothing can be said."""
    return "propose" if state["stage"] == "assessed" else "report"


def after_propose(state: State) -> Literal["validate", "report"]:
    """A plan, or none."""
    return "validate" if state["stage"] == "proposed" else "report"


def after_validate(state: State) -> Literal["approve", "request_dispatch", "propose", "report"]:
    """On to approval, back with what the rejection taught, or give up.

    A re-plan goes to control at once, which knows whether its envelope's approval still holds, and asks people if not;
    one that is rejected leaves the running plan in force until the next quarter of an hour.
    """
    if state["kind"] == "replan":
        return "request_dispatch" if state["stage"] == "validated" else "report"
    match state["stage"]:
        case "validated":
            return "approve"
        case "rejected":
            return "propose"
        case _:
            return "report"


def after_approve(state: State) -> Literal["request_dispatch", "approve", "report"]:
    """Approved, still waiting, or no."""
    match state["stage"]:
        case "approved":
            return "request_dispatch"
        case "waiting":
            return "approve"
        case _:
            return "report"


def after_verify(state: State) -> Literal["verify", "approve", "propose", "report"]:
    """Still running, approval asked again, refused on fresh state and planned anew, or over."""
    match state["stage"]:
        case "running":
            return "verify"
        case "needs_approval":
            return "approve"
        case "replan":
            return "report" if state["kind"] == "replan" else "propose"
        case _:
            return "report"
