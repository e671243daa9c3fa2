"""A first division of each group's power among its sites, the hardest steps first.

Within a run of discharge (or of charge) energy can be moved in time, so the steps that need the largest share of the
group's power are served first: there no site can stand in for another. In every step the sites that could keep going
longest over what is still to be served give most. Ramps are left to the split, which starts from this.
"""

import numpy as np

from tools.planning.groups import Groups
from tools.planning.prepare import Prepared
from tools.planning.problem import Floats, Ints
from tools.planning.viability import GRID_SIDE

IDLE_W = 1e-3
TINY_WH = 1e-6
BISECTIONS = 16


def allocate(prepared: Prepared, groups: Groups, wanted_w: Floats) -> Floats:
    """Return desired setpoints, shape (sites, steps), zero for sites that are not moved.

    Args:
        prepared: Caps and the energy each site needs at zero power.
        groups: Which sites form which group.
        wanted_w: Net power of each group, shape (groups, steps).
    """
    problem = prepared.problem
    out = np.zeros((problem.sites, problem.steps))
    need = prepared.viability.need_wh[:, :, GRID_SIDE].T
    for group in range(groups.count):
        sites = np.flatnonzero(groups.of_site == group)
        energy = problem.initial_wh[sites].copy()
        out_wh = problem.step_h / float(prepared.eta_d[sites[0]])
        in_wh = problem.step_h * float(prepared.eta_c[sites[0]])
        for first, last, sign in runs(wanted_w[group]):
            span = slice(first, last + 1)
            if sign < 0.0:
                unit, limit = out_wh, energy[:, None] - need[sites, span]
                most = prepared.discharge_cap_w[sites, span] * unit
            else:
                unit, limit = in_wh, prepared.viability.ceiling_wh[sites, span] - energy[:, None]
                most = prepared.charge_cap_w[sites, span] * unit
            given = _serve(most, np.maximum(limit, 0.0), np.abs(wanted_w[group, span]) * unit)
            out[sites, span] = sign * given / unit
            energy = energy + sign * given.sum(axis=1)
    return out


def runs(wanted_w: Floats) -> list[tuple[int, int, float]]:
    """Return (first, last, sign) of the longest spans in which power has one sign or is zero."""
    busy = np.flatnonzero(np.abs(wanted_w) > IDLE_W)
    out: list[tuple[int, int, float]] = []
    for step in busy.tolist():
        sign = 1.0 if wanted_w[step] > 0.0 else -1.0
        if out and out[-1][2] == sign:
            out[-1] = (out[-1][0], step, sign)
        else:
            out.append((step, step, sign))
    return out


def _serve(most: Floats, limit: Floats, wanted: Floats) -> Floats:
    """Divide `wanted` (steps,) among sites, Wh, within `most` per step and `limit` on the sum up to each step.

    Energy that a falling floor sets free late in the run is of no use to earlier steps, so it is taken first.
    """
    given = np.zeros_like(most)
    left = limit.copy()
    order: Ints = np.argsort(-wanted / np.maximum(most.sum(axis=0), 1e-9), kind="stable")
    order = order[wanted[order] > 0.0]
    later = np.maximum(most[:, order][:, ::-1].cumsum(axis=1)[:, ::-1], 1e-9)
    open_from = np.minimum.accumulate(order[::-1])[::-1]
    for rank, step in enumerate(order.tolist()):
        free, size, goal = left[:, step:].min(axis=1), later[:, rank], float(wanted[step])
        room = np.minimum(most[:, step], free)
        late = free - left[:, open_from[rank] :].min(axis=1)
        amount = _level(late / size, size, np.minimum(room, late), goal)
        rest = goal - float(amount.sum())
        if rest > TINY_WH:
            amount = amount + _level((free - amount) / size, size, room - amount, rest)
        given[:, step] = amount
        left[:, step:] -= amount[:, None]
    return given


def _level(stock: Floats, size: Floats, most: Floats, wanted: float) -> Floats:
    """Return clip(size x (stock - level), 0, most) with the level that makes the sum `wanted`, or `most` if it cannot."""
    if most.sum() <= wanted:
        return most
    high, low = float(stock.max()), float((stock - most / np.maximum(size, 1e-9)).min())
    for _ in range(BISECTIONS):
        middle = (high + low) / 2.0
        if np.minimum(np.maximum(size * (stock - middle), 0.0), most).sum() >= wanted:
            low = middle
        else:
            high = middle
    amount = np.minimum(np.maximum(size * (stock - low), 0.0), most)
    return np.asarray(amount * (wanted / max(float(amount.sum()), 1e-12)))
