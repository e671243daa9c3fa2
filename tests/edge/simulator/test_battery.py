from __future__ import annotations

import numpy as np
import pytest

from edge.simulator import battery
from edge.simulator.chemistry import CHEMISTRIES, LFP, VRLA

LFP_ROW, VRLA_ROW = np.array([0]), np.array([1])


def test_lfp_string_rests_at_52_72_v_when_half_full() -> None:
    # 16 cells x 3.295 V.
    assert battery.ocv_v(LFP, 0.5) == pytest.approx(52.72)


def test_vrla_string_rests_at_48_96_v_when_half_full() -> None:
    # 24 cells x 2.04 V.
    assert battery.ocv_v(VRLA, 0.5) == pytest.approx(48.96)


def test_tables_agree_with_the_curves_and_give_their_slope() -> None:
    tables = battery.tabulate()
    value, slope = battery.look_up(tables.discharge_v, VRLA_ROW, np.array([0.65]))
    # Half way between (0.5, 2.04) and (0.8, 2.10): 2.07 V x 24; slope 0.06 V / 0.3 x 24.
    assert value[0] == pytest.approx(49.68)
    assert slope[0] == pytest.approx(4.8)


def test_every_charge_curve_lies_above_its_discharge_curve() -> None:
    tables = battery.tabulate()
    assert (tables.charge_v > tables.discharge_v).all()
    assert (np.diff(tables.discharge_v, axis=1) > 0.0).all()


def test_stored_energy_is_the_area_under_the_discharge_curve() -> None:
    tables = battery.tabulate()
    between = battery.stored_wh(tables, VRLA_ROW, np.array([0.8]), np.array([100.0]))
    between -= battery.stored_wh(tables, VRLA_ROW, np.array([0.5]), np.array([100.0]))
    # Trapezium: 30 Ah at a mean of 2.07 V x 24.
    assert between[0] == pytest.approx(30.0 * 49.68)


def test_vrla_stores_90_percent_of_the_charge_at_95_percent_soc() -> None:
    tables = battery.tabulate()
    assert battery.look_up(tables.coulombic, VRLA_ROW, np.array([0.95]))[0][0] == pytest.approx(0.90)
    assert battery.look_up(tables.coulombic, LFP_ROW, np.array([0.5]))[0][0] >= 0.995


def test_resistance_of_a_warm_charged_lfp_string_is_15_mohm_and_rises_when_cold_empty_or_aged() -> None:
    cells = battery.spread(LFP_ROW, np.array([100.0]))

    def ohm(soc: float, celsius: float, soh: float) -> float:
        args = (np.array([soc]), np.array([celsius]), np.array([soh]))
        return float(battery.resistance_ohm(cells, *args)[0])

    assert ohm(1.0, 25.0, 1.0) == pytest.approx(0.015, rel=1e-4)
    # 20 degC colder at 2 % per degC: 1.4 times.
    assert ohm(1.0, 5.0, 1.0) == pytest.approx(0.021, rel=1e-4)
    # Empty: 1 + 0.5; 10 % of SoH lost: 1 + 2 x 0.1.
    assert ohm(0.0, 25.0, 1.0) == pytest.approx(0.0225, rel=1e-4)
    assert ohm(1.0, 25.0, 0.9) == pytest.approx(0.018, rel=1e-4)


def test_4000_cycles_of_80_percent_cost_20_percent_of_an_lfp_string() -> None:
    cells = battery.spread(LFP_ROW, np.array([100.0]))
    moved = np.array([4000 * 2 * 80.0])
    assert battery.fade_frac(cells, moved, np.array([25.0]), 0.0)[0] == pytest.approx(0.20)


def test_vrla_calendar_life_halves_nine_degrees_above_twenty() -> None:
    cells = battery.spread(VRLA_ROW, np.array([100.0]))
    year = 365.0 * 86400.0
    at_20 = battery.fade_frac(cells, np.zeros(1), np.array([20.0]), year)[0]
    at_29 = battery.fade_frac(cells, np.zeros(1), np.array([29.0]), year)[0]
    assert at_20 == pytest.approx(0.02)
    assert at_29 == pytest.approx(2.0 * at_20)


def test_datasheet_voltages_are_the_curves_ends() -> None:
    # Float voltages keep a full string at rest: 3.40 V x 16 and 2.25 V x 24.
    assert LFP.charge_v[-1][1] * LFP.cells == pytest.approx(54.4)
    assert VRLA.charge_v[-1][1] * VRLA.cells == pytest.approx(54.0)
    assert LFP.under_v == 43.2
    assert [c.name for c in CHEMISTRIES] == ["lfp", "vrla"]
