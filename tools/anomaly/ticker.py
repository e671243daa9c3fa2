"""The fleet at one instant: what was learnt, laid out so that a reading of every site is scored in milliseconds.

The screen before the full scan: expectation, residual in spreads, EWMA and CUSUM for every relation of every site, in
single precision, without a loop over sites. Peers count by their clipped mean, which one pass gives, where the scan takes a
median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tools.anomaly.detectors import Learnt, LoadModel, Relation
from tools.anomaly.frame import FleetFrame
from tools.anomaly.relations import (
    BULK_SOC,
    CABINET_MEMORY_STEPS,
    CHARGING_A,
    DISCHARGING_A,
    dc_excess_w,
    dc_flow_w,
)
from tools.anomaly.scores import Tick, TickState, advance
from tools.forecasting.ridge import calendar_design

Float32 = npt.NDArray[np.float32]
Fields = Mapping[str, Float32]

LEFT_OUT = frozenset({"capacity_fade"})
"""Needs two hours at a time, which one instant does not have."""
TAIL = 0.005
_FEW = 4
_NAN = np.float32(np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A relation as `level + slopes x drivers` in the drivers' own units; slopes of shape (drivers, sites)."""

    relation: Relation
    level: Float32
    slopes: Float32
    inverse_scale: Float32
    inverse_rated: Float32

    def copied(self, copies: int) -> _Compiled:
        """Return the relation of a fleet of so many like fleets."""
        return replace(
            self,
            relation=replace(self.relation, rated_w=np.tile(self.relation.rated_w, copies)),
            level=np.tile(self.level, copies),
            slopes=np.tile(self.slopes, (1, copies)),
            inverse_scale=np.tile(self.inverse_scale, copies),
            inverse_rated=np.tile(self.inverse_rated, copies),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TickMemory:
    """What is carried from one instant to the next: statistics, and what went through the cabinet's memory."""

    state: TickState
    slow_ambient_c: Float32 | None
    slow_load_w: Float32 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTicker:
    """Scores one reading of every site; `limits` are what z and EWMA of each feature passed one time in 200."""

    load: LoadModel | None
    relations: tuple[_Compiled, ...]
    peers: npt.NDArray[np.int64]
    groups: Groups
    load_inverse_scale: Float32
    z_limit: Float32
    mean_limit: Float32

    @staticmethod
    def learn(learnt: Learnt, past: FleetFrame) -> FleetTicker:
        """Lay out what was learnt; the limits come from the last week of the window that it was learnt from."""
        week = past.columns(max(past.steps - 7 * past.steps_per_day, 0), past.steps)
        raw = FleetTicker(
            load=learnt.load,
            relations=tuple(_compiled(one) for one in learnt.relations if one.kind.name not in LEFT_OUT),
            peers=past.peers,
            groups=Groups.of(past.peers),
            load_inverse_scale=_inverse_scale(learnt.load),
            z_limit=np.ones(1, dtype=np.float32),
            mean_limit=np.ones(1, dtype=np.float32),
        )
        memory = raw.rest()
        seen_z, seen_mean = [], []
        for k in range(week.steps):
            one, memory = raw.step(week.columns(k, k + 1), memory)
            if k >= week.steps_per_day and k % 4 == 0:
                seen_z.append(np.abs(np.nan_to_num(one.z)).T)
                seen_mean.append(np.abs(memory.state.ewma).T)
        limits = [
            np.maximum(np.quantile(np.concatenate(rows), 1.0 - TAIL, axis=0), floor).astype(np.float32)
            for rows, floor in ((seen_z, 1.0), (seen_mean, 0.3))
        ]
        return replace(raw, z_limit=limits[0], mean_limit=limits[1])

    def copied(self, copies: int) -> FleetTicker:
        """Return the ticker of a fleet of so many like fleets, to see what a large one costs."""
        most = int(self.peers.max()) + 1
        load = self.load
        if load is not None:
            fit = replace(
                load.fit,
                coefficients=np.tile(load.fit.coefficients, (1, copies)),
                scale=np.tile(load.fit.scale, copies),
            )
            load = replace(load, fit=fit)
        peers = np.concatenate([self.peers + k * most for k in range(copies)])
        return replace(
            self,
            load=load,
            relations=tuple(one.copied(copies) for one in self.relations),
            peers=peers,
            groups=Groups.of(peers),
            load_inverse_scale=_inverse_scale(load),
        )

    def rest(self) -> TickMemory:
        """Return the memory of a fleet about which nothing is known."""
        features = len(self.relations) + (self.load is not None)
        return TickMemory(
            state=TickState.rest(features, len(self.peers)), slow_ambient_c=None, slow_load_w=None
        )

    def step(
        self, now: FleetFrame, memory: TickMemory, usual: Float32 | None = None
    ) -> tuple[Tick, TickMemory]:
        """Score the only column of a frame; `usual` is its row of `calendar`, worked out here where it is not given.

        Returns:
            Residuals and alarms by feature and site (relations in order, the load last), and the memory after it.
        """
        f: Fields = {name: np.ascontiguousarray(v[:, 0], dtype=np.float32) for name, v in now.fields.items()}
        ambient = _lagged(memory.slow_ambient_c, f.get("ambient_c"))
        load = _lagged(memory.slow_load_w, f.get("load_w"))
        rows = np.empty(memory.state.ewma.shape, dtype=np.float32)
        for k, one in enumerate(self.relations):
            np.multiply(self._residual(one, f, ambient, load), one.inverse_scale, out=rows[k])
        if self.load is not None:
            if usual is None:
                usual = calendar(self.load, now)[0]
            rows[-1] = self._load_residual(self.load, usual, f["load_w"])
        scored = advance(memory.state, rows)
        return scored, TickMemory(state=scored.state, slow_ambient_c=ambient, slow_load_w=load)

    def score(self, one: Tick) -> Float32:
        """Return how strange each site is, shape (sites,): 1 is what one step in 200 reaches."""
        best = np.zeros(len(self.peers), dtype=np.float32)
        part = np.empty_like(best)
        last = len(self.relations)
        for k in range(len(one.z)):
            kind = self.relations[k].relation.kind if k < last else None
            both = kind is None or kind.sign == 0.0 or kind.below is not None
            sign = 1.0 if both or kind is None else kind.sign
            # NaN, where nothing was read, counts for nothing; EWMAs have none.
            for row, limit, most in (
                (one.z[k], self.z_limit[k], np.fmax),
                (one.state.ewma[k], self.mean_limit[k], np.maximum),
            ):
                np.multiply(row, np.float32(sign / limit), out=part)
                if both:
                    np.abs(part, out=part)
                most(best, part, out=best)
        return best

    def _residual(self, one: _Compiled, f: Fields, ambient: Float32 | None, load: Float32 | None) -> Float32:
        """Return a relation's residual, NaN where it says nothing, shape (sites,)."""
        kind = one.relation.kind
        if kind.name == "cooling":
            assert ambient is not None
            assert load is not None
            warm = np.maximum(ambient - np.float32(15.0), np.float32(0.0))
            return f["battery_c"] - _linear(one, (f["ambient_c"], ambient, warm, f["load_w"], load))
        if kind.name == "pv":
            share = self.groups.others(f["pv_w"] * one.inverse_rated)
            low = share <= np.float32(0.05)
            share[low] = np.nan
            return f["pv_w"] / share - one.level
        if kind.name == "sensor_drift":
            return np.asarray(dc_excess_w(f) / dc_flow_w(f), dtype=np.float32) - one.level
        value = f[kind.target] - _linear(one, _drivers(kind.name, f))
        told = _told(kind.name, f)
        return value if told is None else np.where(told, value, _NAN)

    def _load_residual(self, model: LoadModel, usual: Float32, load_w: Float32) -> Float32:
        z = load_w - usual[1:] @ model.fit.coefficients
        z *= usual[0]
        z *= self.load_inverse_scale
        return np.asarray(z - self.groups.others(np.clip(z, -3.0, 3.0)))


def calendar(model: LoadModel, window: FleetFrame) -> Float32:
    """Return a window's calendar, a day at a time if need be: one over the spread of the hour, then the design's columns.

    Shape (steps, 1 + columns).
    """
    phase = window.phase()
    design = calendar_design(phase, model.fit.harmonics, model.fit.day_harmonics)
    return np.hstack([1.0 / model.shape[phase.slot][:, None], design]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Sites sorted by group, so that a sum over each group is one pass."""

    order: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    member: npt.NDArray[np.int64]

    @staticmethod
    def of(peers: npt.NDArray[np.int64]) -> Groups:
        """Sort once."""
        order = np.argsort(peers, kind="stable")
        _, starts, member = np.unique(peers[order], return_index=True, return_inverse=True)
        back = np.empty(len(peers), dtype=np.int64)
        back[order] = member
        return Groups(order=order, starts=starts, member=back)

    def others(self, values: Float32) -> Float32:
        """Return the mean of the other sites of each one's group, zero in a group of fewer than four, shape (sites,)."""
        known = np.isfinite(values)
        filled = np.where(known, values, np.float32(0.0))
        total = np.add.reduceat(filled[self.order], self.starts)[self.member] - filled
        count = known.astype(np.float32)
        count = np.add.reduceat(count[self.order], self.starts)[self.member] - count
        total /= np.maximum(count, np.float32(1.0))
        total[count < np.float32(_FEW - 1)] = 0.0
        return total


def _linear(one: _Compiled, drivers: Sequence[Float32]) -> Float32:
    """Return `level + slopes x drivers`, shape (sites,)."""
    expected = one.level.copy()
    for slope, driver in zip(one.slopes, drivers, strict=True):
        expected += slope * driver
    return expected


def _drivers(name: str, f: Fields) -> tuple[Float32, ...]:
    """Return the drivers of a relation at one instant, in the order of `relations.instant_drivers`."""
    if name == "energy_theft":
        dc = f["rectifier_w"]
        return dc, dc * dc, f["aux_ac_w"]
    if name == "battery_voltage":
        soc, amps = f["soc_frac"], f["battery_a"]
        knee = np.maximum(soc - np.float32(0.95), np.float32(0.0))
        return (
            soc,
            soc * soc,
            knee,
            amps,
            amps * (np.float32(25.0) - f["battery_c"]),
            amps * (np.float32(1.0) - soc),
        )
    if name == "module_loss":
        return (f["load_w"], f["pv_w"]) if "pv_w" in f else (f["load_w"],)
    return ()


def _told(name: str, f: Fields) -> npt.NDArray[np.bool_] | None:
    """Return where a relation says something, None where it always does."""
    if name == "battery_voltage":
        return np.asarray(f["battery_a"] < np.float32(DISCHARGING_A))
    if name == "module_loss":
        return (f["battery_a"] > np.float32(CHARGING_A)) & (f["soc_frac"] < np.float32(BULK_SOC))
    if name == "weak_string":
        return np.asarray(np.abs(f["battery_a"]) > np.float32(CHARGING_A))
    return None


def _lagged(before: Float32 | None, value: Float32 | None) -> Float32 | None:
    """Return a value through the cabinet's memory; a gap leaves it as it was."""
    if value is None or before is None:
        return value
    keep = np.float32(np.exp(-1.0 / CABINET_MEMORY_STEPS))
    fresh = keep * before + (np.float32(1.0) - keep) * value
    lost = np.isnan(fresh)
    if lost.any():
        fresh = np.where(lost, np.where(np.isnan(value), before, value), fresh)
    return fresh


def _inverse_scale(load: LoadModel | None) -> Float32:
    return np.ones(1, dtype=np.float32) if load is None else (1.0 / load.fit.scale).astype(np.float32)


def _compiled(relation: Relation) -> _Compiled:
    fit = relation.fit
    slopes = fit.coefficients[:, 1:] / fit.spread
    level = fit.coefficients[:, 0] - (slopes * fit.centre).sum(axis=1)
    return _Compiled(
        relation=relation,
        level=level.astype(np.float32),
        slopes=np.ascontiguousarray(slopes.T, dtype=np.float32),
        inverse_scale=(1.0 / fit.scale).astype(np.float32),
        inverse_rated=(1.0 / relation.rated_w).astype(np.float32),
    )
