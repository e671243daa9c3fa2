"""Backtest of state-of-health estimates on a user's own files: `cellwatt backtest health --data DIR`.

DIR holds battery_xjtu, battery_nasa or battery_calce as sub-folders, or is one of them. These are small lithium cells in a
laboratory: the method is checked, and nothing is claimed for telecom LFP or VRLA strings until field data exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tools.health.capacity import counted_ah
from tools.health.charge_curve import fit_soh
from tools.health.estimate import NotJudged
from tools.health.partial_test import charge_to_voltage_ah, first_jump_ohm
from ui.bench.part import Part, goal, over_sets

Float64 = npt.NDArray[np.float64]

SCOPE = (
    "small lithium cells in the laboratory: a check of the method, no claim for telecom LFP or VRLA strings"
)
# The authors' own figures on their test cells, mean of ten runs (the set's README): MLP, PINN; and the goal.
XJTU = {"2C": (0.02494, 0.00644, 0.010), "3C": (0.02584, 0.01059, 0.012), "R2.5": (0.02002, 0.00804, 0.010)}
XJTU_FEATURES = (
    *("voltage_mean", "voltage_std", "voltage_kurtosis", "voltage_skewness"),
    *("CC_Q", "CC_charge_time", "voltage_slope", "voltage_entropy"),
    *("current_mean", "current_std", "current_kurtosis", "current_skewness"),
    *("CV_Q", "CV_charge_time", "current_slope", "current_entropy"),
)
XJTU_RATED_AH, CALCE_RATED_AH = 2.0, 1.1
NASA_CELLS = ("B0005", "B0006", "B0007")
NASA_FLOOR_V = 3.8
"""Open-circuit voltage at which the part of a discharge ends: about half of the charge of a new cell."""


def xjtu(folder: Path, small: bool) -> Part:
    """Score charge features on the authors' test cells."""
    figures: dict[str, float] = {}
    goals: dict[str, dict[str, Any]] = {}
    for batch, (mlp, pinn, aim) in XJTU.items():
        frame = pd.read_csv(folder / f"{batch}.csv.gz")
        train, test = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
        if small:
            train = train.iloc[::4]
        names = list(XJTU_FEATURES)
        model = fit_soh(_table(train, names), _soh(train, XJTU_RATED_AH), train["battery"].tolist())
        error = np.abs(model.predict(_table(test, names)) - _soh(test, XJTU_RATED_AH))
        key = f"xjtu_{batch.lower().replace('.', '_')}"
        figures |= {
            f"{key}_soh_mae_frac": float(error.mean()),
            f"{key}_published_mlp_soh_mae_frac": mlp,
            f"{key}_published_pinn_soh_mae_frac": pinn,
            f"{key}_soh_over_mlp_ratio": float(error.mean()) / mlp,
            f"{key}_within_stated_95_frac": float((error <= model.half_width_frac).mean()),
        }
        goals[f"{key}_soh_over_mlp_ratio"] = goal("<=", 1.0, gating=True)
        goals[f"{key}_soh_mae_frac"] = goal("<=", aim, gating=False)
    used = (
        "battery_xjtu: fitted to the authors' train cells, scored on their test cells; penalty and kernel width chosen by "
        f"leaving one train cell out; {SCOPE}"
    )
    return Part(figures=figures, goals=goals, used=used)


def nasa(folder: Path, small: bool) -> Part:
    """Score a part of a discharge against the first whole one, fitted to one cell and asked of another."""
    del small
    cells = {name: _nasa_cell(folder, name) for name in NASA_CELLS}
    errors = {}
    for one, other in permutations(cells, 2):
        model = np.polyfit(cells[one]["part"], cells[one]["soh"], 1)
        errors[f"{one}_to_{other}"] = float(
            np.abs(np.polyval(model, cells[other]["part"]) - cells[other]["soh"]).mean()
        )
    counting = [np.abs(c["counted_ah"] - c["capacity_ah"]) / c["capacity_ah"][0] for c in cells.values()]
    figures = {f"nasa_{name.lower()}_soh_mae_frac": value for name, value in errors.items()}
    figures["nasa_mean_soh_mae_frac"] = float(np.mean(list(errors.values())))
    figures["nasa_worst_soh_mae_frac"] = max(errors.values())
    figures["nasa_counting_error_frac"] = float(np.concatenate(counting).mean())
    return Part(
        figures=figures,
        goals={"nasa_worst_soh_mae_frac": goal("<=", 0.03, gating=True)},
        used=(
            "battery_nasa: every tenth discharge of three cells; charge drawn until the open-circuit voltage falls to 3.8 V, "
            "over that of the same cell's first discharge; a straight line fitted to one cell, asked of another, all six "
            "pairs, SoH = capacity over the cell's first; 3.8 V was taken as about half of the charge, its neighbours 3.7 "
            f"and 3.9 V having been seen; counting_error = coulomb counting against the set's own capacity; {SCOPE}"
        ),
    )


def calce(folder: Path, small: bool) -> Part:
    """Score the lengths of both phases of a charge, fitted to one cell and asked of the other."""
    frame = pd.read_csv(folder / "cycles.csv")
    names = ["cc_charge_s", "cv_charge_s"]
    cells = {str(name): cell for name, cell in frame.groupby("cell")}
    figures = {}
    for one, other in permutations(cells, 2):
        train = cells[one].iloc[:: 4 if small else 1]
        model = fit_soh(_table(train, names), _soh(train, CALCE_RATED_AH), train["cell"].tolist())
        error = np.abs(model.predict(_table(cells[other], names)) - _soh(cells[other], CALCE_RATED_AH))
        figures[f"calce_{one.lower()}_to_{other.lower()}_soh_mae_frac"] = float(error.mean())
    figures["calce_worst_soh_mae_frac"] = max(figures.values())
    return Part(
        figures=figures,
        goals={"calce_worst_soh_mae_frac": goal("<=", 0.03, gating=True)},
        used=(
            "battery_calce: fitted to one cell, asked of the other, both ways; the times of the constant-current and the "
            f"constant-voltage phase only; {SCOPE}"
        ),
    )


def _nasa_cell(folder: Path, name: str) -> Mapping[str, Float64]:
    """Return per kept discharge: capacity (Ah, the set's), counted charge (Ah), SoH and part, both over the first."""
    capacity = pd.read_csv(folder / f"{name}_cycles.csv").set_index("cycle")["capacity_ah"]
    rows = []
    for cycle, raw in pd.read_csv(folder / f"{name}_discharge_curves.csv.gz").groupby("cycle"):
        curve = raw.sort_values("discharge_time")
        at_h = curve["discharge_time"].to_numpy(dtype=np.float64) / 3600.0
        current_a = curve["current"].to_numpy(dtype=np.float64)
        bus_v = curve["voltage"].to_numpy(dtype=np.float64)
        ohm = first_jump_ohm(current_a, bus_v)
        loaded = np.flatnonzero(current_a < -1.5)
        during = slice(loaded[0], loaded[-1] + 1)
        if isinstance(ohm, NotJudged):
            continue
        part = charge_to_voltage_ah(
            at_h[during], current_a[during], bus_v[during], floor_v=NASA_FLOOR_V, resistance_ohm=ohm
        )
        if not isinstance(part, NotJudged):
            rows.append((float(capacity[cycle]), counted_ah(at_h[during], current_a[during]), part))
    capacity_ah, counted, parts = np.array(rows).T
    return {
        "capacity_ah": capacity_ah,
        "counted_ah": counted,
        "soh": capacity_ah / capacity_ah[0],
        "part": parts / parts[0],
    }


def _table(frame: pd.DataFrame, names: list[str]) -> Float64:
    return frame[names].to_numpy(dtype=np.float64)


def _soh(frame: pd.DataFrame, rated_ah: float) -> Float64:
    name = "capacity" if "capacity" in frame else "capacity_ah"
    return frame[name].to_numpy(dtype=np.float64) / rated_ah


PARTS: Mapping[str, Callable[[Path, bool], Part]] = {
    "battery_xjtu": xjtu,
    "battery_nasa": nasa,
    "battery_calce": calce,
}


def run(
    data_dir: Path, seed: int, small: bool, *, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Backtest on every known set found in `data_dir`; the seed changes nothing, no part of it is random.

    Raises:
        FileNotFoundError: None of them is there.
    """
    del seed

    def of(part: Callable[[Path, bool], Part]) -> Callable[[Path], Part]:
        return lambda folder: part(folder, small)

    return over_sets(data_dir, {name: [of(part)] for name, part in PARTS.items()}, progress)
