"""Sites grouped by the shape of their load over day and week; how much they use does not count (pure).

A shape is a site's mean weekday and weekend day in units of its own mean load, 48 hours in all. k is the number of
groups that is both well apart (silhouette) and found again in other weeks (adjusted Rand index).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

HOURS_A_DAY = 24
_LEAST_SITES = 4
_RESTARTS = 5
Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Profile clusters of sites.

    Attributes:
        labels: By site; a label keeps its meaning from one clustering to the next.
        profiles: By label the shape of the medoid, the real site nearest the middle: 24 weekday hours, 24 of a weekend.
        medoids: By label that site.
        silhouette: How well apart, -1..1.
        stability: Adjusted Rand index between two halves of the weeks, 1 is the same.
    """

    labels: Mapping[str, int]
    profiles: Mapping[int, tuple[float, ...]]
    medoids: Mapping[int, str]
    silhouette: float
    stability: float

    @property
    def k(self) -> int:
        """How many groups."""
        return len(self.medoids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A site that changed its cluster, and why."""

    site_id: str
    before: int
    after: int
    reason: str


def shapes(hourly: Array, weekend: npt.NDArray[np.bool_]) -> Array:
    """Return normalised shapes, shape (sites, 48); a row is NaN where an hour of the day was never measured.

    Args:
        hourly: Load, shape (sites, hours), from a local midnight, whole days; NaN where nothing was measured.
        weekend: By day, whether it is a weekend or a holiday.

    Raises:
        ValueError: Not whole days, or no weekday or no weekend among them.
    """
    sites, hours = hourly.shape
    if hours != HOURS_A_DAY * len(weekend) or weekend.all() or not weekend.any():
        raise ValueError("shapes need whole days with weekdays and weekend days among them")
    days = hourly.reshape(sites, len(weekend), HOURS_A_DAY)
    both = np.concatenate([_mean_day(days[:, ~weekend]), _mean_day(days[:, weekend])], axis=1)
    level = np.mean(both, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(level > 0.0, both / level, np.nan)
    return found


def _mean_day(days: Array) -> Array:
    known = ~np.isnan(days)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = np.nansum(days, axis=1) / known.sum(axis=1)
    return mean


def cluster(
    site_ids: Sequence[str],
    hourly: Array,
    weekend: npt.NDArray[np.bool_],
    *,
    seed: int,
    most: int = 8,
    before: Clusters | None = None,
) -> Clusters:
    """Return the sites in groups; sites without a whole shape are in none.

    Args:
        site_ids: Rows of `hourly`.
        hourly: Load, shape (sites, hours), from a local midnight, at least four weeks for the stability to mean much.
        weekend: By day.
        seed: Of the starting points.
        most: Largest k tried.
        before: The clustering whose labels are kept where groups are the same.

    Raises:
        ValueError: Fewer than four sites have a shape, or the days are unusable.
    """
    half = len(weekend) // 14 * 7 or len(weekend) // 2  # whole weeks where there are some
    whole = shapes(hourly, weekend)
    parts = [
        shapes(hourly[:, HOURS_A_DAY * first : HOURS_A_DAY * last], weekend[first:last])
        for first, last in ((0, half), (half, len(weekend)))
    ]
    usable = ~np.isnan(np.concatenate([whole, *parts], axis=1)).any(axis=1)
    if usable.sum() < _LEAST_SITES:
        raise ValueError("fewer than four sites have a shape")
    names = [site_id for site_id, use in zip(site_ids, usable, strict=True) if use]
    whole, parts = whole[usable], [part[usable] for part in parts]
    best: tuple[float, float, float, Labels] | None = None
    for k in range(2, min(most, len(names) - 1) + 1):
        labels = _fit(whole, k, seed)
        apart = float(silhouette_score(whole, labels))
        stable = float(adjusted_rand_score(_fit(parts[0], k, seed), _fit(parts[1], k, seed)))
        if best is None or apart + stable > best[0]:
            best = (apart + stable, apart, stable, labels)
    if best is None:
        raise ValueError("fewer than four sites have a shape")
    return _named(names, whole, best[3], best[1], best[2], before)


def _fit(points: Array, k: int, seed: int) -> Labels:
    # A few hundred points: threads would wait for each other longer than they work.
    with threadpool_limits(1):
        found: Labels = KMeans(k, n_init=_RESTARTS, random_state=seed).fit_predict(points).astype(np.intp)
    return found


def _named(
    names: Sequence[str], points: Array, labels: Labels, apart: float, stable: float, before: Clusters | None
) -> Clusters:
    medoid_rows = {}
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        distance = np.linalg.norm(points[rows][:, None] - points[rows][None], axis=2).sum(axis=1)
        medoid_rows[label] = int(rows[distance.argmin()])
    profiles = {label: points[row] for label, row in medoid_rows.items()}
    new_name = _names_of(profiles, before)
    return Clusters(
        labels={name: new_name[label] for name, label in zip(names, labels.tolist(), strict=True)},
        profiles={new_name[label]: tuple(profile.tolist()) for label, profile in profiles.items()},
        medoids={new_name[label]: names[row] for label, row in medoid_rows.items()},
        silhouette=apart,
        stability=stable,
    )


def _names_of(profiles: Mapping[int, Array], before: Clusters | None) -> dict[int, int]:
    """Return a label for each group: that of the most alike profile before, else a new one, by the hour of the peak."""
    labels = sorted(profiles, key=lambda label: (int(profiles[label].argmax()), float(profiles[label].max())))
    if before is None:
        return {label: place for place, label in enumerate(labels)}
    old = sorted(before.profiles)
    cost = np.array(
        [[np.linalg.norm(profiles[a] - np.array(before.profiles[b])) for b in old] for a in labels]
    )
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    names = {labels[row]: old[column] for row, column in pairs}
    free = iter(number for number in range(len(old) + len(labels)) if number not in old)
    return {label: names[label] if label in names else next(free) for label in labels}


def moves(before: Clusters, after: Clusters) -> tuple[Move, ...]:
    """Return the sites that changed their cluster, with how the medoids of the two differ most."""
    found = []
    for site_id, now in sorted(after.labels.items()):
        was = before.labels.get(site_id)
        if was is not None and was != now:
            found.append(
                Move(site_id=site_id, before=was, after=now, reason=_reason(before, after, was, now))
            )
    return tuple(found)


def _reason(before: Clusters, after: Clusters, was: int, now: int) -> str:
    change = np.array(after.profiles[now]) - np.array(before.profiles[was])
    hour = int(np.abs(change).argmax())
    day = "weekdays" if hour < HOURS_A_DAY else "weekends"
    word = "more" if change[hour] > 0 else "less"
    clock = hour % HOURS_A_DAY
    return f"like {after.medoids[now]}: {word} of its load on {day} at {clock:02d} h ({change[hour]:+.2f} of its mean)"
