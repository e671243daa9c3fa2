"""What a plan is asked for, in the field's words, and what the gate's rejections add to it. Plain values that can be kept."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from telemetry.model.series import STEP
from telemetry.model.site import FeederId, SiteId
from tools.arguments import Arguments, FeederIdText, SiteIdText
from tools.deps import Fleet
from tools.errors import ToolInputError
from tools.outlook import ceil_step, floor_step

ObjectiveName = Literal["peak_shaving", "demand_response", "recharge"]


class PlanGoal(Arguments):
    """Ask for a dispatch plan: objective, feeders, start, and end or duration. The optimiser works out every setpoint."""

    objective: ObjectiveName = Field(description="peak_shaving, demand_response (give relief_kw) or recharge")
    feeder_ids: tuple[FeederIdText, ...] = Field(min_length=1, max_length=50)
    start: AwareDatetime
    end: AwareDatetime | None = None
    duration_min: int | None = Field(default=None, ge=15, le=24 * 60)
    relief_kw: float | None = Field(
        default=None, gt=0.0, le=1e6, description="only if the operator named a figure"
    )
    exclude_site_ids: tuple[SiteIdText, ...] = Field(default=(), max_length=500)
    why: str = Field(default="", max_length=300)


class Constraint(Arguments):
    """What one rejection taught: leave a site out, keep more in it, or let it move less.

    `exclude` needs no amount; `raise_floor` adds `amount` Wh to the site's floor; `lower_cap` takes `amount` W off its
    power limits; `lower_feeder` takes `amount` W off what its feeder's sites may charge, by the plan or after a release; `limit_low` keeps every site of
    a radio cluster away from its floor; `change_plan` is beyond numbers: the goal itself has to change.
    """

    kind: Literal["exclude", "raise_floor", "lower_cap", "lower_feeder", "limit_low", "change_plan"]
    where: str
    amount: float = Field(default=0.0, ge=0.0)
    because: str = ""


def window_of(goal: PlanGoal) -> tuple[datetime, datetime]:
    """Return the window on whole quarter hours.

    Raises:
        ToolInputError: Neither or both of end and duration, an empty window, or one beyond the calendar.
    """
    if (goal.end is None) == (goal.duration_min is None):
        raise ToolInputError("give either end or duration_min")
    try:
        start = floor_step(goal.start)
        end = goal.end if goal.end is not None else start + timedelta(minutes=goal.duration_min or 0)
        end = ceil_step(end)
    except OverflowError as error:
        raise ToolInputError("the window lies beyond the calendar") from error
    if not STEP <= end - start <= timedelta(hours=24):
        raise ToolInputError("the window must be at least 15 minutes and at most 24 hours long")
    return start, end


def check_goal(goal: PlanGoal, fleet: Fleet, earliest: datetime) -> None:
    """Refuse what names things that do not exist, or a window that is past or too far ahead.

    Raises:
        ToolInputError: Says what to put instead.
    """
    start, end = window_of(goal)
    unknown = [name for name in goal.feeder_ids if FeederId(name) not in fleet.limits.feeders]
    if unknown:
        raise ToolInputError(
            f"no feeder {', '.join(unknown[:3])}; there are {', '.join(list(fleet.limits.feeders)[:8])}"
        )
    strangers = [name for name in goal.exclude_site_ids if SiteId(name) not in fleet.limits.sites]
    if strangers:
        raise ToolInputError(f"no site {', '.join(strangers[:3])}")
    if len(set(goal.feeder_ids)) != len(goal.feeder_ids):
        raise ToolInputError("a feeder is named twice")
    if start < earliest:
        raise ToolInputError(f"the window starts at {start.isoformat()}, earlier than {earliest.isoformat()}")
    if (
        start - fleet.state.at > fleet.limits.policy.max_lead
        or end - start > fleet.limits.policy.max_duration
    ):
        raise ToolInputError("the window is too far ahead or too long for the policy")
    if goal.objective == "demand_response" and goal.relief_kw is None:
        raise ToolInputError("demand_response needs relief_kw")


def to_doc(goal: PlanGoal) -> Mapping[str, object]:
    """Return the goal as plain JSON values."""
    doc: Mapping[str, object] = goal.model_dump(mode="json")
    return doc
