"""How unusual a residual is: robust z, EWMA and CUSUM over the whole fleet, in blocks and tick by tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.anomaly.expected import robust_scale

Floats = npt.NDArray[np.floating]
Float32 = npt.NDArray[np.float32]

Z_LIMIT = 12.0
"""A residual beyond this many scales counts as this many in the running statistics, so that one spike does not last."""


def ewma(z: Floats, weight: float) -> Floats:
    """Return the exponentially weighted mean along the last axis; a gap leaves it as it was.

    Args:
        z: Residuals in scales, shape (..., steps), NaN for gaps.
        weight: Weight of the newest value, 0..1.
    """
    out = np.empty_like(z)
    state = np.zeros(z.shape[:-1], dtype=z.dtype)
    clipped = np.clip(z, -Z_LIMIT, Z_LIMIT)
    for t in range(z.shape[-1]):
        new = clipped[..., t]
        state = np.where(np.isfinite(new), state + weight * (new - state), state)
        out[..., t] = state
    return out


def cusum(z: Floats, slack: float) -> tuple[Floats, Floats]:
    """Return the upper and lower cumulative sums beyond `slack` scales (Page 1954); a gap leaves them.

    The sums stop at fifty, from where a site takes a bounded time to come back to rest.
    """
    upper, lower = np.empty_like(z), np.empty_like(z)
    high = np.zeros(z.shape[:-1], dtype=z.dtype)
    low = np.zeros_like(high)
    clipped = np.where(np.isfinite(z), np.clip(z, -Z_LIMIT, Z_LIMIT), np.nan)
    for t in range(z.shape[-1]):
        new = clipped[..., t]
        known = np.isfinite(new)
        high = np.where(known, np.clip(high + new - slack, 0.0, 50.0), high)
        low = np.where(known, np.clip(low - new - slack, 0.0, 50.0), low)
        upper[..., t], lower[..., t] = high, low
    return upper, lower


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Spread of each statistic in normal times, shape (sites,); what scores are measured in."""

    z: npt.NDArray[np.float64]
    fast: npt.NDArray[np.float64]
    slow: npt.NDArray[np.float64]


RECENT, FAST, SLOW = 0.5, 0.2, 0.03
"""EWMA weights: about half an hour, an hour and eight hours of 15-minute steps."""
BORNE_OUT = 3.0


def calibrate(z: Floats) -> Calibration:
    """Return the robust spread of z and of its two EWMAs over the rows of a learning window.

    Residuals follow each other, so an EWMA spreads wider than independence says: it is measured, not computed.
    """
    return Calibration(z=robust_scale(z), fast=robust_scale(ewma(z, FAST)), slow=robust_scale(ewma(z, SLOW)))


def signed_score(z: Floats, learnt: Calibration) -> Floats:
    """Return the most unusual of z, fast and slow EWMA at each step, in spreads, with its sign.

    The shape is that of `z`, (sites, steps); at a gap the EWMAs still speak. A slower statistic counts only as far
    as a faster one bears it out, so that an alarm ends with its cause and not with the statistic's memory.
    """
    now = np.where(np.isfinite(z), z, 0.0) / learnt.z[:, None]
    recent = ewma(z, RECENT) / learnt.z[:, None]
    fast = _borne_out(ewma(z, FAST) / learnt.fast[:, None], recent)
    slow = _borne_out(ewma(z, SLOW) / learnt.slow[:, None], fast)
    parts = np.stack([now, fast, slow])
    most = np.argmax(np.abs(parts), axis=0)
    return np.asarray(np.take_along_axis(parts, most[None], axis=0)[0])


def _borne_out(slower: Floats, faster: Floats) -> Floats:
    """Return the slower statistic, at most three times the faster one where they agree in sign, else zero."""
    cap = BORNE_OUT * np.maximum(np.sign(slower) * faster, 0.0)
    return np.asarray(np.sign(slower) * np.minimum(np.abs(slower), cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class TickState:
    """Running statistics of every feature of every site, each of shape (sites, features)."""

    ewma: Float32
    high: Float32
    low: Float32

    @staticmethod
    def rest(sites: int, features: int) -> TickState:
        """Return the state of a fleet about which nothing unusual is known."""
        return TickState(
            ewma=np.zeros((sites, features), dtype=np.float32),
            high=np.zeros((sites, features), dtype=np.float32),
            low=np.zeros((sites, features), dtype=np.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Scores of one instant, each of shape (sites, features); `alarmed` where any passes its limit."""

    z: Float32
    state: TickState
    alarmed: npt.NDArray[np.bool_]


def tick(
    state: TickState,
    observed: Float32,
    expected: Float32,
    inverse_scale: Float32,
    *,
    weight: float = 0.1,
    slack: float = 0.5,
    limits: tuple[float, float, float] = (6.0, 2.0, 12.0),
) -> Tick:
    """Score one reading of every site.

    Args:
        state: Statistics after the reading before.
        observed: Shape (sites, features), NaN where nothing was read.
        expected: Expectation for this instant, same shape.
        inverse_scale: One over the residual's scale, same shape.
        weight: EWMA weight.
        slack: CUSUM slack, in scales.
        limits: Limits of |z|, |EWMA| and CUSUM.
    """
    return advance(state, (observed - expected) * inverse_scale, weight=weight, slack=slack, limits=limits)


def advance(
    state: TickState,
    z: Float32,
    *,
    weight: float = 0.1,
    slack: float = 0.5,
    limits: tuple[float, float, float] = (6.0, 2.0, 12.0),
) -> Tick:
    """Score residuals that are in spreads already; the arguments are those of `tick`."""
    gap = np.isnan(z)
    new = np.clip(z, -Z_LIMIT, Z_LIMIT)
    lost = bool(gap.any())
    # At a gap every statistic stays as it was; most instants have few, and pay for them alone.
    change = new - state.ewma
    change *= np.float32(weight)
    high, low = new - np.float32(slack), -new
    low -= np.float32(slack)
    if lost:
        change[gap] = high[gap] = low[gap] = new[gap] = 0.0
    mean = state.ewma + change
    high += state.high
    low += state.low
    np.clip(high, 0.0, 50.0, out=high)
    np.clip(low, 0.0, 50.0, out=low)
    alarmed = np.maximum(high, low) > limits[2]
    alarmed |= np.abs(new) > limits[0]
    alarmed |= np.abs(mean) > limits[1]
    return Tick(z=z, state=TickState(ewma=mean, high=high, low=low), alarmed=alarmed)
