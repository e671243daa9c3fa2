from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tools.forecasting.day_ahead import DayAheadLasso, Window
from tools.forecasting.history import LoadHistory, Regressor
from tools.forecasting.lasso import solve_lasso

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = DayAheadLasso(windows=(Window(days=60, penalty=0.01),))


def hourly(days: int, seed: int) -> LoadHistory:
    """Prices that follow yesterday's and a forecast wind power of the day itself."""
    rng = np.random.default_rng(seed)
    wind = rng.normal(0.0, 1.0, (days + 1) * 24)
    price = np.empty(days * 24)
    for h in range(days * 24):
        before = price[h - 24] if h >= 24 else 40.0
        price[h] = 20.0 + 0.5 * before - 3.0 * wind[h] + rng.normal(0.0, 0.2)
    return LoadHistory(
        site_ids=("NP",),
        values=price[None],
        start=START,
        zone="UTC",
        step=HOUR,
        regressors=(Regressor(name="wind", values=wind, start=START),),
    )


def test_lasso_on_an_orthogonal_design_is_soft_thresholding() -> None:
    # With G = I the solution is sign(m) max(|m| - penalty, 0), by hand.
    moment = np.array([[3.0, -0.5], [-2.0, 1.0]])
    got = solve_lasso(np.eye(2), moment, np.array([1.0, 0.6]), np.zeros((2, 2)))
    assert got == pytest.approx(np.array([[2.0, 0.0], [-1.0, 0.4]]), abs=1e-3)


def test_lasso_meets_its_optimality_conditions() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 12)), rng.normal(size=(50, 3))
    gram, moment, penalty = x.T @ x / 50, x.T @ y / 50, np.array([0.05, 0.1, 0.2])
    got = solve_lasso(gram, moment, penalty, np.zeros((12, 3)), rounds=5000, tolerance=1e-9)
    slope = gram @ got - moment
    active = got != 0.0
    assert np.abs(slope + penalty * np.sign(got))[active].max() < 1e-5
    assert (np.abs(slope) <= penalty + 1e-5).all()
    assert not active.all()


def test_a_regressor_known_ahead_is_used_and_beats_yesterday() -> None:
    history = hourly(120, seed=1)
    origins = [d * 24 for d in range(110, 120)]
    actual = np.stack([history.columns(o, 24)[0] for o in origins])
    path = MODEL.paths(history, origins, 24)[:, 0]
    yesterday = np.stack([history.columns(o - 24, 24)[0] for o in origins])
    # The noise of 0.2 alone costs 0.16; without the wind of the day 3 x 0.8 = 2.4 would be left.
    assert np.abs(path - actual).mean() < 1.0
    assert np.abs(path - actual).mean() < 0.5 * np.abs(yesterday - actual).mean()


def test_it_does_not_look_past_its_origin() -> None:
    history = hourly(100, seed=2)
    spoiled = history.values.copy()
    spoiled[:, 90 * 24 :] = 1e6
    a, b = (MODEL.paths(h, [90 * 24], 24) for h in (history, replace(history, values=spoiled)))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(("origins", "steps"), [([90 * 24], 25), ([90 * 24, 90 * 24 + 1], 24)])
def test_what_it_cannot_forecast_is_refused(origins: list[int], steps: int) -> None:
    with pytest.raises(ValueError):
        MODEL.paths(hourly(100, seed=3), origins, steps)
