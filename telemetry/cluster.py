"""Sites grouped by the shape of their load over day and week; how much they use does not count (pure).

A shape is a site's mean weekday and weekend day in units of its own mean load, 48 hours in all. Two sites differ as far as
their shapes differ reliably: what a site does otherwise from one day to the next is noise, and directions in which days
of one site differ as much as sites do are left out. So no smoothing and no number of components is chosen by hand.
k is the number of groups that are found again in other weeks (adjusted Rand index), and of those the best apart
(silhouette).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

HOURS_A_DAY = 24
_LEAST_SITES = 4
_RESTARTS = 20
_SPLITS = 8  # random halves of the days, besides the first and the second half
_SPLIT_RESTARTS = 5
_SAMPLE = 2_000  # sites that k is chosen on
_LEAST_RELIABLE_FRAC = 0.9  # of a direction's spread over sites that is not the noise of their days
_FEWEST_DIRECTIONS = 2
_AS_WELL_APART = 0.1  # silhouettes this near are no reason to regroup a fleet
_FLOOR = 1e-3  # of the mean load: below that no meter tells two days apart
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
        stability: Adjusted Rand index between two halves of the days, the mean over several halvings, 1 is the same.
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
    whole = shapes(hourly, weekend)
    usable = ~np.isnan(whole).any(axis=1)
    if usable.sum() < _LEAST_SITES:
        raise ValueError("fewer than four sites have a shape")
    names = [site_ids[row] for row in np.flatnonzero(usable).tolist()]
    whole, load = whole[usable], hourly[usable]
    metric = reliable_directions(load, weekend)
    points = (whole - whole.mean(axis=0)) @ metric
    # A few hundred points: threads would wait for each other longer than they work.
    with threadpool_limits(1):
        best = _best(points, load, weekend, metric, seed, most, before)
        labels = _fit(points, best.k, seed)
    return _named(names, whole, points, labels, best.apart, float(best.again.mean()), before)


def _best(
    points: Array,
    load: Array,
    weekend: npt.NDArray[np.bool_],
    metric: Array,
    seed: int,
    most: int,
    before: Clusters | None,
) -> "_Tried":
    random = np.random.default_rng(seed)
    some = np.sort(random.choice(len(points), min(_SAMPLE, len(points)), replace=False))
    splits = _splits(load[some], weekend, metric, random)
    tried = [
        _Tried(
            k=k,
            apart=float(silhouette_score(points[some], _fit(points[some], k, seed))),
            again=_found_again(splits, k, seed),
        )
        for k in range(2, min(most, len(some) - 1) + 1)
    ]
    return _choose(tried, before)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A number of groups: how well apart they are, and how well they are found again in each halving of the days."""

    k: int
    apart: float
    again: Array


def _choose(tried: Sequence[_Tried], before: Clusters | None) -> _Tried:
    """Return the best apart of those that are as stable as the most stable one, within its standard error.

    A group that is not found again is no group, so stability comes first: silhouettes of groups in few directions grow
    with their number. The number of a former clustering stays while it is nearly as good in both.
    """
    stablest = max(tried, key=lambda one: float(one.again.mean()))
    error = float(stablest.again.std(ddof=1)) / len(stablest.again) ** 0.5 if len(stablest.again) > 1 else 0.0
    lacks = {one.k: float(stablest.again.mean() - one.again.mean()) for one in tried}
    best = max((one for one in tried if lacks[one.k] <= error), key=lambda one: one.apart)
    former = next((one for one in tried if before is not None and one.k == before.k), None)
    if former is not None and lacks[former.k] <= 2.0 * error and former.apart >= best.apart - _AS_WELL_APART:
        return former
    return best


def _splits(
    load: Array, weekend: npt.NDArray[np.bool_], metric: Array, random: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Return the sites' points from two halves of the days: the first and the last weeks, then halves drawn by lot."""
    days = load.reshape(len(load), len(weekend), HOURS_A_DAY)
    count = len(weekend)
    half = count // 14 * 7 or count // 2
    chosen = [np.arange(count) < half]
    for _ in range(_SPLITS):
        first = np.zeros(count, dtype=np.bool_)
        for kind in (np.flatnonzero(weekend), np.flatnonzero(~weekend)):
            first[random.permutation(kind)[: len(kind) // 2]] = True
        chosen.append(first)
    found = []
    for first in chosen:
        both = []
        for part in (first, ~first):
            if weekend[part].all() or not weekend[part].any():
                break
            means = shapes(days[:, part].reshape(len(load), -1), weekend[part])
            # An hour that one half of the days lacks is that of the whole.
            means = np.where(np.isnan(means), shapes(load, weekend), means)
            both.append((means - means.mean(axis=0)) @ metric)
        if len(both) == 2:
            found.append((both[0], both[1]))
    return found


def _found_again(splits: Sequence[tuple[Array, Array]], k: int, seed: int) -> Array:
    """Return by split how well the groups of one half of the days are found again in the other; 0 without a split."""
    return np.array(
        [adjusted_rand_score(*(_fit(part, k, seed, _SPLIT_RESTARTS) for part in split)) for split in splits]
        or [0.0]
    )


def reliable_directions(hourly: Array, weekend: npt.NDArray[np.bool_]) -> Array:
    """Return the directions in which sites' shapes differ more than their days do, shape (48, directions).

    Along each of them one standard error of a site's mean shape counts 1. What all sites do alike on a day is taken out.

    Args:
        hourly: As for `shapes`; every row has a whole shape.
        weekend: By day.

    Source:
        Linear discriminants with each site as a class of its own (generalised eigenvectors of the spread between sites
        against the noise of their means), the noise estimated over all sites' days with Ledoit and Wolf's shrinkage.
    """
    days = hourly.reshape(len(hourly), len(weekend), HOURS_A_DAY)
    means = shapes(hourly, weekend)
    level = np.nanmean(days, axis=(1, 2), keepdims=True)
    noise = _FLOOR**2 * np.eye(2 * HOURS_A_DAY)
    for first, kind in ((0, ~weekend), (HOURS_A_DAY, weekend)):
        relative = days[:, kind] / level
        relative = relative - _mean(relative, 0)
        residual = np.nan_to_num(relative - _mean(relative, 1))
        covariance, _ = ledoit_wolf(residual.reshape(-1, HOURS_A_DAY), assume_centered=True)
        span = slice(first, first + HOURS_A_DAY)
        noise[span, span] += covariance / (max(2, int(kind.sum())) - 1)
    centred = means - means.mean(axis=0)
    spread = centred.T @ centred / (len(means) - 1)
    ratio, directions = eigh(spread, noise)
    reliable = int((1.0 - 1.0 / np.maximum(ratio, 1e-12) >= _LEAST_RELIABLE_FRAC).sum())
    found: Array = directions[:, -max(_FEWEST_DIRECTIONS, reliable) :]
    return found


def _mean(days: Array, axis: int) -> Array:
    """Return the mean of what is known along an axis, 0 where nothing is."""
    known = ~np.isnan(days)
    mean: Array = np.nansum(days, axis=axis, keepdims=True) / np.maximum(
        known.sum(axis=axis, keepdims=True), 1
    )
    return mean


def _fit(points: Array, k: int, seed: int, restarts: int = _RESTARTS) -> Labels:
    found: Labels = KMeans(k, n_init=restarts, random_state=seed).fit_predict(points).astype(np.intp)
    return found


def _named(
    names: Sequence[str],
    whole: Array,
    points: Array,
    labels: Labels,
    apart: float,
    stable: float,
    before: Clusters | None,
) -> Clusters:
    medoid_rows = {}
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        distance = np.linalg.norm(points[rows][:, None] - points[rows][None], axis=2).sum(axis=1)
        medoid_rows[label] = int(rows[distance.argmin()])
    profiles = {label: whole[row] for label, row in medoid_rows.items()}
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
