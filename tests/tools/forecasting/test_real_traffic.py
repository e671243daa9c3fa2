"""Forecasts on real traffic: Milan's cells in watts, simulated through the EARTH power model."""

from functools import cache

import numpy as np
import pytest

from tools.forecasting.history import LoadHistory
from tools.forecasting.naive import SeasonalNaive
from tools.forecasting.ridge import BatchedRidge
from tools.forecasting.rolling import Replay, replay
from ui.bench.forecast import milan_watts

DAY = 96
FIRST = 36 * DAY  # Tuesday of the sixth week; the last week holds Christmas


def fleet() -> LoadHistory:
    """117 cells, 8 weeks."""
    return milan_watts(117, seed=0)


@cache
def replayed() -> Replay:
    """Ten days of day-ahead forecasts, each chosen and calibrated from the 14 days before it."""
    models = (SeasonalNaive(season="week"), SeasonalNaive(season="day"), BatchedRidge())
    return replay(fleet(), models, first=FIRST, days=10, steps=DAY)


def test_what_is_served_beats_weekly_naive_on_a_fixed_window() -> None:
    found = replayed()
    served, naive = found.mae("served"), found.mae("naive_week")
    assert served.mean() < 0.85 * naive.mean()  # 0.76 when written
    assert (served <= naive).mean() > 0.97


@pytest.mark.parametrize(("name", "promised"), [("covered_80", 0.80), ("covered_95", 0.95)])
def test_intervals_hold_on_later_weeks_within_three_points(name: str, promised: float) -> None:
    assert abs(float(getattr(replayed(), name).mean()) - promised) <= 0.03


def test_energy_of_the_day_is_covered() -> None:
    assert 0.90 <= float(replayed().energy_covered_95.mean()) <= 1.0


def test_a_four_day_replay_scores_only_horizons_that_were_known() -> None:
    found = replay(
        fleet().rows(np.arange(20)),
        (SeasonalNaive(season="week"), BatchedRidge()),
        first=FIRST,
        days=1,
        steps=4 * DAY,
        folds=7,
    )
    assert found.actual.shape == (1, 20, 4 * DAY)
    assert found.mae("served").mean() < found.mae("naive_week").mean()
