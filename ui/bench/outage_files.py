"""The daily availability set (`t2_bs_availability`): its files as rows, and as the days that the outage model takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from tools.alerts.outage_history import DailyHistory

FAILED_BELOW_PCT = 99.8
GROUPS = {"power": "POWER|RECTIFIER|LossOfMains", "heat": "TEMP|Temperature", "radio": "VSWR|RF|Antenna"}
TECHNOLOGIES = ("2g", "3g", "4g")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageData:
    """The set.

    Attributes:
        rows: One a site and day, sorted by both: date, site, avail_*_pct, failed, failed_next (NaN on a site's last row),
            next_date.
        alarms: One a site and day with alarms.
        sites: Traits of the sites.
        weather: One a day.
    """

    rows: pd.DataFrame
    alarms: pd.DataFrame
    sites: pd.DataFrame
    weather: pd.DataFrame


def read_outage_files(folder: Path) -> OutageData:
    """Read a folder with `availability.parquet`, `alarms.csv.gz`, `sites.csv`, `weather_daily.csv.gz`."""
    rows = pd.read_parquet(folder / "availability.parquet")
    rows["date"] = pd.to_datetime(rows["date"])
    rows = rows.sort_values(["site", "date"]).reset_index(drop=True)
    rows["failed"] = (rows["avail_base_pct"] < FAILED_BELOW_PCT).astype(int)
    by_site = rows.groupby("site")
    rows["failed_next"] = by_site["failed"].shift(-1)
    rows["next_date"] = by_site["date"].shift(-1)
    known = set(rows["site"])
    alarms = pd.read_csv(folder / "alarms.csv.gz", parse_dates=["date"])
    return OutageData(
        rows=rows,
        alarms=alarms[alarms["site"].isin(known)],
        sites=pd.read_csv(folder / "sites.csv"),
        weather=pd.read_csv(folder / "weather_daily.csv.gz", parse_dates=["date"]),
    )


def as_history(data: OutageData, *, weather_ahead: bool) -> tuple[DailyHistory, npt.NDArray[np.int64]]:
    """Return the set as days of a fleet, and where each row lies in them, shape (rows, 2): site and day."""
    names = sorted(set(data.rows["site"]))
    place = {name: k for k, name in enumerate(names)}
    first, last = data.rows["date"].min(), data.rows["date"].max()
    days = (last - first).days + 1
    at = np.stack(
        [data.rows["site"].map(place).to_numpy(), (data.rows["date"] - first).dt.days.to_numpy()], axis=1
    )

    def grid(values: npt.NDArray[np.float64], empty: float) -> npt.NDArray[np.float64]:
        out = np.full((len(names), days), empty)
        out[at[:, 0], at[:, 1]] = values
        return out

    lost = {name: 100.0 - data.rows[f"avail_{name}_pct"].to_numpy(float) for name in ("base", *TECHNOLOGIES)}
    alarms = data.alarms[data.alarms["site"].isin(names)]  # of the sites with rows
    alarmed = np.stack(
        [alarms["site"].map(place).to_numpy(), (alarms["date"] - first).dt.days.to_numpy()], axis=1
    )
    counts = {"alarms": alarms["alarm_count"].clip(upper=5).to_numpy(float)}
    counts["fault_min"] = alarms["fault_time_min"].fillna(0.0).to_numpy(float)
    for name, words in GROUPS.items():
        counts[name] = alarms["alarms"].str.contains(words).to_numpy(float)
    by_day = {}
    for name, values in counts.items():
        by_day[name] = np.zeros((len(names), days))
        np.add.at(by_day[name], (alarmed[:, 0], alarmed[:, 1]), values)
    traits = data.sites.set_index("site").reindex(names)
    weather = data.weather.set_index("date").reindex(pd.date_range(first, last))
    history = DailyHistory(
        first_day=first.date(),
        seen=grid(np.ones(len(at)), 0.0) > 0.0,
        failed=grid(data.rows["failed"].to_numpy(float), 0.0) > 0.0,
        deficit=grid(lost["base"], np.nan),
        levels={f"lost_{name}": grid(lost[name], np.nan) for name in TECHNOLOGIES},
        counts=by_day,
        place=traits[["x_rel", "y_rel"]].to_numpy(float),
        traits={
            "vendor": pd.factorize(traits["vendor"], sort=True)[0].astype(float),
            "antenna_height_m": traits["antenna_height_m"].to_numpy(float),
        },
        weather={str(name): weather[name].to_numpy(float) for name in weather.columns},
        weather_ahead=weather_ahead,
    )
    return history, at
