"""The Skoltech Anomaly Benchmark's files and two of its published detectors, written anew from its description.

First 400 rows of a file teach, every row of the file is scored, all files' rows together: F1 of the anomalous class, share
of false alarms and of misses. T-squared with Q: PCA of 85 % variance, limits at 0.999, a median of five; isolation forest:
contamination 0.0005, seed 0 (github.com/waico/SKAB).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from tools.anomaly.mewma import learn_mewma

FloatArray = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
TEACHING = 400
_P = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One file: sensors of shape (rows, sensors), and which rows are anomalous."""

    name: str
    sensors: FloatArray
    anomalous: Bools


def read_skab(folder: Path) -> tuple[Run, ...]:
    """Read every labelled run below a folder: `part/number.csv` or `.csv.gz`, separated by comma or semicolon."""
    found = []
    for path in sorted([*folder.glob("*/*.csv"), *folder.glob("*/*.csv.gz")]):
        table = pd.read_csv(path, sep=None, engine="python")
        if "anomaly" in table.columns:
            sensors = table.drop(columns=["datetime", "anomaly", "changepoint"], errors="ignore")
            found.append(
                Run(
                    name=f"{path.parent.name}/{path.name}",
                    sensors=sensors.to_numpy(np.float64),
                    anomalous=table["anomaly"].to_numpy(float) > 0.0,
                )
            )
    return tuple(found)


def verdict(runs: Sequence[Run], detect: Callable[[FloatArray], Bools]) -> tuple[float, float, float]:
    """Return F1, share of normal rows alarmed and share of anomalous rows missed, over all files together."""
    truth = np.concatenate([run.anomalous for run in runs])
    said = np.concatenate([detect(run.sensors) for run in runs])
    hits, false, missed = int((truth & said).sum()), int((~truth & said).sum()), int((truth & ~said).sum())
    f1 = 2.0 * hits / max(2 * hits + false + missed, 1)
    return f1, false / max(int((~truth).sum()), 1), missed / max(int(truth.sum()), 1)


def by_mewma(sensors: FloatArray, *, factor: float = 2.0) -> Bools:
    """Detect with the product's multivariate chart."""
    return np.asarray(learn_mewma(sensors[:TEACHING], factor=factor).distance(sensors) > 1.0)


def by_t2_q(sensors: FloatArray) -> Bools:
    """Detect with Hotelling's T-squared and the residuals' Q, either above its limit."""
    from scipy.stats import f, norm  # noqa: PLC0415 - as scikit-learn, only where it runs
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    quiet = sensors[:TEACHING]
    spread = quiet.std(axis=0)
    z = (sensors - quiet.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    pca = PCA(n_components=0.85).fit(z[:TEACHING])
    kept = int(pca.n_components_)
    parts = pca.transform(z)
    inverse = np.linalg.inv(np.cov(parts[:TEACHING].T).reshape(kept, kept))
    t2 = np.einsum("ti,ij,tj->t", parts, inverse, parts)
    n = TEACHING
    t2_limit = kept * (n - 1) * (n + 1) / (n * (n - kept)) * float(f.ppf(_P, kept, n - kept))
    rest = np.eye(z.shape[1]) - pca.components_.T @ pca.components_
    q = np.einsum("ti,ij,tj->t", z, rest, z)
    # As published: the eigenvalues in the order in which the general solver returns them.
    left = float(np.linalg.eigvals(np.cov(z[:TEACHING].T)).real[kept:].sum())
    powers = (left, left**2, left**3)
    h0 = 1.0 - 2.0 * powers[0] * powers[2] / (3.0 * powers[1] ** 2)
    c = float(norm.ppf(_P))
    base = 1.0 + c * h0 * np.sqrt(2.0 * powers[1]) / powers[0] + powers[1] * h0 * (h0 - 1.0) / powers[0] ** 2
    q_limit = powers[0] * base ** (1.0 / h0)
    return np.asarray((_median5(t2) > t2_limit) | (_median5(q) > q_limit))


def by_forest(sensors: FloatArray) -> Bools:
    """Detect with scikit-learn's isolation forest."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - slow to import

    model = IsolationForest(random_state=0, contamination=0.0005).fit(sensors[:TEACHING])
    return np.asarray(model.predict(sensors) == -1)


def _median5(values: FloatArray) -> FloatArray:
    return pd.Series(values).rolling(5).median().to_numpy()
