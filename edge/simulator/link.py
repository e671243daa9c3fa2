"""A radio link between a gateway and the broker: delayed, losing, cut. TLS passes through it untouched.

`LinkProxy` stands between the two as a TCP proxy, so that what a cut does is done by real sockets. `DoublingUplink` is
what TCP cannot do: messages that come twice, as a QoS 1 redelivery does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from edge.gateway.uplink import Uplink

_CHUNK = 65_536


@dataclass(slots=True, kw_only=True)
class LinkFaults:
    """What a site's link does to what is sent over it, each way.

    TCP hides loss: a lost segment comes after the retransmission time-out, which starts at `retransmit_s` and doubles
    (RFC 6298: 1 s), and what was sent behind it waits.

    Attributes:
        delay_s: Mean of a normal delay, cut at zero.
        spread_s: Its standard deviation.
        loss: Share of segments lost.
        duplicates: Share of messages that come twice (`DoublingUplink`).
    """

    delay_s: float = 0.0
    spread_s: float = 0.0
    loss: float = 0.0
    retransmit_s: float = 1.0
    duplicates: float = 0.0
    _cut: bool = False
    _hole: bool = False
    _watchers: list[Callable[[], None]] = field(default_factory=list)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have something called whenever the link is cut or mended."""
        self._watchers.append(changed)

    @property
    def cut(self) -> bool:
        """Connections break and none can be made."""
        return self._cut

    @cut.setter
    def cut(self, value: bool) -> None:
        self._cut = value
        self._tell()

    @property
    def hole(self) -> bool:
        """Bytes vanish and nobody is told, as when a radio falls silent."""
        return self._hole

    @hole.setter
    def hole(self, value: bool) -> None:
        self._hole = value
        self._tell()

    def _tell(self) -> None:
        for changed in self._watchers:
            changed()

    def wait_s(self, luck: Random) -> float:
        """Return how long the next segment is on its way."""
        wait_s, again_s = max(0.0, luck.gauss(self.delay_s, self.spread_s)), self.retransmit_s
        while self.loss > 0.0 and luck.random() < self.loss:
            wait_s, again_s = wait_s + again_s, 2.0 * again_s
        return wait_s


@dataclass(slots=True)
class _Way:
    """One direction of one connection: what comes later does not overtake."""

    writer: asyncio.StreamWriter
    free_s: float = 0.0
    waiting: deque[bytes] = field(default_factory=deque)
    lost: bool = False


class LinkProxy:
    """A TCP proxy to the broker for one site, on 127.0.0.1."""

    def __init__(self, host: str, port: int, faults: LinkFaults, luck: Random) -> None:
        self._target = (host, port)
        self._faults = faults
        self._luck = luck
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0
        faults.watch(self._changed)

    async def start(self) -> int:
        """Listen on a free port and return it."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
            self._break()
            if self._carrying:
                await asyncio.wait(self._carrying)
            await self._server.wait_closed()
            self._server = None

    @property
    def connections(self) -> int:
        """How many connections stand, both ends counted."""
        return len(self._open)

    def _changed(self) -> None:
        if self._faults.cut:
            self._break()

    def _break(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        if self._faults.cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        pumps = {
            asyncio.create_task(self._pump(reader, _Way(far_writer))),
            asyncio.create_task(self._pump(far_reader, _Way(writer))),
        }
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, far_writer):
            each.transport.abort()
        await asyncio.wait(pumps)
        self._open -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, way: _Way) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._faults.hole:
                    way.lost = True
                    continue
                if way.lost:  # a stream with a gap is worth nothing: TCP would have given up on it
                    return
                way.free_s = max(way.free_s, monotonic() + self._faults.wait_s(self._luck))
                way.waiting.append(data)
                left_s = way.free_s - monotonic()
                if left_s <= 0.0 and len(way.waiting) == 1:
                    self._write(way)
                else:
                    loop.call_later(left_s, self._write, way)
        # A goodbye that is still on its way is said before the connection ends.
        while way.waiting and not way.lost:  # noqa: ASYNC110 (the loop's own callbacks empty it)
            await asyncio.sleep(max(0.001, way.free_s - monotonic()))

    def _write(self, way: _Way) -> None:
        data = way.waiting.popleft()
        if self._faults.hole:
            way.lost = True
        elif not (way.lost or way.writer.transport.is_closing()):
            way.writer.write(data)


class DoublingUplink:
    """An uplink over which a share of the messages comes twice, each way."""

    def __init__(self, inner: Uplink, faults: LinkFaults, luck: Random) -> None:
        self._inner = inner
        self._faults = faults
        self._luck = luck
        self.doubled = 0

    @property
    def connected(self) -> bool:
        return self._inner.connected

    def _times(self) -> int:
        if self._faults.duplicates > 0.0 and self._luck.random() < self._faults.duplicates:
            self.doubled += 1
            return 2
        return 1

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        def again(name: str, payload: bytes) -> None:
            for _ in range(self._times()):
                on_message(name, payload)

        self._inner.listen(again, on_connected)

    async def open(self) -> None:
        await self._inner.open()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        for _ in range(self._times()):
            await self._inner.publish(topic, payload, retain=retain)

    async def close(self) -> None:
        await self._inner.close()
