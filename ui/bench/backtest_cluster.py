"""Profile clusters of real cells: are the groups of one fortnight found again in another one?"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_rand_score

from telemetry.cluster import HOURS_A_DAY, Clusters, cluster
from tools.forecasting.history import LoadHistory
from ui.bench.harness import Progress
from ui.bench.series_files import MILAN_HOLIDAYS, read_milan

_FORTNIGHT = 14
_FIRST_DAYS = (3, 17)  # Mondays 4 and 18 November 2013: the two fortnights end before the Christmas weeks
_DECEMBER_DAY = 31  # Monday 2 December: the weeks of Christmas shopping
_SUBSETS, _SUBSET_CELLS = 5, 80


def run(
    folder: Path, seed: int = 7, *, subsets: int = _SUBSETS, progress: Progress = lambda _: None
) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        folder: Holds `milan_cdr_hourly`, or is it.
        seed: Of the starting points and of the cells in a subset.
        subsets: How often a part of the cells is clustered alone.
        progress: Told how far it is.
    """
    history = read_milan(folder if folder.name == "milan_cdr_hourly" else folder / "milan_cdr_hourly")
    everybody = np.arange(len(history.site_ids))
    first = _fortnight(history, everybody, _FIRST_DAYS[0], seed)
    second = _fortnight(history, everybody, _FIRST_DAYS[1], seed, first)
    december = _fortnight(history, everybody, _DECEMBER_DAY, seed, first)
    progress(3 / (3 + 2 * subsets))
    random = np.random.default_rng(seed)
    parts = []
    for number in range(subsets):
        rows = np.sort(random.choice(everybody, _SUBSET_CELLS, replace=False))
        one = _fortnight(history, rows, _FIRST_DAYS[0], seed)
        parts.append(_agreement(one, _fortnight(history, rows, _FIRST_DAYS[1], seed, one)))
        progress((3 + 2 * (number + 1)) / (3 + 2 * subsets))
    kept = np.mean([first.labels[cell] == second.labels[cell] for cell in first.labels])
    smallest = min(list(first.labels.values()).count(label) for label in first.medoids)
    figures = {
        "cluster_milan_adjusted_rand_ratio": _agreement(first, second),
        "cluster_milan_first_k_count": first.k,
        "cluster_milan_second_k_count": second.k,
        "cluster_milan_first_silhouette_ratio": first.silhouette,
        "cluster_milan_second_silhouette_ratio": second.silhouette,
        "cluster_milan_first_stability_ratio": first.stability,
        "cluster_milan_second_stability_ratio": second.stability,
        "cluster_milan_kept_label_frac": float(kept),
        "cluster_milan_smallest_group_count": smallest,
        "cluster_milan_cells_count": len(first.labels),
        "cluster_milan_december_adjusted_rand_ratio": _agreement(first, december),
    }
    if parts:
        figures |= {
            "cluster_milan_subsets_median_adjusted_rand_ratio": float(np.median(parts)),
            "cluster_milan_subsets_least_adjusted_rand_ratio": min(parts),
        }
    return {
        "figures": figures,
        "goals": {"cluster_milan_adjusted_rand_ratio": {"op": ">=", "value": 0.6, "gating": True}},
        "used": [
            "milan_cdr_hourly: fortnights from 4 and from 18 November 2013; December's, from the 2nd, beside the first one",
            "the metric was chosen on the first fortnight; that stability comes before the silhouette, after one look at both",
        ],
    }


def _fortnight(
    history: LoadHistory, rows: npt.NDArray[np.intp], day: int, seed: int, before: Clusters | None = None
) -> Clusters:
    """Return the groups of some cells over a fortnight; the one before lends its labels and, if it may, its k."""
    begin = (history.start + timedelta(hours=1)).date()  # the file begins at a local midnight
    dates = [begin + timedelta(days=day + number) for number in range(_FORTNIGHT)]
    weekend = np.array([date.weekday() >= 5 or date in MILAN_HOLIDAYS for date in dates])
    hours = slice(HOURS_A_DAY * day, HOURS_A_DAY * (day + _FORTNIGHT))
    names: Sequence[str] = [history.site_ids[row] for row in rows]
    return cluster(names, history.values[rows, hours].astype(np.float64), weekend, seed=seed, before=before)


def _agreement(one: Clusters, other: Clusters) -> float:
    both = [cell for cell in one.labels if cell in other.labels]
    return float(adjusted_rand_score(*([each.labels[cell] for cell in both] for each in (one, other))))
