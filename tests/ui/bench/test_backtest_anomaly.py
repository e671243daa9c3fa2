"""The benchmark's protocol by hand, and both commands on small files of the published shape."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ui.bench.backtest_anomaly import run
from ui.bench.nab import LOW_MISS, STANDARD, Series, earned, read_nab, score, worth
from ui.bench.skab import Run, by_forest, by_mewma, by_t2_q, verdict

SERIES = Series(name="a/b.csv", at_s=np.arange(1000.0), values=np.zeros(1000), windows=((400, 499),))


def at(*rows: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


def test_a_detection_is_worth_more_when_early_and_counts_once() -> None:
    value, window = worth(SERIES, STANDARD)
    assert value[400] == pytest.approx(1.0)  # a hundred rows before the window's end: the best there is
    # Fifty rows before the end: (2 / (1 + e^-2.5) - 1) / (2 / (1 + e^-5) - 1) = 0.84828 / 0.98661.
    assert value[450] == pytest.approx(0.84828 / 0.98661, abs=1e-4)
    assert window[[399, 400, 499, 500]].tolist() == [-1, 0, 0, -1]
    assert earned(SERIES, at(450, 460, 470), STANDARD) == pytest.approx(value[450])


def test_a_false_alarm_costs_little_just_behind_a_window_and_all_of_it_far_from_one() -> None:
    value, _ = worth(SERIES, STANDARD)
    assert value[300] == pytest.approx(-0.11)
    assert value[501] == pytest.approx(-0.11 * (1.0 - 2.0 / (1.0 + np.exp(5.0 * 2 / 99))), abs=1e-9)
    assert value[900] == pytest.approx(-0.11)


def test_nothing_said_is_zero_and_a_perfect_detector_one() -> None:
    assert score([SERIES], {"a/b.csv": at()}, STANDARD) == 0.0
    assert score([SERIES], {"a/b.csv": at(400)}, STANDARD) == pytest.approx(1.0)
    # One false alarm and a miss: (-0.11 - 2 + 2) / (1 + 2) where a miss costs two.
    assert score([SERIES], {"a/b.csv": at(300)}, LOW_MISS) == pytest.approx(-0.11 / 3.0)
    assert score([SERIES], {"a/b.csv": at(100, 400)}, STANDARD) == pytest.approx(
        1.0
    )  # row 100 is on probation


def test_f1_false_and_missed_shares_by_hand() -> None:
    truth = np.array([True] * 4 + [False] * 6)
    said = np.array([True, True, False, False, True, *[False] * 5])
    run_ = Run(name="x", sensors=np.zeros((10, 1)), anomalous=truth)
    # Two hits, one false, two missed: 4 / (4 + 1 + 2).
    assert verdict([run_], lambda _: said) == pytest.approx((4 / 7, 1 / 6, 1 / 2))


def write_files(folder: Path) -> None:
    rng = np.random.default_rng(6)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    (folder / "nab" / "part").mkdir(parents=True)
    windows = {}
    for name in ("one", "two"):
        values = 10.0 + np.sin(np.arange(1500) / 288 * 2 * np.pi) + 0.1 * rng.standard_normal(1500)
        values[1000:1010] += 8.0
        times = [f"{start + k * timedelta(minutes=5):%Y-%m-%d %H:%M:%S}" for k in range(1500)]
        text = "timestamp,value\n" + "".join(f"{t},{v}\n" for t, v in zip(times, values, strict=True))
        (folder / "nab" / "part" / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        windows[f"part/{name}.csv"] = [[f"{times[970]}.000000", f"{times[1040]}.000000"]]
    (folder / "nab" / "combined_windows.json").write_text(json.dumps(windows))
    (folder / "skab" / "valve1").mkdir(parents=True)
    sensors = rng.standard_normal((1000, 8))
    sensors[600:800] += 1.5
    table = pd.DataFrame(sensors, columns=[f"s{k}" for k in range(8)])
    table.insert(
        0, "datetime", [f"{start + k * timedelta(seconds=1):%Y-%m-%d %H:%M:%S}" for k in range(1000)]
    )
    table["anomaly"] = 0.0
    table.loc[600:799, "anomaly"] = 1.0
    table["changepoint"] = 0.0
    table.to_csv(folder / "skab" / "valve1" / "0.csv", index=False, sep=";")


def test_both_sets_are_scored_from_a_users_own_files(tmp_path: Path) -> None:
    write_files(tmp_path)
    assert [one.windows for one in read_nab(tmp_path / "nab")] == [((970, 1040),)] * 2
    found = run(tmp_path, 7, small=False)
    figures = found["figures"]
    assert figures["nab_standard_score_frac"] > 0.8
    assert figures["nab_files_count"] == 2
    assert figures["skab_mewma_f1_frac"] > 0.9
    assert len(found["used"]) == 2


def test_all_detectors_say_little_in_quiet_times() -> None:
    sensors = np.random.default_rng(8).standard_normal((1200, 8))
    for detect in (by_mewma, by_t2_q, by_forest):
        assert detect(sensors)[400:].mean() < 0.02
