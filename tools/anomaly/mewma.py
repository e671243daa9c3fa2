"""Several sensors of one machine at once: a multivariate EWMA chart with a limit learnt from quiet operation.

Lowry et al., Technometrics 34 (1992), section 2: values are smoothed with weight 0.2 and their distance from the quiet
mean is taken in the quiet spread of the smoothed values. The textbook's limit holds for independent values; sensors
follow their own past, so the limit is taken from the quiet time itself, with a factor for what it did not show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

FloatArray = npt.NDArray[np.float64]

WEIGHT = 0.2
QUIET_QUANTILE = 0.99
FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mewma:
    """A learnt chart; `limit` is the distance from which an alarm is raised."""

    centre: FloatArray
    spread: FloatArray
    inverse: FloatArray
    limit: float

    def distance(self, values: FloatArray) -> FloatArray:
        """Return the smoothed distance at each step in units of the limit; above 1 is an alarm.

        Args:
            values: Shape (steps, sensors), in order of time.
        """
        return _distance(values, self.centre, self.spread, self.inverse) / self.limit


def learn_mewma(quiet: FloatArray, *, factor: float = FACTOR) -> Mewma:
    """Learn a chart from quiet operation, shape (steps, sensors), a hundred steps or more.

    Raises:
        ValueError: There are too few steps.
    """
    from sklearn.covariance import LedoitWolf  # noqa: PLC0415 - slow to import, and only learning needs it

    if len(quiet) < 100:
        raise ValueError(f"{len(quiet)} quiet steps are too few; 100 are the least")
    centre = np.median(quiet, axis=0)
    spread = quiet.std(axis=0) + 1e-9
    settled = _smoothed(quiet, centre, spread)[int(1.0 / WEIGHT) :]
    # Ledoit and Wolf's shrinkage, so that a few hundred quiet values suffice for any number of sensors.
    inverse = np.linalg.inv(LedoitWolf().fit(settled).covariance_)
    past = _distance(quiet, centre, spread, inverse)[int(1.0 / WEIGHT) :]
    return Mewma(
        centre=centre, spread=spread, inverse=inverse, limit=factor * float(np.quantile(past, QUIET_QUANTILE))
    )


def _smoothed(values: FloatArray, centre: FloatArray, spread: FloatArray) -> FloatArray:
    z = (values - centre) / spread
    smooth, _ = lfilter([WEIGHT], [1.0, WEIGHT - 1.0], z, axis=0, zi=(1.0 - WEIGHT) * z[:1])
    return np.asarray(smooth)


def _distance(values: FloatArray, centre: FloatArray, spread: FloatArray, inverse: FloatArray) -> FloatArray:
    smooth = _smoothed(values, centre, spread)
    return np.asarray(np.sqrt(np.maximum(np.einsum("ti,ij,tj->t", smooth, inverse, smooth), 0.0)))
