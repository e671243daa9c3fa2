"""The simulated fleet at random moments and charges, for tests of the planner against the gate."""

import random
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import numpy as np

from edge.safety.limits import DayUse, FleetState, Limits, OperatingMode
from edge.simulator.load import LoadModel
from edge.simulator.registry import SimulatedFleet, simulated_fleet
from telemetry.model.reading import Reading, SiteState, SiteStatus
from telemetry.model.series import STEP, Forecast, Quantity
from tests.agents.worlds import SPREAD
from tools.deps import Fleet
from tools.outlook import floor_step

EPOCH = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
STEPS = 192


def a_simulated_fleet(count: int = 24) -> SimulatedFleet:
    """Return the fleet's registry."""
    return simulated_fleet(count, seed=1, epoch=EPOCH)


def _forecast(
    subject_id: str,
    quantity: Quantity,
    median_w: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    spread: float,
    now: datetime,
) -> Forecast:
    """Return quantiles `spread` apart at the ends; those of sums are half as wide, as where errors partly offset."""
    sums = list(accumulate(float(w) * 0.25 for w in median_w))
    return Forecast(
        subject_id=subject_id,
        quantity=quantity,
        made_at=now,
        start=floor_step(now),
        values_w=tuple(tuple(float(w) * (1.0 + share * spread) for w in median_w) for share in SPREAD),
        cumulative_wh=tuple(tuple(wh * (1.0 + share * spread * 0.5) for wh in sums) for share in SPREAD),
        model="scene",
        version="1",
    )


def fleet_at(made: SimulatedFleet, now: datetime, chance: random.Random) -> Fleet:
    """Return the fleet at an instant, each site at a charge drawn by chance; a forecast knows the load's course."""
    model, count = LoadModel(seed=1), len(made.specs)
    unix_s = floor_step(now).timestamp() + np.arange(0, STEPS * 900, 60.0)
    peaks = np.array([spec.peak_load_w for spec in made.specs])
    load = model.site_load_w(np.arange(count), unix_s, peaks).reshape(count, STEPS, 15).mean(axis=2)
    feeders = np.arange(len(made.feeders))
    background = model.feeder_background_w(feeders, unix_s, np.array(made.background_peak_w))
    background = background.reshape(len(made.feeders), STEPS, 15).mean(axis=2)
    at = now - timedelta(seconds=5)
    sunny = {site_id for site_id, site in made.sites.items() if site.pv_rated_w > 0.0}
    return Fleet(
        state=FleetState(
            at=now,
            mode=OperatingMode.NORMAL,
            readings={
                site_id: Reading(
                    site_id=site_id, boot_id="b", sequence=1, at=at, load_w=float(load[row, 0]), bus_v=54.0,
                    battery_a=0.0, battery_w=0.0, soc_frac=chance.choice([1.0, 0.95, 0.8, 0.6, 0.5]), soh_frac=0.97,
                    battery_c=27.0, mains_ok=True, aux_ac_w=300.0, pv_w=0.0 if site_id in sunny else None,
                )
                for row, site_id in enumerate(made.sites)
            },
            statuses={
                site_id: SiteStatus(
                    site_id=site_id, at=at, online=True, state=SiteState.FLOAT, local_lock=False, last_sequence=0
                )
                for site_id in made.sites
            },
            quality_score=dict.fromkeys(made.sites, 1.0),
            load={
                site_id: _forecast(site_id, Quantity.LOAD_W, load[row], 0.12, now)
                for row, site_id in enumerate(made.sites)
            },
            pv={site_id: _forecast(site_id, Quantity.PV_W, np.full(STEPS, 300.0), 0.9, now) for site_id in sunny},
            background={
                feeder_id: _forecast(feeder_id, Quantity.BACKGROUND_W, background[row], 0.01, now)
                for row, feeder_id in enumerate(made.feeders)
            },
            day_use=dict.fromkeys(made.sites, DayUse(cycles=0.0, discharged_wh=0.0)),
            live_plans=(),
        ),
        limits=Limits(sites=made.sites, feeders=made.feeders),
    )  # fmt: skip


__all__ = ["EPOCH", "STEP", "a_simulated_fleet", "fleet_at"]
