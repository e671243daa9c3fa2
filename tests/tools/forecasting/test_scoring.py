from dataclasses import replace

import numpy as np
import pytest

from tests.tools.forecasting.fleets import MONDAY
from tools.forecasting.fleet_forecast import QUANTILES, FleetForecast
from tools.forecasting.history import STEP
from tools.forecasting.scoring import drift, score

FORECAST = FleetForecast(
    site_ids=("a",),
    quantity="load_w",
    start=MONDAY,
    step=STEP,
    values=np.repeat(100.0 + 100.0 * (np.array(QUANTILES) - 0.5), 4).reshape(1, 9, 4).astype(np.float32),
    cumulative_wh=np.cumsum(np.full((1, 9, 4), 25.0, dtype=np.float32), axis=2),
    model=("fixed",),
    version="1",
    made_at=MONDAY,
)


def test_a_score_worked_out_by_hand() -> None:
    # Median 100; 10-90 % is 60..140, 2.5-97.5 % is 52.5..147.5.
    got = score(FORECAST, np.array([[100.0, 130.0, 145.0, 205.0]]))
    assert got.mae[0] == pytest.approx((0 + 30 + 45 + 105) / 4)
    assert got.wape[0] == pytest.approx(180.0 / 580.0)
    assert got.covered_80[0] == 0.5
    assert got.covered_95[0] == 0.75
    assert got.energy_covered_95[0] == 0.0  # 145 Wh outside a degenerate interval at 100 Wh


def test_pinball_of_a_perfect_median_is_the_spread_of_the_others() -> None:
    # By hand: the loss at level q with forecast 100 + 100 (q - 0.5) and truth 100 is 100 |q-0.5| x min(q, 1-q).
    expected = np.mean([100.0 * abs(q - 0.5) * min(q, 1 - q) for q in QUANTILES])
    assert score(FORECAST, np.full((1, 4), 100.0)).pinball[0] == pytest.approx(expected, rel=1e-5)


def test_gaps_are_not_scored() -> None:
    got = score(FORECAST, np.array([[110.0, np.nan, np.nan, np.nan]]))
    assert got.mae[0] == pytest.approx(10.0)
    assert np.isnan(got.energy_covered_95[0])


def test_crossed_shapes_are_refused() -> None:
    with pytest.raises(ValueError):
        score(FORECAST, np.ones((1, 5)))
    with pytest.raises(ValueError):
        replace(FORECAST, model=())


def test_two_bad_days_alarm_and_one_does_not() -> None:
    live = np.array([[10.0, np.nan, 10.0], [30.0, 30.0, 11.0]])
    found = drift(live, np.array([10.0, 10.0, 10.0]), half_life=1.0)
    # Site 0: (0.5 x 10 + 30) / 1.5 = 23.3 over 10.
    assert found.ratio[0] == pytest.approx(7.0 / 3.0)
    assert found.alarmed.tolist() == [True, False, False]
