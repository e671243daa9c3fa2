"""The published recipe for next-day failures, run again: its features and its booster with its default settings.

After Ovsiannikova, "Base-Station-Availability-Forecasting" (MIT, the repository named in the set's README): LightGBM,
500 trees of depth 6, rate 0.05, failures weighted up to balance, random state 42; written anew from its description. As
there, next day's observed weather is among the features, and a row's target is the site's next row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ui.bench.outage_files import OutageData

TODAY = ("avail_2g_pct", "avail_3g_pct", "avail_4g_pct", "avail_base_pct")
BUFFER_DAYS = 30


def recipe_tables(data: OutageData, split: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features of the rows up to the split and after it, with `failed_next`, by site and date."""
    weather = [str(name) for name in data.weather.columns if name != "date"]
    rows = data.rows.drop(columns=["failed_next", "next_date"])
    rows = rows.merge(data.weather, on="date", how="left")
    rows = rows.merge(data.alarms[["date", "site", "alarms"]], on=["date", "site"], how="left")
    ahead = rows.groupby("site")[weather].shift(-1).add_suffix("_ahead")
    words = rows["alarms"].fillna("").str.replace(r"\s*[|;,]\s*", "|", regex=True).str.get_dummies(sep="|")
    words.columns = pd.Index([f"alarm_{k}" for k in range(words.shape[1])])
    table = pd.concat([rows.drop(columns="alarms"), ahead, _calendar(rows), _together(rows), words], axis=1)
    train = _history(table[table["date"] <= split])
    buffer = train.groupby("site").tail(BUFFER_DAYS)[list(table.columns)]
    later = pd.concat([buffer, table[table["date"] > split]]).sort_values(["site", "date"])
    test = _history(later)
    test = test[test["date"] > split]
    done = []
    for part in (train, test):
        target = part.groupby("site")["failed"].shift(-1).rename("failed_next")
        done.append(part.drop(columns="failed").join(target).dropna(subset=["failed_next"]))
    return done[0], done[1]


def recipe_chance(train: pd.DataFrame, test: pd.DataFrame, *, jobs: int = 2) -> npt.NDArray[np.float64]:
    """Return the recipe's chance of failure for the later rows."""
    from lightgbm import LGBMClassifier  # noqa: PLC0415 - slow to import

    names = [name for name in train.columns if name not in ("date", "site", "failed_next")]
    target = train["failed_next"].to_numpy(int)
    model = LGBMClassifier(
        n_estimators=500,
        max_depth=6,
        learning_rate=0.05,
        scale_pos_weight=float((target == 0).sum() / max((target == 1).sum(), 1)),
        random_state=42,
        n_jobs=jobs,
        verbose=-1,
    )
    model.fit(train[names].fillna(0.0).to_numpy(np.float32), target)
    return np.asarray(np.asarray(model.predict_proba(test[names].fillna(0.0).to_numpy(np.float32)))[:, 1])


def _calendar(rows: pd.DataFrame) -> pd.DataFrame:
    day = rows["date"].dt
    season = (day.month % 12) // 3
    cycles = {
        "weekday": (day.day_of_week, 7),
        "day": (day.day, 31),
        "month": (day.month, 12),
        "quarter": (day.quarter, 4),
        "season": (season, 4),
    }
    found = {}
    for name, (value, length) in cycles.items():
        found[f"{name}_sin"] = np.sin(2.0 * np.pi * value / length)
        found[f"{name}_cos"] = np.cos(2.0 * np.pi * value / length)
    return pd.DataFrame(found)


def _together(rows: pd.DataFrame) -> pd.DataFrame:
    wind, rain_rate = rows["wind_max_mps"], rows["precip_intensity"]
    rain, snow, hail, drizzle = rows["rain"], rows["snow"], rows["hail"], rows["drizzle"]
    season = (rows["date"].dt.month % 12) // 3
    return pd.DataFrame(
        {
            "storm": wind * rain_rate,
            "ice_storm": rows["temp_range_c"] * rain_rate * (snow + rain + drizzle),
            "heavy": rain_rate * (rain + snow + hail),
            "hail_force": hail * rain_rate,
            "winter_storm": snow * rain_rate * wind,
            "winter_heavy": rain_rate * (season == 0),
            "summer_rain": rain_rate * rain * (season == 2),
        }
    )


def _history(part: pd.DataFrame) -> pd.DataFrame:
    by_site = part.groupby("site")
    last = part["date"].where(part["failed"] == 1).groupby(part["site"]).ffill()
    return part.assign(
        failures_7d=by_site["failed"].transform(lambda v: v.rolling(7, min_periods=1).sum()),
        failures_30d=by_site["failed"].transform(lambda v: v.rolling(30, min_periods=1).sum()),
        days_since=(part["date"] - last).dt.days.fillna(999),
        ema_4g=by_site["avail_4g_pct"].transform(lambda v: v.ewm(span=3, adjust=False).mean()),
        ema_base=by_site["avail_base_pct"].transform(lambda v: v.ewm(span=3, adjust=False).mean()),
        mean_base=by_site["avail_base_pct"].transform(lambda v: v.expanding().mean()),
    )
