"""The health backtest on made-up cells: what it fits, what it scores, and that it claims nothing for telecom strings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ui.bench.backtest_health import run


def calce_like(folder: Path) -> None:
    """Write two cells whose constant-current phase takes 6,000 s for each ampere hour."""
    folder.mkdir()
    capacity = np.linspace(1.1, 0.55, 60)
    frames = [
        pd.DataFrame(
            {
                "cell": name,
                "cycle": np.arange(60),
                "capacity_ah": capacity,
                "cc_charge_s": 6000.0 * capacity + shift,
                "cv_charge_s": 2000.0,
            }
        )
        for name, shift in (("A", 0.0), ("B", 66.0))
    ]
    pd.concat(frames).to_csv(folder / "cycles.csv", index=False)


def nasa_like(folder: Path) -> None:
    """Write three cells at 2 A whose open voltage falls from 4.2 by 0.8 V over their capacity, 0.1 ohm in series."""
    folder.mkdir()
    for name, fade in (("B0005", 0.02), ("B0006", 0.03), ("B0007", 0.01)):
        capacity = 2.0 * (1.0 - fade * np.arange(6))
        pd.DataFrame({"cycle": np.arange(6), "capacity_ah": capacity}).to_csv(
            folder / f"{name}_cycles.csv", index=False
        )
        curves = []
        for cycle, full_ah in enumerate(capacity):
            at_s = np.concatenate([[0.0], np.linspace(1.0, full_ah / 2.0 * 3600.0 + 1.0, 100)])
            current = np.concatenate([[0.0], np.full(100, -2.0)])
            drawn = np.maximum(at_s - 1.0, 0.0) / 3600.0 * 2.0
            voltage = 4.2 - 0.8 * drawn / full_ah + 0.1 * current
            curves.append(
                pd.DataFrame({"cycle": cycle, "voltage": voltage, "current": current, "discharge_time": at_s})
            )
        pd.concat(curves).to_csv(folder / f"{name}_discharge_curves.csv.gz", index=False)


def test_a_user_with_two_of_the_sets_gets_their_figures_and_is_told_of_the_third(tmp_path: Path) -> None:
    calce_like(tmp_path / "battery_calce")
    nasa_like(tmp_path / "battery_nasa")
    found = run(tmp_path, seed=0, small=False)
    figures = found["figures"]
    # The second cell takes 66 s longer: 0.011 Ah, one per cent of 1.1 Ah.
    assert figures["calce_a_to_b_soh_mae_frac"] == pytest.approx(0.01, abs=0.006)
    assert figures["nasa_worst_soh_mae_frac"] < 0.002  # the part scales as the whole
    assert figures["nasa_counting_error_frac"] < 0.002
    assert found["goals"]["nasa_worst_soh_mae_frac"] == {"op": "<=", "value": 0.03, "gating": True}
    assert "battery_xjtu: not in the folder given" in found["used"]
    assert sum("no claim for telecom" in text for text in found["used"]) == 2


def test_no_set_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="battery_xjtu"):
        run(tmp_path, seed=0, small=True)
