"""What the deep model sees, and what it does where torch is not installed; none of this needs torch."""

from datetime import timedelta

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of
from tools.errors import ToolUnavailableError
from tools.forecasting.deep import Deep
from tools.forecasting.deep_net import DeepAbsentError, is_installed, torch_module
from tools.forecasting.deep_training import stretched, stretches
from tools.forecasting.deep_windows import Scaling, scaling_of, targets, windows
from tools.forecasting.forecaster import NoForecastError
from tools.forecasting.history import filled
from tools.forecasting.naive import SeasonalNaive
from tools.forecasting.ridge import BatchedRidge

MEDIAN = 4


def not_there(name: str) -> object:
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def half_there(name: str) -> object:
    raise ModuleNotFoundError("No module named 'sympy'", name="sympy")


def test_without_torch_the_error_names_the_extra() -> None:
    with pytest.raises(DeepAbsentError) as told:
        torch_module(not_there)
    assert isinstance(told.value, ToolUnavailableError)
    assert str(told.value) == (
        "the deep model needs torch, which is not installed: pip install 'cellwatt[deep]'"
    )


def test_a_torch_that_is_broken_is_not_called_absent() -> None:
    with pytest.raises(ModuleNotFoundError, match="sympy"):
        torch_module(half_there)


@pytest.mark.skipif(is_installed(), reason="torch is installed here")
def test_an_installation_without_the_extra_refuses_to_train() -> None:
    history = history_of(daily_weekly(3, 30, seed=1))
    with pytest.raises(DeepAbsentError):
        Deep().fit(history)


def test_the_reader_sees_hours_in_units_of_the_last_week() -> None:
    # 300 W in each hour of the first week, 600 W later: level 600, so 1.0 now and 0.5 a week ago.
    values = np.full((1, 15 * DAY), 600.0, dtype=np.float32)
    values[:, : 7 * DAY] = 300.0
    values[0, 14 * DAY - 2] = (
        1000.0  # the last hour before the origin holds 600, 600, 1000, 600: 700 on average
    )
    history = history_of(values)
    found = windows(history, values, [14 * DAY], 4, SeasonalNaive(season="day"), 48)
    level = 600.0 + 400.0 / (7 * DAY)
    assert found.level == pytest.approx([level])
    assert found.past.shape == (1, 48, 5)
    assert found.past[0, 0, :2] == pytest.approx([600.0 / level, 300.0 / level])
    assert found.past[0, -1, :2] == pytest.approx([700.0 / level, 300.0 / level])
    # From Monday 1 January on, day 13 is a Sunday: its last hour begins at 23:00, a day off.
    assert found.past[0, -1, 2:] == pytest.approx(
        [np.sin(2 * np.pi * 23 / 24), np.cos(2 * np.pi * 23 / 24), 1.0]
    )
    assert found.past[0, 0, 4] == 1.0  # Saturday, and before it lies nothing the reader sees


def test_nothing_from_the_origin_on_enters_a_window() -> None:
    values = daily_weekly(4, 20, seed=3)
    spoiled = values.copy()
    spoiled[:, 12 * DAY + 5 :] = 9e5
    one, two = (windows(history_of(v), v, [12 * DAY + 5], DAY, BatchedRidge(), 48) for v in (values, spoiled))
    for name in ("past", "ahead", "base", "level"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_targets_are_distances_from_the_base_and_their_mean_so_far() -> None:
    values = np.full((1, 15 * DAY), 100.0, dtype=np.float32)
    values[0, 14 * DAY : 14 * DAY + 4] = [110.0, 130.0, np.nan, 100.0]
    history = history_of(values)
    found = windows(history, filled(history), [14 * DAY], 4, SeasonalNaive(season="day"), 48)
    step, mean = targets(history, [14 * DAY], found)
    assert step[0] == pytest.approx([0.1, 0.3, np.nan, 0.0], nan_ok=True, abs=1e-6)
    assert mean[0] == pytest.approx([0.1, 0.2, np.nan, np.nan], nan_ok=True, abs=1e-6)


def test_an_origin_too_early_is_refused() -> None:
    values = daily_weekly(2, 12, seed=1)
    with pytest.raises(ValueError, match="216 hours"):
        windows(history_of(values), values, [9 * DAY - 1], 4, BatchedRidge(), 48)


def test_scaling_centres_and_leaves_a_constant_at_zero() -> None:
    ahead = np.array([[[1.0, 5.0], [3.0, 5.0]]], dtype=np.float32)
    scaling = scaling_of(ahead)
    assert scaling(ahead).tolist() == [[[-1.0, 0.0], [1.0, 0.0]]]
    far = Scaling(mean=np.zeros(1, dtype=np.float32), spread=np.ones(1, dtype=np.float32))
    assert far(np.array([[[99.0]]], dtype=np.float32)).item() == 6.0


def test_training_days_and_days_kept_back_share_no_target() -> None:
    history = history_of(daily_weekly(2, 40, seed=1))
    early, late = Deep()._origins(history, 40 * DAY, DAY)
    assert early[-1] + DAY <= late[0]
    assert late[-1] + DAY <= 40 * DAY
    assert early[0] >= 9 * DAY
    # Seven days of origins every six hours are kept back: the last at day 39, the first at day 33.
    assert (late[0], late[-1], len(late)) == (33 * DAY, 39 * DAY, 25)


def test_too_short_a_history_is_refused_with_what_is_needed() -> None:
    history = history_of(daily_weekly(2, 18, seed=1))
    with pytest.raises(
        NoForecastError, match=r"18\.0 days of history are too few to train on: 23 are needed"
    ):
        Deep()._origins(history, 18 * DAY, DAY)


def test_quantiles_are_stretched_until_their_share_holds() -> None:
    found = np.zeros((1000, 1, 9), dtype=np.float32)
    found[..., :] = [-2.0, -1.6, -1.3, -0.7, 0.0, 0.7, 1.3, 1.6, 2.0]
    target = np.linspace(-5.0, 5.0, 1000, dtype=np.float32)[:, None]
    factors = stretches(found, target)
    # Of a uniform -5..5 the 90 % quantile is 4: 4 / 1.3 is over the most, 3; the 75 % quantile is 2.5: 2.5 / 0.7 too.
    assert factors[MEDIAN] == 1.0
    assert factors[6] == pytest.approx(3.0)
    # The 97.5 % quantile is 4.75 = 2.0 x 2.375.
    assert factors[8] == pytest.approx(2.375, abs=0.01)
    wide = stretched(found, factors)
    assert (target[:, 0] <= wide[:, 0, 8]).mean() == pytest.approx(0.975, abs=0.002)
    assert (np.diff(wide, axis=2) >= 0.0).all()


def test_its_version_names_what_changes_its_figures() -> None:
    assert Deep().name == "deep"
    assert Deep(seed=3).version == f"1:gru2x48:p48:d42:s3:{BatchedRidge().version}"
    assert Deep().needs_days == 23
    assert Deep().horizon == timedelta(hours=24)
