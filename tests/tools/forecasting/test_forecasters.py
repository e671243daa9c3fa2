from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of
from tools.forecasting.backtest import backtest_origins
from tools.forecasting.calibrated import Calibrated
from tools.forecasting.forecaster import Forecaster, NoForecastError, PointModel
from tools.forecasting.naive import SeasonalNaive
from tools.forecasting.prophet_model import ProphetModel
from tools.forecasting.ridge import BatchedRidge

MODELS: list[PointModel] = [SeasonalNaive(season="day"), SeasonalNaive(season="week"), BatchedRidge()]


def test_weekly_naive_repeats_last_week_over_four_days() -> None:
    values = np.arange(14 * DAY, dtype=np.float32)[None]
    path = SeasonalNaive(season="week").paths(history_of(values), [14 * DAY], 4 * DAY)
    assert path[0, 0, [0, 383]].tolist() == [7 * DAY, 7 * DAY + 383]


def test_daily_naive_repeats_the_last_known_day_beyond_one_day() -> None:
    values = np.arange(2 * DAY, dtype=np.float32)[None]
    path = SeasonalNaive(season="day").paths(history_of(values), [2 * DAY], DAY + 1)
    assert path[0, 0, [0, 95, 96]].tolist() == [96.0, 191.0, 96.0]


def test_naive_keeps_local_time_across_the_change_of_clock() -> None:
    # One value per local hour of day; the clock in Rome goes forward on 2024-03-31.
    start = datetime(2024, 3, 23, 23, tzinfo=UTC)  # local midnight, UTC+1
    blank = history_of(np.zeros((1, 7 * DAY)), "Europe/Rome", start)
    local = blank.phase(0, 9 * DAY).slot.astype(np.float32)
    history = replace(blank, values=local[None, : 8 * DAY])
    path = SeasonalNaive(season="week").paths(history, [8 * DAY], 12)
    assert path[0, 0].tolist() == local[8 * DAY : 8 * DAY + 12].tolist()


def test_no_model_looks_past_its_origin() -> None:
    values = daily_weekly(3, 28, seed=1)
    spoiled = values.copy()
    spoiled[:, 21 * DAY :] = 9e5
    for model in MODELS:
        a, b = (model.paths(history_of(v), [21 * DAY], DAY) for v in (values, spoiled))
        assert np.array_equal(a, b), model.name


def test_ridge_finds_a_noiseless_weekly_shape() -> None:
    values = daily_weekly(2, 36, seed=2, noise=0.0)
    path = BatchedRidge().paths(history_of(values[:, : 35 * DAY]), [35 * DAY], DAY)
    assert np.abs(path[0] - values[:, 35 * DAY :]).max() < 0.01 * values.max()


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_quantiles_do_not_cross_and_energy_never_falls(model: PointModel) -> None:
    history = history_of(daily_weekly(30, 28, seed=3))
    forecaster: Forecaster = Calibrated(model=model)
    forecast = forecaster.fit(history).predict(history.end, 2 * DAY)
    assert forecast.values.shape == (30, 9, 2 * DAY)
    assert (np.diff(forecast.values, axis=1) >= 0.0).all()
    assert (np.diff(forecast.cumulative_wh, axis=1) >= 0.0).all()
    assert (np.diff(forecast.cumulative_wh, axis=2) >= 0.0).all()
    assert forecast.values.min() >= 0.0


def test_intervals_cover_what_they_promise_and_energy_is_not_the_sum_of_quantiles() -> None:
    values = daily_weekly(400, 35, seed=4)
    covered, energy_covered = [], []
    for day in range(28, 35):
        history = history_of(values[:, : day * DAY])
        forecast = Calibrated(model=BatchedRidge()).fit(history).predict(history.end, DAY)
        actual = values[:, day * DAY : (day + 1) * DAY]
        wh = np.cumsum(actual, axis=1) * 0.25
        covered.append(((actual >= forecast.at(0.1)) & (actual <= forecast.at(0.9))).mean())
        low, high = forecast.cumulative_at(0.1), forecast.cumulative_at(0.9)
        energy_covered.append(((wh >= low) & (wh <= high)).mean())
        summed = (forecast.at(0.9) - forecast.at(0.1)).sum(axis=1) * 0.25
        assert ((high - low)[:, -1] < 0.6 * summed).all()  # independent noise cancels over a day
    assert abs(float(np.mean(covered)) - 0.8) < 0.03
    assert abs(float(np.mean(energy_covered)) - 0.8) < 0.08


def test_a_forecast_may_start_after_the_history_and_uses_the_longer_horizon() -> None:
    values = daily_weekly(20, 29, seed=5)
    history = history_of(values[:, : 28 * DAY])
    late = Calibrated(model=BatchedRidge()).fit(history).predict(history.end + timedelta(hours=6), DAY - 24)
    actual = values[:, 28 * DAY + 24 : 29 * DAY]
    assert late.start == history.end + timedelta(hours=6)
    assert late.made_at == history.end
    assert np.abs(late.at(0.5) - actual).mean() < 0.08 * actual.mean()


def test_little_history_is_degraded_and_less_is_absent() -> None:
    values = daily_weekly(40, 28, seed=6)
    values[0, : 22 * DAY] = np.nan  # 6 days left
    values[1, : 14 * DAY] = np.nan  # 14 days left
    values[2, 25 * DAY :] = np.nan  # silent for three days
    history = history_of(values)
    forecast = Calibrated(model=BatchedRidge()).fit(history).predict(history.end, DAY)
    assert forecast.absent == {
        "site-0": "6.0 days measured, 9 needed",
        "site-2": "nothing measured for 72 h",
    }
    assert forecast.degraded == {"site-1": "only 14.0 days measured"}
    assert forecast.site_ids == ("site-1", *(f"site-{k}" for k in range(3, 40)))


def test_one_site_converts_to_the_shared_type() -> None:
    values = daily_weekly(10, 28, seed=11)
    values[3, : 14 * DAY] = np.nan
    history = history_of(values)
    fleet = Calibrated(model=SeasonalNaive()).fit(history).predict(history.end, DAY)
    one = fleet.for_site("site-3")
    assert one.quantile_w(0.975) == tuple(float(v) for v in fleet.at(0.975)[3])
    assert one.energy_wh(0.5)[-1] == float(fleet.cumulative_at(0.5)[3, -1])
    assert one.reason == "only 14.0 days measured"
    assert (one.subject_id, one.model, one.steps) == ("site-3", "naive_week", 96)
    with pytest.raises(KeyError):
        fleet.for_site("site-99")


def test_no_history_is_no_forecast() -> None:
    with pytest.raises(NoForecastError, match="enough history"):
        Calibrated(model=BatchedRidge()).fit(history_of(np.full((3, 28 * DAY), np.nan)))


@pytest.mark.parametrize("steps", [0, 4 * DAY + 1])
def test_a_horizon_out_of_bounds_is_refused(steps: int) -> None:
    history = history_of(daily_weekly(20, 28, seed=7))
    with pytest.raises(NoForecastError, match="reach"):
        Calibrated(model=BatchedRidge()).fit(history).predict(history.end, steps)


def test_backtests_keep_the_time_of_day_and_room_to_learn() -> None:
    history = history_of(np.ones((1, 10 * DAY)))
    assert backtest_origins(history, 30, 7, 7 * DAY) == (9 * DAY, 8 * DAY, 7 * DAY)


def test_prophet_is_silent_follows_the_day_and_explains_itself(capfd: pytest.CaptureFixture[str]) -> None:
    values = daily_weekly(1, 22, seed=8, noise=0.02)
    history = history_of(values[:, : 21 * DAY])
    parts = ProphetModel().components(history, 0, DAY)
    actual = values[0, 21 * DAY :]
    assert np.abs(parts["expected"] - actual).mean() < 0.1 * actual.mean()
    assert parts["trend"] + parts["daily"] + parts["weekly"] == pytest.approx(parts["expected"], rel=1e-3)
    assert capfd.readouterr() == ("", "")
