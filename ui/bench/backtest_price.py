"""Backtest of day-ahead price forecasts on a user's own files: `cellwatt backtest price --data DIR`.

DIR holds `epf_prices` as a sub-folder, or is it. Windows and penalties were chosen on the 182 days before the
scored part; every day is refitted on earlier days alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from tools.forecasting.day_ahead import DayAheadLasso
from tools.forecasting.history import LoadHistory
from tools.forecasting.naive import SeasonalNaive
from ui.bench.series_files import read_prices, read_published_prices

TEST_DAYS, DAY_H = 728, 24


def run(data_dir: Path, seed: int, small: bool) -> dict[str, Any]:
    """Score one-day-ahead forecasts of Nord Pool prices over the last 728 days (91 when `small`).

    The seed changes nothing: no part of it is random.
    """
    del seed
    folder = data_dir if data_dir.name == "epf_prices" else data_dir / "epf_prices"
    history = read_prices(folder)
    days = 91 if small else TEST_DAYS
    first = history.steps - TEST_DAYS * DAY_H
    origins = [first + k * DAY_H for k in range(days)]
    actual = _actual(history, origins)
    with threadpool_limits(1):  # products of this size lose more to waiting than they win from a second core
        begin = time.perf_counter()
        path = DayAheadLasso().paths(history, origins, DAY_H)[:, 0]
        per_day_s = (time.perf_counter() - begin) / days
    week, day = (SeasonalNaive(season=s).paths(history, origins, DAY_H)[:, 0] for s in ("week", "day"))
    figures = {
        "price_np_scored_days": float(days),
        "price_np_lasso_mae_eur_per_mwh": float(np.abs(path - actual).mean()),
        "price_np_naive_week_mae_eur_per_mwh": float(np.abs(week - actual).mean()),
        "price_np_naive_day_mae_eur_per_mwh": float(np.abs(day - actual).mean()),
        "price_np_lasso_rmse_eur_per_mwh": float(np.sqrt(((path - actual) ** 2).mean())),
        "price_np_daily_refit_wall_s": per_day_s,
    }
    figures |= _published(folder, actual, days)
    goals = {
        "price_np_lasso_mae_eur_per_mwh": {"op": "<=", "value": 1.75, "gating": not small},
        "price_np_daily_refit_wall_s": {"op": "<=", "value": 2.0, "gating": True},
    }
    used = (
        "epf_prices NP: each scored day is forecast from at most the 1092 days before it, with the load and wind "
        "forecasts of that day; windows and penalties chosen on the 182 days before the last 728; scored: "
        f"{days} days from the start of the last 728"
    )
    return {"figures": figures, "goals": goals, "used": [used]}


def _actual(history: LoadHistory, origins: list[int]) -> np.ndarray[Any, Any]:
    return np.stack([history.columns(o, DAY_H)[0] for o in origins])


def _published(folder: Path, actual: np.ndarray[Any, Any], days: int) -> dict[str, float]:
    """Score the benchmark's published forecasts on the same days, where their file is there."""
    found = read_published_prices(folder)
    return {
        f"price_np_published_{name}_mae_eur_per_mwh": float(
            np.abs(values[: days * DAY_H].reshape(-1, DAY_H) - actual).mean()
        )
        for name, values in found.items()
    }
