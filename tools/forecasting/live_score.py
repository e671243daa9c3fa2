"""How served forecasts did once the day was over: live accuracy per model, and subjects whose model no longer fits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from telemetry.model.series import LOWER, MEDIAN, QUANTILES, UPPER, Quantity
from tools.forecasting.scoring import drift

FloatArray = npt.NDArray[np.floating]

SCORED_STEPS = 96
"""A forecast is scored over its first day; later ones have replaced it for the rest."""
LEAST_MEASURED = 48
DRIFT_LIMIT = 1.5
HALF_LIFE_D = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A forecast that is due to be scored: its quantiles over the first day, shape (quantiles, SCORED_STEPS), W."""

    forecast_id: int
    subject_id: str
    quantity: Quantity
    model: str
    start: datetime
    values_w: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveScore:
    """One served forecast against what was measured.

    Attributes:
        forecast_id: The forecast.
        subject_id: Site or feeder.
        quantity: What was forecast.
        model: Model that was served.
        start: Its first step, aware UTC.
        steps: Measured steps; 0 when fewer than `LEAST_MEASURED`, and then nothing else is known.
        mae_w: Mean absolute error of the median.
        promised_mae_w: The error that its own quantiles promise.
        naive_mae_w: That of the same hours a week before; None where they were not measured.
        mean_w: Mean of what was measured.
        pinball_w: Mean quantile loss.
        covered_80_frac: Share of steps inside the 10 to 90 % interval.
        covered_95_frac: Share inside the 2.5 to 97.5 % interval.
    """

    forecast_id: int
    subject_id: str
    quantity: Quantity
    model: str
    start: datetime
    steps: int
    mae_w: float | None = None
    promised_mae_w: float | None = None
    naive_mae_w: float | None = None
    mean_w: float | None = None
    pinball_w: float | None = None
    covered_80_frac: float | None = None
    covered_95_frac: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccuracy:
    """Live accuracy of one model over some days.

    Attributes:
        forecasts: Scored forecasts.
        subjects: Sites or feeders that it served.
        mae_w: Mean absolute error.
        wape_frac: Sum of errors over sum of what was measured.
        over_naive_ratio: Error over that of the week before, where both are known; None without any.
        over_promised_ratio: Error over what the quantiles promised.
        covered_80_frac: Coverage of the 80 % interval.
        covered_95_frac: Coverage of the 95 % interval.
    """

    quantity: Quantity
    model: str
    forecasts: int
    subjects: int
    mae_w: float
    wape_frac: float
    over_naive_ratio: float | None
    over_promised_ratio: float
    covered_80_frac: float
    covered_95_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectDrift:
    """How far a subject's live errors lie from what was promised; `alarmed` calls for another choice of model."""

    subject_id: str
    quantity: Quantity
    model: str
    ratio: float
    days: int
    alarmed: bool


def promised_mae_w(values_w: FloatArray) -> float:
    """Return the mean absolute deviation from the median that quantiles imply, W.

    Args:
        values_w: Shape (quantiles, steps), rows in the order of `QUANTILES`.

    The quantile function is taken as straight between the levels and flat beyond the outermost.
    """
    levels = np.array([0.0, *QUANTILES, 1.0])
    off = np.abs(values_w - values_w[QUANTILES.index(MEDIAN)])
    whole = np.vstack([off[:1], off, off[-1:]])
    return float(np.trapezoid(whole, levels, axis=0).mean())


def score_live(one: Served, actual_w: FloatArray, week_before_w: FloatArray) -> LiveScore:
    """Score a forecast over its first day.

    Args:
        one: What was served.
        actual_w: Measured, shape (SCORED_STEPS,), NaN for gaps.
        week_before_w: The same steps a week earlier.
    """
    known = np.isfinite(actual_w)
    named = {
        "forecast_id": one.forecast_id,
        "subject_id": one.subject_id,
        "quantity": one.quantity,
        "model": one.model,
        "start": one.start,
    }
    if int(known.sum()) < LEAST_MEASURED:
        return LiveScore(**named, steps=0)  # type: ignore[arg-type]
    truth, rows = actual_w[known], one.values_w[:, known]
    row = {level: rows[QUANTILES.index(level)] for level in (LOWER, 0.1, MEDIAN, 0.9, UPPER)}
    gap = truth[None, :] - rows
    levels = np.array(QUANTILES)[:, None]
    both = known & np.isfinite(week_before_w)
    return LiveScore(
        **named,  # type: ignore[arg-type]
        steps=int(known.sum()),
        mae_w=float(np.abs(truth - row[MEDIAN]).mean()),
        promised_mae_w=promised_mae_w(rows),
        naive_mae_w=float(np.abs(actual_w - week_before_w)[both].mean())
        if both.sum() >= LEAST_MEASURED
        else None,
        mean_w=float(truth.mean()),
        pinball_w=float(np.maximum(levels * gap, (levels - 1.0) * gap).mean()),
        covered_80_frac=float(((truth >= row[0.1]) & (truth <= row[0.9])).mean()),
        covered_95_frac=float(((truth >= row[LOWER]) & (truth <= row[UPPER])).mean()),
    )


def accuracy_of(scores: Iterable[LiveScore]) -> tuple[ModelAccuracy, ...]:
    """Return the accuracy of each quantity's models, the most served first."""
    groups: dict[tuple[Quantity, str], list[LiveScore]] = {}
    for one in scores:
        if one.steps:
            groups.setdefault((one.quantity, one.model), []).append(one)
    found = [_accuracy(quantity, model, members) for (quantity, model), members in groups.items()]
    return tuple(sorted(found, key=lambda line: (line.quantity.value, -line.forecasts, line.model)))


def _accuracy(quantity: Quantity, model: str, members: Sequence[LiveScore]) -> ModelAccuracy:
    weight = np.array([one.steps for one in members], dtype=np.float64)
    error = np.array([one.mae_w for one in members], dtype=np.float64)
    promised = np.array([one.promised_mae_w for one in members], dtype=np.float64)
    naive = np.array([np.nan if one.naive_mae_w is None else one.naive_mae_w for one in members])
    level = np.array([abs(one.mean_w or 0.0) for one in members])
    both = np.isfinite(naive)
    return ModelAccuracy(
        quantity=quantity,
        model=model,
        forecasts=len(members),
        subjects=len({one.subject_id for one in members}),
        mae_w=float(np.average(error, weights=weight)),
        wape_frac=float((weight * error).sum() / max(float((weight * level).sum()), 1e-9)),
        over_naive_ratio=_ratio(error[both], naive[both], weight[both]) if both.any() else None,
        over_promised_ratio=_ratio(error, promised, weight),
        covered_80_frac=float(np.average([one.covered_80_frac or 0.0 for one in members], weights=weight)),
        covered_95_frac=float(np.average([one.covered_95_frac or 0.0 for one in members], weights=weight)),
    )


def _ratio(above: FloatArray, below: FloatArray, weight: FloatArray) -> float:
    return float((weight * above).sum() / max(float((weight * below).sum()), 1e-9))


def drifts_of(scores: Iterable[LiveScore], now: datetime) -> tuple[SubjectDrift, ...]:
    """Return each subject's standing over the days scored, worst first; one day alone never alarms.

    Forecasts made within the same 24 hours before `now` count as one day: their errors are nearly the same ones.
    """
    groups: dict[tuple[str, Quantity], list[LiveScore]] = {}
    for one in scores:
        if one.steps:
            groups.setdefault((one.subject_id, one.quantity), []).append(one)
    found = [_drift(subject, quantity, members, now) for (subject, quantity), members in groups.items()]
    return tuple(sorted(found, key=lambda line: (-line.ratio, line.subject_id)))


def _drift(subject_id: str, quantity: Quantity, members: Sequence[LiveScore], now: datetime) -> SubjectDrift:
    days: dict[int, list[LiveScore]] = {}
    for one in members:
        days.setdefault((now - one.start) // timedelta(days=1), []).append(one)
    by_day = [_day_ratio(days[ago]) for ago in sorted(days, reverse=True)]
    told = drift(np.array(by_day)[:, None], np.ones(1), half_life=HALF_LIFE_D, limit=DRIFT_LIMIT)
    return SubjectDrift(
        subject_id=subject_id,
        quantity=quantity,
        model=max(members, key=lambda one: one.start).model,
        ratio=float(told.ratio[0]),
        days=len(by_day),
        alarmed=bool(told.alarmed[0]),
    )


def _day_ratio(members: Sequence[LiveScore]) -> float:
    # A promise below a thousandth of the level (a feeder without any spread) cannot be broken by a rounding.
    promised = [max(one.promised_mae_w or 0.0, 1e-3 * abs(one.mean_w or 0.0), 1e-6) for one in members]
    return float(np.mean([(one.mae_w or 0.0) / p for one, p in zip(members, promised, strict=True)]))


def alarms(drifts: Iterable[SubjectDrift]) -> Mapping[Quantity, Mapping[str, float]]:
    """Return, by quantity, the alarmed subjects and their ratio of live error to promised error."""
    found: dict[Quantity, dict[str, float]] = {}
    for one in drifts:
        if one.alarmed:
            found.setdefault(one.quantity, {})[one.subject_id] = one.ratio
    return found
