"""From super-batteries to sites: step by step, each group's power goes to the sites that can spare it longest."""

from dataclasses import dataclass

import numpy as np

from tools.planning.groups import Groups
from tools.planning.prepare import Prepared
from tools.planning.problem import Bools, Floats, Ints
from tools.planning.sums import sum_by
from tools.planning.viability import (
    GRID_SIDE,
    budget_power_w,
    highest_power_w,
    lowest_power_w,
    stored_wh,
)

EDGE_W = 1e-6
"""Kept from every computed limit, so that rounding never crosses it."""
BISECTIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """What each group is asked for, shape (groups, steps), W, both zero or more."""

    charge_w: Floats
    discharge_w: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    energy_wh: Floats
    power_w: Floats
    left_wh: Floats


class Splitter:
    """Splits targets over the active sites, or some of them, whose arrays are cut out once."""

    def __init__(self, prepared: Prepared, groups: Groups, some: Bools | None = None) -> None:
        problem, tables = prepared.problem, prepared.viability
        self._prepared = prepared
        self._used = np.flatnonzero(prepared.active if some is None else prepared.active & some)
        used = self._used
        self._eta_c, self._eta_d, self._eta_r = (
            prepared.eta_c[used],
            prepared.eta_d[used],
            prepared.eta_r[used],
        )
        self._group, self._feeder, self._count = groups.of_site[used], problem.feeder[used], groups.count
        self._ramp, self._step_h = problem.ramp_w[used], problem.step_h
        # Read column by column: Fortran order keeps a column together in memory.
        self._charge = np.asfortranarray(prepared.charge_cap_w[used])
        self._discharge = np.asfortranarray(prepared.discharge_cap_w[used])
        self._headroom, self._room, self._feeders = prepared.headroom_w, prepared.room_w, problem.feeders
        self._tables, self._budgeted = tables.only(used), bool(np.isfinite(problem.discharge_budget_wh).any())
        self._base: Floats | None = None

    def split(self, target: Target, *, spread_steps: float, base_w: Floats | None = None) -> Floats:
        """Return setpoints, shape (sites, steps), that keep every limit of every site and come close to `target`.

        Args:
            target: What the relaxation asks of each group.
            spread_steps: 1 brings the sites with most time left down to a common time at once, which serves energy best;
                more spreads power evenly over the group, which serves ramps best.
            base_w: Setpoints to start from, shape (sites, steps): only the difference to the target is spread. None for idle.
        """
        problem, used = self._prepared.problem, self._used
        self._base = None if base_w is None else np.asfortranarray(base_w[used])
        state = _State(
            energy_wh=problem.initial_wh[used].copy(),
            power_w=problem.start_w[used].copy(),
            left_wh=problem.discharge_budget_wh[used].copy(),
        )
        out = np.array(self._prepared.fixed_w, order="F")
        for t in range(problem.steps):
            power = self._step(t, state, target.charge_w[:, t] - target.discharge_w[:, t], spread_steps)
            gain = stored_wh(power, self._eta_c, self._eta_d, problem.step_h)
            spent = np.maximum(-power, 0.0) * problem.step_h
            state = _State(energy_wh=state.energy_wh + gain, power_w=power, left_wh=state.left_wh - spent)
            out[used, t] = power
        return np.ascontiguousarray(out)

    def _step(self, t: int, state: _State, wanted_w: Floats, spread_steps: float) -> Floats:
        """Choose this step's power of every site."""
        low, high = self._range(t, state)
        zero = np.clip(0.0, low, high)
        if self._base is not None:
            zero = np.clip(self._base[:, t], low, high)
        power = self._fill(t, state, wanted_w, zero=zero, low=low, high=high, spread_steps=spread_steps)
        return self._within_feeders(t, power, low, high)

    def _range(self, t: int, state: _State) -> tuple[Floats, Floats]:
        low = np.maximum(-self._discharge[:, t], state.power_w - self._ramp + EDGE_W)
        keep = lowest_power_w(self._tables, t, state.energy_wh)
        low = np.maximum(low, np.where(keep > 0.0, keep + EDGE_W, np.minimum(keep + EDGE_W, 0.0)))
        if self._budgeted:
            low = np.maximum(low, budget_power_w(self._tables, state.left_wh, self._step_h))
        high = np.minimum(self._charge[:, t], state.power_w + self._ramp - EDGE_W)
        top = highest_power_w(self._tables, t, state.energy_wh, self._eta_c)
        high = np.minimum(high, np.where(top < 0.0, top, np.maximum(top - EDGE_W, 0.0)))
        # Where both cannot be had the ramp goes first here; the row is withdrawn afterwards if that broke a limit.
        low = np.minimum(low, np.maximum(high, state.power_w - self._ramp))
        return low, np.maximum(high, low)

    def _fill(
        self,
        t: int,
        state: _State,
        wanted_w: Floats,
        *,
        zero: Floats,
        low: Floats,
        high: Floats,
        spread_steps: float,
    ) -> Floats:
        """Spread each group's distance from `zero` over its sites."""
        missing = wanted_w - sum_by(self._group, zero, self._count)
        if not (np.abs(missing) > EDGE_W).any():
            return zero
        down = (missing < 0.0)[self._group]
        need = self._tables.need_wh[t][:, GRID_SIDE]
        spare = np.maximum(state.energy_wh - need, 0.0) * self._eta_d
        free = np.maximum(self._tables.ceiling_wh[:, t] - state.energy_wh, 0.0) / self._eta_c
        reference = np.maximum(np.where(down, self._discharge[:, t], self._charge[:, t]), 1e-3)
        hours = np.where(down, spare, free) / reference
        # Energy decides only when a site takes part; a site against its will is not pushed the other way.
        end = np.where(down, np.minimum(low, zero), np.maximum(high, zero))
        if self._base is None:
            stop = (wanted_w >= 0.0)[self._group]
            end = np.where(down & stop, np.clip(0.0, end, zero), end)
            end = np.where(~down & ~stop, np.clip(0.0, zero, end), end)
        moved = _water_fill(
            self._group,
            np.abs(missing),
            hours=hours,
            slope=reference / (spread_steps * self._step_h),
            most=np.abs(end - zero),
            count=self._count,
        )
        return np.where(down, zero - moved, zero + moved)

    def _within_feeders(self, t: int, power: Floats, low: Floats, high: Floats) -> Floats:
        """Draw charging back to the feeder's headroom and discharging to its room for export."""
        for sign, limit, forced in ((1.0, self._headroom, low), (-1.0, self._room, high)):
            part = np.maximum(sign * power, 0.0) / self._eta_r
            must = np.minimum(np.maximum(sign * forced, 0.0) / self._eta_r, part)
            total = np.bincount(self._feeder, weights=part, minlength=self._feeders)
            least = np.bincount(self._feeder, weights=must, minlength=self._feeders)
            share = np.clip((limit[:, t] - EDGE_W - least) / np.maximum(total - least, 1e-9), 0.0, 1.0)[
                self._feeder
            ]
            power = np.where(sign * power > 0.0, sign * (must + share * (part - must)) * self._eta_r, power)
        return power


def _water_fill(
    group: Ints, wanted: Floats, *, hours: Floats, slope: Floats, most: Floats, count: int
) -> Floats:
    """Return amounts clip(slope x (hours - level), 0, most) with the level of each group such that they sum to `wanted`."""
    room = sum_by(group, most, count)
    goal = np.minimum(wanted, room)
    top = np.full(count, -np.inf)
    bottom = np.full(count, np.inf)
    np.maximum.at(top, group, hours)
    np.minimum.at(bottom, group, hours - most / slope)
    nobody = np.isinf(top)
    top[nobody] = bottom[nobody] = 0.0
    for _ in range(BISECTIONS):
        middle = (top + bottom) / 2.0
        amount = np.clip(slope * (hours - middle[group]), 0.0, most)
        enough = np.bincount(group, weights=amount, minlength=count) >= goal
        bottom = np.where(enough, middle, bottom)
        top = np.where(enough, top, middle)
    amount = np.clip(slope * (hours - bottom[group]), 0.0, most)
    total = np.bincount(group, weights=amount, minlength=count)
    scale = np.where(total > goal, goal / np.maximum(total, 1e-12), 1.0)
    return np.asarray(amount * scale[group])
