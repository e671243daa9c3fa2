"""State of health from charges and from parts of a discharge."""

import numpy as np
import pytest

from tools.health.charge_curve import fit_soh, phase_features
from tools.health.estimate import NotJudged
from tools.health.partial_test import charge_to_voltage_ah, first_jump_ohm


def test_statistics_of_a_straight_rise_by_hand() -> None:
    at_s = np.array([0.0, 1800.0, 3600.0])
    found = phase_features(at_s, np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    assert (found.mean, found.charge_ah, found.time_s) == pytest.approx((2.0, 2.0, 3600.0))
    assert found.std == pytest.approx((2 / 3) ** 0.5)
    assert (found.kurtosis, found.skewness) == pytest.approx((-1.5, 0.0))
    assert found.slope == pytest.approx(2.0 / 3600.0)
    # Shares 1/6, 1/3, 1/2.
    assert found.entropy == pytest.approx(np.log(6) / 6 + np.log(3) / 3 + np.log(2) / 2)
    with pytest.raises(ValueError, match="finite"):
        phase_features(at_s, np.array([1.0, np.nan, 3.0]), np.array([2.0, 2.0, 2.0]))


def test_a_known_relation_is_found_on_a_battery_that_was_not_fitted() -> None:
    rng = np.random.default_rng(0)
    charge_s = rng.uniform(600.0, 1600.0, 240)
    soh = 0.7 + 0.3 * (charge_s - 600.0) / 1000.0  # a longer constant-current phase: more capacity
    table = np.column_stack([charge_s, rng.standard_normal(240)])
    battery = np.repeat([1, 2, 3], 80)
    model = fit_soh(table[battery < 3], soh[battery < 3], battery[battery < 3].tolist())
    error = np.abs(model.predict(table[battery == 3]) - soh[battery == 3])
    assert error.mean() < 0.006
    assert (error <= model.half_width_frac).mean() >= 0.9


def test_a_value_that_is_missing_is_taken_as_usual_and_one_battery_states_two_percent() -> None:
    table = np.linspace(0.0, 1.0, 40)[:, None]
    model = fit_soh(table, 0.8 + 0.1 * table[:, 0], ["a"] * 40)
    assert model.predict(np.array([[-np.inf]]))[0] == pytest.approx(0.85, abs=0.01)
    assert model.sd_frac == pytest.approx(0.02)


def test_charge_to_a_voltage_is_freed_of_resistance() -> None:
    at_h = np.linspace(0.0, 1.0, 11)
    current_a = np.full(11, -2.0)
    open_v = 4.0 - 0.5 * at_h  # falls half a volt in the hour
    bus_v = open_v + 0.1 * current_a
    found = charge_to_voltage_ah(at_h, current_a, bus_v, floor_v=3.8, resistance_ohm=0.1)
    assert found == pytest.approx(0.8)  # 0.4 h at 2 A
    assert isinstance(
        charge_to_voltage_ah(at_h, current_a, bus_v, floor_v=3.4, resistance_ohm=0.1), NotJudged
    )


def test_the_jump_at_the_beginning_gives_the_resistance() -> None:
    assert first_jump_ohm(
        np.array([0.0, 0.0, -2.0, -2.0]), np.array([4.2, 4.2, 3.98, 3.97])
    ) == pytest.approx(0.11)
    assert isinstance(first_jump_ohm(np.array([-2.0, -2.0]), np.array([3.9, 3.8])), NotJudged)
