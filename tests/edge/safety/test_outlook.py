"""Energy ahead: the quantile of a later stretch, worked out by hand, and what stands in where a forecast has ended."""

from dataclasses import replace
from math import inf, nan, nextafter, sqrt

import pytest

from edge.safety.outlook import energy_ahead_wh, offset_of, on_grid, steps_of, within
from telemetry.model.series import LOWER, STEP, UPPER, Forecast
from tests.edge.safety.examples import AUTONOMY, START, a_forecast

# Median 1024 W; the upper quantile 128 W above it in each step, 16 Wh a step in sums from the start.
LOAD = a_forecast(steps=32)


def test_the_first_stretch_is_the_quantile_of_the_sum() -> None:
    assert energy_ahead_wh(LOAD, UPPER, 0, 1, 4, 0.0) == [4 * 256.0 + 64.0]
    assert energy_ahead_wh(LOAD, LOWER, 0, 1, 4, 0.0) == [4 * 256.0 - 64.0]


def test_a_later_stretch_adds_variances_but_never_more_than_all_steps_going_wrong() -> None:
    # From step 4: sqrt(128^2 - 64^2) = 110.85; all four steps at once would be 128.
    assert energy_ahead_wh(LOAD, UPPER, 4, 1, 4, 0.0) == [pytest.approx(1024.0 + sqrt(128.0**2 - 64.0**2))]
    # From step 12: sqrt(256^2 - 192^2) = 169.3 is more than the 128 of all four steps.
    assert energy_ahead_wh(LOAD, UPPER, 12, 1, 4, 0.0) == [1024.0 + 128.0]
    assert energy_ahead_wh(LOAD, LOWER, 12, 1, 4, 0.0) == [1024.0 - 128.0]


def test_a_later_stretch_is_never_surer_than_the_first_of_its_length() -> None:
    sums = list(LOAD.cumulative_wh)
    # The sum's upper quantile stops spreading after step 4: the later stretch keeps the first one's 64 Wh.
    sums[8] = tuple(256.0 * step + 16.0 * min(step, 4) for step in range(1, 33))
    calm = replace(LOAD, cumulative_wh=tuple(sums))
    assert energy_ahead_wh(calm, UPPER, 8, 1, 4, 0.0) == [1024.0 + 64.0]


def crossed(forecast: Forecast) -> Forecast:
    """Return the forecast with upper and lower quantiles exchanged, as a bad model would."""
    return replace(forecast, values_w=forecast.values_w[::-1], cumulative_wh=forecast.cumulative_wh[::-1])


def test_crossed_quantiles_never_lower_the_upper_energy() -> None:
    assert energy_ahead_wh(crossed(LOAD), UPPER, 0, 2, 4, 0.0) == [1024.0, 1024.0]
    assert energy_ahead_wh(crossed(LOAD), LOWER, 0, 2, 4, 0.0) == [1024.0, 1024.0]


def test_where_the_forecast_has_ended_the_fill_stands_in() -> None:
    sure = a_forecast(spread_w=(0.0,) * 9, steps=8)
    # From step 6: 2 known steps of 256 Wh and 2 of 512 W x 0.25 h.
    assert energy_ahead_wh(sure, UPPER, 6, 3, 4, 512.0) == [768.0, 640.0, 512.0]
    assert energy_ahead_wh(sure, UPPER, 20, 2, 4, 512.0) == [512.0, 512.0]
    assert energy_ahead_wh(sure, UPPER, 4, 1, 4, 512.0) == [1024.0]
    assert energy_ahead_wh(None, UPPER, 0, 2, 4, 512.0) == [512.0, 512.0]
    # The doubt of the known part stays: steps 30 and 31 of the spread one, at most 2 x 32 Wh.
    assert energy_ahead_wh(LOAD, UPPER, 30, 1, 4, 512.0) == [2 * 256.0 + 64.0 + 256.0]
    # Longer than the whole forecast: its own 32 steps and 4 of fill.
    assert energy_ahead_wh(LOAD, UPPER, 0, 1, 36, 512.0) == [32 * 256.0 + 512.0 + 4 * 128.0]


def test_small_parts() -> None:
    assert [steps_of(hours) for hours in (0.0, 0.25, 0.26, 4.0, 4.1)] == [0, 1, 2, 16, 17]
    assert list(on_grid((1.0, 2.0, 3.0), 1, 2, 9.0)) == [2.0, 3.0]
    assert list(on_grid((1.0, 2.0, 3.0), 1, 4, 9.0)) == [2.0, 3.0, 9.0, 9.0]
    assert list(on_grid((1.0,), 5, 2, 9.0)) == [9.0, 9.0]
    assert offset_of(LOAD, START + 3 * STEP) == 3
    assert [within(amount, 4.0) for amount in (-1.0, 0.0, 3.0, 4.0, 5.0, float("nan"))] == [
        0.0,
        0.0,
        3.0,
        4.0,
        4.0,
        0.0,
    ]


@pytest.mark.parametrize("name", ["autonomy_h", "failed_start_h"])
def test_hours_that_would_become_an_endless_sum_are_no_autonomy(name: str) -> None:
    assert replace(AUTONOMY, **{name: 96.0}) is not None  # type: ignore[arg-type]
    for hours in (nextafter(96.0, inf), 1e12, inf, nan, -1.0):
        with pytest.raises(ValueError, match=name):
            replace(AUTONOMY, **{name: hours})  # type: ignore[arg-type]
