"""Tool: at least two plans for one goal, worked out by the optimiser, with what each gives and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from edge.plan import (
    Envelope,
    ExpectedEffect,
    FeederEffect,
    MoneyEffect,
    Objective,
    ObjectiveKind,
    Plan,
    PlanId,
    SiteBounds,
    SitePlan,
)
from telemetry.model.series import STEP, STEP_H
from tools.binding_words import binding_words
from tools.deps import Fleet
from tools.dispatch_problem import FleetProblem, build_problem
from tools.errors import ToolUnavailableError
from tools.goal import Constraint, PlanGoal
from tools.plan_money import money_words, plan_money
from tools.planning.alternatives import alternatives
from tools.planning.problem import Floats
from tools.planning.solution import DispatchSolution

LEAST_W = 1.0  # a site asked for less than this is left out
ROOM_FRAC = (
    0.25  # what one site may take over from others when the plan is worked out again: power and energy
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Plans that differ in name (`deep`, `gentle`, `reserve`), best first, and the sites left out with the reason."""

    plans: tuple[Plan, ...]
    left_out: Mapping[str, str]
    asked_w: float


def propose(
    fleet: Fleet,
    goal: PlanGoal,
    constraints: Sequence[Constraint],
    now: datetime,
    *,
    id_stem: str,
    provenance: Mapping[str, str],
    count: int = 3,
) -> Proposal:
    """Return the plans; their ids follow from `id_stem`, so that planning again names the same plans.

    Raises:
        ToolInputError: The goal makes no sense.
        ToolUnavailableError: Something is missing, or nothing can be gained.
    """
    built = build_problem(fleet, goal, constraints, now)
    plans: list[Plan] = []
    for solution in alternatives(built.problem, count):
        plan = to_plan(built, solution, fleet, goal, now, f"{id_stem}-{solution.name}", provenance)
        if plan is not None and all(plan.sites != other.sites for other in plans):
            plans.append(plan)
    if not plans:
        raise ToolUnavailableError("the fleet can give nothing here: " + _why_nothing(built))
    return Proposal(
        plans=tuple(plans),
        left_out={str(site_id): why for site_id, why in built.left_out.items()},
        asked_w=max(max(outlook.excess_w, default=0.0) for outlook in built.outlooks),
    )


def to_plan(
    built: FleetProblem,
    solution: DispatchSolution,
    fleet: Fleet,
    goal: PlanGoal,
    now: datetime,
    plan_id: str,
    provenance: Mapping[str, str],
) -> Plan | None:
    """Return a solution as a plan of whole watts, None where it asks for nothing."""
    setpoint_w = np.trunc(solution.setpoint_w) + 0.0
    if goal.objective == "recharge":
        setpoint_w = np.maximum(setpoint_w, 0.0)
    used = [row for row in range(setpoint_w.shape[0]) if np.abs(setpoint_w[row]).max() >= LEAST_W]
    if not used:
        return None
    start, end = built.start, built.start + setpoint_w.shape[1] * STEP
    objective = Objective(
        kind=ObjectiveKind(goal.objective),
        feeder_ids=built.feeder_ids,
        target_w=None if goal.relief_kw is None else -1e3 * goal.relief_kw,
        text=goal.why,
    )
    sites = tuple(
        SitePlan(site_id=built.site_ids[row], schedule_w=tuple(float(w) for w in setpoint_w[row]))
        for row in used
    )
    return Plan(
        plan_id=PlanId(plan_id),
        supersedes=None,
        objective=objective,
        window_start=start,
        window_end=end,
        sites=sites,
        envelope=_envelope(sites, objective, start, end, fleet),
        expected=_expected(built, solution, setpoint_w, used, plan_money(fleet, sites, start)),
        bound=round(solution.bound, 6),
        gap_frac=round(solution.gap, 6),
        created_at=now,
        provenance={
            **provenance,
            "alternative": solution.name,
            "optimiser": "super-battery relaxation and split",
            "held_back_by": binding_words(solution.binding, built.feeder_ids, start),
        },
    )


def _envelope(
    sites: Sequence[SitePlan], objective: Objective, start: datetime, end: datetime, fleet: Fleet
) -> Envelope:
    """Return what approval is asked for: the plan's totals, and for each site a little room to stand in for another."""
    rows = np.array([site.schedule_w for site in sites])
    total = rows.sum(axis=0)
    room = 1.0 + ROOM_FRAC
    return Envelope(
        objective=objective,
        window_start=start,
        window_end=end,
        sites=tuple(
            SiteBounds(
                site_id=site.site_id,
                min_w=min(*site.schedule_w, 0.0) * room,
                max_w=max(*site.schedule_w, 0.0),
                max_discharge_wh=abs(sum(min(w, 0.0) for w in site.schedule_w)) * STEP_H * room,
                max_charge_wh=sum(max(w, 0.0) for w in site.schedule_w) * STEP_H,
            )
            for site in sites
        ),
        total_min_w=min(float(total.min()), 0.0),
        total_max_w=max(float(total.max()), 0.0),
        total_discharge_wh=abs(float(np.minimum(rows, 0.0).sum())) * STEP_H,
        reserve_h=min(fleet.limits.sites[site.site_id].autonomy.autonomy_h for site in sites),
        valid_until=end,
    )


def _expected(
    built: FleetProblem,
    solution: DispatchSolution,
    setpoint_w: Floats,
    used: Sequence[int],
    money: MoneyEffect | None,
) -> ExpectedEffect:
    problem = built.problem
    at_meter = setpoint_w / problem.rectifier_efficiency[problem.efficiency_class][:, None]
    feeders: list[FeederEffect] = []
    relief = 0.0
    for number, outlook in enumerate(built.outlooks):
        change = at_meter[problem.feeder == number].sum(axis=0)
        before = np.array(outlook.upper_w)
        relief += float(max(-change.min(), 0.0))
        feeders.append(
            FeederEffect(
                feeder_id=outlook.feeder_id,
                peak_without_w=round(float(before.max()), 1),
                peak_with_w=round(float((before + change).max()), 1),
                limit_w=outlook.limit_w,
            )
        )
    level = problem.initial_wh[:, None] + np.cumsum(
        np.where(
            setpoint_w > 0.0,
            setpoint_w * problem.charge_efficiency[problem.efficiency_class][:, None],
            setpoint_w,
        )
        * STEP_H,
        axis=1,
    )
    margin_h = (level - problem.floor_wh) / problem.reserve_load_w[:, None]
    moved = float(np.abs(setpoint_w).sum() * STEP_H)
    return ExpectedEffect(
        feeders=tuple(feeders),
        relief_w=round(relief, 1),
        discharge_wh=abs(float(np.minimum(setpoint_w, 0.0).sum())) * STEP_H,
        charge_wh=float(np.maximum(setpoint_w, 0.0).sum() * STEP_H),
        throughput_cycles=round(moved / (2.0 * float(problem.usable_wh[list(used)].sum())), 4),
        score=round(solution.objective, 6),
        min_autonomy_margin_h=round(float(margin_h[list(used)].min()), 3),
        money=money,
    )


def _why_nothing(built: FleetProblem) -> str:
    left = "; ".join(f"{site_id} {why}" for site_id, why in list(built.left_out.items())[:3])
    return left or "no discharge would lower a peak, or every site needs its energy as backup"


def card(plan: Plan, fleet: Fleet) -> Mapping[str, object]:
    """Return what a person or a planner compares plans by: small, from data alone."""
    lowest = min((min(site.schedule_w, default=0.0) for site in plan.sites), default=0.0)
    return {
        "plan_id": plan.plan_id,
        "alternative": plan.provenance.get("alternative", ""),
        "objective": plan.objective.kind.value,
        "window_start": plan.window_start.isoformat(),
        "window_end": plan.window_end.isoformat(),
        "sites": len(plan.sites),
        "direction": _direction(plan),
        "discharge_peak_kw": round(abs(plan.envelope.total_min_w) / 1e3, 3),
        "charge_peak_kw": round(plan.envelope.total_max_w / 1e3, 3),
        "largest_site_kw": round(abs(min(lowest, 0.0)) / 1e3, 3),
        "relief_kw": round(plan.expected.relief_w / 1e3, 3),
        "discharge_kwh": round(plan.expected.discharge_wh / 1e3, 3),
        "charge_kwh": round(plan.expected.charge_wh / 1e3, 3),
        "cycles": plan.expected.throughput_cycles,
        "reserve_margin_h": plan.expected.min_autonomy_margin_h,
        "money": money_words(plan.expected.money),
        "carbon_kg": None,  # no grid intensity is on record
        "gap_pct": round(100.0 * plan.gap_frac, 2),
        "held_back_by": plan.provenance.get("held_back_by", ""),
        "simulated_sites": sum(fleet.limits.sites[site.site_id].simulated for site in plan.sites),
        "feeders": [
            {
                "feeder_id": effect.feeder_id,
                "import_limit_kw": round(effect.limit_w / 1e3, 3),
                "peak_without_kw": round(effect.peak_without_w / 1e3, 3),
                "peak_with_kw": round(effect.peak_with_w / 1e3, 3),
            }
            for effect in plan.expected.feeders
        ],
    }


def _direction(plan: Plan) -> str:
    if plan.expected.charge_wh == 0.0:
        return "discharge"
    return "charge" if plan.expected.discharge_wh == 0.0 else "discharge and charge"
