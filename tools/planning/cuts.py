"""Cuts that bring a super-battery closer to the sites in it without ever excluding what they can do.

For steps A inside a window that opens at step a, a site takes out of its battery over A at most, whatever step s of the
window one looks at, what it can hold before a less what it must hold after s, plus its power limits over the part of A
after s, plus what it charges inside the window; and at most its power limits over all of A. Summed over a group:

    sum over A of discharge / eta_d - sum over the window of charge x eta_c <= sum over sites of the least of these

For discharge alone these cuts describe the sum of the sites exactly (a sum of polymatroids). The same holds for charging
with the roles exchanged. Which A to try is read off the solution: the steps that use most of the group's power.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.planning.groups import Groups, Limits, Reach
from tools.planning.prepare import Prepared
from tools.planning.problem import Bools, Floats, Ints

WORTH = 1e-3
"""A cut is added when it is broken by more than this share of its right-hand side."""
WINDOW_ENDS = 6
"""End steps tried per run of equal sign."""
LEVELS = 12
"""Sets A tried per window."""


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
    down = _search(
        reach.discharge_w * out_wh,
        wanted=discharge_w * out_wh,
        against=charge_w * in_wh,
        energy=lambda a, b: high[:, a, None] - low[:, a + 1 : b + 2],
        budget=member.budget_wh / member.eta_d,
    )
    up = _search(
        reach.charge_w * in_wh,
        wanted=charge_w * in_wh,
        against=discharge_w * out_wh,
        energy=lambda a, b: high[:, a + 1 : b + 2] - low[:, a, None],
        budget=np.full(member.initial_wh.shape, np.inf),
    )
    return [Cut(discharging=True, chosen=a, window=w, most_wh=most) for a, w, most in down] + [
        Cut(discharging=False, chosen=a, window=w, most_wh=most) for a, w, most in up
    ]


def _search(
    most: Floats, *, wanted: Floats, against: Floats, energy: Callable[[int, int], Floats], budget: Floats
) -> list[tuple[Ints, Ints, float]]:
    """Look for broken cuts over the windows worth trying.

    Args:
        most: Stored Wh that each site's power allows in each step, shape (sites, steps).
        wanted: Stored Wh that the group is asked for, shape (steps,).
        against: Stored Wh that it is asked for the other way, which gives energy back.
        energy: Stored Wh that each site can move from step a up to each step of a..b, shape (sites, b - a + 1).
        budget: Stored Wh that each site may move at all.
    """
    found: list[tuple[Ints, Ints, float]] = []
    use = wanted / np.maximum(most.sum(axis=0), 1e-9)
    by_step = np.ascontiguousarray(most.T)
    for first, ends in _windows(wanted > 1.0, against > 1.0).items():
        span = slice(first, ends[-1] + 1)
        asked = wanted[span]
        busy = np.sort(use[span][asked > 1.0])
        levels = busy[np.unique(np.linspace(0, busy.size - 1, LEVELS).astype(int))]
        chosen = (use[span] >= levels[:, None]) & (asked > 1.0)
        room = np.ascontiguousarray(np.maximum(energy(first, ends[-1]), 0.0).T)
        upto = np.array(ends) - first
        limit = _served(by_step[span], room, chosen, upto, budget)
        given = np.cumsum(chosen * asked, axis=1)[:, upto] - np.cumsum(against[span])[upto]
        broken = (given - limit - 1.0) / np.maximum(limit, 1.0)
        for at, end in enumerate(ends):
            worst = int(np.argmax(broken[:, at]))
            if broken[worst, at] > WORTH:
                steps = np.arange(first, end + 1)
                inside = chosen[worst, : steps.size]
                found.append((steps[inside], steps, float(limit[worst, at])))
    return found


def _served(most: Floats, room: Floats, chosen: Bools, ends: Ints, budget: Floats) -> Floats:
    """Return what all sites can give over the chosen steps up to each end, shape (sets, ends).

    Step by step, never beyond what a site may have given by then.

    Args:
        most: Power limits as Wh, shape (steps, sites).
        room: Most that may have been given by the end of each step, same shape.
        chosen: Sets of steps, each holding the next, shape (sets, steps).
        ends: Rising rows of the steps to report.
        budget: Most that a site may give at all, shape (sites,).
    """
    given = np.zeros((chosen.shape[0], most.shape[1]))
    holding = chosen.sum(axis=0).tolist()  # the first so many sets hold the step
    out = np.empty((chosen.shape[0], ends.size))
    report = {int(end): at for at, end in enumerate(ends)}
    for step in range(most.shape[0]):
        given[: holding[step]] += most[step]
        np.minimum(given, room[step], out=given)
        if step in report:
            out[:, report[step]] = np.minimum(given, budget).sum(axis=1)
    return out


def _windows(wanted: Bools, against: Bools) -> dict[int, list[int]]:
    """Return end steps by opening step: windows open at step 0 and with each run of `wanted` (ended by `against`)."""
    steps = np.flatnonzero(wanted)
    blocked = np.cumsum(against)[steps]
    out: dict[int, set[int]] = {}
    for value in np.unique(blocked).tolist():
        mine = steps[blocked == value]
        some = mine[
            np.unique(np.linspace(0, mine.size - 1, WINDOW_ENDS + 1).round().astype(int))[1:]
        ].tolist()
        some = some or mine.tolist()
        for first in (int(mine[0]), 0):
            out.setdefault(first, set()).update(some)
    return {first: sorted(ends) for first, ends in out.items()}
