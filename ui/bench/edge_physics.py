"""The simulated plant over a month: does its energy close, does a seed give the same run, do curves meet the datasheets. Simulated.

Every site cycles by commands of its own, the sun shines, the mains fail; a genset stands at one site in four.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

import numpy as np

from edge.simulator.battery import ocv_v
from edge.simulator.chemistry import CHEMISTRIES
from edge.simulator.fleet import FleetSimulation
from edge.simulator.registry import simulated_fleet

START = datetime(2026, 3, 1, tzinfo=UTC)
_CYCLE_H, _DISCHARGE_H = 12.0, 2.0
_OUTAGES_PER_MONTH = 4.0


def run(seed: int = 0, sites: int = 24, days: float = 30.0, step_s: float = 120.0) -> dict[str, Any]:
    """Return figures of one run and of its repetition's first day.

    Args:
        seed: Of loads, weather, outages and sensors.
        sites: Simulated sites, lithium and lead.
        days: Length.
        step_s: Of the plant.
    """
    began_s = process_time()
    fleet, start_wh, moved_wh = _month(seed, sites, days, step_s)
    used_s = process_time() - began_s
    e, plant = fleet.plant.state.energy, fleet.plant
    bus_wh = e.mains + e.genset + e.pv - e.aux - e.rectifier_loss - e.inverter_loss - e.load - e.battery
    held_wh = e.battery - e.battery_loss - (plant.stored_wh() - start_wh)
    one, _, _ = _month(seed, sites, 1.0, step_s)
    two, _, _ = _month(seed, sites, 1.0, step_s)
    same = all(
        np.array_equal(getattr(one.plant.state, name), getattr(two.plant.state, name))
        for name in ("soc_frac", "bus_v", "battery_c", "fuel_l", "grid_w")
    )
    figures = {
        "sites": sites,
        "length_days": days,
        "bus_error_frac": float(np.abs(bus_wh / e.load).max()),
        "battery_error_frac": float(np.abs(held_wh / moved_wh).max()),
        "worked_cycles": float((moved_wh / 2.0 / np.array([s.rated_wh for s in plant.specs])).mean()),
        "unserved_wh": float(e.unserved.sum()),
        "genset_wh": float(e.genset.sum()),
        "pv_wh": float(e.pv.sum()),
        "same_seed_same_run": same,
        "plant_step_cpu_us": 1e6 * used_s / (days * 86_400.0 / step_s),
        **{f"{c.name}_rest_half_full_v": ocv_v(c, 0.5) for c in CHEMISTRIES},
        **{f"{c.name}_full_counter_v": c.charge_v[-1][1] * c.cells for c in CHEMISTRIES},
        "data": "simulated",
    }
    goals = {
        "bus_error_frac": {"op": "<=", "value": 0.001, "gating": True},
        "battery_error_frac": {"op": "<=", "value": 0.001, "gating": True},
        "same_seed_same_run": {"op": "==", "value": 1.0, "gating": True},
        "worked_cycles": {"op": ">=", "value": 0.5 * days / 30.0, "gating": True},
    }
    return {"figures": figures, "goals": goals}


def _month(
    seed: int, sites: int, days: float, step_s: float
) -> tuple[FleetSimulation, np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Return a fleet after so many days, what its batteries held at first, and what moved through their terminals, Wh."""
    specs = [
        replace(spec, genset_w=8_000.0, fuel_l=200.0) if index % 4 == 3 else spec
        for index, spec in enumerate(simulated_fleet(sites, seed=seed, epoch=START).specs)
    ]
    fleet = FleetSimulation(specs, seed=seed, start=START, outages_per_month=_OUTAGES_PER_MONTH)
    plant, at, step = fleet.plant, START, timedelta(seconds=step_s)
    start_wh, moved_wh = plant.stored_wh(), np.zeros(sites)
    offset_h = np.arange(sites) % 6 * 2.0  # not all at once
    while at < START + timedelta(days=days):
        hour = (at - START).total_seconds() / 3600.0
        out = (hour + offset_h) % _CYCLE_H < _DISCHARGE_H
        plant.commands.rectifier_v[out] = 47.0
        plant.commands.revert_s[out] = 2.0 * step_s
        at += step
        fleet.advance_to(at, most_steps=1)
        state = plant.state
        moved_wh += np.abs(state.string_a.sum(axis=1)) * state.bus_v * step_s / 3600.0
    return fleet, start_wh, moved_wh
