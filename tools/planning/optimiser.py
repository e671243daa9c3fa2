"""The fleet optimiser: a proven bound from super-batteries, a plan from splitting them, and how far apart they are."""

import time
from dataclasses import dataclass

import numpy as np

from tools.planning.allocate import allocate, runs
from tools.planning.binding import find_bindings
from tools.planning.check import broken_sites, over_feeders
from tools.planning.cost import cost_by_feeder, energy_wh, fleet_cost, import_change_w
from tools.planning.cuts import WORTH, Cut
from tools.planning.groups import Groups, make_groups
from tools.planning.prepare import Prepared, prepare
from tools.planning.problem import DispatchProblem, Floats, Ints
from tools.planning.relaxation import Relaxation, constant_cost
from tools.planning.solution import DispatchSolution
from tools.planning.split import Splitter, Target
from tools.planning.sums import sum_by
from tools.planning.tradeoff import trade_off
from tools.planning.viability import GRID_SIDE

ROUNDS = 2
MISSED_W = 1.0
CUTS_LOOSE, CUTS_TIGHT, CUTS_PLAN = 5, 1, 2
"""Rounds of cuts for each of the three sets of limits, each starting from the cuts before it."""
SPREAD_STEPS = 8.0
"""How evenly the split spreads what the first division missed, see `split`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    setpoint_w: Floats
    objective: float
    by_feeder: Floats


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
    bound_no_ramp = fixed + sum(p.solve(groups.loose, cuts=CUTS_LOOSE).value for p in programmes)
    bound = fixed + sum(p.solve(groups.tight, cuts=CUTS_TIGHT).value for p in programmes)
    for programme in programmes:
        programme.be_frugal()
    target = _ask(programmes, groups, cuts=CUTS_PLAN)
    splitter = Splitter(prepared, groups)
    nothing = _nothing(prepared, groups)
    best = _rounds(prepared, groups, programmes, target, splitter=splitter, nothing=nothing, rounds=rounds)
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
    """What floors, ramps from the start and recovery demand when nobody asks for anything.

    Only sites that cannot stay at zero power all along have to be worked out.
    """
    problem = prepared.problem
    least_wh = prepared.viability.need_wh[:, :, GRID_SIDE].max(axis=0)
    forced = prepared.active & ((problem.start_w != 0.0) | (problem.initial_wh < least_wh))
    if not forced.any():
        return _judge(problem, prepared.fixed_w)
    zero = np.zeros((groups.count, problem.steps))
    splitter = Splitter(prepared, groups, forced)
    return _try(prepared, splitter, Target(charge_w=zero, discharge_w=zero))


def _try(
    prepared: Prepared,
    splitter: Splitter,
    target: Target,
    *,
    safe_w: Floats | None = None,
    base_w: Floats | None = None,
) -> _Found:
    plan = splitter.split(target, spread_steps=SPREAD_STEPS, base_w=base_w)
    plan = _withdraw(prepared, plan, safe_w)
    return _judge(prepared.problem, plan)


def _judge(problem: DispatchProblem, plan: Floats) -> _Found:
    change = import_change_w(problem, plan)
    by_feeder = cost_by_feeder(problem, plan, change)
    objective = float(by_feeder.sum()) + fleet_cost(problem, change)
    return _Found(setpoint_w=plan, objective=objective, by_feeder=by_feeder)


def _better(problem: DispatchProblem, old: _Found, new: _Found) -> _Found:
    """Take each feeder's better plan, or the better whole where a target couples the feeders."""
    if problem.objectives.fleet_follow_w is not None:
        return min(old, new, key=lambda one: one.objective)
    wins = new.by_feeder < old.by_feeder
    return _judge(problem, np.where(wins[problem.feeder][:, None], new.setpoint_w, old.setpoint_w))


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
    splitter: Splitter,
    nothing: _Found,
    rounds: int,
) -> _Found:
    """Split, cap each group at what its sites delivered, ask again."""
    goal = prepared.problem.objectives
    follow = goal.previous_w is not None and goal.change_weight > 0.0
    best = nothing
    for number in range(rounds):
        base = goal.previous_w if follow else allocate(prepared, groups, target.charge_w - target.discharge_w)
        found = _try(prepared, splitter, target, safe_w=nothing.setpoint_w, base_w=base)
        best = _better(prepared.problem, best, found)
        if number + 1 == rounds:
            break
        given = sum_by(groups.of_site, found.setpoint_w, groups.count)
        if _learn(prepared, groups, programmes, target, given) == 0:
            break
        target = _ask(programmes, groups, cuts=1)
    return best


def _learn(
    prepared: Prepared, groups: Groups, programmes: list[Relaxation], target: Target, given_w: Floats
) -> int:
    """Hold each group to the energy that its sites delivered over the steps at least as hard as those missed.

    Returns how many runs fell short.
    """
    short = 0
    wanted_w = target.charge_w - target.discharge_w
    for programme in programmes:
        for group in programme.mine.tolist():
            for first, last, sign in runs(wanted_w[group]):
                steps = np.arange(first, last + 1)
                most = groups.plan.charge_w if sign > 0.0 else groups.plan.discharge_w
                asked = np.maximum(sign * wanted_w[group, steps], 0.0)
                given = np.minimum(np.maximum(sign * given_w[group, steps], 0.0), asked)
                missed = asked - given > np.maximum(WORTH * asked, MISSED_W)
                if not missed.any():
                    continue
                use = asked / np.maximum(most[group, steps], 1e-9)
                hard = (use >= use[missed].min()) & (asked > 0.0)
                programme.add(group, _held(prepared, groups, group, sign, steps[hard], given[hard]))
                short += 1
    return short


def _held(prepared: Prepared, groups: Groups, group: int, sign: float, steps: Ints, given_w: Floats) -> Cut:
    problem, kind = prepared.problem, groups.efficiency_class[group]
    eta = problem.charge_efficiency[kind] if sign > 0.0 else 1.0 / problem.discharge_efficiency[kind]
    most = float(given_w.sum() * problem.step_h * eta)
    return Cut(discharging=sign < 0.0, chosen=steps, window=np.zeros(0, dtype=np.int64), most_wh=most)


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
