"""Small cases with values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tools.planning.instances import calm
from tools.planning.optimiser import gap, solve
from tools.planning.problem import Objectives

PRICE = np.array([[0.1, 0.1, 0.3, 0.3]]) / 1e3
SHAVE = Objectives(excess_weight=1.0)


def shaving(excess_w: float, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Background and limit of 10 kW with `excess_w` too much in one step."""
    background = np.full((1, 4), 10_000.0)
    background[0, step] += excess_w
    return background, np.full((1, 4), 10_000.0)


def test_arbitrage_fills_at_the_low_price_and_empties_at_the_high_one() -> None:
    plan = solve(calm(objectives=Objectives(import_price=PRICE)))
    # 500 Wh bought for 0.05, 1000 Wh sold for 0.30.
    assert plan.objective == pytest.approx(-0.25, abs=1e-6)
    assert plan.bound == pytest.approx(-0.25, abs=1e-6)
    assert plan.nothing == 0.0
    assert plan.gap == pytest.approx(0.0, abs=1e-5)
    assert plan.energy_wh[0, -1] == pytest.approx(0.0, abs=1e-3)


def test_efficiencies_cost_what_they_should() -> None:
    lossy = replace(
        calm(objectives=Objectives(import_price=PRICE)),
        initial_wh=np.zeros(1),
        charge_efficiency=np.array([0.8]),
        discharge_efficiency=np.array([0.9]),
        rectifier_efficiency=np.array([0.95]),
    )
    plan = solve(lossy)
    # Full: 1000 / 0.8 at the terminals, / 0.95 at the meter; back 1000 x 0.9, / 0.95 at the meter.
    wanted = 1250.0 / 0.95 * 1e-4 - 900.0 / 0.95 * 3e-4
    assert plan.objective == pytest.approx(wanted, abs=1e-6)


def test_ageing_dearer_than_the_spread_stops_arbitrage() -> None:
    plan = solve(calm(objectives=Objectives(import_price=PRICE, ageing_per_wh=np.array([3e-4]))))
    assert np.abs(plan.setpoint_w).max() == pytest.approx(0.0, abs=1e-3)
    assert plan.gap == 0.0


def test_an_excess_within_reach_is_taken_away_whole() -> None:
    background, limit = shaving(300.0)
    plan = solve(replace(calm(objectives=SHAVE), background_w=background, import_limit_w=limit))
    assert plan.import_with_w[0, 1] == pytest.approx(10_000.0, abs=0.1)
    assert plan.binding == ()
    assert plan.trade_off.shaved_w == pytest.approx(300.0, abs=0.1)
    assert plan.trade_off.energy_wh == pytest.approx(300.0, abs=0.1)


@pytest.mark.parametrize(
    ("change", "constraint", "reached_w"),
    [
        ({"load_cap_w": np.full((1, 4), 250.0)}, "load_cap", 250.0),
        ({"max_discharge_w": np.full((1, 4), 200.0)}, "power", 200.0),
        ({"floor_wh": np.full((1, 4), 380.0)}, "floor", 120.0),
        ({"ramp_w": np.array([90.0])}, "ramp", 180.0),
        ({"discharge_budget_wh": np.array([70.0])}, "budget", 70.0),
        ({"eligible": np.zeros(1, dtype=bool)}, "not_eligible", 0.0),
    ],
)
def test_what_cannot_be_reached_names_what_stands_in_the_way(
    change: dict[str, np.ndarray], constraint: str, reached_w: float
) -> None:
    background, limit = shaving(400.0)
    problem = replace(calm(objectives=SHAVE), background_w=background, import_limit_w=limit, **change)  # type: ignore[arg-type]
    plan = solve(problem)
    assert -plan.setpoint_w[0, 1] == pytest.approx(reached_w, abs=0.1)
    assert plan.objective == pytest.approx(400.0 - reached_w, abs=0.1)
    assert plan.binding[0].constraint == constraint
    assert (plan.binding[0].feeder, plan.binding[0].first_step, plan.binding[0].last_step) == (0, 1, 1)
    assert plan.binding[0].shortfall_w == pytest.approx(400.0 - reached_w, abs=0.1)


def test_a_site_below_its_band_only_charges_and_the_fleet_goes_on() -> None:
    background, limit = shaving(300.0, step=2)
    problem = replace(
        calm(2, objectives=SHAVE),
        background_w=background,
        import_limit_w=limit + np.array([[150.0, 100.0, 0.0, 0.0]]),
        initial_wh=np.array([100.0, 500.0]),
        floor_wh=np.full((2, 4), 300.0),
    )
    plan = solve(problem)
    assert plan.recovery.tolist() == [True, False]
    # 200 Wh are missing; the headroom is 150 W, then 100 W.
    assert plan.setpoint_w[0] == pytest.approx([150.0, 50.0, 0.0, 0.0], abs=1e-3)
    assert plan.setpoint_w[1, 2] == pytest.approx(-250.0, abs=0.1)


def test_a_site_that_cannot_recover_for_want_of_headroom_waits() -> None:
    problem = replace(
        calm(),
        initial_wh=np.array([100.0]),
        floor_wh=np.full((1, 4), 300.0),
        import_limit_w=np.full((1, 4), 9_000.0),
    )
    plan = solve(problem)
    assert plan.recovery.tolist() == [True]
    assert (plan.setpoint_w == 0.0).all()


def test_charging_stays_within_the_headroom_below_the_feeder_limit() -> None:
    problem = replace(
        calm(2, objectives=Objectives(import_price=PRICE)), import_limit_w=np.full((1, 4), 10_060.0)
    )
    plan = solve(problem)
    assert plan.setpoint_w[:, :2].sum(axis=0).max() <= 60.0 + 1e-6
    assert plan.setpoint_w[:, :2].sum() == pytest.approx(120.0, abs=0.1)


def test_a_site_that_may_not_be_used_gets_exactly_zero() -> None:
    problem = replace(
        calm(3, objectives=Objectives(import_price=PRICE)), eligible=np.array([True, False, True])
    )
    plan = solve(problem)
    assert (plan.setpoint_w[1] == 0.0).all()
    assert plan.objective == pytest.approx(-0.5, abs=1e-5)


def test_a_power_at_the_start_that_no_ramp_can_bring_back_leaves_the_site_alone() -> None:
    problem = replace(
        calm(objectives=Objectives(import_price=PRICE)),
        start_w=np.array([900.0]),
        ramp_w=np.array([100.0]),
        max_charge_w=np.full((1, 4), 500.0),
    )
    plan = solve(problem)
    assert plan.unused.tolist() == [True]
    assert (plan.setpoint_w == 0.0).all()


def test_a_floor_that_rises_later_is_charged_for_in_time_with_a_ramp() -> None:
    floor = np.array([[0.0, 0.0, 0.0, 800.0]])
    plan = solve(
        replace(calm(objectives=Objectives(import_price=PRICE)), floor_wh=floor, ramp_w=np.array([100.0]))
    )
    assert not plan.recovery.any()
    assert plan.energy_wh[0, -1] >= 800.0 - 1e-6
    assert np.abs(np.diff(np.concatenate([[0.0], plan.setpoint_w[0]]))).max() <= 100.0 + 1e-5


def test_half_of_a_radio_cluster_stays_above_its_low_mark() -> None:
    problem = replace(
        calm(4, objectives=Objectives(import_price=PRICE)),
        radio_cluster=np.zeros(4, dtype=np.int64),
        low_wh=np.full(4, 400.0),
        low_share=np.array([0.5]),
    )
    plan = solve(problem)
    assert ((plan.energy_wh < 400.0 - 1e-3).sum(axis=0) <= 2).all()
    # Each bought 500 Wh; two empty, two keep 400 Wh: 3200 Wh are sold.
    assert plan.objective == pytest.approx(4 * 0.05 - 3.2 * 0.3, abs=1e-4)
    assert plan.bound == pytest.approx(plan.objective, abs=1e-4)
    assert plan.bound_no_ramp == pytest.approx(-1.0, abs=1e-4)
    assert plan.gap_no_ramp == pytest.approx(0.24, abs=1e-3)


def test_a_fleet_target_is_followed_across_feeders() -> None:
    want = np.array([0.0, -700.0, 0.0, 0.0])
    goal = Objectives(fleet_follow_w=want, fleet_follow_weight=np.ones(4))
    plan = solve(calm(2, feeders=2, objectives=goal))
    assert (plan.import_with_w - plan.import_without_w).sum(axis=0) == pytest.approx(want, abs=0.1)
    short = solve(replace(calm(2, feeders=2, objectives=goal), load_cap_w=np.full((2, 4), 300.0)))
    assert short.binding[0].feeder == -1
    assert short.binding[0].constraint == "load_cap"
    assert short.binding[0].shortfall_w == pytest.approx(100.0, abs=0.1)


@pytest.mark.parametrize(
    ("objective", "bound", "nothing", "wanted"),
    [(2.0, 1.0, 5.0, 0.25), (5.0, 5.0, 5.0, 0.0), (6.0, 1.0, 1.0, 0.0)],
)
def test_gap_is_the_share_of_the_gain_left_open(
    objective: float, bound: float, nothing: float, wanted: float
) -> None:
    assert gap(objective, bound, nothing) == wanted
