"""The bound against the full linear programme, and every plan against an independent simulation."""

import numpy as np
import pytest

from tests.tools.planning.instances import nasty
from tools.planning.cost import cost
from tools.planning.optimiser import solve
from tools.planning.problem import DispatchProblem
from tools.planning.solution import DispatchSolution
from ui.bench.dispatch_check import violations
from ui.bench.dispatch_fleet import make_fleet
from ui.bench.dispatch_reference import optimum


def exact(
    problem: DispatchProblem, plan: DispatchSolution, *, ramps: bool = True, clusters: bool = False
) -> tuple[float, np.ndarray]:
    moved = problem.eligible & ~plan.recovery & ~plan.unused
    fixed = np.where(moved[:, None], 0.0, plan.setpoint_w)
    return optimum(problem, fixed, moved, ramps=ramps, clusters=clusters)


@pytest.mark.parametrize("seed", range(40))
def test_no_plan_beats_the_bound_and_no_plan_breaks_a_limit(seed: int) -> None:
    problem = nasty(seed)
    plan = solve(problem)
    assert violations(problem, plan.setpoint_w, plan.recovery, plan.unused) == {}
    best, best_plan = exact(problem, plan)
    best_no_ramp, _ = exact(problem, plan, ramps=False)
    # The programme may charge and discharge at once, which only costs it.
    assert cost(problem, best_plan) <= best + 1e-6
    assert plan.bound <= best + 1e-9
    assert plan.bound_no_ramp <= best_no_ramp + 1e-9
    assert plan.bound_no_ramp <= plan.bound
    assert plan.objective >= best - 1e-6
    assert plan.objective == pytest.approx(cost(problem, plan.setpoint_w))


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_holds_with_radio_clusters_too(seed: int) -> None:
    problem = nasty(1000 + seed, clusters=True)
    plan = solve(problem)
    assert violations(problem, plan.setpoint_w, plan.recovery, plan.unused) == {}
    best, _ = exact(problem, plan, clusters=True)
    assert plan.bound <= best + 1e-6 * (1.0 + abs(best))


def test_the_bound_is_close_to_the_full_programme_on_a_feeder_of_alike_sites() -> None:
    problem = make_fleet(3, 40, steps=48, feeders=1, clusters=False)
    plan = solve(problem)
    best, _ = exact(problem, plan)
    assert 0.0 <= best - plan.bound <= 0.01 * (plan.nothing - best)
    assert plan.gap <= 0.04


def test_every_limit_holds_on_a_whole_simulated_fleet() -> None:
    problem = make_fleet(5, 600, feeders=6, classes=3)
    plan = solve(problem)
    assert violations(problem, plan.setpoint_w, plan.recovery, plan.unused) == {}
    assert plan.gap <= 0.05
    assert plan.recovery.sum() > 0
