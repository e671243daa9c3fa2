"""What a quantity should have been: robust regression for every site at once.

Huber's estimate is reached by clipping: residuals beyond 1.5 scales are pulled in to 1.5 scales and the same
least-squares system is solved again, so that one factorisation serves every round (Huber and Ronchetti, "Robust
Statistics", 2nd ed., section 7.8, pseudo-observations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.forecasting.phase import Phase
from tools.forecasting.ridge import calendar_design

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]

CLIP = 1.5
ROUNDS = 12
MAD_TO_SIGMA = 1.4826


def robust_scale(residual: Floats) -> npt.NDArray[np.float64]:
    """Return 1.4826 times the median absolute value along the last axis, NaN ignored; above zero.

    A row without values, or of zeros, takes the median scale of the other rows.
    """
    known = np.isfinite(residual)
    filled = np.where(known, np.abs(residual), np.inf)
    order = np.sort(filled, axis=-1)
    middle = np.maximum((known.sum(axis=-1, keepdims=True) - 1) // 2, 0)
    scale = MAD_TO_SIGMA * np.take_along_axis(order, middle, axis=-1)[..., 0].astype(np.float64)
    good = np.isfinite(scale) & (scale > 0.0)
    fallback = float(np.median(scale[good])) if good.any() else 1.0
    return np.where(good, np.maximum(scale, 1e-3 * fallback), fallback)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarFit:
    """Calendar expectation of one quantity: `coefficients` (columns, sites), scale of its residuals (sites,)."""

    coefficients: Float32
    scale: npt.NDArray[np.float64]
    harmonics: int
    day_harmonics: int

    def expected(self, phase: Phase) -> Float32:
        """Return the expectation over a window, shape (sites, steps)."""
        design = calendar_design(phase, self.harmonics, self.day_harmonics).astype(np.float32)
        return np.asarray((design @ self.coefficients).T, dtype=np.float32)


def fit_calendar(
    values: Floats, phase: Phase, *, harmonics: int = 8, day_harmonics: int = 3, penalty: float = 1e-3
) -> CalendarFit:
    """Fit the daily and weekly shape of every site robustly; gaps carry no weight.

    Args:
        values: Shape (sites, steps), NaN for gaps.
        phase: Calendar phase of the steps.
        harmonics: Daily Fourier pairs.
        day_harmonics: Pairs of the own shape of weekend days.
        penalty: Ridge penalty per step; the level is not penalised.
    """
    design = calendar_design(phase, harmonics, day_harmonics)
    ridge = np.full(design.shape[1], penalty * len(design))
    ridge[0] = 0.0
    inverse = np.linalg.inv(design.T @ design + np.diag(ridge)).astype(np.float32)
    x = design.astype(np.float32)
    known = np.isfinite(values)
    level = np.nanmedian(np.where(known.any(axis=1, keepdims=True), values, 0.0), axis=1, keepdims=True)
    y = np.where(known, values, level).astype(np.float32)
    fit = np.broadcast_to(level, y.shape)
    coefficients = np.zeros((design.shape[1], len(y)), dtype=np.float32)
    scale = robust_scale(np.where(known, y - fit, np.nan))
    for _ in range(ROUNDS):
        limit = (CLIP * scale)[:, None].astype(np.float32)
        pulled = np.where(known, fit + np.clip(y - fit, -limit, limit), fit).astype(np.float32)
        coefficients = inverse @ (x.T @ pulled.T)
        fit = (x @ coefficients).T
        scale = robust_scale(np.where(known, y - fit, np.nan))
    return CalendarFit(
        coefficients=coefficients, scale=scale, harmonics=harmonics, day_harmonics=day_harmonics
    )


def peer_common(relative: Floats, peers: npt.NDArray[np.int64], *, fewest: int = 4) -> Floats:
    """Return each site's peers' common move: the median of the group's other residuals, shape (sites, steps).

    Args:
        relative: Residuals in units of each site's scale, NaN for gaps.
        peers: Group per site.
        fewest: A smaller group has no common move (zero).
    """
    out = np.zeros_like(relative)
    for group in np.unique(peers):
        rows = np.flatnonzero(peers == group)
        if rows.size < fewest:
            continue
        block = np.where(np.isfinite(relative[rows]), relative[rows], 0.0)
        out[rows] = _median_of_others(block)
    return out


def _median_of_others(block: Floats) -> Floats:
    """Return the median over the other rows, column by column: from ranks, without a pass per row."""
    n = len(block)
    order = np.sort(block, axis=0)
    rank = np.empty(block.shape, dtype=np.int64)
    np.put_along_axis(rank, np.argsort(block, axis=0), np.arange(n)[:, None], axis=0)
    if n % 2 == 0:  # n - 1 others: an odd count, one middle
        middle = (n - 2) // 2
        return np.asarray(np.where(rank <= middle, order[middle + 1], order[middle]))
    low = (n - 3) // 2  # n - 1 others: an even count, the middle two are ranks low and low + 1 of the rest
    first = np.where(rank <= low, order[low + 1], order[low])
    second = np.where(rank <= low + 1, order[low + 2], order[low + 1])
    return np.asarray(0.5 * (first + second))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationFit:
    """Linear relation between a quantity and its drivers, per site, drawn towards the fleet's.

    Attributes:
        coefficients: Shape (sites, drivers + 1); the first is the level.
        scale: Robust scale of the residuals, shape (sites,).
        centre: Mean of each driver in the fleet, shape (drivers,).
        spread: Standard deviation of each driver in the fleet, shape (drivers,).
    """

    coefficients: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]

    def expected(self, drivers: Floats) -> npt.NDArray[np.float64]:
        """Return the expectation for drivers of shape (sites, steps, drivers), shape (sites, steps)."""
        unit = (drivers - self.centre) / self.spread
        return np.asarray(
            self.coefficients[:, None, 0] + np.einsum("std,sd->st", unit, self.coefficients[:, 1:])
        )


def fit_relation(target: Floats, drivers: Floats, *, prior_steps: float = 200.0) -> RelationFit:
    """Fit target = level + drivers x slopes per site, robustly.

    Args:
        target: Shape (sites, steps), NaN for gaps.
        drivers: Shape (sites, steps, drivers), NaN for gaps.
        prior_steps: Weight of the fleet's slopes in each site's fit, in steps: a site whose drivers never moved
            keeps the fleet's slopes, and a level of its own.
    """
    known = np.isfinite(target) & np.isfinite(drivers).all(axis=2)
    x = np.where(known[:, :, None], drivers, 0.0).astype(np.float64)
    count = max(int(known.sum()), 1)
    centre = x.sum(axis=(0, 1)) / count
    spread = np.sqrt((np.where(known[:, :, None], x - centre, 0.0) ** 2).sum(axis=(0, 1)) / count)
    spread = np.where(spread > 0.0, spread, 1.0)
    unit = np.where(known[:, :, None], (x - centre) / spread, 0.0)
    full = np.concatenate([known[:, :, None].astype(np.float64), unit], axis=2)
    y = np.where(known, target, 0.0).astype(np.float64)
    gram = np.einsum("sti,stj->sij", full, full)
    slopes = _fleet_slopes(full, y, known)
    pull = np.diag([1e-6, *([prior_steps] * unit.shape[2])])
    inverse = np.linalg.inv(gram + pull)
    anchor = np.concatenate([[0.0], slopes * prior_steps])
    scale = np.full(len(y), np.inf)
    fit = y
    coefficients = np.zeros((len(y), full.shape[2]))
    for _ in range(ROUNDS):
        limit = (CLIP * scale)[:, None]
        pulled = np.where(known, fit + np.clip(y - fit, -limit, limit), 0.0)
        moment = np.einsum("sti,st->si", full, pulled) + anchor
        coefficients = np.einsum("sij,sj->si", inverse, moment)
        fit = np.einsum("sti,si->st", full, coefficients)
        scale = robust_scale(np.where(known, y - fit, np.nan))
    return RelationFit(coefficients=coefficients, scale=scale, centre=centre, spread=spread)


def _fleet_slopes(full: Floats, y: Floats, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the median over sites of their own ridge slopes, robust to sites that are at fault."""
    steps = known.sum(axis=1)
    drivers = full.shape[2] - 1
    gram = np.einsum("sti,stj->sij", full, full)
    gram += np.maximum(steps, 1)[:, None, None] * np.diag([1e-9, *([1e-3] * drivers)])
    own = np.linalg.solve(gram, np.einsum("sti,st->si", full, y)[:, :, None])[:, 1:, 0]
    return np.median(own[steps > 0], axis=0) if (steps > 0).any() else np.zeros(drivers)
