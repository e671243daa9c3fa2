"""Alternatives and the rolling horizon."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tools.planning.instances import calm
from tools.planning.alternatives import alternatives
from tools.planning.problem import DispatchProblem, Objectives
from tools.planning.replan import EnvelopeBounds, replan
from ui.bench.dispatch_check import violations
from ui.bench.dispatch_fleet import make_fleet

PRICE = np.array([[0.1, 0.1, 0.3, 0.3]]) / 1e3


def wide(problem: DispatchProblem) -> EnvelopeBounds:
    shape = (problem.sites, problem.steps)
    return EnvelopeBounds(
        min_w=np.full(shape, -1e6),
        max_w=np.full(shape, 1e6),
        floor_wh=np.zeros(shape),
        discharge_wh=np.full(problem.sites, np.inf),
    )


def test_gentle_moves_less_and_reserve_keeps_more() -> None:
    problem = make_fleet(1, 80, feeders=2, clusters=False)
    deep, gentle, reserve = alternatives(problem, 3)
    assert [deep.name, gentle.name, reserve.name] == ["deep", "gentle", "reserve"]
    assert gentle.trade_off.throughput_cycles < deep.trade_off.throughput_cycles
    assert gentle.trade_off.energy_wh < 0.8 * deep.trade_off.energy_wh
    excess = np.maximum(problem.background_w - problem.import_limit_w, 0.0)
    served = np.minimum(excess, deep.import_without_w - gentle.import_with_w).sum() / excess.sum()
    assert served >= 0.65
    kept = (reserve.energy_wh[:, 1:] - problem.floor_wh)[~reserve.recovery].min(axis=1)
    spent = (deep.energy_wh[:, 1:] - problem.floor_wh)[~deep.recovery].min(axis=1)
    assert kept.mean() > 1.5 * spent.mean()
    assert deep.bound == gentle.bound == reserve.bound
    assert deep.gap <= gentle.gap
    for plan in (deep, gentle, reserve):
        assert violations(problem, plan.setpoint_w, plan.recovery, plan.unused) == {}


def test_arbitrage_alone_has_a_gentle_plan_too() -> None:
    price = np.array([[0.10, 0.20, 0.10, 0.40]]) / 1e3
    deep, gentle = alternatives(calm(objectives=Objectives(import_price=price)))
    # All three trades against the two that pay more than half the widest spread per cycle.
    assert deep.trade_off.throughput_cycles > gentle.trade_off.throughput_cycles > 0.0


def test_more_alternatives_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="count is 4"):
        alternatives(calm(), 4)


def test_a_replan_with_nothing_new_changes_nothing() -> None:
    problem = calm(objectives=Objectives(import_price=PRICE))
    old = np.array([[0.0, 500.0, 0.0, -500.0, -500.0]])
    out = replan(problem, old, 1, wide(problem))
    assert out.solution.objective == pytest.approx(-0.25, abs=1e-6)
    held = replan(problem, old, 1, wide(problem), change_weight=1.0)
    assert held.solution.setpoint_w[0] == pytest.approx([500.0, 0.0, -500.0, -500.0], abs=1e-2)
    assert held.changes == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"eligible": np.zeros(1, dtype=bool)}, "not_eligible"),
        ({"load_cap_w": np.full((1, 4), 200.0)}, "discharge_limit"),
        ({"max_charge_w": np.full((1, 4), 100.0)}, "charge_limit"),
        ({"floor_wh": np.full((1, 4), 300.0)}, "floor"),
        ({"ceiling_wh": np.full((1, 4), 800.0)}, "ceiling"),
        ({"ramp_w": np.array([300.0])}, "ramp"),
        ({"discharge_budget_wh": np.array([600.0])}, "budget"),
        ({"objectives": Objectives(import_price=PRICE[:, ::-1].copy())}, "objective"),
    ],
)
def test_a_change_says_why(change: dict[str, np.ndarray], reason: str) -> None:
    problem = replace(calm(objectives=Objectives(import_price=PRICE)), **change)  # type: ignore[arg-type]
    old = np.array([[500.0, 0.0, -500.0, -500.0]])
    out = replan(problem, old, 0, wide(problem), change_weight=1e-5)
    assert [(one.site, one.reason) for one in out.changes] == [(0, reason)]


def test_a_replan_stays_inside_the_envelope() -> None:
    problem = make_fleet(4, 60, feeders=2, clusters=False)
    shape = (problem.sites, problem.steps)
    bounds = EnvelopeBounds(
        min_w=np.full(shape, -400.0),
        max_w=np.full(shape, 300.0),
        floor_wh=problem.floor_wh + 200.0,
        discharge_wh=np.full(problem.sites, 900.0),
    )
    plan = replan(problem, np.zeros((problem.sites, 2)), 0, bounds).solution
    assert plan.setpoint_w.min() >= -400.0 - 1e-5
    assert plan.setpoint_w.max() <= 300.0 + 1e-5
    assert np.maximum(-plan.setpoint_w, 0.0).sum(axis=1).max() * problem.step_h <= 900.0 + 1e-5
    moved = ~plan.recovery & (np.abs(plan.setpoint_w).max(axis=1) > 0.0)
    kept = plan.energy_wh[:, 1:] >= np.minimum(bounds.floor_wh, problem.ceiling_wh) - 1e-4
    assert kept[moved].all()


def test_bounds_without_zero_are_refused() -> None:
    problem = calm()
    bounds = replace(wide(problem), max_w=np.full((1, 4), -1.0))
    with pytest.raises(ValueError, match="do not contain zero"):
        replan(problem, np.zeros((1, 4)), 0, bounds)
