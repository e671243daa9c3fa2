"""Energy drift of continental FCR on measured frequency: `cellwatt backtest frequency --data DIR` (grid_frequency).

Ten-second samples say nothing about how fast a site answers; they say how much energy the answer takes. The files are
the user's: the set has no licence to pass it on.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ui.bench.frequency_drift import FCR, drift
from ui.bench.harness import BenchmarkError

FILES = ("freq_2014_10", "freq_2017_12")
STEP_S = 10.0


def read_hz(path: Path) -> np.ndarray[Any, Any]:
    """Return the frequencies of one file, Hz, shape (rows,), every 10 s."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = np.array([float(row["freq_hz"]) for row in csv.DictReader(file)])
    except (OSError, KeyError, ValueError) as error:
        raise BenchmarkError(f"{path.name}: {error}") from error
    if found.size == 0:
        raise BenchmarkError(f"{path.name}: no rows")
    return found


def run(data_dir: Path, seed: int, small: bool) -> dict[str, Any]:
    """Return up, down and drift per kW offered; the seed changes nothing."""
    del seed
    folder = data_dir if data_dir.name == "grid_frequency" else data_dir / "grid_frequency"
    figures: dict[str, float] = {}
    worst = 0.0
    for name in FILES:
        hz = read_hz(folder / f"{name}.csv")[: 360 if small else None]
        found, year = drift(hz, STEP_S), name[5:9]
        half_hour_wh = FCR.up_w * 0.5  # what the product makes a site hold each way (products.yaml)
        reach = max(-found.low_wh, found.high_wh) / half_hour_wh
        worst = max(worst, reach)
        figures |= {
            f"frequency_{year}_hours_h": found.hours,
            f"frequency_{year}_up_wh": found.up_wh,
            f"frequency_{year}_down_wh": found.down_wh,
            f"frequency_{year}_net_wh": found.net_wh,
            f"frequency_{year}_reach_over_reservoir_ratio": reach,
        }
    figures["frequency_worst_reach_over_reservoir_ratio"] = worst
    goals = {"frequency_worst_reach_over_reservoir_ratio": {"op": "<=", "value": 1.0, "gating": False}}
    used = "grid_frequency: 10 s samples of continental Europe, all rows; droop 190 mHz beyond a dead band of 10 mHz, 1 kW"
    return {"figures": figures, "goals": goals, "used": [used]}
