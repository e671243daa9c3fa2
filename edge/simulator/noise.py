"""Noise as a pure function of (seed, channel, site, lattice index): the same instant gives the same value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.simulator.battery import Floats

_U64 = NDArray[np.uint64]


def _mix(x: _U64) -> _U64:
    """Return splitmix64's finaliser (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed: int, channel: int, rows: NDArray[np.int64], index: NDArray[np.int64]) -> Floats:
    """Return uniforms in (0, 1), shape (rows, index)."""
    with np.errstate(over="ignore"):
        base = np.uint64((seed * 1_000_003 + channel) % 2**63) * np.uint64(0x9E3779B97F4A7C15)
        row = _mix(base + rows.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))
        cell = _mix(row[:, None] ^ _mix(index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))[None, :])
    return np.asarray(((cell >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53)


def normal(seed: int, channel: int, rows: NDArray[np.int64], index: NDArray[np.int64]) -> Floats:
    """Return standard normals, shape (rows, index), by Box and Muller."""
    a = uniform(seed, 2 * channel, rows, index)
    b = uniform(seed, 2 * channel + 1, rows, index)
    return np.asarray(np.sqrt(-2.0 * np.log(a)) * np.cos(2.0 * np.pi * b))


def ar1(
    seed: int,
    channel: int,
    rows: NDArray[np.int64],
    unix_s: NDArray[np.floating[Any]],
    *,
    step_s: float,
    memory_s: float,
) -> Floats:
    """Return unit-variance first-order autoregressive noise at any instants, shape (rows, instants).

    White normals on a lattice of `step_s` are summed with weights phi^k, phi = exp(-step/memory), cut after
    phi^k < 1 % and normalised to unit variance; between lattice points it is linear. An instant depends on
    nothing but itself, so history and live runs agree and a restart continues the same path.
    """
    phi = float(np.exp(-step_s / memory_s))
    depth = int(np.ceil(np.log(0.01) / np.log(phi)))
    weights = phi ** np.arange(depth, -1, -1)
    weights /= np.sqrt((weights**2).sum())
    x = unix_s / step_s
    low = np.floor(x).astype(np.int64)
    points, where = np.unique(np.concatenate([low, low + 1]), return_inverse=True)
    if points[-1] - points[0] < 4 * points.size + 64:
        lattice = np.arange(points[0] - depth, points[-1] + 1)
        white = normal(seed, channel, rows, lattice)
        windows = np.lib.stride_tricks.sliding_window_view(white, depth + 1, axis=1)
        path = np.asarray(windows @ weights)[:, points - points[0]]
    else:
        lattice = (points[:, None] + np.arange(-depth, 1)).ravel()
        white = normal(seed, channel, rows, lattice).reshape(rows.size, points.size, depth + 1)
        path = np.asarray(white @ weights)
    left, right = path[:, where[: low.size]], path[:, where[low.size :]]
    part = x - low
    return np.asarray(left * (1.0 - part) + right * part)
