"""The uplink process: MQTT in, PostgreSQL out, and `stored` back to the sites.

A message is acknowledged to the broker only after its batch is committed, so that a kill at any moment loses nothing:
the broker, or the gateway's own buffer, still holds it. Memory is bounded by the broker's in-flight window.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol, TypeVar

import psycopg

from telemetry.decode import Decoded, Refused, SiteEvent, decode_message
from telemetry.ingest_store import MOST_BUCKETS, Batch, roll_up_due, store_batch
from telemetry.model.reading import FeederReading, SiteStatus
from telemetry.wire import VERSION, StoredMessage, encode

T = TypeVar("T")
_log = logging.getLogger(__name__)
SUBSCRIPTIONS = tuple(f"$share/ingest/cbs/v1/+/{kind}" for kind in ("telemetry", "feeder", "state", "event"))


class Downlink(Protocol):
    """How ingest answers: a QoS 1 publish that is not waited for."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """When a batch is flushed, and how often roll-ups run (wall time)."""

    flush_rows: int = 5_000
    flush_age: timedelta = timedelta(milliseconds=250)
    roll_up_every: timedelta = timedelta(seconds=2)
    retry_after: timedelta = timedelta(seconds=1)


@dataclass(slots=True, kw_only=True)
class IngestCounts:
    """What this worker has done since it started."""

    messages: int = 0
    readings: int = 0
    refused: int = 0
    batches: int = 0
    failures: int = 0
    rolled_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One message on its way: what it says, and how to tell the broker that it is safe."""

    topic: str
    payload: bytes
    says: Decoded
    acknowledge: Callable[[], None]

    @property
    def rows(self) -> int:
        """How many rows it will become."""
        return len(self.says) if isinstance(self.says, tuple) else 1


@dataclass(slots=True)
class Ingest:
    """One worker: collects messages into a batch, stores it, acknowledges, answers.

    Args:
        connect: Opens a connection of the ingest role.
        downlink: Publishes `stored`.
        now: Domain time.
    """

    connect: Callable[[], psycopg.Connection]
    downlink: Downlink
    now: Callable[[], datetime]
    settings: IngestSettings = field(default_factory=IngestSettings)
    counts: IngestCounts = field(default_factory=IngestCounts)
    _taken: list[Taken] = field(default_factory=list)
    _rows: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _known_days: set[date] = field(default_factory=set)
    _connection: psycopg.Connection | None = None

    def take(self, topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """Take one message; `acknowledge` is called once it is safe."""
        says = decode_message(topic, payload, self.now())
        taken = Taken(topic=topic, payload=payload, says=says, acknowledge=acknowledge)
        self._taken.append(taken)
        self._rows += taken.rows
        self.counts.messages += 1
        if self._rows >= self.settings.flush_rows:
            self._wake.set()

    async def run(self) -> None:
        """Flush by size or age and roll up, until cancelled; a failing database is tried again for ever."""
        rolled_s = 0.0
        try:
            while True:
                await self._wait_for_work()
                if self._taken:
                    await self._flush()
                due = time.monotonic() - rolled_s >= self.settings.roll_up_every.total_seconds()
                # A backlog (history that was just imported) goes on at once, with flushes in between.
                if due and await self._roll_up() < MOST_BUCKETS:
                    rolled_s = time.monotonic()
        finally:
            if self._connection is not None:
                self._connection.close()

    async def _wait_for_work(self) -> None:
        self._wake.clear()
        if self._rows < self.settings.flush_rows:
            try:
                await asyncio.wait_for(self._wake.wait(), self.settings.flush_age.total_seconds())
            except TimeoutError:
                return

    async def _flush(self) -> None:
        taken, self._taken, self._rows = self._taken, [], 0
        now = self.now()
        marks = await self._until_done(lambda connection: self._store(connection, taken, now))
        self.counts.batches += 1
        for message in taken:
            message.acknowledge()
        for site_id, boots in marks.items():
            stored = StoredMessage(v=VERSION, site_id=site_id, marks=boots)
            self.downlink(f"cbs/v1/{site_id}/stored", encode(stored), retain=True)

    def _store(
        self, connection: psycopg.Connection, taken: Sequence[Taken], now: datetime
    ) -> dict[str, dict[str, int]]:
        """Store messages; one that the database will not take is found by halving and set aside alone."""
        batch = to_batch(message.says for message in taken)
        try:
            marks = store_batch(connection, batch, now, self._known_days)
        except (psycopg.DataError, psycopg.IntegrityError, OverflowError, ValueError) as error:
            self._known_days.clear()
            if len(taken) > 1:
                half = len(taken) // 2
                first = self._store(connection, taken[:half], now)
                return merge_marks(first, self._store(connection, taken[half:], now))
            only = taken[0]
            refused = Refused(topic=only.topic, reason=f"cannot be stored: {error}", payload=only.payload)
            batch = Batch(refused=[refused])
            marks = store_batch(connection, batch, now, self._known_days)
        self.counts.readings += len(batch.readings)
        self.counts.refused += len(batch.refused)
        return marks

    async def _roll_up(self) -> int:
        now = self.now()
        done = await self._until_done(lambda connection: roll_up_due(connection, now))
        self.counts.rolled_up += done
        return done

    async def _until_done(self, act: Callable[[psycopg.Connection], T]) -> T:
        while True:
            try:
                return await asyncio.to_thread(self._with_connection, act)
            except psycopg.OperationalError as error:
                self.counts.failures += 1
                _log.warning("database away, the batch is kept", extra={"error": str(error)})
                await asyncio.sleep(self.settings.retry_after.total_seconds())

    def _with_connection(self, act: Callable[[psycopg.Connection], T]) -> T:
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
            self._known_days.clear()
        try:
            return act(self._connection)
        except psycopg.OperationalError:
            self._connection.close()
            raise


def to_batch(decoded: Iterable[Decoded]) -> Batch:
    """Return decoded messages sorted by kind; of several states of a site the newest stays."""
    batch = Batch()
    for says in decoded:
        match says:
            case Refused():
                batch.refused.append(says)
            case SiteStatus():
                newest = batch.statuses.get(says.site_id)
                if newest is None or newest.at <= says.at:
                    batch.statuses[says.site_id] = says
            case SiteEvent():
                batch.events.append(says)
            case tuple():
                for item in says:
                    if isinstance(item, FeederReading):
                        batch.feeder.append(item)
                    else:
                        batch.readings.append(item)
    return batch


def merge_marks(
    one: dict[str, dict[str, int]], other: dict[str, dict[str, int]]
) -> dict[str, dict[str, int]]:
    """Return both sets of marks; marks only grow, so the higher of two holds."""
    merged = {site_id: dict(boots) for site_id, boots in one.items()}
    for site_id, boots in other.items():
        mine = merged.setdefault(site_id, {})
        for boot_id, upto in boots.items():
            mine[boot_id] = max(upto, mine.get(boot_id, 0))
    return merged
