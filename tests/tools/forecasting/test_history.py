from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, MONDAY, history_of
from tools.forecasting.history import Regressor, filled, measured_days
from tools.forecasting.phase import phase_of


def test_phase_is_local_and_follows_the_change_of_clock() -> None:
    # Rome leaves UTC+1 for UTC+2 on 2024-03-31 at 01:00 UTC: 01:45 local is followed by 03:00 local.
    phase = phase_of(datetime(2024, 3, 31, 0, 45, tzinfo=UTC), 2, timedelta(minutes=15), "Europe/Rome")
    assert phase.slot.tolist() == [7, 12]
    assert phase.offset.tolist() == [4, 8]
    assert phase.weekday.tolist() == [6, 6]


def test_a_holiday_is_a_sunday() -> None:
    thursday = datetime(2024, 8, 15, tzinfo=UTC)
    phase = phase_of(thursday, 1, timedelta(minutes=15), "UTC", frozenset({date(2024, 8, 15)}))
    assert phase.weekday.tolist() == [3]
    assert phase.day_type.tolist() == [6]


def test_a_gap_is_closed_from_the_week_before() -> None:
    values = np.tile(np.arange(7 * DAY, dtype=np.float32), 2)[None]
    values[0, 7 * DAY + 100] = np.nan
    assert filled(history_of(values))[0, 7 * DAY + 100] == 100.0


def test_a_site_without_a_measurement_stays_at_zero_and_counts_no_days() -> None:
    values = np.full((2, 2 * DAY), np.nan)
    values[1, :48] = 5.0
    history = history_of(values)
    assert filled(history)[0].tolist() == [0.0] * (2 * DAY)
    assert measured_days(history).tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    "change",
    [
        {"start": datetime(2024, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"site_ids": ("a", "b")},
        {"step": timedelta(minutes=7)},
        {"site_class": ("urban", "rural")},
        {"values": np.array([[np.inf]])},
    ],
)
def test_a_malformed_history_is_refused(change: dict[str, object]) -> None:
    good = history_of(np.ones((1, DAY)))
    with pytest.raises(ValueError):
        replace(good, **change)  # type: ignore[arg-type]


def test_an_instant_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="grid"):
        history_of(np.ones((1, DAY))).index_of(MONDAY + timedelta(minutes=1))


def test_a_regressor_must_reach_over_the_window() -> None:
    temperature = Regressor(
        name="temperature_c", values=np.arange(10.0), start=MONDAY - timedelta(minutes=30)
    )
    history = replace(history_of(np.ones((1, 4))), regressors=(temperature,))
    assert history.regressor(0, 0, 3).tolist() == [[2.0, 3.0, 4.0]]
    with pytest.raises(ValueError, match="temperature_c"):
        history.regressor(0, 0, 9)
