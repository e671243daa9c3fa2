"""Readers of data sets, on small files made here in the same format."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ui.bench.backtest_forecast import run
from ui.bench.backtest_price import run as run_price
from ui.bench.series_files import read_pjm, read_prices, read_vic


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_a_repeated_hour_is_averaged_and_a_skipped_one_left_empty(tmp_path: Path) -> None:
    stamps = [datetime(2001, 10, 28) + timedelta(hours=h) for h in range(48)]  # noqa: DTZ001 - as in the file
    rows = [f"{at:%Y-%m-%d %H:%M:%S},{100 + k}" for k, at in enumerate(stamps)]
    rows.insert(2, "2001-10-28 01:00:00,201")
    del rows[6]  # 05:00
    write(tmp_path / "PJM_Load_hourly.csv.gz", ["datetime,load_mw", *rows, "2001-10-30 00:00:00,5"])
    history = read_pjm(tmp_path)
    assert history.steps == 48
    assert history.columns(0, 4)[0].tolist() == [100.0, 151.0, 102.0, 103.0]
    assert np.isnan(history.columns(5, 1)[0, 0])


def test_victoria_is_read_on_melbournes_wall_clock(tmp_path: Path) -> None:
    start = datetime(2012, 6, 1, 14, 0, tzinfo=UTC)  # local midnight of 2 June, UTC+10
    rows = [
        f"{start + timedelta(minutes=30 * k):%Y-%m-%d %H:%M:%S},{k},{10 + k / 48},{int(k >= 48)}"
        for k in range(97)
    ]
    write(tmp_path / "vic_elec.csv.gz", ["time_utc,demand_mw,temperature_c,holiday", *rows])
    history = read_vic(tmp_path, temperature=True)
    assert history.start == datetime(2012, 6, 2, tzinfo=UTC)
    assert (history.steps, history.columns(48, 1)[0, 0]) == (96, 48.0)
    assert [history.regressor(k, 48, 1)[0, 0] for k in (0, 1)] == pytest.approx([0.0, 7.0])  # 11 degC
    assert datetime(2012, 6, 3, tzinfo=UTC).date() in history.holidays
    assert datetime(2012, 6, 2, tzinfo=UTC).date() not in history.holidays


def test_prices_come_with_what_was_known_before_the_auction(tmp_path: Path) -> None:
    rows = [f"2013-01-01 {h:02d}:00:00,{30 + h},{500 + h},{60 - h}" for h in range(24)]
    write(tmp_path / "NP.csv.gz", ["time,price,load_forecast_mw,wind_forecast_mw", *rows])
    history = read_prices(tmp_path)
    assert history.columns(3, 1)[0, 0] == 33.0
    assert [history.regressor(k, 3, 1)[0, 0] for k in (0, 1)] == [503.0, 57.0]


def test_an_empty_folder_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="milan_cdr_hourly"):
        run(tmp_path, 0, True)
    with pytest.raises(FileNotFoundError):
        run_price(tmp_path, 0, True)
