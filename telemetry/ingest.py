"""The uplink process: MQTT in, PostgreSQL out, and `stored` back to the sites.

A message is acknowledged to the broker only after its batch is committed, or after it lies fsynced in the spill while
the database is away, so that a kill at any moment loses nothing: the broker, the spill or the gateway still holds it.
`stored` follows commit alone.

Memory is bounded by count and bytes. When the spill is full nothing more is acknowledged but states that a newer state
of the same site replaces: those are dropped first, and counted. What does not even fit in memory is not taken: the
broker holds it and sends it again over a new connection, and telemetry that the broker too has no room for waits in the
gateways until `stored` covers it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import psycopg

from telemetry.answers import Answers, merge_marks
from telemetry.batching import refuse, to_batch
from telemetry.decode import SiteEvent
from telemetry.gaps import GapWatch
from telemetry.ingest_settings import IngestCounts, IngestSettings
from telemetry.ingest_store import Batch, open_gaps, store_batch
from telemetry.model.site import SiteId
from telemetry.rolling import Rolling
from telemetry.spill import Message, Spill
from telemetry.watch import Watch

T = TypeVar("T")
_log = logging.getLogger(__name__)
SUBSCRIPTIONS = tuple(f"$share/ingest/cbs/v1/+/{kind}" for kind in ("telemetry", "feeder", "state", "event"))
__all__ = ["SUBSCRIPTIONS", "Downlink", "Ingest", "IngestCounts", "IngestSettings"]
Marks = dict[str, dict[str, int]]
_SAME_INSTANT_S = 0.005
READINGS_MISSING = "readings_missing"


class Downlink(Protocol):
    """How ingest answers: a QoS 1 publish that is not waited for."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool) -> None: ...


class Taken(NamedTuple):
    """One message on its way, and how to tell the broker that it is safe."""

    message: Message
    acknowledge: Callable[[], None]


@dataclass(slots=True)
class Ingest:
    """One worker: collects messages into a batch, stores it, acknowledges, answers.

    Args:
        connect: Opens a connection of the ingest role.
        downlink: Publishes `stored`.
        now: Domain time.
        spill: Where messages wait on disk while the database is away; None: they wait in memory and at the broker.
        reconnect: Makes the broker send again what was not acknowledged.
        watch: Remembers each site's last readings; told there whether this worker is the only one.
        gap_watch: Tells of readings that stay missing; one of several workers has it.
        worker: Named as the source of the events that tell of a spill.
    """

    connect: Callable[[], psycopg.Connection]
    downlink: Downlink
    now: Callable[[], datetime]
    settings: IngestSettings = field(default_factory=IngestSettings)
    spill: Spill | None = None
    reconnect: Callable[[], None] = lambda: None
    worker: str = "svc-ingest"
    watch: Watch = field(default_factory=Watch)
    gap_watch: GapWatch | None = None
    counts: IngestCounts = field(default_factory=IngestCounts)
    _taken: list[Taken] = field(default_factory=list)
    _bytes: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _known_days: set[date] = field(default_factory=set)
    _connection: psycopg.Connection | None = None
    _answers: Answers = field(init=False)
    _try_again_s: float = 0.0  # monotonic: until then the database is taken to be away
    _held: bool = False  # what was taken can go nowhere for now
    _arrived_at: datetime | None = None
    _looked_s: float = 0.0
    _untold: bool = False  # messages had to wait, and the database does not know it yet
    _left_behind: bool = False  # the broker holds messages that it thinks we have

    def __post_init__(self) -> None:
        self._answers = Answers(self.settings.answer_every.total_seconds())

    def take(self, topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """Take one message; `acknowledge` is called once it is safe."""
        counts, size = self.counts, len(payload)
        counts.messages += 1
        held = len(self._taken) + 1
        if held > self.settings.held_messages or self._bytes + size > self.settings.held_bytes:
            counts.not_taken += 1
            self._left_behind = True
            return
        self._taken.append(
            Taken(Message(topic=topic, payload=payload, arrived_at=self._arrival()), acknowledge)
        )
        self._bytes += size
        counts.most_held = max(counts.most_held, held)
        if self._full:
            self._wake.set()

    def _arrival(self) -> datetime:
        """Return the domain time, asked for anew every few milliseconds: asking for each message costs as much as taking it."""
        looked_s = time.monotonic()
        if self._arrived_at is None or looked_s - self._looked_s > _SAME_INSTANT_S:
            self._arrived_at, self._looked_s = self.now(), looked_s
        return self._arrived_at

    @property
    def _full(self) -> bool:
        return len(self._taken) >= self.settings.flush_messages or self._bytes >= self.settings.flush_bytes

    async def run(self) -> None:
        """Flush by size or age, with roll-ups beside, until cancelled; a failing database is tried again for ever."""
        settings, looked_s = self.settings, time.monotonic()
        rolling = asyncio.create_task(
            Rolling(
                connect=self.connect,
                now=self.now,
                every=settings.roll_up_every,
                retry_after=settings.retry_after,
                counts=self.counts,
            ).run()
        )
        try:
            while True:
                await self._wait_for_work()
                await self._work()
                self._answers.send(self.downlink, time.monotonic())
                if time.monotonic() - looked_s >= settings.gaps_every.total_seconds() and self._reachable:
                    looked_s = time.monotonic()
                    await self._look_for_gaps()
        finally:
            rolling.cancel()
            await asyncio.gather(rolling, return_exceptions=True)
            self._answers.send(self.downlink, float("inf"))
            if self._connection is not None:
                self._connection.close()

    @property
    def _reachable(self) -> bool:
        return time.monotonic() >= self._try_again_s

    async def _wait_for_work(self) -> None:
        if self._held:
            await asyncio.sleep(self.settings.retry_after.total_seconds())
            return
        if self.spill and self._reachable:
            return
        self._wake.clear()
        if not self._full:
            try:
                async with asyncio.timeout(self.settings.flush_age.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _work(self) -> None:
        """Store what was taken, or put it aside; behind what waits in the spill, so that the order stays."""
        waits = bool(self.spill)  # an empty spill is false
        if self._taken and (waits or not self._reachable):
            await self._put_aside()
        elif self._taken:
            await self._flush()
        if waits and self._reachable:
            await self._replay()
        if self._untold and self._reachable and not self.spill and not self._held:
            with suppress(psycopg.OperationalError):
                await self._act(self._tell_of_spill)
                self._untold = False
        if self._left_behind and not self._taken and not self.spill:
            self._left_behind = False
            self.reconnect()

    async def _flush(self) -> None:
        taken = self._hand_over(self.settings.flush_messages)
        try:
            marks = await self._act(lambda connection: self._store(connection, _messages(taken)))
        except psycopg.OperationalError:
            self._take_back(taken)
            await self._put_aside()
            return
        self._held = False
        self.counts.batches += 1
        for each in taken:
            each.acknowledge()
        self._answers.add(marks)

    def _hand_over(self, most: int | None = None) -> list[Taken]:
        """Return the oldest messages that were taken, all or at most so many, and forget them."""
        taken, self._taken = self._taken[:most], [] if most is None else self._taken[most:]
        self._bytes -= sum([len(each.message.payload) for each in taken])
        return taken

    def _take_back(self, taken: list[Taken]) -> None:
        self._taken = taken + self._taken
        self._bytes += sum([len(each.message.payload) for each in taken])

    async def _put_aside(self) -> None:
        """Move what was taken to the spill and acknowledge it; if the spill is full, hold it."""
        taken = self._hand_over()
        if self.spill is not None and await asyncio.to_thread(self.spill.append, _messages(taken)):
            self._held, self._untold = False, True
            self.counts.spilled += len(taken)
            for each in taken:
                each.acknowledge()
            return
        self._take_back(taken)
        if self.spill is not None:
            if not self._held:
                self.counts.spill_full += 1
                _log.error("the spill is full, nothing more is acknowledged", extra={"worker": self.worker})
            self._untold = True
            self._drop_replaced_states()
        self._held = True

    def _drop_replaced_states(self) -> None:
        kept: list[Taken] = []
        newer: set[str] = set()
        for each in reversed(self._taken):
            topic = each.message.topic
            if topic.endswith("/state") and topic in newer:
                self.counts.dropped_states += 1
                each.acknowledge()
            else:
                newer.add(topic)
                kept.append(each)
        self._taken, self._bytes = [], 0
        self._take_back(kept[::-1])

    async def _replay(self) -> None:
        """Store the oldest segment of the spill and delete it."""
        spill = self.spill
        if spill is None:
            return
        messages = await asyncio.to_thread(spill.oldest)
        size = self.settings.flush_messages
        try:
            for first in range(0, len(messages), size):
                part = messages[first : first + size]
                self._answers.add(await self._act(partial(self._store, messages=part)))
            self.counts.replayed += len(messages)
            await asyncio.to_thread(spill.drop_oldest)
            self._held = False
        except psycopg.OperationalError:
            return

    def _tell_of_spill(self, connection: psycopg.Connection) -> None:
        """Leave a trace in the database that messages had to wait, and what was dropped."""
        counts = self.counts
        detail = (
            f"{counts.replayed} messages from the spill stored; full {counts.spill_full} times,"
            f" {counts.dropped_states} states dropped, {counts.not_taken} messages left with the broker"
        )
        kind = "spill_full" if counts.spill_full else "spill_replayed"
        event = SiteEvent(site_id=SiteId(self.worker), at=self.now(), kind=kind, detail=detail)
        store_batch(connection, Batch(events=[event]), event.at, self._known_days)
        _log.warning("the spill is empty again", extra={"worker": self.worker, "detail": detail})

    def _store(self, connection: psycopg.Connection, messages: Sequence[Message]) -> Marks:
        """Store messages; one that the database will not take is found by halving and set aside alone."""
        now = self.now()
        try:
            batch = to_batch(messages, self.watch)
            marks = store_batch(connection, batch, now, self._known_days)
            self.watch.accept()
        except (psycopg.DataError, psycopg.IntegrityError, OverflowError, ValueError) as error:
            self._known_days.clear()
            if len(messages) > 1:
                half = len(messages) // 2
                first = self._store(connection, messages[:half])
                return merge_marks(first, self._store(connection, messages[half:]))
            batch = refuse(messages[0], f"cannot be stored: {error}")
            marks = store_batch(connection, batch, now, self._known_days)
        self.counts.readings += batch.reading_count
        self.counts.refused += len(batch.refused)
        return marks

    async def _look_for_gaps(self) -> None:
        """Leave an event for each site of which readings have been missing for long."""
        gap_watch = self.gap_watch
        if gap_watch is None:
            return

        def tell(connection: psycopg.Connection) -> None:
            now = self.now()
            events = [
                SiteEvent(site_id=SiteId(gap.site_id), at=now, kind=READINGS_MISSING,
                          detail=f"{gap.boot_id} {gap.first} {gap.last}")
                for gap in gap_watch.lasting(open_gaps(connection), time.monotonic())
            ]  # fmt: skip
            if events:
                store_batch(connection, Batch(events=events), now, self._known_days)
                _log.warning("readings are missing", extra={"worker": self.worker, "gaps": len(events)})

        with suppress(psycopg.OperationalError):
            await self._act(tell)

    async def _act(self, act: Callable[[psycopg.Connection], T]) -> T:
        """Do something with the database; if it is away, nothing else is tried for a moment.

        Raises:
            psycopg.OperationalError: It is away, or gave up on this transaction.
        """
        try:
            return await asyncio.to_thread(self._with_connection, act)
        except psycopg.OperationalError as error:
            self.counts.failures += 1
            self._try_again_s = time.monotonic() + self.settings.retry_after.total_seconds()
            _log.warning("database away, the batch is kept", extra={"error": str(error)})
            raise

    def _with_connection(self, act: Callable[[psycopg.Connection], T]) -> T:
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
            self._known_days.clear()
        try:
            return act(self._connection)
        except psycopg.OperationalError:
            self._connection.close()
            raise


def _messages(taken: Sequence[Taken]) -> list[Message]:
    return [each.message for each in taken]
