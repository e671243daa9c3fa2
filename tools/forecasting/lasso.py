"""Lasso for many targets over one design, solved together from their Gram matrix.

Source:
    FISTA (Beck and Teboulle, SIAM J. Imaging Sciences 2(1), 2009) with adaptive restart (O'Donoghue and Candes 2015).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def solve_lasso(
    gram: Float64,
    moment: Float64,
    penalty: Float64,
    start: Float64,
    *,
    rounds: int = 200,
    tolerance: float = 1e-4,
) -> Float64:
    """Return the minimisers of b'Gb/2 - m'b + penalty |b|_1, one column per target.

    Args:
        gram: X'X / n, shape (features, features).
        moment: X'Y / n, shape (features, targets).
        penalty: Per target, zero or more, shape (targets,).
        start: First guess, shape (features, targets); yesterday's solution saves most of the work.
        rounds: Most iterations.
        tolerance: Stop when no coefficient moves by more than this share of the largest.
    """
    step = 1.0 / max(float(np.linalg.norm(gram, 2)), 1e-12)
    shrink = step * penalty[None, :]
    old = ahead = start
    momentum = 1.0
    for _ in range(rounds):
        moved = ahead - step * (gram @ ahead - moment)
        new = np.sign(moved) * np.maximum(np.abs(moved) - shrink, 0.0)
        change = new - old
        if float(((ahead - new) * change).sum()) > 0.0:
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = new + (momentum - 1.0) / following * change
        momentum = following
        if float(np.abs(change).max()) <= tolerance * max(float(np.abs(new).max()), 1e-12):
            return np.asarray(new)
        old = new
    return np.asarray(old)
