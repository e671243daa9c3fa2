"""Other plans for the same problem, so that whoever approves can weigh effect against wear and reserve."""

from dataclasses import replace

import numpy as np

from tools.planning.cost import cost
from tools.planning.optimiser import gap, solve
from tools.planning.problem import DispatchProblem, Floats, Objectives
from tools.planning.solution import DispatchSolution
from tools.planning.tradeoff import trade_off

NAMES = ("deep", "gentle", "reserve")
GENTLE_SHARE = 0.7
"""Share of the deep plan's relief that the gentle plan has to reach."""
KEPT_SHARE = 0.5
"""Share of the energy above its floors that every site keeps in the reserve plan."""


def alternatives(problem: DispatchProblem, count: int = 2) -> tuple[DispatchSolution, ...]:
    """Return up to three plans: `deep`, `gentle` (least throughput for most of the effect), `reserve` (keeps half the margin).

    All are judged by the problem's own objectives and against its one bound, so their gaps say what each gives up.

    Raises:
        ValueError: `count` is not 1, 2 or 3.
    """
    if count not in range(1, len(NAMES) + 1):
        raise ValueError(f"count is {count}, not 1..{len(NAMES)}")
    deep = solve(problem, name=NAMES[0])
    out = [deep]
    if count > 1:
        out.append(_judged(problem, deep, solve(_gentle(problem, deep), name=NAMES[1])))
    if count > 2:
        out.append(_judged(problem, deep, solve(_reserve(problem), name=NAMES[2])))
    return tuple(out)


def _gentle(problem: DispatchProblem, deep: DispatchSolution) -> DispatchProblem:
    """Ask for a share of the deep plan's relief where it was wanted, and for as little movement as possible."""
    goal = problem.objectives
    change = deep.import_with_w - deep.import_without_w
    wanted = _wanted_steps(problem) & (change < 0.0)
    if not wanted.any():
        extra = _spread_per_wh(goal)
        ageing = np.zeros(problem.classes) if goal.ageing_per_wh is None else goal.ageing_per_wh
        return replace(problem, objectives=replace(goal, ageing_per_wh=ageing + extra))
    weight = np.where(wanted, 1.0, 0.0)
    asked = Objectives(
        follow_w=np.where(wanted, GENTLE_SHARE * change, 0.0),
        follow_weight=weight,
        ageing_per_wh=np.full(problem.classes, 0.02),
        terminal_value_per_wh=0.01,
    )
    return replace(problem, objectives=asked)


def _wanted_steps(problem: DispatchProblem) -> np.ndarray:
    """Say where relief was asked for: above the import limit, or a target below zero; shape (feeders, steps)."""
    goal, out = problem.objectives, np.zeros((problem.feeders, problem.steps), dtype=bool)
    if goal.excess_weight > 0.0:
        out |= problem.background_w > problem.import_limit_w
    if goal.follow_w is not None and goal.follow_weight is not None:
        out |= (goal.follow_w < 0.0) & (goal.follow_weight > 0.0)
    if goal.fleet_follow_w is not None and goal.fleet_follow_weight is not None:
        out |= ((goal.fleet_follow_w < 0.0) & (goal.fleet_follow_weight > 0.0))[None, :]
    return out


def _spread_per_wh(goal: Objectives) -> float:
    """Return the ageing cost that only trades above half of the widest price difference pay for, zero without prices."""
    if goal.import_price is None:
        return 0.0
    return float((goal.import_price.max(axis=1) - goal.import_price.min(axis=1)).max()) / 4.0


def _reserve(problem: DispatchProblem) -> DispatchProblem:
    """Raise every floor by a share of what the site has above it now."""
    spare: Floats = np.maximum(problem.initial_wh[:, None] - problem.floor_wh, 0.0)
    floor = np.minimum(problem.floor_wh + KEPT_SHARE * spare, problem.ceiling_wh)
    return replace(problem, floor_wh=np.maximum(floor, problem.floor_wh))


def _judged(problem: DispatchProblem, deep: DispatchSolution, other: DispatchSolution) -> DispatchSolution:
    """Measure another plan with the yardstick of the problem as it was asked."""
    objective = cost(problem, other.setpoint_w)
    return replace(
        other,
        objective=objective,
        nothing=deep.nothing,
        bound=deep.bound,
        bound_no_ramp=deep.bound_no_ramp,
        gap=gap(objective, deep.bound, deep.nothing),
        gap_no_ramp=gap(objective, deep.bound_no_ramp, deep.nothing),
        trade_off=trade_off(problem, other.setpoint_w, other.recovery),
    )
