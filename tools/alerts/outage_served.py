"""Which chance of tomorrow's outage is served: the trees' where they did better than the recent rate, else the rate's. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from tools.alerts.outage_history import DailyHistory, chance_by_rate, features
from tools.alerts.outage_model import fit_outage_model

Floats = npt.NDArray[np.floating]

LEAST_DAYS = 120
"""Days of the fleet's past below which no trees are tried: with 60 they lost to the rate, with 120 they won (real data)."""
LEAST_FAILURES = 200
"""Site-days with an outage to learn from, below which no trees are tried [I]."""
MOST_SITE_DAYS = 600_000
"""Site-days learnt from; a larger fleet learns from fewer days, and by the rate alone where these are too few."""
TRIAL_DAYS = 21
WARM_DAYS = 14
SEED = 1
RATE = "how often the site's own mains failed lately (3, 14 and 60 days), drawn towards the fleet's share"
TREES = (
    "boosted trees over the fleet's days, which told the last three weeks' outages better than how often each site's mains"
    " failed lately"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedChance:
    """Tomorrow's chance of an outage.

    Attributes:
        chance: By site, 0..1, shape (sites,).
        how: What it is told from, for people.
        trial: Mean log loss of trees and of the rate over the trial days; None: there was no trial.
    """

    chance: Floats
    how: str
    trial: tuple[float, float] | None


def served_chance(history: DailyHistory, *, jobs: int = 1) -> ServedChance:
    """Return tomorrow's chance of an outage at each site, by the model that did better on the last three weeks.

    The trees learn from the days before those weeks and are tried on them, a day's chance from the days before it; only if
    their log loss is the lower one, they learn from all days and are served.

    Args:
        history: Days of the fleet up to today.
        jobs: Threads of the trees.
    """
    by_rate = chance_by_rate(history)
    history = days_of(
        history, max(history.days - MOST_SITE_DAYS // max(len(history.seen), 1), 0), history.days
    )
    if not _enough(history):
        return ServedChance(chance=by_rate, how=RATE, trial=None)
    table, _ = features(history)
    border = history.days - TRIAL_DAYS
    trial = _trial(history, table, border, jobs)
    if not trial[0] < trial[1]:
        return ServedChance(chance=by_rate, how=RATE, trial=trial)
    model = fit_outage_model(*_rows(history, table, WARM_DAYS, history.days), seed=SEED, seeds=1, jobs=jobs)
    return ServedChance(chance=model.chance(table[:, -1]), how=TREES, trial=trial)


def _enough(history: DailyHistory) -> bool:
    """Return whether there are days and outages enough to learn from, and some of both kinds to be tried on."""
    seen = np.flatnonzero(history.seen.any(axis=0))
    if not seen.size or history.days - int(seen[0]) < LEAST_DAYS:
        return False
    border = history.days - TRIAL_DAYS
    return bool(history.failed[:, :border].sum() >= LEAST_FAILURES and history.failed[:, border:].any())


def _rows(
    history: DailyHistory, table: Floats, first: int, last: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return features of the days from `first` on whose next day lies before `last`, and whether that one failed."""
    pairs = history.seen[:, first : last - 1] & history.seen[:, first + 1 : last]
    return table[:, first : last - 1][pairs], history.failed[:, first + 1 : last][pairs]


def _trial(history: DailyHistory, table: Floats, border: int, jobs: int) -> tuple[float, float]:
    """Return the mean log loss of trees and rate over the days from `border` on."""
    model = fit_outage_model(*_rows(history, table, WARM_DAYS, border), seed=SEED, seeds=1, jobs=jobs)
    rows, failed = _rows(history, table, border - 1, history.days)
    pairs = history.seen[:, border - 1 : -1] & history.seen[:, border:]
    rates = [chance_by_rate(days_of(history, 0, day)) for day in range(border, history.days)]
    return log_loss(model.chance(rows), failed), log_loss(np.stack(rates, axis=1)[pairs], failed)


def days_of(history: DailyHistory, first: int, last: int) -> DailyHistory:
    """Return the days [first, last) as far as roll-ups tell them."""
    part = slice(first, last)
    return replace(
        history,
        first_day=history.first_day + timedelta(days=first),
        seen=history.seen[:, part],
        failed=history.failed[:, part],
        deficit=history.deficit[:, part],
        levels={},
        counts={},
        weather={},
    )


def log_loss(chance: Floats, failed: npt.NDArray[np.bool_]) -> float:
    """Return the mean log loss of chances of what came or did not."""
    told = np.clip(np.where(failed, chance, 1.0 - chance), 1e-4, 1.0)
    return float(-np.log(told).mean())
