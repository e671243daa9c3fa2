"""Each objective alone and some together: the optimum worked out by hand, and the plan that reaches it.

One lossless battery of 1 kWh at 500 Wh, 1 kW both ways, four hours (`calm`); prices are told per kWh.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.tools.planning.instances import calm
from tools.planning.optimiser import solve
from tools.planning.problem import DispatchProblem, Floats, Objectives
from tools.planning.solution import DispatchSolution

NEAR = 2e-6


def per_wh(*per_kwh: float) -> Floats:
    return np.array([per_kwh]) / 1e3


def best(goal: Objectives, objective: float, **changes: object) -> DispatchSolution:
    """Solve, and find the optimum worked out by hand as the plan's cost and as the proven bound."""
    problem: DispatchProblem = replace(calm(objectives=goal), **changes)  # type: ignore[arg-type]
    plan = solve(problem)
    size = 1.0 + abs(objective)
    assert plan.objective == pytest.approx(objective, abs=NEAR * size)
    assert plan.bound == pytest.approx(objective, abs=NEAR * size)
    assert plan.bound <= plan.objective + NEAR * size
    return plan


STAIRS = per_wh(0.1, 0.1, 0.3, 0.3)


@pytest.mark.parametrize("export", [0.05, 0.1])
def test_what_is_fed_in_earns_the_export_price_and_is_not_bought_for_less(export: float) -> None:
    # 400 Wh against own load at 0.30 in two hours, the last 100 Wh against own load at 0.10.
    goal = Objectives(import_price=STAIRS, export_price=per_wh(*[export] * 4))
    best(goal, -0.4 * 0.3 - 0.1 * 0.1, self_use_w=np.full((1, 4), 200.0))


def test_a_good_export_price_is_worth_buying_for() -> None:
    goal = Objectives(import_price=STAIRS, export_price=per_wh(0.0, 0.0, 0.2, 0.2))
    plan = best(goal, 0.05 - 0.4 * 0.3 - 0.6 * 0.2, self_use_w=np.full((1, 4), 200.0))
    assert plan.setpoint_w[0, :2].sum() == pytest.approx(500.0, abs=0.1)


HILL = np.array([[10_000.0, 10_000.0, 12_000.0, 10_000.0]])


@pytest.mark.parametrize("goal", [{"peak_weight": 1e-3}, {"demand_charge_per_w": 1e-3}])
def test_a_peak_is_shaved_by_all_that_the_battery_can_store(goal: dict[str, float]) -> None:
    # 500 Wh are there, 500 Wh are charged before: the peak falls by 1 kW.
    plan = best(Objectives(**goal), 11.0, background_w=HILL)  # type: ignore[arg-type]
    assert plan.import_with_w.max() == pytest.approx(11_000.0, abs=0.1)
    assert plan.nothing == pytest.approx(12.0)


def test_a_demand_charge_is_not_saved_below_what_is_billed_already() -> None:
    goal = Objectives(demand_charge_per_w=1e-3, billed_peak_w=np.array([11_400.0]))
    plan = best(goal, 11.4, background_w=HILL)
    assert plan.import_with_w.max() <= 11_400.0 + 0.1
    # With wear it takes no more than the 600 Wh that it needs, of which 100 Wh are charged before or after.
    worn = replace(goal, ageing_per_wh=np.array([1e-6]))
    assert best(worn, 11.4 + 700e-6, background_w=HILL).setpoint_w[0, 2] == pytest.approx(-600.0, abs=0.1)


GREEN = per_wh(0.4, 0.1, 0.1, 0.5)  # kg per kWh


def test_carbon_is_a_price_and_adds_to_one() -> None:
    # 500 Wh given at 0.4 kg, 1 kWh taken at 0.1, given at 0.5: 0.6 kg less.
    goal = Objectives(carbon_kg_per_wh=GREEN, carbon_price=1.0)
    plan = best(goal, -0.6)
    assert plan.setpoint_w[0, [0, 3]] == pytest.approx([-500.0, -1000.0], abs=0.1)
    assert best(replace(goal, carbon_price=2.0), -1.2).objective < 0.0
    # A flat price of 0.10 for the 500 Wh that are not bought back.
    best(replace(goal, import_price=per_wh(*[0.1] * 4)), -0.65)
    # 2500 Wh moved at 0.05 a kWh of wear.
    best(replace(goal, ageing_per_wh=np.array([5e-5])), -0.6 + 0.125)


@pytest.mark.parametrize(("worth", "objective", "left_wh"), [(0.2, -0.05, 1000.0), (0.05, -0.025, 0.0)])
def test_what_is_left_at_the_end_has_a_worth(worth: float, objective: float, left_wh: float) -> None:
    # Dearer than the price of 0.10: 500 Wh are bought for 0.05 and worth 0.10; cheaper: 500 Wh are sold.
    goal = Objectives(import_price=per_wh(*[0.1] * 4), terminal_value_per_wh=worth / 1e3)
    assert best(goal, objective).energy_wh[0, -1] == pytest.approx(left_wh, abs=0.1)


def test_a_target_by_feeder_is_followed_both_ways_and_missed_by_what_the_battery_lacks() -> None:
    want = np.array([[-300.0, 0.0, 200.0, 0.0]])
    plan = best(Objectives(follow_w=want, follow_weight=np.ones((1, 4))), 0.0)
    assert plan.setpoint_w == pytest.approx(want, abs=0.1)
    long = best(Objectives(follow_w=np.full((1, 4), -300.0), follow_weight=np.ones((1, 4))), 700.0)
    assert long.binding[0].constraint == "floor"
    # Where missing it costs more, there the energy goes.
    dear = np.array([[1.0, 1.0, 5.0, 1.0]])
    assert best(Objectives(follow_w=np.full((1, 4), -300.0), follow_weight=dear), 700.0).setpoint_w[
        0, 2
    ] == pytest.approx(-300.0, abs=0.1)


@pytest.mark.parametrize(("weight", "objective", "last_w"), [(1e-6, -0.259, -1000.0), (1e-5, -0.255, -500.0)])
def test_a_plan_in_force_is_left_as_it_is_where_a_change_does_not_pay(
    weight: float, objective: float, last_w: float
) -> None:
    # The last hour is now 0.01 dearer: moving 500 Wh there earns 0.005 and changes 1000 Wh of setpoints.
    goal = Objectives(
        import_price=per_wh(0.1, 0.1, 0.3, 0.31),
        previous_w=np.array([[500.0, 0.0, -500.0, -500.0]]),
        change_weight=weight,
    )
    plan = best(goal, objective)
    assert plan.setpoint_w[0, 3] == pytest.approx(last_w, abs=0.1)


def test_excess_price_ageing_and_worth_together() -> None:
    # 300 W too much in the first, cheap hour: 300 Wh go there first. 800 Wh are bought in the second, 1 kWh sold dear.
    background = np.array([[10_300.0, 10_000.0, 10_000.0, 10_000.0]])
    goal = Objectives(
        excess_weight=1.0,
        import_price=STAIRS,
        ageing_per_wh=np.array([1e-5]),
        terminal_value_per_wh=1e-4,
    )
    priced = -0.3 * 0.1 + 0.8 * 0.1 - 0.3
    # 2100 Wh moved, 500 Wh less at the end.
    plan = best(
        goal,
        priced + 2100 * 1e-5 + 500 * 1e-4,
        background_w=background,
        import_limit_w=np.array([[10_000.0, 11_000.0, 11_000.0, 11_000.0]]),
    )
    assert plan.setpoint_w[0, :2] == pytest.approx([-300.0, 800.0], abs=0.1)
    assert plan.trade_off.shaved_w == pytest.approx(300.0, abs=0.1)


def test_a_start_above_the_band_is_no_reason_to_fail() -> None:
    """Fuller than its ceiling: it may keep what it has, may not be charged, and may give."""
    over = {"initial_wh": np.array([900.0]), "ceiling_wh": np.full((1, 4), 600.0)}
    plan = best(Objectives(import_price=STAIRS), -0.27, **over)
    assert not plan.recovery.any()
    assert plan.setpoint_w.max() <= 1e-6
    assert plan.energy_wh.max() <= 900.0
