"""The same simulated sites through the same hours, without dispatch: what a plan is compared with (simulated).

Load, weather and mains are functions of seed and instant, so the sites that nobody commands can be run again afterwards.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import floor

from edge.simulator.fleet import FleetSimulation
from edge.simulator.registry import simulated_fleet
from ui.ops.runtime import Runtime

_QUARTER_S = 900.0
_SETTLE = timedelta(hours=2)  # at float, before the window
_SETTLE_STEP = timedelta(minutes=5)
_STEP = timedelta(seconds=10)  # half of what the load's fast noise holds for

Quarters = Mapping[datetime, float]


def undispatched_grid_w(runtime: Runtime, start: datetime, end: datetime) -> dict[str, Quarters]:
    """Return what each feeder's sites would have drawn at their meters, W, mean by quarter of an hour.

    Args:
        runtime: The installation whose sites these are.
        start: Of the window, aware UTC, a full quarter of an hour.
        end: Of the window.
    """
    fleet = simulated_fleet(runtime.simulated_sites, seed=runtime.seed, epoch=runtime.epoch)
    simulation = FleetSimulation(fleet.specs, seed=runtime.seed, start=start - _SETTLE)
    simulation.run_history(start, _SETTLE_STEP)
    run = simulation.run_history(end, _STEP)
    feeders = [site.feeder_id for site in fleet.sites.values()]
    sums: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for unix_s, row in zip(run.unix_s.tolist(), run.values["grid_w"], strict=True):
        # An instant ends the step that it stands for.
        slot = floor((unix_s - 1e-6) / _QUARTER_S) * _QUARTER_S
        for feeder_id in set(feeders):
            mine = [k for k, name in enumerate(feeders) if name == feeder_id]
            sums[feeder_id][slot].append(float(row[mine].sum()))
    return {
        feeder_id: {datetime.fromtimestamp(slot, UTC): sum(w) / len(w) for slot, w in slots.items()}
        for feeder_id, slots in sums.items()
    }
