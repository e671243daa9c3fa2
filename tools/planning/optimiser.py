"""The fleet optimiser: a proven bound from super-batteries, a plan from splitting them, and how far apart they are."""

import time
from dataclasses import dataclass

import numpy as np

from tools.planning.allocate import allocate
from tools.planning.binding import find_bindings
from tools.planning.check import broken_sites, over_feeders
from tools.planning.cost import cost, energy_wh, import_change_w
from tools.planning.groups import Groups, make_groups, sum_by
from tools.planning.prepare import Prepared, prepare
from tools.planning.problem import DispatchProblem, Floats, Ints
from tools.planning.relaxation import Relaxation, constant_cost
from tools.planning.solution import DispatchSolution
from tools.planning.split import Target, split
from tools.planning.tradeoff import trade_off

ROUNDS = 3
CUTS = 6
"""Rounds of cuts for each of the three sets of limits."""
SPREADS = (2.0, 8.0)
"""Splits tried for each target, see `split`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    setpoint_w: Floats
    objective: float


def solve(problem: DispatchProblem, *, name: str = "best", rounds: int = ROUNDS) -> DispatchSolution:
    """Return the best plan found, with a bound that no plan can beat.

    Raises:
        SolverError: The LP solver failed, which no well-formed problem should cause.
    """
    started = time.process_time()
    prepared = prepare(problem)
    groups = make_groups(prepared)
    programmes = [Relaxation(prepared, groups, feeders) for feeders in _blocks(problem)]
    fixed = constant_cost(prepared, groups)
    bound_no_ramp = fixed + sum(p.solve(groups.loose, cuts=CUTS).value for p in programmes)
    bound = fixed + sum(p.solve(groups.tight, cuts=CUTS).value for p in programmes)
    target = _ask(programmes, groups, cuts=CUTS)
    nothing = _nothing(prepared, groups)
    best = _rounds(prepared, groups, programmes, target, nothing=nothing, rounds=rounds)
    return _solution(
        prepared,
        best,
        nothing=nothing.objective,
        bounds=(bound, min(bound_no_ramp, bound)),
        name=name,
        seconds=time.process_time() - started,
    )


def _blocks(problem: DispatchProblem) -> list[Ints]:
    """Feeders that must be solved together: all of them for a target of the whole fleet, else each alone."""
    everything = np.arange(problem.feeders)
    if problem.objectives.fleet_follow_w is not None:
        return [everything]
    return [everything[f : f + 1] for f in range(problem.feeders)]


def _ask(
    programmes: list[Relaxation],
    groups: Groups,
    charge: Floats | None = None,
    discharge: Floats | None = None,
    *,
    cuts: int = 0,
) -> Target:
    """Solve for the plan's own limits: the answers are targets, not bounds."""
    shape = groups.plan.charge_w.shape
    wanted_charge, wanted_discharge = np.zeros(shape), np.zeros(shape)
    for programme in programmes:
        answer = programme.solve(groups.plan, charge, discharge, cuts=cuts)
        wanted_charge[programme.mine] = answer.charge_w
        wanted_discharge[programme.mine] = answer.discharge_w
    return Target(charge_w=wanted_charge, discharge_w=wanted_discharge)


def _nothing(prepared: Prepared, groups: Groups) -> _Found:
    """What floors, ramps from the start and recovery demand when nobody asks for anything."""
    zero = np.zeros((groups.count, prepared.problem.steps))
    return _try(prepared, groups, Target(charge_w=zero, discharge_w=zero), 2.0)


def _try(
    prepared: Prepared,
    groups: Groups,
    target: Target,
    spread: float,
    *,
    safe_w: Floats | None = None,
    base_w: Floats | None = None,
) -> _Found:
    plan = split(prepared, groups, target, spread_steps=spread, base_w=base_w)
    plan = _withdraw(prepared, plan, safe_w)
    return _Found(setpoint_w=plan, objective=cost(prepared.problem, plan))


def _withdraw(prepared: Prepared, plan: Floats, safe_w: Floats | None) -> Floats:
    """Put the safe rows in place of rows that break a limit; what is still broken idles."""
    broken = broken_sites(prepared, plan)
    for rows in (safe_w, np.zeros_like(plan)):
        if rows is None or not broken.any():
            continue
        plan = np.where(broken[:, None], rows, plan)
        broken = broken_sites(prepared, plan)
    over = over_feeders(prepared, plan)
    if over.any() and safe_w is not None:
        plan = np.where(over[prepared.problem.feeder][:, None], safe_w, plan)
    return plan


def _rounds(
    prepared: Prepared,
    groups: Groups,
    programmes: list[Relaxation],
    target: Target,
    *,
    nothing: _Found,
    rounds: int,
) -> _Found:
    """Split, cap each group at what its sites delivered, ask again."""
    goal = prepared.problem.objectives
    follow = goal.previous_w is not None and goal.change_weight > 0.0
    charge_cap = np.full((groups.count, prepared.problem.steps), np.inf)
    discharge_cap = charge_cap.copy()
    best = nothing
    for number in range(rounds):
        base = goal.previous_w if follow else allocate(prepared, groups, target.charge_w - target.discharge_w)
        tries = [
            _try(prepared, groups, target, spread, safe_w=nothing.setpoint_w, base_w=base)
            for spread in SPREADS
        ]
        found = min(tries, key=lambda one: one.objective)
        best = min(best, found, key=lambda one: one.objective)
        if number + 1 == rounds:
            break
        given = sum_by(groups.of_site, found.setpoint_w, groups.count)
        short_d = np.maximum(-given, 0.0) < target.discharge_w - target.charge_w - 1.0
        short_c = np.maximum(given, 0.0) < target.charge_w - target.discharge_w - 1.0
        if not (short_d.any() or short_c.any()):
            break
        discharge_cap = np.where(short_d, np.minimum(discharge_cap, np.maximum(-given, 0.0)), discharge_cap)
        charge_cap = np.where(short_c, np.minimum(charge_cap, np.maximum(given, 0.0)), charge_cap)
        target = _ask(programmes, groups, charge_cap, discharge_cap)
    return best


def _solution(
    prepared: Prepared,
    best: _Found,
    *,
    nothing: float,
    bounds: tuple[float, float],
    name: str,
    seconds: float,
) -> DispatchSolution:
    problem, plan = prepared.problem, best.setpoint_w
    bound, loose = bounds
    return DispatchSolution(
        name=name,
        setpoint_w=plan,
        energy_wh=energy_wh(problem, plan),
        import_without_w=problem.background_w.copy(),
        import_with_w=problem.background_w + import_change_w(problem, plan),
        objective=best.objective,
        nothing=nothing,
        bound=bound,
        bound_no_ramp=loose,
        gap=gap(best.objective, bound, nothing),
        gap_no_ramp=gap(best.objective, loose, nothing),
        recovery=prepared.recovery.copy(),
        unused=prepared.unused.copy(),
        binding=find_bindings(prepared, plan),
        trade_off=trade_off(problem, plan, prepared.recovery),
        seconds=seconds,
    )


def gap(objective: float, bound: float, nothing: float) -> float:
    """Return (bound - plan) / (bound - doing nothing), zero where nothing can be gained."""
    gain = nothing - bound
    if gain <= 1e-6 * (1.0 + abs(nothing)):
        return 0.0
    return max(objective - bound, 0.0) / gain
