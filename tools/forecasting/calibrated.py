"""Turn a point model into a forecaster: backtest it inside the history, and let its past errors be its intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.backtest import run_backtest
from tools.forecasting.fleet_forecast import FleetForecast
from tools.forecasting.forecaster import NoForecastError, PointModel
from tools.forecasting.history import LoadHistory, measured_days
from tools.forecasting.intervals import interval_paths

Float32 = npt.NDArray[np.float32]

MAX_SILENCE = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """When a site has a forecast at all, and when it is marked as weak."""

    min_days: float = 9.0
    full_days: float = 21.0
    max_silence: timedelta = MAX_SILENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A point model with conformal intervals; follows the Forecaster protocol.

    Attributes:
        model: The rule that gives the expected path.
        quantity: What is forecast, unit at the end.
        folds: Daily backtests behind the intervals.
        lower_bound: Least possible value (0 for a load), or None.
    """

    model: PointModel
    quantity: str = "load_w"
    folds: int = 14
    lower_bound: float | None = 0.0
    eligibility: Eligibility = field(default_factory=Eligibility)

    def fit(self, history: LoadHistory) -> FittedCalibrated:
        """Keep the sites with enough history; the rest are named absent with the reason.

        Raises:
            NoForecastError: No site has enough history.
        """
        return FittedCalibrated(settings=self, kept=kept(history, self.eligibility))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCalibrated:
    """A calibrated model with the history it may use."""

    settings: Calibrated
    kept: Kept

    def predict(self, start: datetime, steps: int) -> FleetForecast:
        """Return quantiles for `steps` grid steps from `start`."""
        own, history = self.settings, self.kept.history
        tested = run_backtest(own.model, history, start, steps, folds=own.folds)
        return self.kept.forecast(
            start,
            interval_paths(history, tested, own.lower_bound),
            quantity=own.quantity,
            model=(own.model.name,) * len(history.site_ids),
            version=own.model.version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The part of a history that can be forecast.

    Attributes:
        history: Of the sites with enough past.
        degraded: Site to the reason why its forecast is weaker than usual.
        absent: Site to the reason why it has none.
    """

    history: LoadHistory
    degraded: Mapping[str, str]
    absent: Mapping[str, str]

    def forecast(
        self,
        start: datetime,
        intervals: tuple[Float32, Float32],
        *,
        quantity: str,
        model: tuple[str, ...],
        version: str,
        degraded: Mapping[str, str] | None = None,
    ) -> FleetForecast:
        """Return step and energy quantiles as the fleet's forecast; `degraded` adds reasons to those known."""
        return FleetForecast(
            site_ids=self.history.site_ids,
            quantity=quantity,
            start=start,
            step=self.history.step,
            values=intervals[0],
            cumulative_wh=intervals[1],
            model=model,
            version=version,
            made_at=self.history.end,
            degraded={**self.degraded, **(degraded or {})},
            absent=self.absent,
        )


def kept(history: LoadHistory, rule: Eligibility) -> Kept:
    """Return the sites with enough history; the rest are named absent with the reason.

    Raises:
        NoForecastError: No site has enough history.
    """
    keep, degraded, absent = eligible(history, rule)
    if keep.size == 0:
        raise NoForecastError("no site has enough history: " + next(iter(absent.values()), "no sites"))
    return Kept(history=history.rows(keep), degraded=degraded, absent=absent)


def eligible(
    history: LoadHistory, rule: Eligibility
) -> tuple[npt.NDArray[np.intp], dict[str, str], dict[str, str]]:
    """Return the rows to forecast, and reasons by site for weak and for absent forecasts."""
    days = measured_days(history)
    known = np.isfinite(history.values)
    silent = np.where(known.any(axis=1), np.argmax(known[:, ::-1], axis=1), history.steps)
    allowed = rule.max_silence // history.step
    degraded: dict[str, str] = {}
    absent: dict[str, str] = {}
    keep: list[int] = []
    for row, site in enumerate(history.site_ids):
        if days[row] < rule.min_days:
            absent[site] = f"{days[row]:.1f} days measured, {rule.min_days:g} needed"
        elif silent[row] > allowed:
            absent[site] = f"nothing measured for {silent[row] * history.step_h:.0f} h"
        else:
            keep.append(row)
            if days[row] < rule.full_days:
                degraded[site] = f"only {days[row]:.1f} days measured"
            elif silent[row] * history.step_h > 3.0:
                degraded[site] = f"nothing measured for {silent[row] * history.step_h:.0f} h"
    return np.array(keep, dtype=np.intp), degraded, absent
