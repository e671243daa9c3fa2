"""Backtest of the optimiser on day-ahead prices: 1 MWh, 0.5 MW, each day alone from empty to empty.

Every day is planned with a forecast made the day before and paid at the real price. The protocol is that of
`epf_prices/README.md`: 95 % efficiency each way, no wear cost, two years.
"""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.planning.optimiser import solve
from tools.planning.problem import DispatchProblem, Floats, Objectives

HOURS = 24
CAPACITY_WH, POWER_W, EFFICIENCY = 1e6, 0.5e6, 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """Real prices and published forecasts, currency per MWh, shape (days, 24) each."""

    real: Floats
    forecasts: dict[str, Floats]


def read_market(path: Path) -> Market:
    """Read `forecasts_<market>.csv.gz`."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {
        name: np.array([float(row[name]) for row in rows]).reshape(-1, HOURS)
        for name in rows[0]
        if name != "time"
    }
    return Market(real=columns.pop("real_price"), forecasts=columns)


def blended(market: Market, day: int) -> Floats:
    """Return the plain mean of the two published ensembles, fixed beforehand and fitted to nothing, shape (24,)."""
    return np.asarray((market.forecasts["dnn_ensemble"][day] + market.forecasts["lear_ensemble"][day]) / 2.0)


def day_plan(price: Floats) -> Floats:
    """Return setpoints of a day at the terminals, W, charging positive, shape (24,)."""
    wide = np.full((1, HOURS), 1e9)
    full, power = np.full((1, HOURS), CAPACITY_WH), np.full((1, HOURS), POWER_W)
    problem = DispatchProblem(
        initial_wh=np.zeros(1), usable_wh=np.full(1, CAPACITY_WH), floor_wh=np.zeros((1, HOURS)), ceiling_wh=full,
        max_charge_w=power, max_discharge_w=power, load_cap_w=wide, rectifier_headroom_w=wide,
        connection_headroom_w=wide, efficiency_class=np.zeros(1, dtype=np.int64),
        charge_efficiency=np.full(1, EFFICIENCY), discharge_efficiency=np.full(1, EFFICIENCY),
        rectifier_efficiency=np.ones(1), ramp_w=np.full(1, np.inf), start_w=np.zeros(1),
        feeder=np.zeros(1, dtype=np.int64), background_w=np.zeros((1, HOURS)), import_limit_w=wide, export_limit_w=wide,
        radio_cluster=np.full(1, -1), low_wh=np.zeros(1), low_share=np.ones(0), reserve_load_w=np.ones(1),
        eligible=np.ones(1, dtype=bool), discharge_budget_wh=np.full(1, np.inf),
        objectives=Objectives(import_price=price[None, :] / 1e6), step_h=1.0,
    )  # fmt: skip
    return np.asarray(solve(problem).setpoint_w[0])


def earned(plan_w: Floats, real: Floats) -> float:
    """Return what a day's plan earns at the real price."""
    return -float((plan_w / 1e6 * real).sum())


def profits(market: Market, days: int | None = None) -> dict[str, float]:
    """Return earnings over the test period by what was known: perfect foresight, each ensemble, our blend."""
    total = dict.fromkeys(("perfect", "dnn_ensemble", "lear_ensemble", "blend"), 0.0)
    for day in range(market.real.shape[0] if days is None else days):
        known = {
            "perfect": market.real[day],
            "dnn_ensemble": market.forecasts["dnn_ensemble"][day],
            "lear_ensemble": market.forecasts["lear_ensemble"][day],
            "blend": blended(market, day),
        }
        for name, price in known.items():
            total[name] += earned(day_plan(price), market.real[day])
    return total


def run(data: Path, *, days: int | None = None) -> dict[str, Any]:
    """Return figures and goals for the data folder that holds `epf_prices`."""
    figures: dict[str, float] = {}
    for market in ("NP", "DE"):
        found = profits(read_market(data / "epf_prices" / f"forecasts_{market}.csv.gz"), days)
        for name, value in found.items():
            figures[f"epf_{market.lower()}_{name}_profit_currency"] = value
            if name != "perfect":
                figures[f"epf_{market.lower()}_{name}_of_perfect_frac"] = value / found["perfect"]
    return {
        "figures": figures,
        "goals": {
            "epf_np_blend_of_perfect_frac": {"op": ">=", "value": 0.85, "gating": True},
            "epf_np_perfect_profit_currency": {"op": ">=", "value": 5154.0, "gating": False},
        },
    }
