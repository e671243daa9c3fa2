"""Turn a point model into a forecaster: backtest it inside the history, and let its past errors be its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from tools.forecasting.conformal import (
    SMALLEST_CLASS,
    Scale,
    error_scale,
    horizon_bands,
    pooled_quantiles,
)
from tools.forecasting.fleet_forecast import MAX_HORIZON, QUANTILES, FleetForecast
from tools.forecasting.forecaster import NoForecastError, PointModel
from tools.forecasting.history import LoadHistory, measured_days

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SMOOTHING = timedelta(minutes=45)
MAX_SILENCE = timedelta(days=2)
FEWEST_BACKTESTS = 5
"""Site-backtests in the fleet below which no interval can be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """When a site has a forecast at all, and when it is marked as weak."""

    min_days: float = 9.0
    full_days: float = 21.0
    max_silence: timedelta = MAX_SILENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """A point model's paths from origins inside the history, and from its end.

    Attributes:
        origins: Columns the backtests start from, latest first.
        ahead: Steps between an origin and the first step scored (the gap between data and forecast).
        residuals: Measured minus forecast, shape (origins, sites, steps); NaN where nothing was measured.
        point: The path to serve, shape (sites, steps).
    """

    origins: tuple[int, ...]
    ahead: int
    residuals: Float32
    point: Float32

    @property
    def error(self) -> npt.NDArray[np.float64]:
        """Mean absolute error per site over all backtests, shape (sites,); NaN where nothing was measured."""
        absolute = np.abs(self.residuals)
        known = np.isfinite(absolute)
        count = known.sum(axis=(0, 2))
        total = np.where(known, absolute, 0.0).sum(axis=(0, 2), dtype=np.float64)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def backtest_origins(history: LoadHistory, total: int, folds: int, train: int) -> tuple[int, ...]:
    """Return up to `folds` daily origins at the time of day the history ends, latest first.

    Args:
        history: What is known.
        total: Steps each backtest must have measured after its origin.
        folds: Most origins wanted.
        train: Steps that must lie before the earliest origin.
    """
    day = history.steps_per_day
    latest = history.steps - -(-total // day) * day
    return tuple(latest - k * day for k in range(folds) if latest - k * day >= train)


def train_steps(model: PointModel, history: LoadHistory, total: int) -> int:
    """Return the steps a model needs before an origin to be backtested over `total` steps."""
    return model.needs_days * history.steps_per_day + (total if model.needs_days > 7 else 0)


def run_backtest(
    model: PointModel, history: LoadHistory, start: datetime, steps: int, *, folds: int
) -> Backtest:
    """Backtest a model at the time of day and horizon at which it is about to be served.

    Raises:
        NoForecastError: The horizon is out of bounds or the history allows no backtest.
    """
    ahead = history.index_of(start) - history.steps
    total = ahead + steps
    if steps < 1 or ahead < 0 or total * history.step > MAX_HORIZON:
        raise NoForecastError(f"forecasts reach from the end of the history to {MAX_HORIZON} after it")
    origins = backtest_origins(history, total, folds, train_steps(model, history, total))
    if not origins:
        raise NoForecastError(
            f"{history.steps / history.steps_per_day:.1f} days of history allow no backtest"
        )
    paths = model.paths(history, [*origins, history.steps], total)[:, :, ahead:]
    residuals = np.stack(
        [history.values[:, o + ahead : o + total] - paths[k] for k, o in enumerate(origins)]
    ).astype(np.float32)
    return Backtest(origins=origins, ahead=ahead, residuals=residuals, point=paths[-1])


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
        keep, degraded, absent = eligible(history, self.eligibility)
        if keep.size == 0:
            raise NoForecastError("no site has enough history: " + next(iter(absent.values()), "no sites"))
        return FittedCalibrated(settings=self, history=history.rows(keep), degraded=degraded, absent=absent)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCalibrated:
    """A calibrated model with the history it may use."""

    settings: Calibrated
    history: LoadHistory
    degraded: dict[str, str]
    absent: dict[str, str]

    def predict(self, start: datetime, steps: int) -> FleetForecast:
        """Return quantiles for `steps` grid steps from `start`."""
        own = self.settings
        tested = run_backtest(own.model, self.history, start, steps, folds=own.folds)
        values, cumulative = interval_paths(self.history, tested, own.lower_bound)
        return FleetForecast(
            site_ids=self.history.site_ids,
            quantity=own.quantity,
            start=start,
            step=self.history.step,
            values=values,
            cumulative_wh=cumulative,
            model=(own.model.name,) * len(self.history.site_ids),
            version=own.model.version,
            made_at=self.history.end,
            degraded=self.degraded,
            absent=self.absent,
        )


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


def interval_paths(
    history: LoadHistory, tested: Backtest, lower_bound: float | None
) -> tuple[Float32, Float32]:
    """Return step quantiles and cumulative-energy quantiles, both of shape (sites, quantiles, steps).

    Raises:
        NoForecastError: Too few backtests in the fleet for any interval.
    """
    folds, sites, steps = tested.residuals.shape
    if folds * sites < FEWEST_BACKTESTS:
        raise NoForecastError(f"{folds * sites} site-backtests are too few for an interval")
    slots = history.phase(history.steps + tested.ahead, steps).slot
    scales = _scales(history, tested)
    served, others = scales[-1], scales[:-1]
    normalised = np.stack([r / s.by_slot[:, slots] for r, s in zip(tested.residuals, others, strict=True)])
    bands = horizon_bands(tested.ahead + steps, history.step_h)[tested.ahead :]
    values = np.empty((sites, len(QUANTILES), steps), dtype=np.float32)
    cumulative = np.empty_like(values)
    growth = np.cumsum(served.by_slot[:, slots], axis=1) * np.float32(history.step_h)
    knots = _knots(steps)
    sums = _cumulative_normalised(tested.residuals, others, slots, knots)
    width = served.by_slot[:, slots]
    energy = np.cumsum(tested.point, axis=1) * np.float32(history.step_h)
    for rows, pool in site_pools(history.site_class, sites, folds):
        z = np.empty((len(QUANTILES), steps))
        for band in np.unique(bands):
            inside = bands == band
            z[:, inside] = pooled_quantiles(normalised[:, pool][:, :, inside], folds * pool.size)[:, None]
        c = np.stack([pooled_quantiles(sums[:, pool, k], folds * pool.size) for k in range(len(knots))])
        c_all = np.stack([np.interp(np.arange(steps), knots, c[:, q]) for q in range(len(QUANTILES))])
        values[rows] = tested.point[rows][:, None] + width[rows][:, None] * z[None].astype(np.float32)
        cumulative[rows] = energy[rows][:, None] + growth[rows][:, None] * c_all[None].astype(np.float32)
    if lower_bound is not None:
        np.maximum(values, lower_bound, out=values)
        if lower_bound >= 0.0:
            np.maximum(cumulative, 0.0, out=cumulative)
            np.maximum.accumulate(cumulative, axis=2, out=cumulative)
    return values, cumulative


def site_pools(
    site_class: Sequence[str], sites: int, folds: int
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return (rows, pool) per class: the rows to serve and the rows whose errors they share.

    A class with too few backtests borrows the whole fleet's.
    """
    everyone = np.arange(sites, dtype=np.intp)
    if not site_class:
        return [(everyone, everyone)]
    labels = np.array(site_class)
    pools = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        pools.append((rows, rows if rows.size * folds >= SMALLEST_CLASS else everyone))
    return pools


def _scales(history: LoadHistory, tested: Backtest) -> list[Scale]:
    """Return one scale per backtest that leaves that backtest out, and last the one from all."""
    folds, sites, steps = tested.residuals.shape
    day = history.steps_per_day
    slots = history.phase(history.steps + tested.ahead, steps).slot
    sums = np.zeros((folds, sites, day), dtype=np.float32)
    counts = np.zeros_like(sums)
    for first in range(0, steps, day):
        part = slice(first, min(first + day, steps))
        absolute = np.abs(tested.residuals[:, :, part])
        known = np.isfinite(absolute)
        sums[:, :, slots[part]] += np.where(known, absolute, np.float32(0.0))
        counts[:, :, slots[part]] += known
    smooth = min(int(SMOOTHING // history.step), (day - 1) // 2)
    total, number = sums.sum(axis=0), counts.sum(axis=0)
    rest = [
        error_scale(total - sums[k], number - counts[k], smooth)
        if folds > 1
        else error_scale(total, number, smooth)
        for k in range(folds)
    ]
    return [*rest, error_scale(total, number, smooth)]


def _knots(steps: int) -> IntArray:
    """Return the steps at which cumulative quantiles are taken; between them they are interpolated."""
    wanted = np.concatenate([[0, 1, 2, 3], np.geomspace(4, max(steps - 1, 4), 14)]).round().astype(np.int64)
    return np.unique(np.minimum(wanted, steps - 1))


def _cumulative_normalised(
    residuals: Float32, others: Sequence[Scale], slots: IntArray, knots: IntArray
) -> Float32:
    """Return running sums of residuals over running sums of scales at the knots, shape (folds, sites, knots).

    A backtest with gaps is stretched to its full length when at most a tenth is missing, and left out otherwise.
    """
    out = np.empty((*residuals.shape[:2], knots.size), dtype=np.float32)
    length = (knots + 1).astype(np.float32)
    for fold, scale in enumerate(others):
        known = np.isfinite(residuals[fold])
        running = np.cumsum(np.where(known, residuals[fold], np.float32(0.0)), axis=1)[:, knots]
        measured = np.cumsum(known, axis=1, dtype=np.float32)[:, knots]
        growth = np.cumsum(scale.by_slot[:, slots], axis=1)[:, knots]
        full = running * length / np.maximum(measured, np.float32(1.0))
        out[fold] = np.where(measured >= 0.9 * length, full / growth, np.float32(np.nan))
    return out
