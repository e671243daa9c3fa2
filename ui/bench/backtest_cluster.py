"""Profile clusters of real cells: are the groups of one fortnight found again in another one?"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from telemetry.cluster import HOURS_A_DAY, Clusters, cluster
from ui.bench.series_files import MILAN_HOLIDAYS, read_milan

_FORTNIGHT = 14
_FIRST_DAYS = (3, 17)  # Mondays 4 and 18 November 2013: the two fortnights end before the Christmas weeks


def run(folder: Path, seed: int = 7) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        folder: Holds `milan_cdr_hourly`, or is it.
        seed: Of the starting points.
    """
    history = read_milan(folder if folder.name == "milan_cdr_hourly" else folder / "milan_cdr_hourly")
    first = (history.start + timedelta(hours=1)).date()  # the file begins at a local midnight
    made: list[Clusters] = []
    for day in _FIRST_DAYS:
        dates = [first + timedelta(days=day + number) for number in range(_FORTNIGHT)]
        weekend = np.array([date.weekday() >= 5 or date in MILAN_HOLIDAYS for date in dates])
        load = history.values[:, HOURS_A_DAY * day : HOURS_A_DAY * (day + _FORTNIGHT)].astype(np.float64)
        before = made[-1] if made else None
        made.append(cluster(history.site_ids, load, weekend, seed=seed, before=before))
    both = [site_id for site_id in history.site_ids if all(site_id in each.labels for each in made)]
    index = adjusted_rand_score(*([each.labels[site_id] for site_id in both] for each in made))
    kept = np.mean([made[0].labels[site_id] == made[1].labels[site_id] for site_id in both])
    return {
        "figures": {
            "cluster_milan_adjusted_rand_ratio": float(index),
            "cluster_milan_first_k_count": made[0].k,
            "cluster_milan_second_k_count": made[1].k,
            "cluster_milan_first_silhouette_ratio": made[0].silhouette,
            "cluster_milan_second_silhouette_ratio": made[1].silhouette,
            "cluster_milan_first_stability_ratio": made[0].stability,
            "cluster_milan_kept_label_frac": float(kept),
            "cluster_milan_cells_count": len(both),
        },
        "goals": {"cluster_milan_adjusted_rand_ratio": {"op": ">=", "value": 0.6, "gating": True}},
        "used": ["milan_cdr_hourly: fortnights from 4 and from 18 November 2013"],
    }
