"""What a plan costs under a problem's objectives: the one definition that plan, bound and doing nothing share."""

import numpy as np

from tools.planning.problem import DispatchProblem, Floats
from tools.planning.sums import sum_by
from tools.planning.viability import stored_wh


def energy_wh(problem: DispatchProblem, setpoint_w: Floats) -> Floats:
    """Return energy at the start and after each step, shape (sites, steps + 1)."""
    row = problem.efficiency_class
    eta_c, eta_d = problem.charge_efficiency[row][:, None], problem.discharge_efficiency[row][:, None]
    gain = stored_wh(setpoint_w, eta_c, eta_d, problem.step_h)
    start = problem.initial_wh[:, None]
    return np.concatenate([start, start + np.cumsum(gain, axis=1)], axis=1)


def import_change_w(problem: DispatchProblem, setpoint_w: Floats) -> Floats:
    """Return the change of each feeder's import at the AC meter, shape (feeders, steps)."""
    at_meter = setpoint_w / problem.rectifier_efficiency[problem.efficiency_class][:, None]
    return sum_by(problem.feeder, at_meter, problem.feeders)


def meter_price(problem: DispatchProblem) -> Floats:
    """Return import price plus priced carbon per Wh at the meter, shape (feeders, steps)."""
    goal = problem.objectives
    price = np.zeros((problem.feeders, problem.steps))
    if goal.import_price is not None:
        price = price + goal.import_price
    if goal.carbon_kg_per_wh is not None:
        price = price + goal.carbon_price * goal.carbon_kg_per_wh
    return price


def cost(problem: DispatchProblem, setpoint_w: Floats) -> float:
    """Return the sum of all objective terms."""
    change = import_change_w(problem, setpoint_w)
    return float(cost_by_feeder(problem, setpoint_w, change).sum()) + fleet_cost(problem, change)


def cost_by_feeder(problem: DispatchProblem, setpoint_w: Floats, change_w: Floats) -> Floats:
    """Return every term but the fleet's common target, shape (feeders,)."""
    by_site = np.bincount(problem.feeder, weights=site_cost(problem, setpoint_w), minlength=problem.feeders)
    return feeder_cost(problem, change_w) + by_site


def fleet_cost(problem: DispatchProblem, change_w: Floats) -> float:
    """Return the cost of missing the fleet's common target."""
    goal = problem.objectives
    if goal.fleet_follow_w is None or goal.fleet_follow_weight is None:
        return 0.0
    missed = np.abs(change_w.sum(axis=0) - goal.fleet_follow_w)
    return problem.step_h * float((goal.fleet_follow_weight * missed).sum())


def feeder_cost(problem: DispatchProblem, change_w: Floats) -> Floats:
    """Return the terms that look at one feeder's import, shape (feeders,)."""
    goal, step_h = problem.objectives, problem.step_h
    total_w = problem.background_w + change_w
    out = goal.excess_weight * step_h * np.maximum(total_w - problem.import_limit_w, 0.0).sum(axis=1)
    peak = total_w.max(axis=1)
    billed = peak if goal.billed_peak_w is None else np.maximum(peak, goal.billed_peak_w)
    out = out + goal.peak_weight * peak + goal.demand_charge_per_w * billed
    if goal.follow_w is not None and goal.follow_weight is not None:
        out = out + step_h * (goal.follow_weight * np.abs(change_w - goal.follow_w)).sum(axis=1)
    return np.asarray(out + step_h * (meter_price(problem) * change_w).sum(axis=1))


def site_cost(problem: DispatchProblem, setpoint_w: Floats) -> Floats:
    """Return the terms that look at one site, shape (sites,): export, ageing, stored energy, changes."""
    goal, step_h, row = problem.objectives, problem.step_h, problem.efficiency_class
    out = np.zeros(problem.sites)
    if goal.export_price is not None and goal.import_price is not None:
        own = problem.load_cap_w if problem.self_use_w is None else problem.self_use_w
        lost = (goal.import_price - goal.export_price)[problem.feeder]
        sent = np.maximum(-setpoint_w - own, 0.0) / problem.rectifier_efficiency[row][:, None]
        out += step_h * (lost * sent).sum(axis=1)
    if goal.ageing_per_wh is not None:
        out += step_h * goal.ageing_per_wh[row] * np.abs(setpoint_w).sum(axis=1)
    if goal.terminal_value_per_wh != 0.0:
        gained = energy_wh(problem, setpoint_w)[:, -1] - problem.initial_wh
        out -= goal.terminal_value_per_wh * gained
    if goal.previous_w is not None and goal.change_weight > 0.0:
        out += goal.change_weight * step_h * np.abs(setpoint_w - goal.previous_w).sum(axis=1)
    return out
