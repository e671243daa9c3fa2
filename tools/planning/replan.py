"""The rolling horizon: plan again from now, inside what was approved, and say what changed and why."""

from dataclasses import dataclass, replace

import numpy as np

from tools.planning.cost import energy_wh
from tools.planning.optimiser import solve
from tools.planning.problem import DispatchProblem, Floats
from tools.planning.solution import DispatchSolution

CHANGED_WH = 1.0
"""Energy moved by less than this is no change."""
SLACK = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnvelopeBounds:
    """What an approval allows, in the columns of the new problem; zero power outside its window.

    Attributes:
        min_w: Lowest setpoint, zero or less, shape (sites, steps).
        max_w: Highest setpoint, zero or more, shape (sites, steps).
        floor_wh: Backup reserve kept, shape (sites, steps).
        discharge_wh: Discharge that is left to each site, at the terminals, shape (sites,).
    """

    min_w: Floats
    max_w: Floats
    floor_wh: Floats
    discharge_wh: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A site whose schedule is not the one in force.

    Attributes:
        site: Row of the site.
        moved_wh: Sum of |new - old| over the horizon.
        reason: not_eligible, start_power, recovery, charge_limit, discharge_limit, ramp, floor, ceiling, budget, or
            objective when the old schedule would still have been possible.
    """

    site: int
    moved_wh: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replan:
    """A new plan and what it changes."""

    solution: DispatchSolution
    changes: tuple[Change, ...]


def replan(
    problem: DispatchProblem,
    previous_w: Floats,
    elapsed_steps: int,
    bounds: EnvelopeBounds,
    *,
    change_weight: float | None = None,
) -> Replan:
    """Plan again from now inside an approved envelope.

    Args:
        problem: State and forecasts of now; its first step is the present one.
        previous_w: Setpoints of the plan in force, shape (sites, its steps).
        elapsed_steps: Steps of it that have passed; beyond its end it asks for nothing.
        bounds: What the approval allows.
        change_weight: Cost per Wh of leaving the plan in force; None for the problem's own.

    Raises:
        ValueError: Shapes do not fit, or bounds do not contain zero power.
    """
    shape = (problem.sites, problem.steps)
    if previous_w.ndim != 2 or previous_w.shape[0] != problem.sites or elapsed_steps < 0:
        raise ValueError(f"previous_w has shape {previous_w.shape} and elapsed_steps is {elapsed_steps}")
    if (bounds.min_w.shape, bounds.max_w.shape, bounds.floor_wh.shape) != (shape, shape, shape):
        raise ValueError(f"bounds do not have shape {shape}")
    if not ((bounds.min_w <= 0.0) & (bounds.max_w >= 0.0)).all():
        raise ValueError("bounds do not contain zero power everywhere")
    old = np.zeros(shape)
    rest = previous_w[:, elapsed_steps : elapsed_steps + problem.steps]
    old[:, : rest.shape[1]] = rest
    goal = problem.objectives
    weight = goal.change_weight if change_weight is None else change_weight
    inside = replace(
        problem,
        max_charge_w=np.minimum(problem.max_charge_w, bounds.max_w),
        max_discharge_w=np.minimum(problem.max_discharge_w, -bounds.min_w),
        floor_wh=np.minimum(np.maximum(problem.floor_wh, bounds.floor_wh), problem.ceiling_wh),
        discharge_budget_wh=np.minimum(problem.discharge_budget_wh, bounds.discharge_wh),
        objectives=replace(goal, previous_w=old, change_weight=weight),
    )
    solution = solve(inside, name="replan")
    return Replan(solution=solution, changes=_changes(inside, old, solution))


def _changes(problem: DispatchProblem, old: Floats, solution: DispatchSolution) -> tuple[Change, ...]:
    moved = np.abs(solution.setpoint_w - old).sum(axis=1) * problem.step_h
    energy = energy_wh(problem, old)[:, 1:]
    eta_r = problem.rectifier_efficiency[problem.efficiency_class][:, None]
    top = np.minimum(problem.max_charge_w, problem.rectifier_headroom_w)
    top = np.minimum(top, problem.connection_headroom_w * eta_r)
    before = np.concatenate([problem.start_w[:, None], old[:, :-1]], axis=1)
    spent = np.maximum(-old, 0.0).sum(axis=1) * problem.step_h
    reasons = {
        "not_eligible": ~problem.eligible,
        "start_power": solution.unused,
        "recovery": solution.recovery,
        "charge_limit": (old > top + SLACK).any(axis=1),
        "discharge_limit": (-old > np.minimum(problem.max_discharge_w, problem.load_cap_w) + SLACK).any(
            axis=1
        ),
        "ramp": (np.abs(old - before) > problem.ramp_w[:, None] + SLACK).any(axis=1),
        "floor": (energy < problem.floor_wh - SLACK).any(axis=1),
        "ceiling": (energy > np.maximum(problem.ceiling_wh, problem.initial_wh[:, None]) + SLACK).any(axis=1),
        "budget": spent > problem.discharge_budget_wh + SLACK,
    }
    out: list[Change] = []
    for site in np.flatnonzero(moved > CHANGED_WH).tolist():
        reason = next((name for name, which in reasons.items() if which[site]), "objective")
        out.append(Change(site=site, moved_wh=float(moved[site]), reason=reason))
    return tuple(out)
