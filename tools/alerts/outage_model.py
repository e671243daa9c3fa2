"""Tomorrow's outage by boosted trees over the fleet's days; several seeds are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

SEEDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageModel:
    """Fitted trees."""

    members: tuple[Any, ...]

    def chance(self, table: Floats) -> Floats:
        """Return the chance of failure on the day ahead for rows of features, shape (rows,)."""
        return np.asarray(np.mean([one.predict_proba(table)[:, 1] for one in self.members], axis=0))


def fit_outage_model(
    table: Floats, failed_next: npt.NDArray[np.bool_], *, seed: int, seeds: int = SEEDS, jobs: int = 2
) -> OutageModel:
    """Fit on rows of `outage_history.features` and whether the site failed the day after.

    Small, strongly regularised trees: failures are rare (3 %) and mostly chance; more leaves learn the noise.
    """
    from lightgbm import LGBMClassifier  # noqa: PLC0415 - slow to import

    members = tuple(
        LGBMClassifier(
            n_estimators=300,
            num_leaves=15,
            learning_rate=0.03,
            min_child_samples=200,
            subsample=0.7,
            subsample_freq=1,
            colsample_bytree=0.4,
            reg_lambda=10.0,
            random_state=seed * 100 + k,
            deterministic=True,
            force_row_wise=True,
            n_jobs=jobs,
            verbose=-1,
        ).fit(table, failed_next)
        for k in range(seeds)
    )
    return OutageModel(members=members)
