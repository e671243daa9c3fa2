"""Readers of the public data sets' files, one function per set: the set's README names its columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tools.forecasting.history import LoadHistory, Regressor

MILAN_HOLIDAYS = frozenset(
    {
        date(2013, 11, 1),
        date(2013, 12, 8),
        date(2013, 12, 25),
        date(2013, 12, 26),
        date(2014, 1, 1),
    }
)


def read_milan(folder: Path) -> LoadHistory:
    """Return hourly activity records per cell; the time stamps are local and without a change of clock."""
    frame = pd.read_csv(folder / "milan_hourly.csv.gz", index_col=0)
    return LoadHistory(
        site_ids=tuple(str(c) for c in frame.columns),
        values=frame.to_numpy(dtype=np.float32).T,
        start=datetime(2013, 10, 31, 23, tzinfo=UTC),
        zone="Europe/Rome",
        step=timedelta(hours=1),
        holidays=MILAN_HOLIDAYS,
    )


def read_prices(folder: Path, market: str = "NP") -> LoadHistory:
    """Return hourly day-ahead prices, EUR/MWh, with the load and wind forecasts known before the auction.

    The file's hours are local and without a change of clock, as its authors made them; they are taken as UTC.
    """
    frame = pd.read_csv(folder / f"{market}.csv.gz", parse_dates=["time"])
    start = frame["time"].iloc[0].to_pydatetime().replace(tzinfo=UTC)
    return LoadHistory(
        site_ids=(market,),
        values=frame["price"].to_numpy(dtype=np.float64)[None],
        start=start,
        zone="UTC",
        step=timedelta(hours=1),
        regressors=tuple(
            Regressor(name=name, values=frame[name].to_numpy(dtype=np.float64), start=start)
            for name in ("load_forecast_mw", "wind_forecast_mw")
        ),
    )


def read_published_prices(
    folder: Path, market: str = "NP"
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the benchmark's published forecasts by model, EUR/MWh per hour; empty when the file is not there."""
    path = folder / f"forecasts_{market}.csv.gz"
    if not path.is_file():
        return {}
    frame = pd.read_csv(path)
    return {name: frame[name].to_numpy(dtype=np.float64) for name in ("dnn_ensemble", "lear_ensemble")}
