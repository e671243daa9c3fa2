"""State of health from the shape of a charge: statistics of the end of constant current and of constant voltage.

A battery on float is seldom emptied, but it is recharged after every outage; how its voltage rises and its current
falls then tells its capacity.

Source:
    The sixteen features are those of Wang et al., Nature Communications 15, 4332 (2024), "Physics-informed neural network
    for lithium-ion battery degradation stable modeling and prognosis"; the regression is support vectors instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.health.estimate import Z_95

Float64 = npt.NDArray[np.float64]

PENALTIES = (0.3, 1.0, 3.0)
WIDTHS = (0.02, 0.05, 0.1)
TUBE = 0.005
"""Errors below half a per cent of capacity are not chased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFeatures:
    """Statistics of one phase of a charge: of the voltage under constant current, of the current under constant voltage.

    Attributes:
        mean: Of the quantity, V or A.
        std: Standard deviation.
        kurtosis: Excess kurtosis.
        skewness: Skewness.
        charge_ah: Charge taken in the phase.
        time_s: Its length.
        slope: Of the quantity over time, per second, by least squares.
        entropy: Shannon entropy of the quantity's values as shares of their sum, natural logarithm.
    """

    mean: float
    std: float
    kurtosis: float
    skewness: float
    charge_ah: float
    time_s: float
    slope: float
    entropy: float

    def row(self) -> tuple[float, ...]:
        """Return the eight numbers in order."""
        return (
            self.mean, self.std, self.kurtosis, self.skewness, self.charge_ah, self.time_s, self.slope, self.entropy,
        )  # fmt: skip


def phase_features(at_s: Float64, quantity: Float64, current_a: Float64) -> PhaseFeatures:
    """Return the statistics of one phase.

    Args:
        at_s: Seconds, ascending, shape (samples,), three samples or more.
        quantity: Voltage (constant-current phase) or current (constant-voltage phase), above zero.
        current_a: Charging current, A, positive.

    Raises:
        ValueError: Too few samples, time that does not ascend, or values that are not finite or not above zero.
    """
    if len(at_s) < 3 or not (np.diff(at_s) > 0.0).all():
        raise ValueError("a phase needs three or more samples in ascending time")
    if not (np.isfinite(quantity).all() and np.isfinite(current_a).all() and (quantity > 0.0).all()):
        raise ValueError("a phase needs finite values above zero")
    centred = quantity - quantity.mean()
    std = float(quantity.std())
    scaled = centred / std if std > 0.0 else np.zeros_like(centred)
    share = quantity / quantity.sum()
    time = at_s - at_s.mean()
    return PhaseFeatures(
        mean=float(quantity.mean()),
        std=std,
        kurtosis=float((scaled**4).mean() - 3.0) if std > 0.0 else 0.0,
        skewness=float((scaled**3).mean()),
        charge_ah=float(np.trapezoid(current_a, at_s) / 3600.0),
        time_s=float(at_s[-1] - at_s[0]),
        slope=float((time * centred).sum() / (time**2).sum()),
        entropy=float(-(share * np.log(share)).sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SohModel:
    """A regression from features to state of health, fitted to batteries whose capacity was measured.

    Attributes:
        machine: The fitted pipeline.
        middle: Median of each feature, which stands in for one that is not finite.
        sd_frac: Standard error on batteries that it was not fitted to.
        chosen: Penalty and kernel width.
    """

    machine: Any
    middle: Float64
    sd_frac: float
    chosen: tuple[float, float]

    def predict(self, features: Float64) -> Float64:
        """Return the state of health of each row, a share of rated capacity."""
        return np.asarray(self.machine.predict(_finite(features, self.middle)), dtype=np.float64)

    @property
    def half_width_frac(self) -> float:
        """Half of the 95 % interval around a prediction."""
        return Z_95 * self.sd_frac


def fit_soh(features: Float64, soh_frac: Float64, battery: Sequence[object]) -> SohModel:
    """Fit support vectors; penalty and width are chosen by leaving one battery out at a time, and so is the error.

    With one battery alone every fifth cycle is left out instead, which makes the error look smaller than it is on
    another battery: the stated error is then at least 2 %.
    """
    middle = np.nanmedian(np.where(np.isfinite(features), features, np.nan), axis=0)
    table = _finite(features, middle)
    names = np.array([str(one) for one in battery])
    alone = len(np.unique(names)) == 1
    groups = np.arange(len(table)) % 5 if alone else np.unique(names, return_inverse=True)[1]
    errors: dict[tuple[float, float], float] = {}
    for penalty in PENALTIES:
        for width in WIDTHS:
            off = np.empty(len(table))
            for group in np.unique(groups):
                out = groups == group
                off[out] = _machine(penalty, width).fit(table[~out], soh_frac[~out]).predict(table[out])
            errors[penalty, width] = float(np.sqrt(((off - soh_frac) ** 2).mean()))
    best = min(errors, key=lambda key: errors[key])
    return SohModel(
        machine=_machine(*best).fit(table, soh_frac),
        middle=middle,
        sd_frac=max(errors[best], 0.02 if alone else 1e-6),
        chosen=best,
    )


def _machine(penalty: float, width: float) -> Any:
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - heavy, and only this model needs it
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    from sklearn.svm import SVR  # noqa: PLC0415

    return make_pipeline(StandardScaler(), SVR(C=penalty, gamma=width, epsilon=TUBE))


def _finite(features: Float64, middle: Float64) -> Float64:
    return np.where(np.isfinite(features), features, middle[None, :])
