"""Readers of the public data sets' files, one function per set: the set's README names its columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tools.forecasting.clear_sky import Place, clear_sky_of
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


def on_local_grid(local: pd.DatetimeIndex, values: Any, freq: str) -> pd.Series[float]:
    """Return values on a regular grid of wall-clock time from a midnight, whole days.

    An hour that the clock repeats is averaged, one that it skips is left empty.
    """
    series = pd.Series(values, index=local, dtype=np.float64).groupby(level=0).mean()
    first, last = series.index[0].ceil("D"), series.index[-1].floor("D")
    return series.reindex(pd.date_range(first, last, freq=freq, inclusive="left"))


def read_pjm(folder: Path, zone: str = "PJM_Load") -> LoadHistory:
    """Return hourly load, MW, on local wall-clock time (taken as UTC), hour ending at the stamp."""
    frame = pd.read_csv(folder / f"{zone}_hourly.csv.gz")
    local = pd.DatetimeIndex(pd.to_datetime(frame.iloc[:, 0]))
    series = on_local_grid(local, frame.iloc[:, 1].to_numpy(), "h")
    return LoadHistory(
        site_ids=(zone,),
        values=series.to_numpy(dtype=np.float64)[None],
        start=series.index[0].to_pydatetime().replace(tzinfo=UTC),
        zone="UTC",
        step=timedelta(hours=1),
        holidays=national_holidays("US", series.index[0].year, series.index[-1].year + 1),
    )


def read_vic(folder: Path, *, temperature: bool) -> LoadHistory:
    """Return half-hourly demand of Victoria, MW, on local wall-clock time (taken as UTC).

    With `temperature` the observed temperature of the day itself enters as degrees above 20 and below 18 degC:
    better than any forecast of it.
    """
    frame = pd.read_csv(folder / "vic_elec.csv.gz")
    stamps = pd.DatetimeIndex(pd.to_datetime(frame["time_utc"], utc=True))
    local = stamps.tz_convert("Australia/Melbourne").tz_localize(None)
    series = on_local_grid(local, frame["demand_mw"].to_numpy(), "30min")
    warm = on_local_grid(local, frame["temperature_c"].to_numpy(), "30min").interpolate()
    start = series.index[0].to_pydatetime().replace(tzinfo=UTC)
    felt = warm.to_numpy(dtype=np.float64)
    observed = (
        Regressor(name="above_20_c", values=np.maximum(felt - 20.0, 0.0), start=start),
        Regressor(name="below_18_c", values=np.maximum(18.0 - felt, 0.0), start=start),
    )
    return LoadHistory(
        site_ids=("vic",),
        values=series.to_numpy(dtype=np.float64)[None],
        start=start,
        zone="UTC",
        step=timedelta(minutes=30),
        holidays=frozenset(at.date() for at in local[frame["holiday"].to_numpy() == 1]),
        regressors=observed if temperature else (),
    )


GOLDEN = Place(latitude=39.742, longitude=-105.18)
"""NREL's site in Golden, Colorado, where the panels of `pv_output` stand."""


def read_pv(folder: Path) -> LoadHistory:
    """Return 15-minute AC power of system 50, W, whole days from midnight at 105 degrees west (7 h behind UTC).

    Its regressors are the clear sky, computed, and the air temperature that was observed, degC. The file's observed
    irradiance is not read.
    """
    frame = pd.read_csv(folder / "system50_ac_power.csv.gz")
    stamps = pd.DatetimeIndex(pd.to_datetime(frame["time"], utc=True))
    power = pd.Series(frame["ac_power_w"].to_numpy(dtype=np.float64), index=stamps)
    first = (stamps[0] - pd.Timedelta(hours=7)).ceil("D") + pd.Timedelta(hours=7)
    days = (stamps[-1] + pd.Timedelta(minutes=15) - first) // pd.Timedelta(days=1)
    grid = pd.date_range(first, periods=days * 96, freq="15min")
    start = first.to_pydatetime()
    weather = pd.read_csv(folder / "system50_irradiance.csv.gz", usecols=["time", "temp_air"])
    air = pd.Series(
        weather["temp_air"].to_numpy(dtype=np.float64),
        index=pd.DatetimeIndex(pd.to_datetime(weather["time"], utc=True)),
    )
    warm = air.reindex(grid).interpolate(limit_direction="both").to_numpy(dtype=np.float64)
    step = timedelta(minutes=15)
    return LoadHistory(
        site_ids=("system50",),
        values=power.reindex(grid).to_numpy(dtype=np.float64)[None],
        start=start.astimezone(UTC),
        zone="Etc/GMT+7",
        step=step,
        regressors=(
            clear_sky_of([GOLDEN], start.astimezone(UTC), len(grid), step),
            Regressor(name="observed_temperature_c", values=warm, start=start.astimezone(UTC)),
        ),
    )


def national_holidays(country: str, first_year: int, last_year: int) -> frozenset[date]:
    """Return a country's public holidays from the `holidays` package, which Prophet brings along."""
    from holidays import country_holidays  # noqa: PLC0415 - only where a file names none

    return frozenset(country_holidays(country, years=range(first_year, last_year + 1)))
