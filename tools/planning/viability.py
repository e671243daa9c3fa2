"""Which powers a site may take now without trapping itself later: ramps, floors and ceilings looked at together.

A site at power p cannot stop at once when it has a ramp limit. So each step needs the least energy from which floors
can still be kept, as a function of p. That function is convex and falling in p, is tabulated on a grid of powers and
read by linear interpolation, which errs on the safe side.
"""

from dataclasses import dataclass

import numpy as np

from tools.planning.problem import Floats, Ints

GRID_SIDE = 4
"""Grid points on each side of zero power."""
NO_LIMIT_WH = 1e15
ROUNDING_WH = 1e-9
"""Slack below zero that is rounding only, so that a site at its floor may idle."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Powers from -discharge_w to charge_w in equal parts on each side, shape (sites, 2 * GRID_SIDE + 1)."""

    power_w: Floats
    charge_w: Floats
    discharge_w: Floats

    def take(self, table: Floats, power_w: Floats) -> Floats:
        """Read `table` (sites, grid) at `power_w` (sites, any) by linear interpolation."""
        position = np.where(
            power_w < 0.0, power_w / self.discharge_w[:, None], power_w / self.charge_w[:, None]
        )
        position = np.clip(position, -1.0, 1.0) * GRID_SIDE + GRID_SIDE
        left = np.minimum(position.astype(np.int64), 2 * GRID_SIDE - 1)
        share = position - left
        low = np.take_along_axis(table, left, axis=1)
        return np.asarray(low + share * (np.take_along_axis(table, left + 1, axis=1) - low))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Viability:
    """Tables that bound the next power of every site.

    Attributes:
        grid: The powers of the tables.
        need_wh: Energy needed at the end of a step at each power, shape (steps, sites, grid).
        ceiling_wh: Highest energy at the end of a step from which idling keeps every later ceiling, (sites, steps).
        stop_wh: Terminal energy still moved while a power ramps down to zero, shape (sites, grid).
        stored_wh: Energy stored by one step at each power, shape (sites, grid).
    """

    grid: Grid
    need_wh: Floats
    ceiling_wh: Floats
    stop_wh: Floats
    stored_wh: Floats

    def only(self, sites: Ints) -> "Viability":
        """Return the tables of some sites."""
        grid = Grid(
            power_w=self.grid.power_w[sites],
            charge_w=self.grid.charge_w[sites],
            discharge_w=self.grid.discharge_w[sites],
        )
        return Viability(
            grid=grid,
            need_wh=self.need_wh[:, sites],
            ceiling_wh=np.asfortranarray(self.ceiling_wh[sites]),
            stop_wh=self.stop_wh[sites],
            stored_wh=self.stored_wh[sites],
        )


def make_grid(charge_cap_w: Floats, discharge_cap_w: Floats) -> Grid:
    """Return the grid that spans the caps, shape (sites, steps) each."""
    charge_w = np.maximum(charge_cap_w.max(axis=1), 1.0)
    discharge_w = np.maximum(discharge_cap_w.max(axis=1), 1.0)
    parts = np.linspace(0.0, 1.0, GRID_SIDE + 1)
    below = -discharge_w[:, None] * parts[None, :0:-1]
    return Grid(
        power_w=np.concatenate([below, charge_w[:, None] * parts[None, :]], axis=1),
        charge_w=charge_w,
        discharge_w=discharge_w,
    )


def stored_wh(
    power_w: Floats, charge_efficiency: Floats, discharge_efficiency: Floats, step_h: float
) -> Floats:
    """Return the energy that one step at `power_w` adds to the battery, negative when it takes some."""
    return np.where(power_w > 0.0, power_w * charge_efficiency, power_w / discharge_efficiency) * step_h


def stop_wh(power_w: Floats, ramp_w: Floats, step_h: float) -> Floats:
    """Return the terminal energy moved while |power_w| falls to zero by `ramp_w` a step, after the present step.

    The sum of (|p| - j r) over j = 1 .. q with q = floor(|p| / r) is q |p| - r q (q + 1) / 2.
    """
    size = np.abs(power_w)
    with np.errstate(invalid="ignore"):
        whole = np.floor(size / ramp_w)
        left = np.where(np.isinf(ramp_w), 0.0, whole * size - ramp_w * whole * (whole + 1.0) / 2.0)
    return np.maximum(left, 0.0) * step_h


def sure_caps(cap_w: Floats, share: Floats, ramp_w: Floats) -> tuple[Floats, Floats]:
    """Return (sure, cap): power a site can count on alone, and the most it may take without overshooting it later.

    Args:
        cap_w: A site's own limit by step, shape (sites, steps).
        share: Share of it that the feeder can grant to all sites at once, 0..1, same shape.
        ramp_w: Shape (sites,).
    """
    # Column by column below: Fortran order keeps a column together in memory.
    sure, cap = np.asfortranarray(cap_w * share), np.array(cap_w, order="F")
    for t in range(cap_w.shape[1] - 2, -1, -1):
        reach = sure[:, t + 1] + ramp_w
        sure[:, t] = np.minimum(sure[:, t], reach)
        cap[:, t] = np.minimum(cap[:, t], reach)
    return sure, cap


def hold_ceiling(ceiling_wh: Floats) -> Floats:
    """Return the lowest ceiling from each step on, shape (sites, steps)."""
    return np.asarray(np.minimum.accumulate(ceiling_wh[:, ::-1], axis=1)[:, ::-1])


def hold_floor(floor_wh: Floats) -> Floats:
    """Return the highest floor from each step on, shape (sites, steps)."""
    return np.asarray(np.maximum.accumulate(floor_wh[:, ::-1], axis=1)[:, ::-1])


def tabulate(
    *,
    floor_wh: Floats,
    ceiling_wh: Floats,
    sure_charge_w: Floats,
    grid: Grid,
    ramp_w: Floats,
    charge_efficiency: Floats,
    discharge_efficiency: Floats,
    step_h: float,
) -> Viability:
    """Work the tables out backwards, assuming the fastest recharge that each site can count on."""
    sites, steps = floor_wh.shape
    eta_c, eta_d, ramp = charge_efficiency[:, None], discharge_efficiency[:, None], ramp_w[:, None]
    floor_wh, sure_charge_w = np.asfortranarray(floor_wh), np.asfortranarray(sure_charge_w)
    need = np.empty((steps, sites, grid.power_w.shape[1]))
    need[-1] = floor_wh[:, -1:]
    for t in range(steps - 2, -1, -1):
        after = np.minimum(grid.power_w + ramp, sure_charge_w[:, t + 1, None])
        later = grid.take(need[t + 1], after) - stored_wh(after, eta_c, eta_d, step_h)
        need[t] = np.maximum(floor_wh[:, t, None], later)
    return Viability(
        grid=grid,
        need_wh=need,
        ceiling_wh=hold_ceiling(ceiling_wh),
        stop_wh=stop_wh(grid.power_w, ramp, step_h),
        stored_wh=stored_wh(grid.power_w, eta_c, eta_d, step_h),
    )


def lowest_power_w(viability: Viability, step: int, energy_wh: Floats) -> Floats:
    """Return the least power that keeps every later floor, shape (sites,); the highest of the grid if none does."""
    need, stored, power = viability.need_wh[step], viability.stored_wh, viability.grid.power_w
    out = power[:, 0].copy()
    held = np.flatnonzero(energy_wh + stored[:, 0] < need[:, 0])
    if held.size:
        out[held] = _first_good(power[held], energy_wh[held, None] + stored[held] - need[held])
    return out


def highest_power_w(viability: Viability, step: int, energy_wh: Floats, charge_efficiency: Floats) -> Floats:
    """Return the greatest power that keeps every later ceiling, shape (sites,); the lowest of the grid if none does."""
    power, stop = viability.grid.power_w, viability.stop_wh
    room = viability.ceiling_wh[:, step] - energy_wh
    out = power[:, -1].copy()
    held = np.flatnonzero(viability.stored_wh[:, -1] + stop[:, -1] * charge_efficiency > room)
    if held.size:
        rising = np.where(power[held] > 0.0, stop[held] * charge_efficiency[held, None], 0.0)
        slack = room[held, None] - viability.stored_wh[held] - rising
        out[held] = -_first_good(-power[held, ::-1], slack[:, ::-1])
    return out


def budget_power_w(viability: Viability, left_wh: Floats, step_h: float) -> Floats:
    """Return the lowest power whose discharge, stopping included, stays within `left_wh`, shape (sites,)."""
    power, stop = viability.grid.power_w, viability.stop_wh
    out = power[:, 0].copy()
    held = np.flatnonzero(stop[:, 0] - power[:, 0] * step_h > left_wh)
    if held.size:
        side = slice(0, GRID_SIDE + 1)
        slack = left_wh[held, None] + power[held, side] * step_h - stop[held, side]
        out[held] = _first_good(power[held, side], slack)
    return out


def _first_good(power_w: Floats, slack: Floats) -> Floats:
    """Return the lowest power at which `slack`, rising along the grid, is zero or more."""
    rows: Ints = np.arange(power_w.shape[0])
    slack = np.minimum(slack, NO_LIMIT_WH)
    good = slack >= -ROUNDING_WH
    first = np.where(good.any(axis=1), good.argmax(axis=1), power_w.shape[1] - 1)
    before = np.maximum(first - 1, 0)
    high, low = slack[rows, first], slack[rows, before]
    span = high - low
    share = np.where((first > 0) & (span > 0.0), high / np.where(span > 0.0, span, 1.0), 0.0)
    share = np.clip(share, 0.0, 1.0)
    return np.asarray(power_w[rows, first] - share * (power_w[rows, first] - power_w[rows, before]))
