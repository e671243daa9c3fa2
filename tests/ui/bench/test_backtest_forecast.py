"""The forecast backtest's row of the deep model, with its optional extra and without."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of
from tools.forecasting.history import LoadHistory
from ui.bench.backtest_forecast import deep_figures

ROW = "milan_last7_deep_median_wape_frac"


def hourly(days: int) -> LoadHistory:
    values = daily_weekly(6, days, seed=9).reshape(6, -1, 4).mean(axis=2)
    return replace(history_of(values), step=timedelta(hours=1))


def test_without_the_extra_its_row_says_so() -> None:
    history = hourly(8)
    assert deep_figures(history, 24, 7, True, installed=False) == ({}, {ROW: "not installed"})


def test_with_the_extra_it_stands_beside_the_others() -> None:
    pytest.importorskip("torch", reason="the deep model's extra is not installed (cellwatt[deep])")
    history, heard = hourly(37), list[float]()
    found, absent = deep_figures(history, 30 * DAY // 4, 7, True, installed=True, tell=heard.append)
    assert absent == {}
    assert 0.0 < found[ROW] < 0.15  # the made-up noise is 5 %
    assert set(found) == {
        ROW,
        *(f"milan_last7_deep_{k}covered_{p}_frac" for k, p in (("", 80), ("", 95), ("energy_", 95))),
    }
    assert heard == [0.5, 1.0]  # two epochs
    assert np.isfinite(list(found.values())).all()
