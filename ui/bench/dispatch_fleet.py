"""A simulated fleet for the dispatch benchmark: base stations on feeders whose evening peak exceeds their limit."""

import numpy as np
from numpy.random import Generator

from tools.planning.problem import DispatchProblem, Floats, Ints, Objectives

CHARGE_EFFICIENCY = 0.985
DISCHARGE_EFFICIENCY = 0.99
RECTIFIER_EFFICIENCY = 0.96


def make_fleet(
    seed: int,
    sites: int,
    *,
    steps: int = 96,
    feeders: int = 20,
    classes: int = 1,
    ramps: bool = True,
    clusters: bool = True,
    depth: float = 0.7,
    fleet_target: bool = False,
    off_band: float = 0.02,
) -> DispatchProblem:
    """Return a simulated day.

    Args:
        seed: Same seed, same fleet.
        sites: Number of base stations.
        steps: 15-minute steps.
        feeders: Sites are spread over them evenly.
        classes: Efficiency classes.
        ramps: Whether setpoints are ramp limited, to a fifth to one rated power per step.
        clusters: Whether half of each radio cluster has to stay above a low mark.
        depth: Evening excess over the limit as a share of what the fleet could discharge at full power.
        fleet_target: Add a two-hour relief target for the whole fleet.
        off_band: Share of sites that start below their floor.
    """
    rng = np.random.default_rng(seed)
    hour = np.arange(steps) * 24.0 / steps
    load, spread = _load_w(rng, sites, hour)
    pv = _pv_w(rng, sites, hour)
    autonomy_h = rng.choice([2.0, 4.0, 8.0], size=sites, p=[0.5, 0.4, 0.1])
    floor = _ahead_wh(load * spread, autonomy_h, steps)
    usable = floor.max(axis=1) * 1.02 + load.mean(axis=1) * rng.uniform(0.5, 6.0, sites)
    ceiling = np.repeat(usable[:, None], steps, axis=1)
    start = usable * rng.uniform(0.85, 1.0, sites)
    start = np.maximum(start, floor[:, 0])
    start[rng.random(sites) < off_band] *= 0.4
    feeder = np.arange(sites) % feeders
    kind = rng.integers(0, classes, sites)
    rated = usable * rng.uniform(0.3, 0.8, sites)
    load_cap = np.maximum(load / spread - pv, 0.0)
    discharge = np.minimum(rated[:, None], load_cap)
    background, limit = _feeders(
        rng, feeder, feeders, hour=hour, relief_w=discharge / RECTIFIER_EFFICIENCY, depth=depth
    )
    step = np.linspace(0.0, 0.03, classes)
    price = (
        0.10 + 0.05 * np.sin((hour - 9.0) / 12.0 * np.pi) + 0.12 * np.exp(-(((hour - 19.0) / 2.0) ** 2))
    ) / 1e3
    goal = Objectives(
        excess_weight=1.5e-3,
        peak_weight=2e-5,
        import_price=np.repeat(price[None, :], feeders, axis=0),
        ageing_per_wh=np.full(classes, 1.5e-5) * (1.0 + step * 10.0),
        terminal_value_per_wh=8e-5,
        fleet_follow_w=np.full(steps, -0.25 * float(discharge.mean(axis=1).sum())) if fleet_target else None,
        fleet_follow_weight=np.where((hour >= 12.0) & (hour < 14.0), 4e-4, 0.0) if fleet_target else None,
    )
    members = 6
    cluster = np.arange(sites) // (members * feeders) * feeders + feeder
    return DispatchProblem(
        initial_wh=start, usable_wh=usable, floor_wh=np.minimum(floor, ceiling), ceiling_wh=ceiling,
        max_charge_w=np.repeat((usable * 0.3)[:, None], steps, axis=1),
        max_discharge_w=np.repeat(rated[:, None], steps, axis=1), load_cap_w=load_cap,
        rectifier_headroom_w=np.maximum(load.max(axis=1) * 1.5, 1500.0)[:, None] - load + load.min(axis=1)[:, None],
        connection_headroom_w=np.full((sites, steps), 9000.0),
        efficiency_class=kind, charge_efficiency=CHARGE_EFFICIENCY - step, discharge_efficiency=DISCHARGE_EFFICIENCY - step,
        rectifier_efficiency=RECTIFIER_EFFICIENCY - step / 2.0,
        ramp_w=rated * rng.uniform(0.2, 1.0, sites) if ramps else np.full(sites, np.inf), start_w=np.zeros(sites),
        feeder=feeder, background_w=background, import_limit_w=limit, export_limit_w=np.zeros((feeders, steps)),
        radio_cluster=cluster if clusters else np.full(sites, -1), low_wh=floor[:, 0] + 0.25 * (usable - floor[:, 0]),
        low_share=np.full(int(cluster.max()) + 1, 0.5), reserve_load_w=load.mean(axis=1),
        eligible=rng.random(sites) > 0.03, discharge_budget_wh=usable * 1.2, objectives=goal, step_h=24.0 / steps,
    )  # fmt: skip


def _load_w(rng: Generator, sites: int, hour: Floats) -> tuple[Floats, float]:
    """DC load of a site, 1-5 kW with a daily course (DOMAIN section 1), and the factor to its upper quantile."""
    mean = np.clip(rng.lognormal(np.log(1800.0), 0.45, sites), 700.0, 5000.0)
    swing = rng.uniform(0.08, 0.3, sites)[:, None]
    shift = rng.normal(0.0, 1.2, sites)[:, None]
    course = np.cos((hour[None, :] - 18.5 - shift) / 24.0 * 2.0 * np.pi)
    noise = rng.normal(1.0, 0.03, (sites, hour.size))
    return np.asarray(mean[:, None] * (1.0 + swing * course) * noise), 1.1


def _pv_w(rng: Generator, sites: int, hour: Floats) -> Floats:
    rated = np.where(rng.random(sites) < 0.2, rng.uniform(500.0, 3000.0, sites), 0.0)
    return np.asarray(rated[:, None] * np.clip(np.cos((hour - 12.5) / 12.0 * np.pi), 0.0, None)[None, :])


def _ahead_wh(load_w: Floats, autonomy_h: Floats, steps: int) -> Floats:
    """Energy that the load takes over the autonomy after the end of each step; the day is taken to repeat."""
    step_h = 24.0 / steps
    out = np.empty_like(load_w)
    total = np.concatenate([np.zeros((load_w.shape[0], 1)), np.cumsum(np.tile(load_w, 2), axis=1)], axis=1)
    for hours in np.unique(autonomy_h):
        rows = autonomy_h == hours
        ahead = max(round(hours / step_h), 1)
        out[rows] = (total[rows, 1 + ahead : 1 + ahead + steps] - total[rows, 1 : 1 + steps]) * step_h
    return out


def _feeders(
    rng: Generator, feeder: Ints, feeders: int, *, hour: Floats, relief_w: Floats, depth: float
) -> tuple[Floats, Floats]:
    """Background import with an evening peak that exceeds the limit by `depth` x the fleet's own power."""
    background = np.empty((feeders, hour.size))
    limit = np.empty_like(background)
    for f in range(feeders):
        own = float(relief_w[feeder == f].mean(axis=1).sum())
        when, width = rng.uniform(17.5, 20.0), rng.uniform(1.0, 2.2)
        shape = (
            0.6 + 0.12 * np.exp(-(((hour - 8.0) / 1.5) ** 2)) + 0.4 * np.exp(-(((hour - when) / width) ** 2))
        )
        size = own * rng.uniform(8.0, 20.0)
        background[f] = size * shape * rng.normal(1.0, 0.004, hour.size)
        limit[f] = background[f].max() - depth * own * rng.uniform(0.6, 1.3)
    return background, limit
