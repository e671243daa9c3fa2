"""Keeps the incidents fresh: learns what is normal from the roll-ups, scans the newest day, joins findings to incidents."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from telemetry.model.incident import Incident
from telemetry.model.series import STEP
from telemetry.model.site import Site, SiteId
from tools.anomaly.detectors import Learnt, learn
from tools.anomaly.findings import Finding, Thresholds, find
from tools.anomaly.forest import Companion, learn_companion
from tools.anomaly.frame import FleetFrame
from tools.anomaly.incident_store import IncidentStore
from tools.anomaly.incidents import update, with_similar
from tools.outlook import floor_step
from tools.profile_clusters import peer_groups

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
    "grid_v",
    "string_gap_frac",
)
Floats = npt.NDArray[np.floating]
BackupHours = Callable[[], Awaitable[Mapping[str, float]]]


async def no_backup_hours() -> Mapping[str, float]:
    """Return no site's hours of backup: none are known."""
    return {}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """What is normal, as the detectors and their companion learnt it from these fields."""

    fields: tuple[str, ...]
    detectors: Learnt
    companion: Companion


@dataclass(slots=True, kw_only=True)
class IncidentRefresh:
    """Looks for anomalies; what is normal is learnt anew every `relearn_every` from `past`.

    With less than `least_past` of history nothing is normal yet, and nothing is found. `clusters` names each site's
    profile cluster: sites are compared with those whose load has the same shape. Without it, with all of their chemistry.
    `backup_h` gives each site's hours of backup as they stand: severity follows from them. An isolation forest over all
    fields is the companion: what it thinks of an incident's hours is part of the evidence; it raises nothing by itself.
    """

    readings: Series
    registry: Registry
    store: IncidentStore
    thresholds: Thresholds = field(default_factory=Thresholds)
    past: timedelta = timedelta(days=28)
    least_past: timedelta = timedelta(days=14)
    window: timedelta = timedelta(days=1)
    relearn_every: timedelta = timedelta(hours=24)
    clusters: Callable[[datetime, Mapping[SiteId, Site]], Awaitable[Mapping[SiteId, int]]] | None = None
    backup_h: BackupHours = no_backup_hours
    _learnt: tuple[datetime, tuple[str, ...], Normal] | None = None
    _peers: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )  # of what was learnt

    async def __call__(self, now: datetime) -> int:
        """Scan the newest window, keep what was found, and return how many incidents are open."""
        end = floor_step(now)
        sites = await self.registry.sites()
        learnt = await self._normal(sites, end)
        if learnt is not None:
            frame = await self._frame(sites, end - self.window, end, learnt.fields)
            findings, strange = await asyncio.to_thread(_scan, learnt, frame, self.thresholds)
            known = await self.store.since(end - self.window - timedelta(days=1))
            updated = update(known, findings, at=now, backup_h=await self.backup_h())
            changed = [one for one in updated if one not in known]
            past = await self.store.closed({one.kind for one in changed}) if changed else []
            await self.store.put(_with_company(with_similar(one, past), frame, strange) for one in changed)
        return len(await self.store.open())

    async def _normal(self, sites: Mapping[SiteId, Site], end: datetime) -> Normal | None:
        names = tuple(str(name) for name in sites)
        if self._learnt is not None:
            at, known, learnt = self._learnt
            if known == names and timedelta(0) <= end - at < self.relearn_every:
                return learnt
        before = end - self.window
        labels = {} if self.clusters is None else await self.clusters(end, sites)
        self._peers = peer_groups(list(sites.values()), labels)
        frame = await self._frame(sites, before - self.past, before)
        if not names or _measured(frame) < self.least_past:
            return None
        fresh = await asyncio.to_thread(_learn, frame)
        self._learnt = (end, names, fresh)
        return fresh

    async def _frame(
        self,
        sites: Mapping[SiteId, Site],
        start: datetime,
        end: datetime,
        wanted: tuple[str, ...] | None = None,
    ) -> FleetFrame:
        """Return a window of the fleet with the fields wanted, measured or not; None: with those that any site measures."""
        names = list(sites)
        found = await self.readings.grid(FIELDS, names, start, end)
        volts = np.where(found["bus_v"] > 0.0, found["bus_v"], np.float32(np.nan))
        found["battery_a"] = np.asarray(found["battery_w"] / volts, dtype=np.float32)
        if wanted is None:
            wanted = tuple(
                name for name, values in found.items() if name == "load_w" or np.isfinite(values).any()
            )
        return FleetFrame(
            site_ids=tuple(str(name) for name in names),
            start=start,
            step=STEP,
            zone=next((site.time_zone for site in sites.values()), "UTC"),
            fields={name: found[name] for name in wanted},
            peers=self._peers,
        )


def _learn(frame: FleetFrame) -> Normal:
    return Normal(
        fields=tuple(frame.fields), detectors=learn(frame), companion=learn_companion(frame, seed=0)
    )


def _scan(normal: Normal, frame: FleetFrame, limits: Thresholds) -> tuple[tuple[Finding, ...], Floats]:
    """Return the findings of a window and, where there are any, the companion's score, shape (sites, steps)."""
    found = find(frame, normal.detectors.scan(frame), limits)
    return found, normal.companion.scan(frame) if found else np.zeros((0, 0))


def _with_company(incident: Incident, frame: FleetFrame, strange: Floats) -> Incident:
    """Return an incident with what the isolation forest thinks of its hours: 1 is what one step in 200 reaches."""
    if incident.site_id not in frame.site_ids or not strange.size:
        return incident
    row = frame.site_ids.index(incident.site_id)
    first = max((incident.since - frame.start) // frame.step, 0)
    last = frame.steps if incident.until is None else (incident.until - frame.start) // frame.step
    hours = strange[row, first : max(last, first + 1)]
    if not hours.size:
        return incident
    return replace(incident, evidence={**incident.evidence, "companion_score": round(float(hours.max()), 2)})


def _measured(frame: FleetFrame) -> timedelta:
    """Return how much of the load the median site measured."""
    counts = np.isfinite(frame.fields["load_w"]).sum(axis=1)
    return float(np.median(counts)) * STEP if counts.size else timedelta(0)
