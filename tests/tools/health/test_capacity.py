"""Capacity from counted charge, resistance from steps, and estimates put together: values worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tools.health.capacity import Discharge, counted_ah, soh_of
from tools.health.estimate import NotJudged, SohEstimate, joined
from tools.health.resistance import Resistance, resistance_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FULL = Discharge(
    drawn_frac=0.9,
    soc_from_frac=1.0,
    soc_to_frac=0.0,
    soc_error_frac=0.05,
    reached_cut_off=True,
    battery_c=20.0,
    at=NOW,
)
HALF = replace(FULL, drawn_frac=0.45, soc_to_frac=0.5, reached_cut_off=False)


def estimate_of(verdict: SohEstimate | NotJudged) -> SohEstimate:
    assert isinstance(verdict, SohEstimate)
    return verdict


def test_ten_amperes_for_half_an_hour_and_twenty_for_half_draw_fifteen_ampere_hours() -> None:
    at_h = np.array([0.0, 0.5, 0.500001, 1.000001])
    assert counted_ah(at_h, np.array([-10.0, -10.0, -20.0, -20.0])) == pytest.approx(15.0, abs=1e-4)


@pytest.mark.parametrize(
    ("at_h", "current_a"), [([0.0], [-1.0]), ([0.0, 0.0], [-1.0, -1.0]), ([0.0, 1.0], [-1.0, float("nan")])]
)
def test_a_count_over_nothing_or_gaps_is_refused(at_h: list[float], current_a: list[float]) -> None:
    with pytest.raises(ValueError, match="count"):
        counted_ah(np.array(at_h), np.array(current_a))


def test_a_whole_discharge_is_corrected_for_cold() -> None:
    found = estimate_of(soh_of(replace(FULL, drawn_frac=0.81), capacity_frac=0.9))
    assert found.soh_frac == pytest.approx(0.9)
    assert found.method == "full_discharge"


def test_half_a_discharge_counts_against_the_charge_it_moved_with_the_socs_error() -> None:
    found = estimate_of(soh_of(HALF, capacity_frac=1.0))
    assert found.soh_frac == pytest.approx(0.9)
    # One end is at full; the other's 2.5 % (one sd) over a depth of 0.5 are 5 %, with 1 % of counting: 5.099 % of 0.9.
    assert found.sd_frac == pytest.approx(0.9 * 0.0509902)
    both = estimate_of(soh_of(replace(HALF, soc_from_frac=0.9, soc_to_frac=0.4), capacity_frac=1.0))
    assert both.sd_frac == pytest.approx(0.9 * (0.01**2 + 2 * 0.05**2) ** 0.5)


def test_a_shallow_or_impossible_discharge_says_nothing() -> None:
    shallow = soh_of(replace(HALF, soc_to_frac=0.71, drawn_frac=0.26), capacity_frac=1.0)
    assert shallow == NotJudged(reason="29% of charge moved, 30% needed")
    assert isinstance(soh_of(replace(FULL, drawn_frac=float("nan")), capacity_frac=1.0), NotJudged)


def test_resistance_is_the_slope_at_load_steps_and_drifts_do_not_count() -> None:
    at_s = np.arange(0.0, 240.0, 20.0)
    current_a = np.tile([-10.0, -30.0], 6)
    bus_v = 51.0 + 0.012 * current_a
    found = resistance_of(at_s, current_a, bus_v, least_step_a=5.0)
    assert isinstance(found, Resistance)
    assert (found.ohm, found.steps) == pytest.approx((0.012, 11))
    assert isinstance(resistance_of(at_s, current_a, bus_v, least_step_a=25.0), NotJudged)
    assert isinstance(resistance_of(at_s * 10.0, current_a, bus_v, least_step_a=5.0), NotJudged)
    moved_by_the_rectifier = 51.0 - 0.012 * current_a
    assert isinstance(resistance_of(at_s, current_a, moved_by_the_rectifier, least_step_a=5.0), NotJudged)


def test_estimates_are_weighed_by_precision_and_an_old_one_counts_less() -> None:
    new = SohEstimate(soh_frac=0.80, sd_frac=0.04, at=NOW, method="partial_discharge")
    old = SohEstimate(soh_frac=1.00, sd_frac=0.03, at=NOW - timedelta(days=365.25), method="full_discharge")
    found = estimate_of(joined([new, old], NOW))
    # After a year the old one's variance is 0.03^2 + 0.04^2 = 0.05^2: weights 625 and 400.
    assert found.soh_frac == pytest.approx((625 * 0.80 + 400 * 1.00) / 1025)
    assert found.sd_frac == pytest.approx((1 / 1025) ** 0.5)
    assert isinstance(joined([], NOW), NotJudged)
    assert isinstance(joined([replace(new, at=NOW + timedelta(hours=1))], NOW), NotJudged)
