"""Day-ahead lasso: every step of tomorrow has its own sparse regression on whole past days and on what is known ahead.

Source:
    The LEAR model of Lago, Marcjasz, De Schutter and Weron, "Forecasting day-ahead electricity prices", Applied
    Energy 293 (2021) 116983: lags of 1, 2, 3 and 7 days, regressors of the day, the day and the week before, day
    of week, variance-stabilised by asinh, averaged over calibration windows. Here a window's penalty is a fixed
    share of the largest useful one, and all steps of the day are solved together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.forecasting.history import LoadHistory, filled
from tools.forecasting.lasso import solve_lasso

Float64 = npt.NDArray[np.float64]

FIRST_ROUNDS, NEXT_ROUNDS = 2000, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A calibration window, and its penalty as a share of the least penalty that zeroes every coefficient."""

    days: int
    penalty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAheadLasso:
    """One sparse regression per step of the day, averaged over calibration windows; a PointModel for one day ahead.

    Attributes:
        windows: Calibration windows; one longer than the history takes what there is.
        lags: Past days that enter whole.
        regressor_lags: Days back at which regressors enter; 0 is the day that is forecast.
    """

    windows: tuple[Window, ...] = (Window(days=84, penalty=0.03), Window(days=1092, penalty=0.002))
    lags: tuple[int, ...] = (1, 2, 3, 7)
    regressor_lags: tuple[int, ...] = (0, 1, 7)

    @property
    def name(self) -> str:
        """Name of the model, by its windows."""
        return "lasso_" + "_".join(str(w.days) for w in self.windows)

    @property
    def version(self) -> str:
        """Version of the rule and its settings."""
        return "1:" + ",".join(f"{w.days}d{w.penalty:g}" for w in self.windows)

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin."""
        return max(self.lags) + 28

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> npt.NDArray[np.float32]:
        """Return the paths from several origins, shape (origins, sites, steps).

        Raises:
            ValueError: More than a day is asked for, or the origins are not whole days apart.
        """
        day = history.steps_per_day
        if steps > day:
            raise ValueError(f"the day-ahead lasso reaches {day} steps, not {steps}")
        if len({o % day for o in origins}) != 1:
            raise ValueError("origins must lie whole days apart")
        values = filled(history).astype(np.float64)
        out = np.empty((len(origins), len(values), day), dtype=np.float32)
        for site in range(len(values)):
            table = self._table(history, values[site], site, max(origins))
            for window in self.windows:
                start: Float64 | None = None
                for row in np.argsort(origins, kind="stable"):
                    target = (origins[row] - table.first) // day
                    path, start = _fit(table, target, window, start)
                    share = path / len(self.windows)
                    out[row, site] = share if window is self.windows[0] else out[row, site] + share
        return out[:, :, :steps]

    def _table(self, history: LoadHistory, values: Float64, site: int, last: int) -> _Table:
        """Return days and features up to the day that starts at column `last`, which is not known yet."""
        day = history.steps_per_day
        skip = last % day
        known = values[skip : skip + (last - skip) // day * day].reshape(-1, day)
        longest = max(*self.lags, *self.regressor_lags)
        days = np.arange(longest, len(known) + 1)
        blocks = [known[days - lag] for lag in self.lags]
        for k in range(len(history.regressors)):
            whole = history.regressor(k, skip, (len(known) + 1) * day)
            series = whole[site if whole.shape[0] > 1 else 0].reshape(-1, day)
            blocks += [series[days - lag] for lag in self.regressor_lags]
        phase = history.phase(skip, (len(known) + 1) * day)
        kind = phase.day_type.reshape(-1, day)[:, day // 2][days]
        dummies = np.eye(7)[kind]
        return _Table(
            features=np.hstack([*blocks, dummies]), dummies=7, days=known, longest=longest, first=skip
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Days and their features: row d of `features` belongs to day d + `longest`; the last day is not known."""

    features: Float64
    dummies: int
    days: Float64
    longest: int
    first: int


def _fit(table: _Table, target: int, window: Window, start: Float64 | None) -> tuple[Float64, Float64]:
    """Return the path of day `target` and the coefficients that gave it."""
    begin = max(table.longest, target - window.days)
    y = table.days[begin:target]
    x = table.features[begin - table.longest : target - table.longest]
    centre, spread = _median_scale(x)
    centre[-table.dummies :], spread[-table.dummies :] = 0.0, 1.0
    y_centre, y_spread = _median_scale(y)
    x = np.arcsinh((x - centre) / spread)
    ahead = np.arcsinh((table.features[target - table.longest] - centre) / spread)
    y = np.arcsinh((y - y_centre) / y_spread)
    mean, width = x.mean(axis=0), x.std(axis=0) + 1e-9
    x, ahead = (x - mean) / width, (ahead - mean) / width
    level = y.mean(axis=0)
    gram = x.T @ x / len(x)
    moment = x.T @ (y - level) / len(x)
    penalty = window.penalty * np.abs(moment).max(axis=0)
    first = start is None
    guess = np.zeros_like(moment) if start is None else start
    found = solve_lasso(gram, moment, penalty, guess, rounds=FIRST_ROUNDS if first else NEXT_ROUNDS)
    path = np.sinh(level + ahead @ found) * y_spread + y_centre
    return np.asarray(path), found


def _median_scale(values: Float64) -> tuple[Float64, Float64]:
    """Return median and scaled median deviation per column; a column that hardly moves takes its deviation."""
    centre = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - centre), axis=0)
    return centre, np.where(spread > 1e-6, spread, np.maximum(values.std(axis=0), 1e-6))
