"""The multivariate companion: scikit-learn's isolation forest over all fields of a site at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.anomaly.expected import Floats
from tools.anomaly.frame import FleetFrame

COMPANION_TAIL = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """A fitted isolation forest and the units of its features.

    Attributes:
        model: The fitted scikit-learn estimator.
        mean: Field to its mean per site, shape (sites, 1).
        spread: Field to its standard deviation per site, shape (sites, 1).
    """

    model: Any
    mean: Mapping[str, Floats]
    spread: Mapping[str, Floats]

    def scan(self, frame: FleetFrame) -> npt.NDArray[np.float64]:
        """Return how isolated each reading is, shape (sites, steps); above zero, higher is stranger."""
        table = _features(frame, self.mean, self.spread)
        return np.asarray(-self.model.score_samples(table)).reshape(-1, frame.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A forest whose score is in the unit of the detectors: 1 is what one step in 200 of the learning window passed."""

    forest: Forest
    usual: float
    tail: float

    def scan(self, frame: FleetFrame) -> npt.NDArray[np.float64]:
        """Return how strange all fields together are at each step, zero or more, shape (sites, steps)."""
        width = max(self.tail - self.usual, 1e-9)
        return np.asarray(np.maximum((self.forest.scan(frame) - self.usual) / width, 0.0))


def learn_companion(frame: FleetFrame, *, seed: int, most_steps: int = 14 * 96) -> Companion:
    """Learn the companion from the end of a window of normal operation."""
    part = frame.columns(max(frame.steps - most_steps, 0), frame.steps)
    forest = learn_forest(part, seed=seed)
    scores = forest.scan(part)
    return Companion(
        forest=forest, usual=float(np.median(scores)), tail=float(np.quantile(scores, 1.0 - COMPANION_TAIL))
    )


def learn_forest(frame: FleetFrame, *, seed: int, trees: int = 100, jobs: int = 1) -> Forest:
    """Fit a forest on a window: each field in units of its site's own mean and spread, time of day, weekend."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - slow to import, and only the companion needs it

    mean = {name: _mean(values) for name, values in frame.fields.items()}
    spread = {
        name: np.sqrt(_mean((values - mean[name]) ** 2)) + 1e-9 for name, values in frame.fields.items()
    }
    model = IsolationForest(n_estimators=trees, random_state=seed, n_jobs=jobs)
    return Forest(model=model.fit(_features(frame, mean, spread)), mean=mean, spread=spread)


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count)


def _features(frame: FleetFrame, mean: Mapping[str, Floats], spread: Mapping[str, Floats]) -> Floats:
    """Return one row per site and step; a gap is the mean, and said so in a column of its own."""
    columns = [np.nan_to_num((values - mean[name]) / spread[name]) for name, values in frame.fields.items()]
    silent = np.stack([np.isnan(v) for v in frame.fields.values()]).mean(axis=0)
    phase = frame.phase()
    angle = 2.0 * np.pi * phase.slot / phase.steps_per_day
    shared = (np.sin(angle), np.cos(angle), (phase.weekday >= 5).astype(np.float64))
    columns += [silent, *(np.broadcast_to(c, silent.shape) for c in shared)]
    return np.stack(columns, axis=2).reshape(-1, len(columns)).astype(np.float32)
