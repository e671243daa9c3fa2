"""Cuts and viability tables against values worked out by hand."""

import numpy as np
import pytest

from tools.planning.cuts import Member, find_cuts
from tools.planning.groups import Reach
from tools.planning.viability import make_grid, stop_wh, sure_caps, tabulate


def pair(low_wh: np.ndarray | None = None) -> Member:
    """Two lossless sites of 1 kW over two 1-h steps: one holds 1 kWh, the other 3 kWh."""
    start = np.array([1000.0, 3000.0])
    return Member(
        reach=Reach(
            charge_w=np.zeros((2, 2)),
            discharge_w=np.full((2, 2), 1000.0),
            low_wh=np.zeros((2, 2)) if low_wh is None else low_wh,
            high_wh=np.repeat(start[:, None], 2, axis=1),
        ),
        initial_wh=start,
        budget_wh=np.full(2, np.inf),
        eta_c=1.0,
        eta_d=1.0,
        step_h=1.0,
    )


def test_a_cut_names_what_the_short_site_cannot_give() -> None:
    # Together 4 kWh and 2 kW, so the sum allows 2 kW twice; the short site gives 1 kWh, the long one 2 x 1 kW.
    cuts = find_cuts(pair(), np.zeros(2), np.array([2000.0, 2000.0]))
    assert [cut.most_wh for cut in cuts] == [3000.0]
    assert cuts[0].discharging
    assert cuts[0].chosen.tolist() == [0, 1]


def test_what_the_sites_can_do_is_never_cut() -> None:
    assert find_cuts(pair(), np.zeros(2), np.array([2000.0, 1000.0])) == []


def test_a_floor_in_the_middle_of_a_run_cuts_too() -> None:
    # The short site must still hold 800 Wh after the first step: it gives 200 Wh there, the long one 1 kW.
    low = np.array([[800.0, 0.0], [0.0, 0.0]])
    cuts = find_cuts(pair(low), np.zeros(2), np.array([2000.0, 0.0]))
    assert [cut.most_wh for cut in cuts] == [1200.0]


def test_stopping_costs_the_sum_of_the_steps_on_the_way_down() -> None:
    # From 1000 W by 300 W a step: 700 + 400 + 100 W, a quarter of an hour each.
    assert stop_wh(np.array([-1000.0]), np.array([300.0]), 0.25)[0] == pytest.approx(300.0)
    assert stop_wh(np.array([1000.0]), np.array([np.inf]), 0.25)[0] == 0.0


def test_a_cap_reaches_back_through_the_ramp_and_a_share_is_kept_for_everyone() -> None:
    sure, cap = sure_caps(np.array([[900.0, 900.0, 100.0]]), np.array([[0.5, 0.5, 1.0]]), np.array([200.0]))
    assert sure.tolist() == [[450.0, 300.0, 100.0]]
    assert cap.tolist() == [[500.0, 300.0, 100.0]]


def test_the_energy_needed_at_a_power_includes_the_way_to_a_stop() -> None:
    # Discharging 400 W with a ramp of 100 W a step: 300 + 200 + 100 Wh still go before it stands still.
    tables = tabulate(
        floor_wh=np.full((1, 6), 50.0),
        ceiling_wh=np.full((1, 6), 1000.0),
        sure_charge_w=np.zeros((1, 6)),
        grid=make_grid(np.full((1, 6), 400.0), np.full((1, 6), 400.0)),
        ramp_w=np.array([100.0]),
        charge_efficiency=np.ones(1),
        discharge_efficiency=np.ones(1),
        step_h=1.0,
    )
    assert tables.need_wh[0, 0].tolist()[:5] == pytest.approx([650.0, 350.0, 150.0, 50.0, 50.0])
