"""Sites that are alike are added up into one super-battery; this file says which, and with what limits."""

from dataclasses import dataclass

import numpy as np

from tools.planning.prepare import Prepared
from tools.planning.problem import Floats, Ints
from tools.planning.radio import cluster_raise_wh
from tools.planning.sums import sum_by
from tools.planning.viability import sure_caps

GROUPS_PER_FEEDER = 4
"""Aim for so many super-batteries per feeder: more follow the sites closer and cost more time."""
SITES_PER_GROUP = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """What each site can do on its own, shape (sites, steps): power limits, lowest and highest energy after each step."""

    charge_w: Floats
    discharge_w: Floats
    low_wh: Floats
    high_wh: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """What the sites of each group can do together, shape (groups, steps); sums, so no plan is excluded.

    `feeder_floor_wh`, shape (feeders, steps), is the same over all moved sites of a feeder: radio clusters reach across groups.
    """

    charge_w: Floats
    discharge_w: Floats
    floor_wh: Floats
    ceiling_wh: Floats
    ramp_w: Floats
    feeder_floor_wh: Floats
    reach: Reach


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """Super-batteries.

    Attributes:
        of_site: Group of each site, -1 for a site that is not moved, shape (sites,).
        feeder: Feeder of each group, shape (groups,).
        efficiency_class: Class of each group.
        initial_wh: Energy at the start.
        start_w: Power at the start.
        budget_wh: Most that may be discharged, at the terminals.
        self_use_w: Discharge that displaces own import, shape (groups, steps).
        previous_w: Setpoints in force, shape (groups, steps).
        tight: Limits with ramps and radio clusters.
        loose: Limits without.
        plan: Limits with ramps and with the floors that the plan itself keeps for the radio clusters: no bound.
    """

    of_site: Ints
    feeder: Ints
    efficiency_class: Ints
    initial_wh: Floats
    start_w: Floats
    budget_wh: Floats
    self_use_w: Floats
    previous_w: Floats
    tight: Limits
    loose: Limits
    plan: Limits

    @property
    def count(self) -> int:
        return int(self.feeder.shape[0])


def make_groups(prepared: Prepared) -> Groups:
    """Group active sites by feeder, efficiency class and how long they can discharge."""
    problem = prepared.problem
    of_site, feeder, kind = _assign(prepared)
    count = feeder.shape[0]
    self_use = problem.load_cap_w if problem.self_use_w is None else problem.self_use_w
    previous = problem.objectives.previous_w
    no_ramp = np.full(problem.sites, np.inf)
    return Groups(
        of_site=of_site, feeder=feeder, efficiency_class=kind,
        initial_wh=sum_by(of_site, problem.initial_wh, count), start_w=sum_by(of_site, problem.start_w, count),
        budget_wh=sum_by(of_site, problem.discharge_budget_wh, count), self_use_w=sum_by(of_site, self_use, count),
        previous_w=np.zeros((count, problem.steps)) if previous is None else sum_by(of_site, previous, count),
        tight=_limits(
            prepared, of_site, count, floor_wh=problem.floor_wh, ramp_w=problem.ramp_w, clusters=True
        ),
        loose=_limits(prepared, of_site, count, floor_wh=problem.floor_wh, ramp_w=no_ramp, clusters=False),
        plan=_limits(
            prepared, of_site, count, floor_wh=prepared.floor_wh, ramp_w=problem.ramp_w, clusters=False
        ),
    )  # fmt: skip


def _assign(prepared: Prepared) -> tuple[Ints, Ints, Ints]:
    """Return the group of each site, and feeder and class of each group."""
    problem = prepared.problem
    of_site = np.full(problem.sites, -1, dtype=np.int64)
    usable = np.flatnonzero(prepared.active)
    key = problem.feeder[usable] * problem.classes + problem.efficiency_class[usable]
    span = np.maximum(problem.initial_wh, prepared.ceiling_wh.max(axis=1)) - prepared.floor_wh.min(axis=1)
    hours = (span / np.maximum(prepared.own_discharge_w.mean(axis=1), 1.0))[usable]
    order = np.lexsort((hours, key))
    usable, key = usable[order], key[order]
    feeders: list[int] = []
    kinds: list[int] = []
    cells, starts, sizes = np.unique(key, return_index=True, return_counts=True)
    classes_here = np.bincount(cells // problem.classes, minlength=problem.feeders)
    for cell, start, size in zip(cells.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        feeder = cell // problem.classes
        bins = max(1, min(GROUPS_PER_FEEDER // int(classes_here[feeder]), size // SITES_PER_GROUP))
        part = np.arange(size) * bins // size
        of_site[usable[start : start + size]] = len(feeders) + part
        feeders += [feeder] * bins
        kinds += [cell % problem.classes] * bins
    return of_site, np.array(feeders, dtype=np.int64), np.array(kinds, dtype=np.int64)


def _limits(
    prepared: Prepared, group: Ints, count: int, *, floor_wh: Floats, ramp_w: Floats, clusters: bool
) -> Limits:
    """Add up what each site can reach on its own: every one of these bounds holds for the site, so their sum holds."""
    problem = prepared.problem
    reach = _reach(prepared, floor_wh, ramp_w)
    floor = sum_by(group, reach.low_wh, count)
    feeder = np.where(group >= 0, problem.feeder, -1)
    feeder_floor = sum_by(feeder, reach.low_wh, problem.feeders)
    if clusters:
        floor = floor + cluster_raise_wh(problem, group, reach.low_wh, count)
        feeder_floor = feeder_floor + cluster_raise_wh(problem, feeder, reach.low_wh, problem.feeders)
    ceiling = sum_by(group, reach.high_wh, count)
    return Limits(
        charge_w=sum_by(group, reach.charge_w, count),
        discharge_w=sum_by(group, reach.discharge_w, count),
        floor_wh=np.minimum(floor, ceiling),
        ceiling_wh=ceiling,
        ramp_w=sum_by(group, ramp_w, count),
        feeder_floor_wh=np.minimum(feeder_floor, sum_by(feeder, reach.high_wh, problem.feeders)),
        reach=reach,
    )


def _reach(prepared: Prepared, floor_wh: Floats, ramp_w: Floats) -> Reach:
    """Work out how low and high each site can get and still keep later floors, and the power that leaves."""
    problem, step_h = prepared.problem, prepared.problem.step_h
    eta_c, eta_d = prepared.eta_c[:, None], prepared.eta_d[:, None]
    ones = np.ones((problem.sites, problem.steps))
    # No site can charge with more than its feeder's whole headroom, which is none at a peak.
    most = np.minimum(prepared.own_charge_w, prepared.headroom_w[problem.feeder] * prepared.eta_r[:, None])
    _, charge = sure_caps(most, ones, ramp_w)
    _, discharge = sure_caps(prepared.own_discharge_w, ones, ramp_w)
    up, down = charge * eta_c * step_h, discharge / eta_d * step_h
    low, high = np.array(floor_wh, order="F"), np.array(prepared.ceiling_wh, order="F")
    for t in range(problem.steps - 2, -1, -1):
        low[:, t] = np.maximum(low[:, t], low[:, t + 1] - up[:, t + 1])
    bottom = top = problem.initial_wh
    for t in range(problem.steps):
        bottom = low[:, t] = np.maximum(low[:, t], bottom - down[:, t])
        top = high[:, t] = np.minimum(high[:, t], top + up[:, t])
    high = np.maximum(high, low)
    start = problem.initial_wh[:, None]
    before_low = np.concatenate([start, low[:, :-1]], axis=1)
    before_high = np.concatenate([start, high[:, :-1]], axis=1)
    return Reach(
        charge_w=np.minimum(charge, np.maximum(high - before_low, 0.0) / (eta_c * step_h)),
        discharge_w=np.minimum(discharge, np.maximum(before_high - low, 0.0) * eta_d / step_h),
        low_wh=low,
        high_wh=high,
    )
