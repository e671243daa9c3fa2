"""Cuts that bring a super-battery closer to the sites in it without ever excluding what they can do.

For steps A inside a window from step s to step e, a site takes out of its battery over A at most its power limits over A,
and at most what it can hold before s, less what it must hold after e, plus what it charges inside the window. Summed over
the sites of a group:

    sum over A of discharge / eta_d - sum over the window of charge x eta_c <= sum over sites of min(power, energy)

For discharge alone with fixed limits these cuts describe the sum of the sites exactly (a sum of polymatroids). The same
holds for charging with the roles exchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.planning.groups import Groups, Limits, Reach
from tools.planning.prepare import Prepared
from tools.planning.problem import Bools, Floats, Ints

WORTH = 1e-3
"""A cut is added when it is broken by more than this share of its right-hand side."""
WINDOW_ENDS = 10
"""End steps tried per run of equal sign."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """One inequality of a group.

    Attributes:
        discharging: Whether it limits discharge (over `chosen`) less charge (over `window`), or the reverse.
        chosen: Steps A.
        window: Steps of the window.
        most_wh: Right-hand side, stored Wh.
    """

    discharging: bool
    chosen: Ints
    window: Ints
    most_wh: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """Sites of one group with their class's efficiencies."""

    reach: Reach
    initial_wh: Floats
    budget_wh: Floats
    eta_c: float
    eta_d: float
    step_h: float


def make_member(prepared: Prepared, groups: Groups, limits: Limits, group: int) -> Member:
    """Cut one group's sites out of the fleet's arrays."""
    sites, kind, problem = (
        np.flatnonzero(groups.of_site == group),
        groups.efficiency_class[group],
        prepared.problem,
    )
    reach = limits.reach
    return Member(
        reach=Reach(
            charge_w=reach.charge_w[sites],
            discharge_w=reach.discharge_w[sites],
            low_wh=reach.low_wh[sites],
            high_wh=reach.high_wh[sites],
        ),
        initial_wh=problem.initial_wh[sites],
        budget_wh=problem.discharge_budget_wh[sites],
        eta_c=float(problem.charge_efficiency[kind]),
        eta_d=float(problem.discharge_efficiency[kind]),
        step_h=problem.step_h,
    )


def find_cuts(member: Member, charge_w: Floats, discharge_w: Floats) -> list[Cut]:
    """Return cuts that the group's powers break, shape (steps,) each."""
    reach, step_h = member.reach, member.step_h
    start = member.initial_wh[:, None]
    out_wh, in_wh = step_h / member.eta_d, step_h * member.eta_c
    high = np.concatenate([start, reach.high_wh], axis=1)
    low = np.concatenate([start, reach.low_wh], axis=1)
    budget = member.budget_wh / member.eta_d
    down = _search(
        reach.discharge_w * out_wh,
        discharge_w * out_wh,
        charge_w * in_wh,
        lambda s, e: np.minimum(high[:, s] - low[:, e], budget),
    )
    up = _search(
        reach.charge_w * in_wh, charge_w * in_wh, discharge_w * out_wh, lambda s, e: high[:, e] - low[:, s]
    )
    return [Cut(discharging=True, chosen=a, window=w, most_wh=most) for a, w, most in down] + [
        Cut(discharging=False, chosen=a, window=w, most_wh=most) for a, w, most in up
    ]


def _search(
    most: Floats, wanted: Floats, against: Floats, energy: Callable[[int, int], Floats]
) -> list[tuple[Ints, Ints, float]]:
    """Look for broken cuts over the windows worth trying.

    Args:
        most: Stored Wh that each site's power allows in each step, shape (sites, steps).
        wanted: Stored Wh that the group is asked for, shape (steps,).
        against: Stored Wh that it is asked for the other way, which gives energy back.
        energy: Stored Wh that each site can move between step s and step e.
    """
    found: list[tuple[Ints, Ints, float]] = []
    total = np.maximum(most.sum(axis=0), 1e-9)
    for first, last in _windows(wanted > 1.0, against > 1.0):
        steps = np.arange(first, last + 1)
        order = steps[np.argsort(-(wanted / total)[steps], kind="stable")]
        order = order[wanted[order] > 1.0]
        if order.size == 0:
            continue
        limit = np.minimum(
            np.cumsum(most[:, order], axis=1), np.maximum(energy(first, last + 1), 0.0)[:, None]
        ).sum(axis=0)
        broken = np.cumsum(wanted[order]) - against[steps].sum() - limit
        worst = int(np.argmax(broken))
        if broken[worst] > WORTH * limit[worst] + 1.0:
            found.append((np.sort(order[: worst + 1]), steps, float(limit[worst])))
    return found


def _windows(wanted: Bools, against: Bools) -> list[tuple[int, int]]:
    """Return windows from the start of each run of `wanted` (runs end at `against`) to some of its steps, and from step 0."""
    steps = np.flatnonzero(wanted)
    if steps.size == 0:
        return []
    blocked = np.cumsum(against)
    run = blocked[steps]
    out: set[tuple[int, int]] = set()
    for value in np.unique(run).tolist():
        mine = steps[run == value]
        some = mine[np.unique(np.linspace(0, mine.size - 1, WINDOW_ENDS).round().astype(int))]
        for end in some.tolist():
            out |= {(int(mine[0]), end), (0, end)}
    return sorted(out)
