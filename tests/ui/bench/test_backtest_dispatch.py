"""The price backtest on days worked out by hand."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from ui.bench.backtest_dispatch import Market, blended, day_plan, earned, profits, read_market

CHEAP_THEN_DEAR = np.concatenate([np.full(12, 10.0), np.full(12, 30.0)])


def test_a_day_fills_cheap_and_empties_dear() -> None:
    plan = day_plan(CHEAP_THEN_DEAR)
    # 1 MWh stored costs 1 / 0.95 MWh at 10; 0.95 MWh come back at 30.
    assert earned(plan, CHEAP_THEN_DEAR) == pytest.approx(0.95 * 30.0 - 10.0 / 0.95, abs=1e-3)
    assert np.abs(plan).max() <= 0.5e6 + 1e-3


def test_losses_dearer_than_the_spread_leave_the_battery_alone() -> None:
    assert np.abs(day_plan(np.where(CHEAP_THEN_DEAR > 20.0, 10.5, 10.0))).max() == pytest.approx(
        0.0, abs=1e-3
    )


def test_a_forecast_upside_down_loses_and_is_paid_at_the_real_price() -> None:
    wrong = CHEAP_THEN_DEAR[::-1].copy()
    market = Market(
        real=CHEAP_THEN_DEAR[None],
        forecasts={"dnn_ensemble": CHEAP_THEN_DEAR[None], "lear_ensemble": wrong[None]},
    )
    found = profits(market)
    assert found["dnn_ensemble"] == pytest.approx(found["perfect"])
    assert found["lear_ensemble"] <= 0.0
    assert blended(market, 0) == pytest.approx(np.full(24, 20.0))
    assert found["blend"] == pytest.approx(0.0, abs=1e-3)


def test_the_file_is_read_in_days(tmp_path: Path) -> None:
    path = tmp_path / "forecasts_NP.csv.gz"
    lines = ["time,real_price,dnn_ensemble,lear_ensemble"] + [f"h{n},{n},{n + 1},{n + 2}" for n in range(48)]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    market = read_market(path)
    assert market.real[1, 0] == 24.0
    assert market.forecasts["lear_ensemble"][0, 23] == 25.0
