"""The PV backtest's parts: files read as they are meant, a temperature made as uncertain as a forecast's, errors by day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tools.forecasting.history import Regressor
from tools.forecasting.rolling import Replay
from ui.bench.backtest_pv import over_mean, with_forecast_error
from ui.bench.series_files import read_pv

START = datetime(2012, 6, 1, tzinfo=UTC)


def test_files_become_whole_days_from_local_midnight_without_observed_irradiance(tmp_path: Path) -> None:
    stamps = pd.date_range("2012-06-01 06:45", periods=2 * 96 + 3, freq="15min")
    power = pd.DataFrame({"time": stamps.strftime("%Y-%m-%d %H:%MZ"), "ac_power_w": np.arange(195.0)})
    power.to_csv(tmp_path / "system50_ac_power.csv.gz", index=False)
    half = stamps[1::2]
    weather = pd.DataFrame({"time": half.strftime("%Y-%m-%d %H:%MZ"), "temp_air": 20.0, "ghi": 999.0})
    weather.to_csv(tmp_path / "system50_irradiance.csv.gz", index=False)
    found = read_pv(tmp_path)
    assert (found.start, found.steps) == (START + timedelta(hours=7), 192)
    assert np.asarray(found.columns(0, 2)).tolist() == [[1.0, 2.0]]  # 06:45 belongs to the day before
    sky, warm = found.regressors
    assert [one.name for one in found.regressors] == ["clear_sky_w_m2", "observed_temperature_c"]
    assert (np.asarray(warm.values) == 20.0).all()
    # In June the sun stands highest at 13:00 local daylight time, 12:00 standard: step 48 of the day.
    assert abs(int(np.asarray(sky.values)[0, :96].argmax()) - 48) <= 1


def test_a_temperature_forecast_is_off_by_the_day_and_by_the_hour() -> None:
    warm = Regressor(name="observed_temperature_c", values=np.full(400 * 96, 15.0), start=START)
    off = np.asarray(with_forecast_error(warm, seed=1).values) - 15.0
    by_day = off.reshape(400, 96)
    # 1.5 K by day and 1 K by hour: together the root of 3.25, and days' means a little above 1.5.
    assert off.std() == pytest.approx(3.25**0.5, rel=0.08)
    assert 1.4 < by_day.mean(axis=1).std() < 1.8
    assert by_day.std(axis=1).mean() < 1.1


def test_the_error_is_over_the_mean_of_daylight() -> None:
    actual = np.array([[[100.0, 300.0, np.nan]]], dtype=np.float32)
    nothing = np.zeros((1, 1))
    found = Replay(
        actual=actual,
        paths={"served": np.array([[[140.0, 280.0, 50.0]]], dtype=np.float32)},
        served_names=(("served",),),
        covered_80=nothing,
        covered_95=nothing,
        energy_covered_95=nothing,
        pinball=nothing,
    )
    assert over_mean(found, "served") == pytest.approx((40.0 + 20.0) / 2 / 200.0)
