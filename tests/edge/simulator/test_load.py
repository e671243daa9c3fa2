from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from edge.simulator.load import TRAFFIC_NOISE, Instants, LoadModel, earth_power_w, read_trace
from edge.simulator.noise import ar1

SITES = np.arange(24)
PEAK_W = np.full(24, 3000.0)
# Monday 2026-03-02 00:00 in Rome, which is UTC + 1.
MONDAY_S = datetime(2026, 3, 1, 23, 0, tzinfo=UTC).timestamp()


def hours(count: int) -> Instants:
    return MONDAY_S + 3600.0 * np.arange(count)


def test_earth_macro_site_draws_780_w_idle_and_1344_w_full() -> None:
    # 6 x 130 W; 6 x (130 + 4.7 x 20) W.
    assert earth_power_w(np.array([0.0, 1.0, 0.5])).tolist() == pytest.approx([780.0, 1344.0, 1062.0])


def test_the_trace_is_eight_whole_weeks() -> None:
    assert read_trace().shape == (117, 8 * 168)


def test_weekday_and_local_hour_of_the_trace_are_those_of_the_simulated_instant() -> None:
    model = LoadModel(seed=1)
    records = read_trace().astype(np.float64)
    full = np.quantile(records, 0.995, axis=1)
    # Half past an hour is where that hour's count stands. Wednesday 18:30 local is hour 66 of a week.
    wednesday = np.array([MONDAY_S + (2 * 24 + 18.5) * 3600.0])
    used = model.utilisation(SITES, wednesday)[:, 0]
    candidates = np.minimum(records[:24, 66::168] / full[:24, None], 1.0)
    week = np.abs(candidates - used[:, None]).sum(axis=0).argmin()
    assert candidates[:, week] == pytest.approx(used)
    # In summer time the same local hour is an UTC hour earlier: Wednesday 2026-07-01 18:30 is 16:30 UTC.
    summer = np.array([datetime(2026, 7, 1, 16, 30, tzinfo=UTC).timestamp()])
    used = model.utilisation(SITES, summer)[:, 0]
    assert np.abs(candidates - used[:, None]).sum(axis=0).min() == pytest.approx(0.0, abs=1e-12)


def test_the_trace_repeats_after_eight_weeks() -> None:
    model = LoadModel(seed=1)
    now, later = np.array([MONDAY_S + 1234.0]), np.array([MONDAY_S + 1234.0 + 56 * 86400.0])
    # 56 days on it is summer time: one hour earlier in UTC for the same local hour.
    assert model.utilisation(SITES, now) == pytest.approx(model.utilisation(SITES, later - 3600.0))


def test_load_is_a_function_of_the_instant_alone() -> None:
    many = LoadModel(seed=3).site_load_w(SITES, MONDAY_S + 300.0 * np.arange(500), PEAK_W)
    one = LoadModel(seed=3).site_load_w(SITES[5:6], np.array([MONDAY_S + 300.0 * 217]), PEAK_W[5:6])
    assert many[5, 217] == pytest.approx(one[0, 0], rel=1e-12)
    other = LoadModel(seed=4).site_load_w(SITES, MONDAY_S + 300.0 * np.arange(500), PEAK_W)
    assert np.abs(many - other).mean() > 5.0


def test_load_stays_between_idle_and_full_and_peaks_by_day() -> None:
    load = LoadModel(seed=1).site_load_w(SITES, hours(168) + 1800.0, PEAK_W)
    # Idle is 780 / 1344 of the peak; 3 sigma of the fast noise are 3.6 %.
    assert load.min() > 3000.0 * 780.0 / 1344.0 * 0.96
    assert load.max() < 3000.0 * 1.04
    by_hour = load.reshape(24, 7, 24).mean(axis=(0, 1))
    assert by_hour.argmin() in range(1, 7)
    assert by_hour.argmax() in range(9, 22)


def test_traffic_noise_has_the_documented_variance_and_memory() -> None:
    at = MONDAY_S + 300.0 * np.arange(20_000)
    noise = ar1(5, 1, np.arange(4), at, step_s=300.0, memory_s=1800.0)
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    lagged = (noise[:, 6:] * noise[:, :-6]).mean()
    # exp(-1) after one memory time; the cut tail takes a little.
    assert lagged == pytest.approx(np.exp(-1.0), abs=0.05)
    assert TRAFFIC_NOISE == 0.08


def test_the_sun_is_down_at_night_and_stronger_in_june() -> None:
    model = LoadModel(seed=1)
    rated, lat, lon = np.full(24, 1000.0), np.full(24, 45.46), np.full(24, 9.19)

    def day_wh(month: int, day: int) -> float:
        at = datetime(2026, month, day, tzinfo=UTC).timestamp() + 600.0 * np.arange(144)
        return float(model.pv_w(SITES, at, rated, lat, lon).mean(axis=0).sum() / 6.0)

    midnight = np.array([datetime(2026, 6, 1, 23, 0, tzinfo=UTC).timestamp()])
    assert model.pv_w(SITES, midnight, rated, lat, lon).max() == 0.0
    june = np.mean([day_wh(6, d) for d in range(1, 29)])
    december = np.mean([day_wh(12, d) for d in range(1, 29)])
    # Clear-sky sums in Milan are about 8.3 and 1.9 kWh/m2; clouds and 85 % take their share.
    assert 3500.0 < june < 6500.0
    assert 600.0 < december < 1700.0


def test_a_feeders_background_peaks_in_the_evening_near_its_peak() -> None:
    model = LoadModel(seed=1)
    at = MONDAY_S + 900.0 * np.arange(4 * 96)
    load = model.feeder_background_w(np.arange(4), at, np.full(4, 4e6)).reshape(4, 4, 96)
    peaks = load.max(axis=2)
    assert peaks.mean() == pytest.approx(4e6, rel=0.04)
    assert set((load.argmax(axis=2) / 4).astype(int).ravel().tolist()) <= {18, 19, 20}


def test_outages_come_at_their_rate_and_last_ten_to_sixty_minutes() -> None:
    model = LoadModel(seed=1)
    at = MONDAY_S + 60.0 * np.arange(30 * 1440)
    ok = model.mains_ok(SITES, at, outages_per_month=3.0)
    begins = (np.diff(ok.astype(int), axis=1) == -1).sum(axis=1)
    # 24 sites x 3: 72 expected, standard deviation 8.
    assert 45 < begins.sum() < 100
    dark_minutes = (~ok).sum() / begins.sum()
    assert 30.0 < dark_minutes < 40.0
    assert model.mains_ok(SITES, at, 0.0).all()
