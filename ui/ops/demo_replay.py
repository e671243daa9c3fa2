"""The same simulated sites through the same hours, without dispatch: what a plan is compared with (simulated).

Load, weather and mains are functions of seed and instant, so the sites that nobody commands can be run again afterwards.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

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
    feeders = np.array([site.feeder_id for site in fleet.sites.values()])
    slots = (
        np.floor((run.unix_s - 1e-6) / _QUARTER_S) * _QUARTER_S
    )  # an instant ends the step that it stands for
    return {
        str(feeder_id): {
            datetime.fromtimestamp(slot, UTC): float(sums_w[slots == slot].mean())
            for slot in np.unique(slots).tolist()
        }
        for feeder_id in np.unique(feeders)
        for sums_w in [run.values["grid_w"][:, feeders == feeder_id].sum(axis=1)]
    }
