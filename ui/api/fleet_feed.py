"""One look at the fleet a second, shared by everybody who watches; none while nobody does."""

import asyncio
import gzip
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from telemetry.model.clock import Clock
from telemetry.model.site import Feeder, FeederId, Site, SiteId
from telemetry.registry_store import RegistryStore
from ui.api.fleet_document import Document, Need, SiteLine, fleet_document, need_of, site_lines
from ui.api.fleet_store import FleetStore
from ui.api.settings import ApiSettings

_log = logging.getLogger(__name__)
_FORECASTS_EVERY_S = 30.0
_KEPT_APART = ("version", "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The fleet at one instant: the document, its bytes, and what changed since the version before."""

    version: int
    document: Document
    plain: bytes
    packed: bytes
    changed: tuple[Document, ...]

    @property
    def etag(self) -> str:
        """The document's ETag."""
        return f'"fleet-{self.version}"'


@dataclass(slots=True)
class FleetFeed:
    """Looks at the fleet while somebody asks or watches; `run` is its task."""

    store: FleetStore
    registry: RegistryStore
    clock: Clock
    settings: ApiSettings
    _snapshot: Snapshot | None = None
    _wanted_s: float = -1e9
    _looked_s: float = -1e9
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _fresh: asyncio.Condition = field(default_factory=asyncio.Condition)
    _failure: Exception | None = None
    _registry_mark: int = -1
    _forecast_mark: int = -1
    _forecasts_s: float = -1e9
    _sites: Mapping[SiteId, Site] = field(default_factory=dict)
    _feeders: Mapping[FeederId, Feeder] = field(default_factory=dict)
    _needs: Mapping[str, Need] = field(default_factory=dict)
    _lines: Mapping[str, SiteLine] = field(default_factory=dict)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            idle_s = time.monotonic() - self._wanted_s
            if idle_s > self.settings.fleet_idle.total_seconds():
                self._wake.clear()
                await self._wake.wait()
            try:
                await self._look()
                self._failure = None
            except (psycopg.OperationalError, PoolTimeout) as error:
                self._failure = error
                _log.warning("the fleet cannot be looked at", extra={"error": str(error)[:200]})
            async with self._fresh:
                self._looked_s = time.monotonic()
                self._fresh.notify_all()
            await asyncio.sleep(self.settings.fleet_every.total_seconds())

    async def current(self) -> Snapshot:
        """Return the newest snapshot, at most two looks old.

        Raises:
            psycopg.OperationalError: The database does not answer.
        """
        self._want()
        oldest_s = 2.0 * self.settings.fleet_every.total_seconds() + 1.0
        if self._snapshot is None or time.monotonic() - self._looked_s > oldest_s:
            await self._next_look()
        if self._failure is not None or self._snapshot is None:
            raise psycopg.OperationalError(str(self._failure))
        return self._snapshot

    async def after(self, version: int) -> Snapshot | None:
        """Wait for one look and return the snapshot if it is newer than `version`."""
        self._want()
        await self._next_look()
        snapshot = self._snapshot
        return snapshot if snapshot is not None and snapshot.version != version else None

    def _want(self) -> None:
        self._wanted_s = time.monotonic()
        self._wake.set()

    async def _next_look(self) -> None:
        async with asyncio.timeout(30.0), self._fresh:
            await self._fresh.wait()

    async def _look(self) -> None:
        now = self.clock.now()
        await self._refresh_basis()
        facts = await self.store.facts(now)
        before = self._snapshot

        def work() -> tuple[dict[str, SiteLine], Snapshot]:
            lines = site_lines(facts.sites, self._sites, self._needs, now, self._lines)
            return lines, _next(before, fleet_document(facts, lines, self._feeders, now))

        self._lines, self._snapshot = await asyncio.to_thread(work)

    async def _refresh_basis(self) -> None:
        registry_mark, forecast_mark = await self.store.marks()
        moved = registry_mark != self._registry_mark
        if moved:
            self._sites, self._feeders = await self.registry.sites(), await self.registry.feeders()
        due = time.monotonic() - self._forecasts_s > _FORECASTS_EVERY_S
        if moved or (forecast_mark != self._forecast_mark and due):
            load, pv = await self.store.upper_load(), await self.store.lower_pv()
            now, sites = self.clock.now(), self._sites
            self._needs = await asyncio.to_thread(
                lambda: {
                    str(name): need_of(site, load.get(name), pv.get(name), now)
                    for name, site in sites.items()
                }
            )
            self._forecast_mark, self._forecasts_s = forecast_mark, time.monotonic()
            self._lines = {}
        self._registry_mark = registry_mark


def _next(before: Snapshot | None, document: Document) -> Snapshot:
    """Return the snapshot after another; the same one where nothing changed."""
    if before is not None and _same(before.document, document):
        return before
    # A site that has not changed is the same object as before.
    known: dict[str, Any] = (
        {} if before is None else {one["site_id"]: one for one in before.document["sites"]}
    )
    changed = tuple(one for one in document["sites"] if known.get(one["site_id"]) is not one)
    # Versions go on across a restart of the process: an old ETag must not match a new document by chance.
    version = time.time_ns() // 1_000_000 if before is None else before.version + 1
    document = {**document, "version": version}
    plain = msgspec.json.encode(document)
    return Snapshot(
        version=version,
        document=document,
        plain=plain,
        packed=gzip.compress(plain, compresslevel=1, mtime=0),
        changed=changed,
    )


def _same(one: Document, other: Document) -> bool:
    return all(one[key] == other[key] for key in other if key not in _KEPT_APART)
