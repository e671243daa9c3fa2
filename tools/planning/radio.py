"""Radio clusters: neighbouring cells cover for each other, so only a share of them may be low at once."""

import numpy as np

from tools.planning.problem import DispatchProblem, Floats, Ints


def allowed_low(problem: DispatchProblem) -> Ints:
    """Return how many sites of each cluster may be low: its share, or what is low already, shape (clusters,)."""
    clusters = problem.low_share.shape[0]
    member = problem.radio_cluster >= 0
    row = problem.radio_cluster[member]
    size = np.bincount(row, minlength=clusters)
    low_now = (problem.initial_wh < problem.low_wh)[member]
    share = np.floor(problem.low_share * size + 1e-9).astype(np.int64)
    return np.maximum(share, np.bincount(row[low_now], minlength=clusters))


def raised_floor_wh(problem: DispatchProblem, ceiling_wh: Floats) -> Floats:
    """Return floors that keep every cluster's share, whatever is planned, shape (sites, steps).

    The sites that may go low are fixed beforehand: those that are low already, then those with the most energy between
    the low mark and their floor. Every other site of the cluster stays above its low mark.
    """
    floor = problem.floor_wh.copy()
    member = np.flatnonzero((problem.radio_cluster >= 0) & problem.eligible)
    if member.size == 0:
        return floor
    low_now = problem.initial_wh < problem.low_wh
    all_low = np.bincount(
        problem.radio_cluster[(problem.radio_cluster >= 0) & low_now], minlength=problem.low_share.shape[0]
    )
    left = allowed_low(problem) - all_low
    gain = problem.low_wh - floor.mean(axis=1)
    asks = member[(gain[member] > 0.0) & ~low_now[member]]
    asks = asks[np.lexsort((-gain[asks], problem.radio_cluster[asks]))]
    cluster = problem.radio_cluster[asks]
    first = np.searchsorted(cluster, cluster, side="left")
    kept = asks[np.arange(asks.size) - first >= left[cluster]]
    kept_all = np.concatenate([kept, member[(gain[member] <= 0.0) & ~low_now[member]]])
    floor[kept_all] = np.maximum(
        floor[kept_all], np.minimum(problem.low_wh[kept_all, None], ceiling_wh[kept_all])
    )
    return floor


def cluster_raise_wh(problem: DispatchProblem, group: Ints, floor_wh: Floats, groups: int) -> Floats:
    """Return what each group's floor may be raised by in a bound, shape (groups, steps).

    Of n members of one cluster in one group at most k are low at once, so at least n - k stay above their low mark:
    the sum of the n - k smallest (low mark - floor) is a valid addition to the sum of the floors.

    Args:
        problem: Its clusters, low marks and starts.
        group: Group of each site, -1 for none, shape (sites,).
        floor_wh: Floors before any cluster is considered, shape (sites, steps).
        groups: How many groups there are.
    """
    out = np.zeros((groups, problem.steps))
    used = np.flatnonzero(
        (group >= 0) & (problem.radio_cluster >= 0) & (problem.initial_wh >= problem.low_wh)
    )
    if used.size == 0:
        return out
    key = problem.radio_cluster[used] * groups + group[used]
    order = np.argsort(key, kind="stable")
    used, key = used[order], key[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    sizes = np.diff(np.concatenate([starts, [key.size]]))
    lift = np.maximum(problem.low_wh[used, None] - floor_wh[used], 0.0)
    padded = np.full((starts.size, int(sizes.max()), problem.steps), np.inf)
    padded[np.repeat(np.arange(starts.size), sizes), np.arange(key.size) - np.repeat(starts, sizes)] = lift
    padded.sort(axis=1)
    keep = np.maximum(sizes - allowed_low(problem)[problem.radio_cluster[used[starts]]], 0)
    inside = np.arange(padded.shape[1])[None, :] < keep[:, None]
    np.add.at(out, group[used[starts]], np.where(inside[:, :, None], padded, 0.0).sum(axis=1))
    return out
