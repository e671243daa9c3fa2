"""Rainflow, wear, its price, and remaining life: against published and hand-worked values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.health.ageing import LFP_AGEING, VRLA_AGEING, calendar_wear, cost_per_kwh, cycle_wear, wear_of
from tools.health.estimate import NotJudged, SohEstimate
from tools.health.rainflow import full_cycles, rainflow
from tools.health.remaining import LONGEST, RemainingLife, remaining_life

NOW = datetime(2026, 3, 1, tzinfo=UTC)
YEAR = timedelta(days=365.25)


def test_the_example_of_the_standard_gives_its_table() -> None:
    # ASTM E1049-85, figure 6: peaks -2, 1, -3, 5, -1, 3, -4, 4, -2; scaled by a tenth and lifted into 0..1.
    path = np.array([-2, 1, -3, 5, -1, 3, -4, 4, -2]) / 10.0 + 0.45
    counts: dict[int, float] = {}
    for one in rainflow(path):
        depth = round(10 * one.depth_frac)
        counts[depth] = counts.get(depth, 0.0) + one.count
    assert counts == {3: 0.5, 4: 1.5, 6: 0.5, 8: 1.0, 9: 0.5}


def test_one_outage_is_one_half_cycle_down_and_one_up() -> None:
    found = rainflow(np.array([1.0, 1.0, 0.6, np.nan, 0.4, 0.7, 1.0, 1.0]))
    assert [(round(c.depth_frac, 3), c.count) for c in found] == [(0.6, 0.5), (0.6, 0.5)]
    assert full_cycles(found) == pytest.approx(0.6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40))
def test_rainflow_keeps_the_throughput_of_the_path(path: list[float]) -> None:
    moved = float(np.abs(np.diff(path)).sum())
    assert 2.0 * full_cycles(rainflow(np.array(path))) == pytest.approx(moved, abs=1e-9)


def test_a_cycle_of_the_data_sheets_depth_wears_one_over_its_cycles_and_heat_doubles_it() -> None:
    assert cycle_wear(0.8, 20.0, LFP_AGEING) == pytest.approx(1 / 4000)
    assert cycle_wear(0.8, 10.0, LFP_AGEING) == pytest.approx(1 / 4000)
    assert cycle_wear(0.8, 29.0, VRLA_AGEING) == pytest.approx(2 / 350)
    # Half the depth at an exponent of 1.2 wears 0.4353 of it, not half: shallow is cheaper.
    assert cycle_wear(0.4, 20.0, VRLA_AGEING) == pytest.approx(0.5**1.2 / 350)


def test_a_kilowatt_hour_costs_the_batterys_price_over_its_lifelong_energy() -> None:
    # 2,000 for 10 kWh, 4,000 cycles of 8 kWh: 2000 / 32000 kWh = 0.0625.
    price = cost_per_kwh(0.8, 20.0, LFP_AGEING, replacement_cost=2000.0, rated_kwh=10.0)
    assert float(price) == pytest.approx(0.0625)
    by_depth = cost_per_kwh(
        np.array([0.2, 0.5, 0.8]), 32.0, LFP_AGEING, replacement_cost=2000.0, rated_kwh=10.0
    )
    assert by_depth[2] == pytest.approx(0.125)
    assert (np.diff(by_depth) > 0.0).all()
    with pytest.raises(ValueError, match="depth"):
        cost_per_kwh(0.0, 20.0, LFP_AGEING, replacement_cost=2000.0, rated_kwh=10.0)


def test_float_for_its_calendar_life_wears_a_battery_out() -> None:
    assert calendar_wear(10 * 365.25, 20.0, VRLA_AGEING) == pytest.approx(1.0)
    assert calendar_wear(10 * 365.25, 29.0, VRLA_AGEING) == pytest.approx(2.0)


def test_wear_takes_each_cycle_at_its_own_temperature() -> None:
    soc = np.array([1.0, 0.2, 1.0])  # one cycle of 80 %
    warm = np.array([29.0, 29.0, 29.0])
    assert wear_of(rainflow(soc), warm, 0.0, VRLA_AGEING) == pytest.approx(2 / 350)
    unknown = np.full(3, np.nan)
    assert wear_of(rainflow(soc), unknown, 365.25, VRLA_AGEING) == pytest.approx(1 / 350 + 0.1)


def seen(soh_frac: float, years_ago: float, sd_frac: float = 0.005) -> SohEstimate:
    return SohEstimate(soh_frac=soh_frac, sd_frac=sd_frac, at=NOW - years_ago * YEAR, method="full_discharge")


def life_of(estimates: list[SohEstimate]) -> RemainingLife:
    found = remaining_life(estimates, NOW, usual_loss_frac_per_year=0.02, end_of_life_frac=0.8)
    assert isinstance(found, RemainingLife)
    return found


def test_a_history_on_a_line_is_prolonged_and_one_observation_leaves_the_interval_wide() -> None:
    line = life_of(
        [seen(1.0 - 0.04 * k, 4 - k) for k in range(5)]
    )  # 100 % four years ago, 84 % now, 4 % a year
    assert line.soh_frac == pytest.approx(0.84, abs=0.003)
    assert line.loss_frac_per_year == pytest.approx(0.04, abs=0.002)
    assert (line.middle - NOW) / YEAR == pytest.approx(1.0, abs=0.1)
    assert line.early < line.middle < line.late
    one = life_of([seen(0.84, 0.0)])
    assert (one.middle - NOW) / YEAR == pytest.approx(2.0, abs=0.1)  # the type's usual 2 % a year
    assert one.late - one.early > 3 * (line.late - line.early)


def test_a_dead_battery_is_due_now_and_a_fine_one_not_within_thirty_years() -> None:
    dead = life_of([seen(0.7, 0.0)])
    assert dead.early == dead.middle == NOW
    ageless = remaining_life([seen(1.0, 0.0)], NOW, usual_loss_frac_per_year=0.001, end_of_life_frac=0.8)
    assert isinstance(ageless, RemainingLife)
    assert ageless.middle == NOW + LONGEST


def test_a_battery_does_not_get_better_and_nothing_seen_is_nothing_known() -> None:
    rising = life_of([seen(0.85, 2.0), seen(0.90, 1.0), seen(0.95, 0.0)])
    assert rising.loss_frac_per_year == pytest.approx(0.002)  # a tenth of the usual
    nothing = remaining_life([], NOW, usual_loss_frac_per_year=0.02, end_of_life_frac=0.8)
    assert nothing == NotJudged(reason="no state of health was observed")


def test_a_model_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        replace(LFP_AGEING, cycles_at_80=0.0)
