import numpy as np

from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of
from tools.forecasting.boosted import Boosted
from tools.forecasting.ridge import BatchedRidge
from tools.forecasting.selector import Selector, choose

GATE = np.array([True, True, False, False])


def test_the_fleets_favourite_is_not_served_where_it_loses_to_naive() -> None:
    error = np.array([[10.0, 10.0, 4.0], [12.0, 12.0, 9.0], [6.0, 6.0, 5.0], [8.0, 8.0, 6.0]])
    # Candidate 2 wins at two sites; at the third it loses to weekly naive (5 > 4), so naive is served.
    assert choose(error, GATE, folds=7).tolist() == [2, 2, 0]


def test_a_small_lead_at_one_site_does_not_outweigh_the_fleet() -> None:
    error = np.array([[10.0] * 5, [12.0] * 5, [5.0, 5.0, 5.0, 5.0, 5.2], [7.0, 7.0, 7.0, 7.0, 5.1]])
    # At the last site candidate 3 leads by 1 %, and trails by 20 % in the fleet: (0.52+0.5)/2 < (0.51+0.7)/2.
    assert choose(error, GATE, folds=7).tolist() == [2] * 5


def test_a_site_without_a_score_falls_back_to_weekly_naive() -> None:
    error = np.array([[np.nan, 10.0], [np.nan, 12.0], [np.nan, 6.0], [np.nan, 8.0]])
    assert choose(error, GATE, folds=7).tolist() == [0, 2]


def test_a_pure_weekly_site_keeps_naive_and_the_others_leave_it() -> None:
    values = daily_weekly(12, 36, seed=1)
    rng = np.random.default_rng(2)
    # Site 0 repeats one week of spikes that no smooth calendar model can follow.
    week = rng.uniform(100.0, 5000.0, 7 * DAY).astype(np.float32)
    values[0] = np.tile(week, 6)[: 36 * DAY]
    history = history_of(values[:, : 35 * DAY])
    forecast = Selector(candidates=(BatchedRidge(),)).fit(history).predict(history.end, DAY)
    actual = values[:, 35 * DAY :]
    assert forecast.model[0] == "naive_week"
    assert set(forecast.model[1:]) == {"ridge"}
    assert np.allclose(forecast.at(0.5)[0], actual[0], rtol=0.02)


def test_boosting_takes_part_and_its_backtests_do_not_look_ahead() -> None:
    values = daily_weekly(20, 40, seed=3)
    spoiled = values.copy()
    spoiled[:, 33 * DAY :] = 9e5
    model = Boosted(trees=10, max_rows=20_000)
    a, b = (model.paths(history_of(v), [33 * DAY], DAY) for v in (values, spoiled))
    assert np.array_equal(a, b)
    assert np.abs(a[0] - values[:, 33 * DAY : 34 * DAY]).mean() < 0.07 * values.mean()


def test_a_short_history_drops_the_models_that_need_more() -> None:
    history = history_of(daily_weekly(10, 12, seed=4))
    fitted = Selector(candidates=(BatchedRidge(), Boosted())).fit(history)
    names = fitted.select(history.end, DAY).names
    assert "ridge" in names
    assert "boosted" not in names
