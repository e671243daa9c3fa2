"""One database connection that listens for everybody: whoever streams waits here for what concerns it."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

THREAD_EVENT = "thread_event"
CHANNELS = (
    THREAD_EVENT,
    "plan",
    "approval",
    "dispatch_outcome",
    "acknowledgement",
    "control_request",
    "incident",
    "fleet_mode",
)
_log = logging.getLogger(__name__)
_AGAIN_S = 1.0
_MOST_WAITING = 1000


@dataclass(slots=True)
class NoticeHub:
    """Hands notifications to waiters.

    A notice is a hint to look. After a lost connection every waiter is woken, since a notice may have been missed.
    """

    connect: Callable[[], Awaitable[psycopg.AsyncConnection]]
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _waiters: dict[tuple[str, str], set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))
    _queues: set["asyncio.Queue[tuple[str, str]]"] = field(default_factory=set)

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with await self.connect() as connection:
                    for channel in CHANNELS:
                        await connection.execute(f"LISTEN {channel}".encode())
                    self._wake_all()
                    async for notice in connection.notifies():
                        self._hand_out(notice.channel, notice.payload)
            except psycopg.OperationalError as error:
                _log.warning("the database does not notify", extra={"error": str(error)[:200]})
            await asyncio.sleep(_AGAIN_S)

    def close(self) -> None:
        """Let every stream end."""
        self.closing.set()
        self._wake_all()

    @asynccontextmanager
    async def waiting(self, channel: str, payload: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set whenever this is notified; clear it before looking."""
        woken = asyncio.Event()
        self._waiters[channel, payload].add(woken)
        try:
            yield woken
        finally:
            mine = self._waiters[channel, payload]
            mine.discard(woken)
            if not mine:
                del self._waiters[channel, payload]

    @asynccontextmanager
    async def everything(self) -> AsyncIterator["asyncio.Queue[tuple[str, str]]"]:
        """Give a queue of all notices, channel and payload; a slow reader loses the oldest."""
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_MOST_WAITING)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def _hand_out(self, channel: str, payload: str) -> None:
        for woken in self._waiters.get((channel, payload), ()):
            woken.set()
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait((channel, payload))

    def _wake_all(self) -> None:
        for waiters in self._waiters.values():
            for woken in waiters:
                woken.set()
