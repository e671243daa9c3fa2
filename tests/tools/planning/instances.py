"""Named good examples and nasty random instances of the dispatch problem."""

import numpy as np

from tools.planning.problem import DispatchProblem, Floats, Objectives


def calm(
    sites: int = 1, steps: int = 4, feeders: int = 1, objectives: Objectives | None = None
) -> DispatchProblem:
    """Lossless 1 kWh batteries at 500 Wh, 1 kW both ways, 1-h steps, no floor, no ramp, nothing in the way."""
    full, wide = np.full((sites, steps), 1000.0), np.full((sites, steps), 1e6)
    return DispatchProblem(
        initial_wh=np.full(sites, 500.0),
        usable_wh=np.full(sites, 1000.0),
        floor_wh=np.zeros((sites, steps)),
        ceiling_wh=full,
        max_charge_w=full,
        max_discharge_w=full,
        load_cap_w=wide,
        rectifier_headroom_w=wide,
        connection_headroom_w=wide,
        efficiency_class=np.zeros(sites, dtype=np.int64),
        charge_efficiency=np.ones(1),
        discharge_efficiency=np.ones(1),
        rectifier_efficiency=np.ones(1),
        ramp_w=np.full(sites, np.inf),
        start_w=np.zeros(sites),
        feeder=np.arange(sites) % feeders,
        background_w=np.full((feeders, steps), 10_000.0),
        import_limit_w=np.full((feeders, steps), 1e6),
        export_limit_w=np.zeros((feeders, steps)),
        radio_cluster=np.full(sites, -1),
        low_wh=np.zeros(sites),
        low_share=np.ones(0),
        reserve_load_w=np.full(sites, 100.0),
        eligible=np.ones(sites, dtype=bool),
        discharge_budget_wh=np.full(sites, np.inf),
        objectives=objectives or Objectives(),
        step_h=1.0,
    )


def nasty(seed: int, *, clusters: bool = False) -> DispatchProblem:
    """A random instance in which every limit can bind and starts may be outside the band or on the move."""
    rng = np.random.default_rng(seed)
    sites, steps, feeders, classes = (
        int(rng.integers(2, 13)),
        int(rng.integers(4, 25)),
        int(rng.integers(1, 4)),
        2,
    )
    usable = rng.uniform(2e3, 2e4, sites)
    ceiling = usable[:, None] * np.where(
        rng.random((sites, 1)) < 0.7, 1.0, rng.uniform(0.7, 1.0, (sites, steps))
    )
    wave = 1.0 + 0.5 * np.sin(np.arange(steps) / 3.0 + rng.uniform(0.0, 6.0, (sites, 1)))
    floor = np.minimum(usable[:, None] * rng.uniform(0.0, 0.5, (sites, 1)) * wave, ceiling)
    initial = usable * rng.uniform(0.3, 1.0, sites)
    rated = usable * rng.uniform(0.2, 1.0, sites)
    feeder = rng.integers(0, feeders, sites)
    background = rng.uniform(0.3, 2.0, (feeders, steps)) * 5e3 * sites / feeders
    limit = np.quantile(background, 0.7, axis=1, keepdims=True) * rng.uniform(0.9, 1.3, (feeders, steps))
    count = max(sites // 3, 1)
    return DispatchProblem(
        initial_wh=initial,
        usable_wh=usable,
        floor_wh=floor,
        ceiling_wh=ceiling,
        max_charge_w=np.repeat((rated * rng.uniform(0.2, 1.0, sites))[:, None], steps, axis=1),
        max_discharge_w=np.repeat(rated[:, None], steps, axis=1),
        load_cap_w=rated[:, None] * rng.uniform(0.0, 1.3, (sites, steps)),
        rectifier_headroom_w=rated[:, None] * rng.uniform(0.1, 1.3, (sites, steps)),
        connection_headroom_w=rated[:, None] * rng.uniform(0.3, 2.0, (sites, steps)),
        efficiency_class=rng.integers(0, classes, sites),
        charge_efficiency=rng.uniform(0.9, 1.0, classes),
        discharge_efficiency=rng.uniform(0.9, 1.0, classes),
        rectifier_efficiency=rng.uniform(0.9, 1.0, classes),
        ramp_w=np.where(rng.random(sites) < 0.3, np.inf, rated * rng.uniform(0.1, 1.0, sites)),
        start_w=np.where(rng.random(sites) < 0.5, 0.0, rated * rng.uniform(-0.4, 0.2, sites)),
        feeder=feeder,
        background_w=background,
        import_limit_w=limit,
        export_limit_w=np.full((feeders, steps), float(rng.choice([0.0, 1e4]))),
        radio_cluster=np.arange(sites) % count if clusters else np.full(sites, -1),
        low_wh=floor.max(axis=1) + rng.uniform(0.0, 0.4, sites) * usable,
        low_share=rng.uniform(0.2, 0.8, count),
        reserve_load_w=rated,
        eligible=rng.random(sites) > 0.1,
        discharge_budget_wh=np.where(rng.random(sites) < 0.7, np.inf, usable * rng.uniform(0.1, 1.0, sites)),
        objectives=_mixed(rng, sites, steps, feeders, classes),
        self_use_w=None if rng.random() < 0.5 else rated[:, None] * rng.uniform(0.0, 1.0, (sites, steps)),
    )


def _mixed(rng: np.random.Generator, sites: int, steps: int, feeders: int, classes: int) -> Objectives:
    def sometimes(value: Floats) -> Floats | None:
        return value if rng.random() < 0.5 else None

    price = rng.uniform(-0.02, 0.4, (feeders, steps)) / 1e3
    follow, fleet = (
        sometimes(rng.uniform(-2e4, 1e4, (feeders, steps))),
        sometimes(rng.uniform(-4e4, 1e4, steps)),
    )
    previous = sometimes(rng.uniform(-2e3, 2e3, (sites, steps)))
    return Objectives(
        follow_w=follow,
        follow_weight=None if follow is None else rng.uniform(0.0, 1e-3, (feeders, steps)),
        fleet_follow_w=fleet,
        fleet_follow_weight=None if fleet is None else rng.uniform(0.0, 1e-3, steps),
        excess_weight=float(rng.choice([0.0, 2e-3])),
        peak_weight=float(rng.choice([0.0, 1e-4])),
        demand_charge_per_w=float(rng.choice([0.0, 1e-4])),
        billed_peak_w=sometimes(rng.uniform(0.0, 2e4, feeders)),
        import_price=price,
        export_price=sometimes(price - rng.uniform(0.0, 0.1, (feeders, steps)) / 1e3),
        carbon_kg_per_wh=sometimes(rng.uniform(0.0, 1e-3, (feeders, steps))),
        carbon_price=0.08,
        ageing_per_wh=sometimes(rng.uniform(0.0, 5e-5, classes)),
        terminal_value_per_wh=float(rng.choice([0.0, 1e-4])),
        previous_w=previous,
        change_weight=0.0 if previous is None else float(rng.choice([0.0, 1e-4])),
    )
