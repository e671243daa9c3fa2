"""Tool: the running plan again from now, inside the envelope that was approved, where that is worth it. Pure.

The successor keeps the plan's aim: by feeder and step the power that the plan in force promises, from the sites that are
left. It never asks for more than that in total, so the envelope's totals hold, and no site for more than its own bounds
less what the line of plans under the same envelope has already spent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from pydantic import ValidationError

from edge.plan import ObjectiveKind, Plan, PlanId
from edge.safety.envelope_rules import used_wh
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import SiteId
from tools.deps import Fleet
from tools.dispatch_problem import FleetProblem, build_problem
from tools.eligible import ineligible
from tools.errors import ToolError
from tools.goal import Constraint, PlanGoal
from tools.outlook import ceil_step
from tools.plan_fleet import to_plan
from tools.planning.problem import DispatchProblem, Floats, Objectives
from tools.planning.replan import EnvelopeBounds, Replan, replan

WORTH_FRAC = 0.05
"""Least share of the plan's remaining energy to be won back; at the same share control asks people again (`Policy`)."""
WORTH_WH = 250.0
"""And at least this much, one site at 1 kW for a quarter hour: below it the commands cost more than they bring."""
KINDS = frozenset({ObjectiveKind.PEAK_SHAVING, ObjectiveKind.DEMAND_RESPONSE})
_CHANGE_WEIGHT = 0.01  # per Wh; what is asked for weighs 1, so that calm never costs relief
_OWN_CHOICE = "objective"  # the reason of a change that nothing forced


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """The plan in force stays, and why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """A plan that supersedes the one in force, what changed and why, in words.

    `recovered_wh` is the discharge that would not have come and now does.
    """

    plan: Plan
    why: str
    changes: tuple[str, ...]
    recovered_wh: float


def successor_id(running: Plan, start: datetime) -> PlanId:
    """Return the name of the one successor that a line of plans may have from a quarter hour on."""
    root = running.provenance.get("root", running.plan_id)
    return PlanId(f"{root}.q{start:%Y%m%dT%H%M}")


def due(plans: Sequence[Plan], now: datetime) -> list[Plan]:
    """Return the live plans that are under way, are scheduled and have a whole quarter hour to come."""
    return [
        plan
        for plan in plans
        if plan.objective.kind in KINDS
        and plan.window_start <= now
        and now + STEP < plan.window_end
        and all(site.schedule_w for site in plan.sites)
    ]


def consider(
    fleet: Fleet, running: Plan, now: datetime, *, lead: timedelta, provenance: Mapping[str, str]
) -> Successor | Keep:
    """Return the plan that takes over at the next quarter hour, or why the one in force stays.

    Args:
        fleet: Live state; `running` is among its live plans.
        running: The plan in force.
        now: The instant, aware UTC.
        lead: The successor starts at least this far ahead, so that commands reach the sites.
        provenance: What else goes into the plan's record.
    """
    start = ceil_step(now + lead)
    if running.objective.kind not in KINDS or not all(site.schedule_w for site in running.sites):
        return Keep(why=f"a plan for {running.objective.kind} is not planned again while it runs")
    if start <= running.window_start or start >= running.window_end:
        return Keep(why="no whole quarter hour is left to change")
    try:
        built = _problem(fleet, running, start, now)
        found = _solve(built, fleet, running, start)
    except (ToolError, ValidationError, ValueError) as error:
        return Keep(why=f"nothing better can be worked out: {error}")
    return _judge(fleet, running, built, found, now, provenance)


def _elapsed(running: Plan, start: datetime) -> int:
    return (start - running.window_start) // STEP


def _problem(fleet: Fleet, running: Plan, start: datetime, now: datetime) -> FleetProblem:
    """Return the optimiser's problem from `start` on; the plan in force counts up to there and binds nobody after it."""
    cut = replace(
        running,
        window_end=start,
        sites=tuple(
            replace(site, schedule_w=site.schedule_w[: _elapsed(running, start)]) for site in running.sites
        ),
    )
    live = tuple(cut if plan.plan_id == running.plan_id else plan for plan in fleet.state.live_plans)
    goal = PlanGoal(
        objective="peak_shaving",
        feeder_ids=running.objective.feeder_ids,
        start=start,
        end=running.window_end,
        why=running.objective.text[:300],
    )
    approved = {site.site_id for site in running.envelope.sites}
    strangers = [
        Constraint(kind="exclude", where=site.site_id, because="is not in the approved envelope")
        for site in fleet.limits.sites.values()
        if site.feeder_id in running.objective.feeder_ids and site.site_id not in approved
    ]
    cut_fleet = replace(fleet, state=replace(fleet.state, live_plans=live))
    return build_problem(cut_fleet, goal, strangers, now)


def _solve(built: FleetProblem, fleet: Fleet, running: Plan, start: datetime) -> Replan:
    """Follow what the plan in force promises each feeder, with the sites that may take part."""
    elapsed = _elapsed(running, start)
    schedules = {site.site_id: site.schedule_w for site in running.sites}
    old = np.array([schedules.get(site_id, (0.0,) * running.steps) for site_id in built.site_ids])
    problem = replace(
        built.problem,
        start_w=old[:, elapsed - 1].copy(),
        objectives=_follow(built.problem, fleet, running, elapsed),
    )
    return replan(problem, old, elapsed, _bounds(built, fleet, running, start), change_weight=_CHANGE_WEIGHT)


def _follow(problem: DispatchProblem, fleet: Fleet, running: Plan, elapsed: int) -> Objectives:
    """Return the aim at the AC meter. Divided by the best rectifier, it never needs more than the plan's own total."""
    feeders = {feeder_id: row for row, feeder_id in enumerate(running.objective.feeder_ids)}
    wanted = np.zeros((problem.feeders, problem.steps))
    for site in running.sites:
        known = fleet.limits.sites.get(site.site_id)
        if known is not None and known.feeder_id in feeders:
            wanted[feeders[known.feeder_id]] += np.minimum(site.schedule_w[elapsed:], 0.0)
    return Objectives(
        follow_w=wanted / float(problem.rectifier_efficiency.max()),
        follow_weight=np.ones_like(wanted),
        ageing_per_wh=np.full(problem.classes, 0.02),
    )


def _bounds(built: FleetProblem, fleet: Fleet, running: Plan, start: datetime) -> EnvelopeBounds:
    """Return what the envelope leaves: power bands as approved, energy less what its line of plans has spent."""
    shape = (built.problem.sites, built.problem.steps)
    allowed = {site.site_id: site for site in running.envelope.sites}
    spent = used_wh(_line(running, fleet, start))
    rows = [allowed[site_id] for site_id in built.site_ids]
    left = [one.max_discharge_wh - spent.get(one.site_id, (0.0, 0.0))[0] for one in rows]
    return EnvelopeBounds(
        min_w=np.repeat(np.array([[min(one.min_w, 0.0)] for one in rows]), shape[1], axis=1),
        max_w=np.zeros(shape),  # to hand energy back early is no part of relief
        floor_wh=np.zeros(shape),  # the problem's own floors are the reserve
        discharge_wh=np.maximum(np.array(left), 0.0),
    )


def _line(running: Plan, fleet: Fleet, start: datetime) -> list[tuple[Plan, datetime]]:
    """Return the plan in force and those before it under the same envelope, each with when it stops counting."""
    known = {plan.plan_id: plan for plan in fleet.state.superseded_plans}
    digest, line, plan, until = running.envelope.digest(), [(running, start)], running, start
    while plan.supersedes is not None and plan.supersedes in known:
        until, plan = plan.window_start, known.pop(plan.supersedes)
        if plan.envelope.digest() == digest:
            line.append((plan, until))
    return line


def _judge(
    fleet: Fleet,
    running: Plan,
    built: FleetProblem,
    found: Replan,
    now: datetime,
    provenance: Mapping[str, str],
) -> Successor | Keep:
    """Take the new plan where a site has dropped out, or where enough energy is won back; never where less comes."""
    elapsed = _elapsed(running, built.start)
    rest = {site.site_id: np.array(site.schedule_w[elapsed:]) for site in running.sites}
    gone = {
        site_id: reasons[0]
        for site_id, row in rest.items()
        if (row < 0.0).any() and (reasons := ineligible(fleet, site_id, now))
    }
    new = np.trunc(found.solution.setpoint_w)
    promised_wh = -sum(float(np.minimum(row, 0.0).sum()) for row in rest.values()) * STEP_H
    comes_wh = _still_comes_wh(built, found, rest, gone, new)
    recovered_wh = -float(np.minimum(new, 0.0).sum()) * STEP_H - comes_wh
    if recovered_wh < -len(new) * new.shape[1] * STEP_H:  # a whole watt of rounding per site and step
        return Keep(why=f"the sites that are left would give {-recovered_wh:.0f} Wh less")
    worth_wh = max(WORTH_FRAC * promised_wh, WORTH_WH)
    if not gone and recovered_wh < worth_wh:
        return Keep(
            why=f"{max(recovered_wh, 0.0):.0f} Wh could be won back, less than the {worth_wh:.0f} Wh that are worth it"
        )
    why = _why(gone, recovered_wh, promised_wh)
    changes = _changes_in_words(built, found, gone)
    plan = to_plan(
        built, found.solution, fleet, _goal_of(running, built), now, successor_id(running, built.start), {}
    )
    if plan is None:
        return Keep(why="no site is left that could give anything")
    record = {
        **provenance,
        "root": running.provenance.get("root", running.plan_id),
        "replan_of": running.plan_id,
        "why": why,
        "changed": "; ".join(changes[:20]),
        "optimiser": plan.provenance["optimiser"],
        "alternative": "replan",
    }
    plan = replace(
        plan,
        supersedes=running.plan_id,
        objective=running.objective,
        envelope=running.envelope,
        provenance=record,
    )
    return Successor(plan=plan, why=why, changes=changes, recovered_wh=recovered_wh)


def _goal_of(running: Plan, built: FleetProblem) -> PlanGoal:
    return PlanGoal(
        objective="peak_shaving",
        feeder_ids=running.objective.feeder_ids,
        start=built.start,
        end=running.window_end,
    )


def _still_comes_wh(
    built: FleetProblem, found: Replan, rest: Mapping[SiteId, Floats], gone: Mapping[SiteId, str], new: Floats
) -> float:
    """Return what would come of the plan in force: nothing from sites that dropped out, and where a limit now stands in
    the way no more than the site can still give.
    """
    row_of = {site_id: row for row, site_id in enumerate(built.site_ids)}
    forced = {change.site for change in found.changes if change.reason != _OWN_CHOICE}
    total = 0.0
    for site_id, old in rest.items():
        if site_id in gone:
            continue
        out, row = np.maximum(-old, 0.0), row_of.get(site_id)
        if row is not None and row in forced:
            out = np.minimum(out, np.maximum(-new[row], 0.0))
        total += float(out.sum()) * STEP_H
    return total


def _why(gone: Mapping[SiteId, str], recovered_wh: float, promised_wh: float) -> str:
    won = f"{max(recovered_wh, 0.0) / 1e3:.2f} of {promised_wh / 1e3:.2f} kWh still to come are won back"
    if not gone:
        return won
    site_id, reason = next(iter(gone.items()))
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    return f"{site_id}{more} dropped out ({reason}); {won}"


def _changes_in_words(built: FleetProblem, found: Replan, gone: Mapping[SiteId, str]) -> tuple[str, ...]:
    out = [f"{site_id} is released: {reason}" for site_id, reason in gone.items()]
    for change in found.changes:
        reason = "takes over" if change.reason == _OWN_CHOICE else change.reason.replace("_", " ")
        out.append(f"{built.site_ids[change.site]} moves {change.moved_wh:.0f} Wh: {reason}")
    return tuple(out)
