"""From a problem to what the optimiser works on: caps that hold together, recovery first, radio clusters settled."""

from dataclasses import dataclass

import numpy as np

from tools.planning.problem import TOLERANCE_WH, Bools, DispatchProblem, Floats
from tools.planning.radio import raised_floor_wh
from tools.planning.sums import sum_by
from tools.planning.viability import (
    Viability,
    highest_power_w,
    hold_ceiling,
    hold_floor,
    make_grid,
    stop_wh,
    stored_wh,
    sure_caps,
    tabulate,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A problem made ready.

    Attributes:
        eta_c: Charge efficiency by site, shape (sites,).
        eta_d: Discharge efficiency by site.
        eta_r: Rectifier efficiency by site.
        active: Sites the optimiser may move, shape (sites,).
        recovery: Sites that only charge towards their band; `fixed_w` says how.
        unused: Eligible sites whose power at the start cannot be brought within their limits.
        floor_wh: Floors with the radio clusters settled, shape (sites, steps).
        ceiling_wh: Ceilings, never below the energy at the start, shape (sites, steps).
        own_charge_w: A site's own charge limit, shape (sites, steps).
        own_discharge_w: A site's own discharge limit, as a magnitude.
        charge_cap_w: The same with the ramp into later steps.
        discharge_cap_w: The same with the ramp into later steps.
        sure_charge_w: Charge that every site can count on whatever the others do.
        fixed_w: Setpoints of the recovery sites, zero elsewhere, shape (sites, steps).
        fixed_at_meter_w: The same at the meter, by feeder, shape (feeders, steps).
        headroom_w: AC power that charging may add to each feeder, recovery taken off, shape (feeders, steps).
        room_w: AC power that discharging may take from each feeder, shape (feeders, steps).
        viability: Tables for the active sites' bounds.
    """

    problem: DispatchProblem
    eta_c: Floats
    eta_d: Floats
    eta_r: Floats
    active: Bools
    recovery: Bools
    unused: Bools
    floor_wh: Floats
    ceiling_wh: Floats
    own_charge_w: Floats
    own_discharge_w: Floats
    charge_cap_w: Floats
    discharge_cap_w: Floats
    sure_charge_w: Floats
    fixed_w: Floats
    fixed_at_meter_w: Floats
    headroom_w: Floats
    room_w: Floats
    viability: Viability


def by_feeder(problem: DispatchProblem, site_values: Floats) -> Floats:
    """Sum (sites, steps) into (feeders, steps)."""
    return sum_by(problem.feeder, site_values, problem.feeders)


def prepare(problem: DispatchProblem) -> Prepared:
    """Settle everything that is a rule and not a choice."""
    row = problem.efficiency_class
    eta_c, eta_d = problem.charge_efficiency[row], problem.discharge_efficiency[row]
    eta_r = problem.rectifier_efficiency[row]
    ceiling, own_charge = _ceilings(problem, eta_r)
    own_discharge = np.minimum(problem.max_discharge_w, problem.load_cap_w) * problem.eligible[:, None]
    headroom = np.maximum(problem.import_limit_w - problem.background_w, 0.0)
    room = np.maximum(problem.background_w + problem.export_limit_w, 0.0)
    floor = raised_floor_wh(problem, ceiling)

    below = problem.eligible & (problem.initial_wh < problem.floor_wh[:, 0] - TOLERANCE_WH)
    fixed = _recover(
        problem, below, cap_w=own_charge, headroom_w=headroom, eta_c=eta_c, eta_r=eta_r, ceiling=ceiling
    )
    headroom = np.maximum(headroom - by_feeder(problem, fixed / eta_r[:, None]), 0.0)

    rest = problem.eligible & ~below
    sure_c, cap_c = _shared(problem, own_charge * rest[:, None], headroom, eta_r)
    sure_d, cap_d = _shared(problem, own_discharge * rest[:, None], room, eta_r)
    viability = tabulate(
        floor_wh=floor, ceiling_wh=ceiling, sure_charge_w=sure_c, grid=make_grid(cap_c, cap_d), ramp_w=problem.ramp_w,
        charge_efficiency=eta_c, discharge_efficiency=eta_d, step_h=problem.step_h,
    )  # fmt: skip
    unused = rest & ~_can_start(problem, sure_c, sure_d, viability, eta_c)
    duty = rest & ~unused & ~_keeps_floor(problem, sure_c, viability, eta_c, eta_d)
    late = _recover(
        problem, duty, cap_w=sure_c, headroom_w=headroom, eta_c=eta_c, eta_r=eta_r, ceiling=ceiling
    )
    return Prepared(
        problem=problem, eta_c=eta_c, eta_d=eta_d, eta_r=eta_r, active=rest & ~unused & ~duty, recovery=below | duty,
        unused=unused, floor_wh=floor, ceiling_wh=ceiling, own_charge_w=own_charge, own_discharge_w=own_discharge,
        charge_cap_w=cap_c, discharge_cap_w=cap_d, sure_charge_w=sure_c, fixed_w=fixed + late,
        fixed_at_meter_w=by_feeder(problem, (fixed + late) / eta_r[:, None]),
        headroom_w=np.maximum(headroom - by_feeder(problem, late / eta_r[:, None]), 0.0), room_w=room,
        viability=viability,
    )  # fmt: skip


def _ceilings(problem: DispatchProblem, eta_r: Floats) -> tuple[Floats, Floats]:
    """Return ceilings and charge limits; a site above a ceiling may idle there but not charge."""
    charge = np.minimum(problem.max_charge_w, problem.rectifier_headroom_w)
    charge = np.minimum(charge, problem.connection_headroom_w * eta_r[:, None]) * problem.eligible[:, None]
    above = problem.ceiling_wh < problem.initial_wh[:, None]
    return np.maximum(problem.ceiling_wh, problem.initial_wh[:, None]), np.where(above, 0.0, charge)


def _shared(problem: DispatchProblem, own_w: Floats, room_w: Floats, eta_r: Floats) -> tuple[Floats, Floats]:
    wanted = by_feeder(problem, own_w / eta_r[:, None])
    share = np.minimum(1.0, room_w / np.maximum(wanted, 1e-9))
    return sure_caps(own_w, share[problem.feeder], problem.ramp_w)


def _recover(
    problem: DispatchProblem,
    who: Bools,
    *,
    cap_w: Floats,
    headroom_w: Floats,
    eta_c: Floats,
    eta_r: Floats,
    ceiling: Floats,
) -> Floats:
    """Charge the sites `who` towards their band as early as ramps and the feeder's headroom allow.

    Discharge under way stops at once, whatever the ramp: the backup comes first.
    """
    out = np.zeros((problem.sites, problem.steps))
    if not who.any():
        return out
    sure, _ = _shared(problem, cap_w * who[:, None], headroom_w, eta_r)
    rows, step_h = np.flatnonzero(who), problem.step_h
    need = hold_floor(problem.floor_wh[rows])
    level = np.minimum(need, hold_ceiling(ceiling[rows]))
    sure, ramp, eta = sure[rows], problem.ramp_w[rows], eta_c[rows]
    energy, power = problem.initial_wh[rows], np.maximum(problem.start_w[rows], 0.0)
    parts = np.linspace(0.0, 1.0, 9)
    for t in range(problem.steps):
        high = np.minimum(sure[:, t], power + ramp)
        tries = high[:, None] * parts
        moved = (tries * step_h + stop_wh(tries, ramp[:, None], step_h)) * eta[:, None]
        fits = energy[:, None] + moved <= level[:, t, None]
        low = np.where(np.isfinite(ramp), power - ramp, 0.0)
        power = np.minimum(np.maximum((tries * fits).max(axis=1), np.maximum(low, 0.0)), high)
        energy = energy + power * step_h * eta
        out[rows, t] = power
    return out


def _can_start(
    problem: DispatchProblem, sure_c: Floats, sure_d: Floats, viability: Viability, eta_c: Floats
) -> Bools:
    """Say whether the power at the start can be brought within the first step's limits."""
    least, most = problem.start_w - problem.ramp_w, problem.start_w + problem.ramp_w
    top = highest_power_w(viability, 0, problem.initial_wh, eta_c)
    return (least <= np.minimum(sure_c[:, 0], top) + TOLERANCE_WH) & (most >= -sure_d[:, 0] - TOLERANCE_WH)


def _keeps_floor(
    problem: DispatchProblem, sure_c: Floats, viability: Viability, eta_c: Floats, eta_d: Floats
) -> Bools:
    """Say whether the fastest sure recharge from the start keeps every floor."""
    power = np.minimum(problem.start_w + problem.ramp_w, sure_c[:, 0])
    after = problem.initial_wh + stored_wh(power, eta_c, eta_d, problem.step_h)
    need = viability.grid.take(viability.need_wh[0], power[:, None])[:, 0]
    return np.asarray(after >= need - TOLERANCE_WH)
