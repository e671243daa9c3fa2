from datetime import timedelta

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, MONDAY, daily_weekly, history_of
from tools.forecasting.calibrated import Calibrated
from tools.forecasting.cold_start import cold_start, forecast_from_profile, joined, learn_profile
from tools.forecasting.fleet_forecast import QUANTILES
from tools.forecasting.forecaster import NoForecastError
from tools.forecasting.naive import SeasonalNaive


def test_a_profile_of_constant_sites_gives_their_spread_in_power_and_energy() -> None:
    # Eleven sites at 0.5, 0.6 .. 1.5 of the 1000 W expected: median 1.0, 10 % quantile 0.6, 90 % quantile 1.4.
    values = np.repeat(np.linspace(500.0, 1500.0, 11)[:, None], 7 * DAY, axis=1)
    profile = learn_profile("urban", history_of(values), np.full(11, 1000.0))
    forecast = forecast_from_profile(profile, {"new": 2000.0}, MONDAY + timedelta(days=7), 8)
    assert forecast.at(0.5)[0].tolist() == pytest.approx([2000.0] * 8)
    assert forecast.at(0.1)[0, 0] == pytest.approx(1200.0)
    assert forecast.cumulative_at(0.9)[0, 7] == pytest.approx(2800.0 * 2.0)  # two hours at 1.4 x 2000 W
    assert forecast.degraded == {"new": "cold start from profile urban"}


def test_a_weekend_takes_the_shape_of_rest_days() -> None:
    values = np.full((10, 7 * DAY), 100.0)
    values[:, 5 * DAY :] = 50.0
    profile = learn_profile("office", history_of(values), np.full(10, 100.0))
    friday_night = MONDAY + timedelta(days=4, hours=23, minutes=45)
    assert forecast_from_profile(profile, {"a": 10.0}, friday_night, 2).at(0.5)[0].tolist() == [10.0, 5.0]


def test_a_new_site_joins_the_fleet_and_is_no_longer_absent() -> None:
    values = daily_weekly(20, 28, seed=1)
    values[4] = np.nan
    history = history_of(values)
    main = Calibrated(model=SeasonalNaive()).fit(history).predict(history.end, 4)
    assert set(main.absent) == {"site-4"}
    rows = np.array([k for k in range(20) if k != 4])
    profile = learn_profile("all", history.rows(rows), values[rows].mean(axis=1))
    whole = joined(main, forecast_from_profile(profile, {"site-4": 900.0, "site-0": 1.0}, history.end, 4))
    assert whole.site_ids[-1] == "site-4"
    assert len(whole.site_ids) == 20
    assert whole.absent == {}
    assert whole.model[-1] == "profile"


@pytest.mark.parametrize("expected_w", [0.0, -5.0, float("nan"), float("inf")])
def test_an_expected_load_that_is_none_is_refused(expected_w: float) -> None:
    profile = learn_profile("a", history_of(np.ones((10, 7 * DAY))), np.ones(10))
    with pytest.raises(NoForecastError):
        forecast_from_profile(profile, {"new": expected_w}, MONDAY, 4)


def test_a_handful_of_sites_is_no_profile() -> None:
    with pytest.raises(NoForecastError, match="10 sites"):
        learn_profile("a", history_of(np.ones((9, 7 * DAY))), np.ones(9))


def test_a_new_site_takes_the_shape_of_its_own_group() -> None:
    """Ten sites peak by day, ten by night; two new ones, one of each group, and one of a group too small to learn from."""
    by_day = np.tile(np.concatenate([np.full(48, 0.5), np.full(48, 1.5)]), 28)
    by_night = np.tile(np.concatenate([np.full(48, 1.5), np.full(48, 0.5)]), 28)
    rows = [*[1000.0 * by_day] * 10, *[1000.0 * by_night] * 10, *[np.full(28 * 96, np.nan)] * 3]
    history = history_of(np.array(rows))
    names = history.site_ids
    main = Calibrated(model=SeasonalNaive()).fit(history).predict(history.end, 96)
    assert set(main.absent) == set(names[20:])
    groups = {name: int(k >= 10) for k, name in enumerate(names[:20])} | {
        names[20]: 0,
        names[21]: 1,
        names[22]: 7,
    }
    found = cold_start(main, history, np.full(23, 1000.0), groups)
    median = QUANTILES.index(0.5)
    morning = [float(found.values[found.site_ids.index(name), median, 10]) for name in names[20:22]]
    assert morning == [500.0, 1500.0]
    assert [found.degraded[name] for name in names[20:]] == [
        "cold start from profile cluster 0", "cold start from profile cluster 1", "cold start from profile fleet",
    ]  # fmt: skip
