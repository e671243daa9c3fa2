"""The fleet at one instant: what was learnt, laid out so that a reading of every site is scored in milliseconds.

The screen before the full scan: expectation, residual in spreads, EWMA and CUSUM for every relation of every site, in
single precision, without a loop over sites. Peers count by their clipped mean, which one pass gives, where the scan takes a
median.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    instant_drivers,
)
from tools.anomaly.scores import Tick, TickState, tick
from tools.forecasting.ridge import calendar_design

Float32 = npt.NDArray[np.float32]
Fields = Mapping[str, Float32]

LEFT_OUT = frozenset({"capacity_fade"})
"""Needs two hours at a time, which one instant does not have."""
TAIL = 0.005
_FEW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A relation as `level + slopes x drivers` in the drivers' own units."""

    relation: Relation
    level: Float32
    slopes: Float32
    inverse_scale: Float32

    def copied(self, copies: int) -> _Compiled:
        """Return the relation of a fleet of so many like fleets."""
        return replace(
            self,
            relation=replace(self.relation, rated_w=np.tile(self.relation.rated_w, copies)),
            level=np.tile(self.level, copies),
            slopes=np.tile(self.slopes, (copies, 1)),
            inverse_scale=np.tile(self.inverse_scale, copies),
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
            z_limit=np.ones(1, dtype=np.float32),
            mean_limit=np.ones(1, dtype=np.float32),
        )
        memory = raw.rest()
        seen_z, seen_mean = [], []
        for k in range(week.steps):
            one, memory = raw.step(week.columns(k, k + 1), memory)
            if k >= week.steps_per_day and k % 4 == 0:
                seen_z.append(np.abs(np.nan_to_num(one.z)))
                seen_mean.append(np.abs(memory.state.ewma))
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
        return replace(
            self,
            load=load,
            relations=tuple(one.copied(copies) for one in self.relations),
            peers=np.concatenate([self.peers + k * most for k in range(copies)]),
        )

    def rest(self) -> TickMemory:
        """Return the memory of a fleet about which nothing is known."""
        features = len(self.relations) + (self.load is not None)
        return TickMemory(
            state=TickState.rest(len(self.peers), features), slow_ambient_c=None, slow_load_w=None
        )

    def step(self, now: FleetFrame, memory: TickMemory) -> tuple[Tick, TickMemory]:
        """Score the only column of a frame.

        Returns:
            Residuals and alarms by site and feature (relations in order, the load last), and the memory after it.
        """
        fields: Fields = {name: np.asarray(v, dtype=np.float32) for name, v in now.fields.items()}
        ambient = _lagged(memory.slow_ambient_c, fields.get("ambient_c"))
        load = _lagged(memory.slow_load_w, fields.get("load_w"))
        columns = [self._residual(one, fields, ambient, load) for one in self.relations]
        if self.load is not None:
            columns.append(self._load_residual(self.load, now, fields["load_w"]))
        z = np.concatenate(columns, axis=1)
        ones = np.ones((1, z.shape[1]), dtype=np.float32)
        scored = tick(memory.state, z, np.float32(0.0) * ones, ones)
        return scored, TickMemory(state=scored.state, slow_ambient_c=ambient, slow_load_w=load)

    def score(self, one: Tick) -> Float32:
        """Return how strange each site is, shape (sites,): 1 is what one step in 200 reaches."""
        signs = np.array(
            [c.relation.kind.sign if c.relation.kind.below is None else 0.0 for c in self.relations]
        )
        z = np.nan_to_num(one.z) / self.z_limit
        mean = one.state.ewma / self.mean_limit
        both = np.where(np.abs(z) > np.abs(mean), z, mean)
        count = len(signs)
        wanted = np.where(signs == 0.0, np.abs(both[:, :count]), both[:, :count] * signs)
        parts = wanted if self.load is None else np.concatenate([wanted, np.abs(both[:, count:])], axis=1)
        return np.asarray(np.maximum(parts.max(axis=1), 0.0), dtype=np.float32)

    def _residual(self, one: _Compiled, f: Fields, ambient: Float32 | None, load: Float32 | None) -> Float32:
        """Return a relation's residual in spreads, NaN where it says nothing, shape (sites, 1)."""
        name = one.relation.kind.name
        value = f[one.relation.kind.target] if one.relation.kind.target in f else f["bus_v"]
        expected = one.level[:, None]
        if name == "cooling":
            assert ambient is not None
            assert load is not None
            warmed = (f["ambient_c"], ambient, np.maximum(ambient - 15.0, 0.0), f["load_w"], load)
            for k, driver in enumerate(warmed):
                expected = expected + one.slopes[:, k, None] * driver
        elif name == "pv":
            share = self._others(f["pv_w"] / one.relation.rated_w[:, None].astype(np.float32))
            value = np.where(share > 0.05, value / np.maximum(share, 0.05), np.nan)
        elif name == "sensor_drift":
            value = np.asarray(dc_excess_w(f) / dc_flow_w(f), dtype=np.float32)
        else:
            drivers = instant_drivers(f, one.relation.kind)
            if drivers.shape[2]:
                expected = expected + (drivers[:, 0].astype(np.float32) * one.slopes).sum(
                    axis=1, keepdims=True
                )
            value = _where_told(name, value, f)
        return np.asarray((value - expected) * one.inverse_scale[:, None], dtype=np.float32)

    def _load_residual(self, model: LoadModel, now: FleetFrame, load_w: Float32) -> Float32:
        phase = now.phase()
        design = calendar_design(phase, model.fit.harmonics, model.fit.day_harmonics).astype(np.float32)
        expected = (design @ model.fit.coefficients).T
        width = (model.fit.scale[:, None] * model.shape[phase.slot][None]).astype(np.float32)
        z = (load_w - expected) / width
        return np.asarray(z - self._others(np.clip(z, -3.0, 3.0)), dtype=np.float32)

    def _others(self, values: Float32) -> Float32:
        """Return the mean of the other sites of each one's group, zero in a group of fewer than four, shape (sites, 1)."""
        row = values[:, 0]
        known = np.isfinite(row)
        filled = np.where(known, row, 0.0)
        total = np.bincount(self.peers, weights=filled)[self.peers] - filled
        count = np.bincount(self.peers, weights=known)[self.peers] - known
        enough = count >= _FEW - 1
        return np.where(enough, total / np.maximum(count, 1.0), 0.0).astype(np.float32)[:, None]


def _where_told(name: str, value: Float32, f: Fields) -> Float32:
    """Return a target where its relation says something, NaN elsewhere."""
    if name == "battery_voltage":
        return np.where(f["battery_a"] < DISCHARGING_A, value, np.nan)
    if name == "module_loss":
        return np.where((f["battery_a"] > CHARGING_A) & (f["soc_frac"] < BULK_SOC), value, np.nan)
    if name == "weak_string":
        return np.where(np.abs(f["battery_a"]) > CHARGING_A, value, np.nan)
    return value


def _lagged(before: Float32 | None, value: Float32 | None) -> Float32 | None:
    """Return a value through the cabinet's memory; a gap leaves it as it was."""
    if value is None or before is None:
        return value
    keep = np.float32(np.exp(-1.0 / CABINET_MEMORY_STEPS))
    fresh = np.where(np.isfinite(before), keep * before + (1.0 - keep) * value, value)
    return np.asarray(np.where(np.isfinite(value), fresh, before), dtype=np.float32)


def _compiled(relation: Relation) -> _Compiled:
    fit = relation.fit
    slopes = fit.coefficients[:, 1:] / fit.spread
    level = fit.coefficients[:, 0] - (slopes * fit.centre).sum(axis=1)
    return _Compiled(
        relation=relation,
        level=level.astype(np.float32),
        slopes=slopes.astype(np.float32),
        inverse_scale=(1.0 / fit.scale).astype(np.float32),
    )
