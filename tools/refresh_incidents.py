"""Keeps the incidents fresh: learns what is normal from the roll-ups, scans the newest day, joins findings to incidents."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from telemetry.model.series import STEP
from telemetry.model.site import Site, SiteId
from tools.anomaly.detectors import Learnt, learn
from tools.anomaly.findings import Finding, Thresholds, find
from tools.anomaly.frame import FleetFrame
from tools.anomaly.incident_store import IncidentStore
from tools.anomaly.incidents import update
from tools.outlook import floor_step

FIELDS = (
    "load_w",
    "grid_w",
    "aux_ac_w",
    "pv_w",
    "rectifier_w",
    "battery_w",
    "soc_frac",
    "bus_v",
    "battery_c",
    "ambient_c",
)


class Series(Protocol):
    """What is asked of `telemetry.reading_store.ReadingStore`."""

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return quarter-hour means by metric, shape (sites, steps), NaN where nothing was measured."""
        ...


class Registry(Protocol):
    """What is asked of `telemetry.registry_store.RegistryStore`."""

    async def sites(self) -> dict[SiteId, Site]:
        """Return all sites."""
        ...


@dataclass(slots=True, kw_only=True)
class IncidentRefresh:
    """Looks for anomalies; what is normal is learnt anew every `relearn_every` from `past`.

    With less than `least_past` of history nothing is normal yet, and nothing is found.
    """

    readings: Series
    registry: Registry
    store: IncidentStore
    thresholds: Thresholds = field(default_factory=Thresholds)
    past: timedelta = timedelta(days=28)
    least_past: timedelta = timedelta(days=14)
    window: timedelta = timedelta(days=1)
    relearn_every: timedelta = timedelta(hours=24)
    _learnt: tuple[datetime, tuple[str, ...], Learnt] | None = None

    async def __call__(self, now: datetime) -> int:
        """Scan the newest window, keep what was found, and return how many incidents are open."""
        end = floor_step(now)
        sites = await self.registry.sites()
        learnt = await self._normal(sites, end)
        if learnt is not None:
            frame = await self._frame(sites, end - self.window, end)
            findings = await asyncio.to_thread(self._scan, learnt, frame)
            known = await self.store.since(end - self.window - timedelta(days=1))
            changed = update(known, findings, at=now, backup_h={})
            await self.store.put(one for one in changed if one not in known)
        return len(await self.store.open())

    async def _normal(self, sites: Mapping[SiteId, Site], end: datetime) -> Learnt | None:
        names = tuple(str(name) for name in sites)
        if self._learnt is not None:
            at, known, learnt = self._learnt
            if known == names and timedelta(0) <= end - at < self.relearn_every:
                return learnt
        before = end - self.window
        frame = await self._frame(sites, before - self.past, before)
        if not names or _measured(frame) < self.least_past:
            return None
        fresh = await asyncio.to_thread(learn, frame)
        self._learnt = (end, names, fresh)
        return fresh

    def _scan(self, learnt: Learnt, frame: FleetFrame) -> tuple[Finding, ...]:
        return find(frame, learnt.scan(frame), self.thresholds)

    async def _frame(self, sites: Mapping[SiteId, Site], start: datetime, end: datetime) -> FleetFrame:
        names = list(sites)
        found = await self.readings.grid(FIELDS, names, start, end)
        fields = {
            name: values for name, values in found.items() if name == "load_w" or np.isfinite(values).any()
        }
        clusters = sorted({site.battery.chemistry.value for site in sites.values()})
        return FleetFrame(
            site_ids=tuple(str(name) for name in names),
            start=start,
            step=STEP,
            zone=next((site.time_zone for site in sites.values()), "UTC"),
            fields=fields,
            peers=np.array(
                [clusters.index(site.battery.chemistry.value) for site in sites.values()], dtype=np.int64
            ),
        )


def _measured(frame: FleetFrame) -> timedelta:
    """Return how much of the load the median site measured."""
    counts = np.isfinite(frame.fields["load_w"]).sum(axis=1)
    return float(np.median(counts)) * STEP if counts.size else timedelta(0)
