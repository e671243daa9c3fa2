"""The figures by which plans are compared."""

import numpy as np

from tools.planning.cost import energy_wh, import_change_w
from tools.planning.problem import Bools, DispatchProblem, Floats
from tools.planning.solution import TradeOff


def shortfall_w(problem: DispatchProblem, change_w: Floats) -> Floats:
    """Return what each feeder still misses of what was asked: import above the limit, or relief below the target.

    Args:
        problem: Its objectives say what was asked.
        change_w: Change of feeder import, shape (feeders, steps).
    """
    goal, out = problem.objectives, np.zeros_like(change_w)
    if goal.excess_weight > 0.0:
        out = np.maximum(out, problem.background_w + change_w - problem.import_limit_w)
    if goal.follow_w is not None and goal.follow_weight is not None:
        missed = np.where(goal.follow_w < 0.0, change_w - goal.follow_w, goal.follow_w - change_w)
        out = np.maximum(out, np.where(goal.follow_weight > 0.0, missed, 0.0))
    return np.maximum(out, 0.0)


def fleet_shortfall_w(problem: DispatchProblem, change_w: Floats) -> Floats:
    """Return what the fleet misses of its common target, shape (steps,)."""
    goal = problem.objectives
    if goal.fleet_follow_w is None or goal.fleet_follow_weight is None:
        return np.zeros(problem.steps)
    total = change_w.sum(axis=0)
    missed = np.where(goal.fleet_follow_w < 0.0, total - goal.fleet_follow_w, goal.fleet_follow_w - total)
    return np.where(goal.fleet_follow_weight > 0.0, np.maximum(missed, 0.0), 0.0)


def trade_off(problem: DispatchProblem, setpoint_w: Floats, recovery: Bools) -> TradeOff:
    """Work the figures out from the plan itself."""
    change = import_change_w(problem, setpoint_w)
    total = problem.background_w + change
    before = np.maximum(problem.background_w - problem.import_limit_w, 0.0).max(axis=1)
    after = np.maximum(total - problem.import_limit_w, 0.0).max(axis=1)
    used = (np.abs(setpoint_w).max(axis=1) > 0.0) & ~recovery
    moved = float(np.abs(setpoint_w).sum()) * problem.step_h
    usable = float(problem.usable_wh[used].sum())
    margin = (energy_wh(problem, setpoint_w)[:, 1:] - problem.floor_wh) / problem.reserve_load_w[:, None]
    missing = shortfall_w(problem, change).sum() + fleet_shortfall_w(problem, change).sum()
    return TradeOff(
        peak_w=float(total.max()),
        shaved_w=float((before - after).sum()),
        energy_wh=float(np.maximum(-setpoint_w, 0.0).sum()) * problem.step_h,
        throughput_cycles=moved / (2.0 * usable) if usable > 0.0 else 0.0,
        min_margin_h=float(margin[used].min())
        if used.any()
        else float(margin[problem.eligible & ~recovery].min(initial=np.inf)),
        unserved_wh=float(missing) * problem.step_h,
    )
