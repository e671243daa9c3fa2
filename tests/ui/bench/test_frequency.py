"""Energy that a frequency takes: by hand, on a made-up frequency, and from the user's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ui.bench.backtest_frequency import FILES, run
from ui.bench.frequency_drift import drift, ornstein_uhlenbeck_hz
from ui.bench.harness import BenchmarkError, DataAbsentError, Request, read_outcome


def test_an_hour_at_105_mhz_low_gives_half_of_what_is_offered() -> None:
    # (0.105 - 0.01) / 0.19 = 0.5: 500 W for an hour, less the ramp of 12.5 s (500 W at 40 W/s): 500 Wh - 0.87 Wh.
    found = drift(np.full(36_000, 49.895), 0.1)
    assert found.up_wh == pytest.approx(499.13, abs=0.02)
    assert (found.down_wh, found.high_wh) == (0.0, 0.0)
    assert found.low_wh == pytest.approx(-499.13, abs=0.02)
    assert found.net_wh == pytest.approx(-499.13, abs=0.02)


def test_inside_the_dead_band_nothing_is_given() -> None:
    found = drift(np.array([50.009, 49.991] * 50), 10.0)
    assert found.up_wh == found.down_wh == 0.0


def test_a_symmetric_frequency_drifts_by_less_than_it_moves() -> None:
    hz = ornstein_uhlenbeck_hz(np.random.default_rng(3), 36_000, 1.0)
    assert float(np.std(hz - 50.0)) == pytest.approx(0.02, rel=0.15)
    found = drift(hz, 1.0)
    # Mean of max(|x| - 0.01, 0) / 0.19 for a normal x of 20 mHz: 0.0396 each way, x 10 h x 1,000 W / ... : 2 sides.
    # E[max(|x| - d, 0)] = 2 s (phi(d/s) - d/s (1 - Phi(d/s))) = 0.04 (0.3521 - 0.5 x 0.3085) = 0.00791 Hz: 41.6 W.
    assert (found.up_wh + found.down_wh) / found.hours == pytest.approx(41.6, rel=0.15)
    assert abs(found.net_wh) < 0.35 * (found.up_wh + found.down_wh)


def _write(folder: Path, name: str, hz: list[float]) -> None:
    rows = "\n".join(f"2026-01-01 00:00:00,{1000 * (f - 50):.0f},{f}" for f in hz)
    (folder / f"{name}.csv").write_text(f"time,dev_mhz,freq_hz\n{rows}\n")


def test_the_backtest_reads_the_users_files_and_names_what_is_absent(tmp_path: Path) -> None:
    folder = tmp_path / "grid_frequency"
    folder.mkdir()
    _write(folder, FILES[0], [49.895] * 360)
    _write(folder, FILES[1], [50.2] * 360)
    outcome = read_outcome(run(tmp_path, 7, small=True))
    # An hour: 500 W less the ramp of 12.5 s seen in looks of 10 s, and 1,000 W less the ramp of 25 s.
    assert outcome.figures["frequency_2014_up_wh"] == pytest.approx(499.0, abs=2.0)
    assert outcome.figures["frequency_2017_down_wh"] == pytest.approx(996.0, abs=3.0)
    assert outcome.figures["frequency_worst_reach_over_reservoir_ratio"] == pytest.approx(1.99, abs=0.01)
    assert not outcome.goals["frequency_worst_reach_over_reservoir_ratio"].gating
    with pytest.raises(DataAbsentError, match="grid_frequency"):
        Request().data("grid_frequency")
    (folder / f"{FILES[0]}.csv").write_text("time,hz\n")
    with pytest.raises(BenchmarkError):
        run(folder, 7, small=True)
