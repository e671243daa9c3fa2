"""Speed of fleet forecasts: 10,000 sites with intervals, and the cost per site against hourly Prophet.

Loads are simulated from real traffic (`edge/simulator/traces`, Milan) through the EARTH power model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.simulator.load import earth_power_w, read_trace
from tools.forecasting.calibrated import Calibrated
from tools.forecasting.history import LoadHistory
from tools.forecasting.naive import SeasonalNaive
from tools.forecasting.prophet_model import ProphetModel
from tools.forecasting.ridge import BatchedRidge

TRACE_START = datetime(2013, 11, 3, 23, tzinfo=UTC)  # Monday 2013-11-04 00:00 in Milan
ZONE = "Europe/Rome"
HOLIDAYS = frozenset({date(2013, 11, 1), date(2013, 12, 8), date(2013, 12, 25), date(2013, 12, 26)})
STEPS = 96
DAY = 96


def milan_watts(sites: int, seed: int) -> LoadHistory:
    """Return 8 weeks of 15-minute load in W, simulated from real traffic.

    Cells come round again with another scale, 0.5 to 2, and with 1.5 % noise of their own on every step.
    """
    rng = np.random.default_rng(seed)
    records = read_trace().astype(np.float64)
    full = np.quantile(records[:, : 4 * 168], 0.995, axis=1)[:, None]
    hourly = earth_power_w(records / full).astype(np.float32)
    at_h = (np.arange(hourly.shape[1] * 4) + 0.5) / 4.0
    middle = np.arange(hourly.shape[1]) + 0.5
    cells = np.stack([np.interp(at_h, middle, row) for row in hourly]).astype(np.float32)
    values = cells[np.arange(sites) % len(cells)]
    values *= rng.uniform(0.5, 2.0, (sites, 1)).astype(np.float32)
    values *= 1.0 + np.float32(0.015) * rng.standard_normal(values.shape, dtype=np.float32)
    return LoadHistory(
        site_ids=tuple(f"sim-{k:05d}" for k in range(sites)),
        values=values,
        start=TRACE_START,
        zone=ZONE,
        holidays=HOLIDAYS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Wall and CPU seconds of a call, and its mean absolute error in W."""

    wall_s: float
    cpu_s: float
    mae_w: float


def _forecast(model: Calibrated, history: LoadHistory, actual: npt.NDArray[np.floating]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    forecast = model.fit(history).predict(history.end, STEPS)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timed(wall_s=wall, cpu_s=cpu, mae_w=float(np.abs(forecast.at(0.5) - actual).mean()))


def _prophet(history: LoadHistory, actual: npt.NDArray[np.floating]) -> Timed:
    """Time Prophet's point path alone, one fit per site and no interval: the comparison is in its favour."""
    model = ProphetModel()
    model.paths(history.rows(np.array([0])), [history.steps], STEPS)  # its first call compiles and imports
    wall, cpu = time.perf_counter(), time.process_time()
    path = model.paths(history, [history.steps], STEPS)[0]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Timed(wall_s=wall, cpu_s=cpu, mae_w=float(np.abs(path - actual).mean()))


def _days_before(fleet: LoadHistory, day: int, days: int) -> LoadHistory:
    """Return the `days` days before a day of the trace."""
    return LoadHistory(
        site_ids=fleet.site_ids,
        values=np.ascontiguousarray(fleet.values[:, (day - days) * DAY : day * DAY]),
        start=fleet.start + timedelta(days=day - days),
        zone=fleet.zone,
        holidays=fleet.holidays,
    )


def run(
    seed: int, *, sites: int = 10_000, prophet_sites: int = 24, days: tuple[int, ...] = (35, 40, 46)
) -> dict[str, Any]:
    """Time a fleet's forecast, and compare cost and error with hourly Prophet on the same sites and days.

    Args:
        seed: For the simulated loads.
        sites: Sites of the fleet.
        prophet_sites: Sites on which Prophet is run beside the others.
        days: Days of the trace that are forecast (35 is a Monday, 40 a Saturday, 46 a Friday); 28 days are known.
    """
    fleet = milan_watts(sites, seed)
    ridge, weekly = Calibrated(model=BatchedRidge()), Calibrated(model=SeasonalNaive())
    whole = _forecast(ridge, _days_before(fleet, days[0], 28), fleet.values[:, days[0] * DAY :][:, :STEPS])
    few = fleet.rows(np.arange(min(prophet_sites, sites), dtype=np.intp))
    prophet, same, naive = [], [], []
    for day in days:
        past, actual = _days_before(few, day, 28), few.values[:, day * DAY :][:, :STEPS]
        prophet.append(_prophet(past, actual))
        same.append(_forecast(ridge, past, actual))
        naive.append(_forecast(weekly, past, actual))
    ridge_ms = whole.cpu_s / sites * 1e3
    prophet_ms = sum(p.cpu_s for p in prophet) / len(days) / len(few.site_ids) * 1e3
    ridge_w, prophet_w, naive_w = (float(np.mean([t.mae_w for t in ts])) for ts in (same, prophet, naive))
    figures = {
        "forecast_fleet_sites": float(sites),
        "forecast_fleet_wall_s": whole.wall_s,
        "forecast_fleet_cpu_s": whole.cpu_s,
        "forecast_ridge_with_intervals_cpu_ms_per_site": ridge_ms,
        "forecast_prophet_hourly_cpu_ms_per_site": prophet_ms,
        "forecast_prophet_over_ridge_cpu_ratio": prophet_ms / ridge_ms,
        "forecast_ridge_same_sites_mae_w": ridge_w,
        "forecast_prophet_same_sites_mae_w": prophet_w,
        "forecast_naive_week_same_sites_mae_w": naive_w,
        "forecast_ridge_over_prophet_mae_ratio": ridge_w / prophet_w,
    }
    goals = {
        "forecast_fleet_wall_s": {"op": "<=", "value": 5.0, "gating": True},
        "forecast_prophet_over_ridge_cpu_ratio": {"op": ">=", "value": 100.0, "gating": True},
        "forecast_ridge_over_prophet_mae_ratio": {"op": "<=", "value": 1.0, "gating": True},
    }
    return {"figures": figures, "goals": goals}
