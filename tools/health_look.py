"""Looks at every battery: quarter hours out of the roll-ups, the newest readings, one site's load steps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from telemetry.model.reading import Reading
from telemetry.model.site import Site, SiteId
from telemetry.points import Point
from tools.health.estimate import NotJudged, SohEstimate
from tools.health.resistance import Resistance, resistance_of
from tools.health.site_health import BatteryPast, SiteHealth, site_health
from tools.outlook import floor_step

TEST_SD_FRAC = 0.02
"""Standard error of a capacity test at commissioning, which showed full capacity or the battery was not taken over [I]."""
_STEP_HOURS = timedelta(hours=6)
_POINTS = 2_000


class Series(Protocol):
    """What is asked of `telemetry.reading_store.ReadingStore`."""

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return quarter-hour means by metric, shape (sites, steps), NaN where nothing was measured."""
        ...

    async def latest(self, site_ids: Sequence[SiteId] | None = None) -> dict[SiteId, Reading]:
        """Return the newest reading of each site."""
        ...

    async def window(
        self, metric: str, site_id: SiteId, start: datetime, end: datetime, points: int
    ) -> list[Point]:
        """Return one metric of one site, down-sampled."""
        ...


class Registry(Protocol):
    """What is asked of `telemetry.registry_store.RegistryStore`."""

    async def sites(self) -> dict[SiteId, Site]:
        """Return all sites."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLook:
    """Puts the health of the fleet's batteries together as of an instant; nothing is kept, so nothing goes stale.

    Attributes:
        readings: Telemetry.
        registry: Sites.
        past: How far back discharges and wear are looked at.
    """

    readings: Series
    registry: Registry
    past: timedelta = timedelta(days=28)

    async def __call__(
        self, now: datetime, site_ids: Sequence[SiteId] | None = None
    ) -> Mapping[SiteId, SiteHealth]:
        """Return the health of each battery (or of those asked for that exist)."""
        every = await self.registry.sites()
        sites = [site for name, site in every.items() if site_ids is None or name in site_ids]
        end = floor_step(now)
        start = end - self.past
        names = [site.site_id for site in sites]
        grid = await self.readings.grid(["soc_frac", "battery_w", "battery_c"], names, start, end)
        newest = await self.readings.latest(names)
        return await asyncio.to_thread(_judged, sites, grid, newest, start, now)

    async def resistance(self, site_id: SiteId, now: datetime) -> Resistance | NotJudged:
        """Return a site's resistance from the load steps of the last six hours."""
        current = await self.readings.window("battery_a", site_id, now - _STEP_HOURS, now, _POINTS)
        bus = {
            p.at: p.mean
            for p in await self.readings.window("bus_v", site_id, now - _STEP_HOURS, now, _POINTS)
        }
        both = [(p.at.timestamp(), p.mean, bus[p.at]) for p in current if p.at in bus]
        if len(both) < 2:
            return NotJudged(reason="current and voltage were not measured together")
        at_s, current_a, bus_v = np.array(both).T
        return resistance_of(at_s, current_a, bus_v, least_step_a=2.0)


def _judged(
    sites: Sequence[Site],
    grid: Mapping[str, npt.NDArray[np.float32]],
    newest: Mapping[SiteId, Reading],
    start: datetime,
    now: datetime,
) -> dict[SiteId, SiteHealth]:
    found = {}
    for row, site in enumerate(sites):
        reading = newest.get(site.site_id)
        found[site.site_id] = site_health(
            site.site_id,
            site.battery,
            BatteryPast(
                start=start,
                soc_frac=grid["soc_frac"][row],
                battery_w=grid["battery_w"][row],
                battery_c=grid["battery_c"][row],
            ),
            now,
            reported_frac=None if reading is None else reading.soh_frac,
            earlier=commissioned(site),
        )
    return found


def commissioned(site: Site) -> tuple[SohEstimate, ...]:
    """Return what the registry's capacity test says: full capacity at commissioning, when both are the same test."""
    tested, commissioned_at = site.battery.capacity_tested_at, site.commissioned_at
    if tested is None or commissioned_at is None or tested > commissioned_at:
        return ()
    return (
        SohEstimate(
            soh_frac=1.0,
            sd_frac=TEST_SD_FRAC,
            at=tested,
            method="full_discharge",
            evidence="capacity test on take-over",
        ),
    )
