"""Everything that leaves the site: telemetry with its buffer, state, events and acknowledgements.

Live telemetry, urgent messages and the backlog after an outage have a task each, so that none waits for another.
The backlog goes oldest first and rate-limited. What was sent but not reported `stored` is sent again, from the
oldest, after a while that doubles as long as nothing is confirmed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from edge.gateway.buffer import Buffer, Lost, Stored
from edge.gateway.config import Pacing
from edge.gateway.uplink import Uplink, UplinkError, topic
from telemetry.model.reading import Reading, SiteState
from telemetry.model.site import SiteId
from telemetry.wire import VERSION, EventMessage, StateMessage, encode, telemetry_message

_MOST_URGENT: Final = 1000
_PAGE: Final = 20
_LONGEST_RESEND_S: Final = 1800.0


def offline_state(site_id: SiteId, at: datetime, last_sequence: int, firmware: str) -> bytes:
    """Return the last will: the retained state of a site whose link broke."""
    return encode(
        StateMessage(
            v=VERSION,
            site_id=site_id,
            at=at,
            online=False,
            state=SiteState.OFFLINE,
            local_lock=False,
            last_sequence=max(0, last_sequence),
            firmware=firmware,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgent:
    """One message that does not wait for the ten-second rhythm."""

    leaf: str
    payload: bytes
    retain: bool = False


class Outbox:
    """A site's outgoing messages."""

    def __init__(
        self,
        site_id: SiteId,
        boot_id: str,
        uplink: Uplink,
        buffer: Buffer,
        pacing: Pacing,
        on_sent: Callable[[Urgent], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site_id = site_id
        self._boot_id = boot_id
        self._uplink = uplink
        self._buffer = buffer
        self._pacing = pacing
        self._on_sent = on_sent
        self._monotonic = monotonic
        self._urgent: deque[Urgent] = deque()
        self._live: deque[Stored] = deque()
        self._in_flight: set[int] = set()
        self._sent: set[int] = set()
        self._cursor = 0
        self._lost: Lost | None = None
        self._lost_report: Urgent | None = None
        self._progress_s = monotonic()
        self._held_until_s = monotonic()
        self._urgent_waits = asyncio.Event()
        self._live_waits = asyncio.Event()
        self._backlog_waits = asyncio.Event()

    # -- in ------------------------------------------------------------------------------------------

    def keep(self, readings: tuple[Reading, ...]) -> Lost | None:
        """Buffer a message of readings and send it live; returns what the bound pushed out."""
        payload = encode(telemetry_message(readings), compress=True)
        first, last = readings[0].sequence, readings[-1].sequence
        message = Stored(row=0, boot_id=self._boot_id, first=first, last=last, payload=payload)
        row, lost = self._buffer.add(self._site_id, message)
        self._in_flight.add(row)
        if len(self._live) == _PAGE:
            self._in_flight.discard(self._live.popleft().row)
        self._live.append(Stored(row=row, boot_id=self._boot_id, first=first, last=last, payload=payload))
        self._live_waits.set()
        return lost

    def send(self, urgent: Urgent) -> None:
        """Send at once, or when the link is back; a newer state replaces one that still waits."""
        if urgent.leaf == "state":
            self._urgent = deque(waiting for waiting in self._urgent if waiting.leaf != "state")
        if len(self._urgent) >= _MOST_URGENT:
            self._urgent.popleft()
        self._urgent.append(urgent)
        self._urgent_waits.set()

    def hold_back(self, seconds: float) -> None:
        """Let urgent messages wait for a moment, and keep their order."""
        self._held_until_s = self._monotonic() + seconds

    def send_state(self, payload: bytes) -> None:
        """Publish the retained state."""
        self.send(Urgent(leaf="state", payload=payload, retain=True))

    def event(self, at: datetime, kind: str, detail: str = "") -> None:
        """Report an alarm or a change at once."""
        message = EventMessage(v=VERSION, site_id=self._site_id, at=at, kind=kind, detail=detail)
        self.send(Urgent(leaf="event", payload=encode(message)))

    def lost(self, at: datetime, lost: Lost) -> None:
        """Say which readings the buffer's bound pushed out; what adjoins a report that still waits is added to it.

        Without that a long cut would make more reports than the queue of urgent messages holds.
        """
        before, waiting = self._lost, self._lost_report
        still = waiting is not None and any(urgent is waiting for urgent in self._urgent)
        if still and before is not None and (before.boot_id, before.last + 1) == (lost.boot_id, lost.first):
            self._urgent = deque(urgent for urgent in self._urgent if urgent is not waiting)
            lost = replace(lost, first=before.first)
        detail = f"{lost.boot_id} {lost.first} {lost.last}"
        self.event(at, "readings_lost", detail)
        self._lost, self._lost_report = lost, self._urgent[-1]

    def confirm(self, marks: Mapping[str, int]) -> int:
        """Forget what the centre has stored; returns how many messages."""
        gone = self._buffer.confirm(self._site_id, marks)
        if gone:
            self._progress_s = self._monotonic()
            self._backlog_waits.set()
        return gone

    def connected(self) -> None:
        """Start over with everything that is not confirmed."""
        self._sent.clear()
        self._cursor = 0
        self._progress_s = self._monotonic()
        for waits in (self._urgent_waits, self._live_waits, self._backlog_waits):
            waits.set()

    # -- out -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_urgent())
            group.create_task(self._run_live())
            group.create_task(self._run_backlog())

    async def _publish(self, leaf: str, payload: bytes, *, retain: bool = False) -> bool:
        if not self._uplink.connected:
            return False
        try:
            await self._uplink.publish(topic(self._site_id, leaf), payload, retain=retain)
        except UplinkError:
            return False
        return True

    async def _run_urgent(self) -> None:
        while True:
            await self._urgent_waits.wait()
            self._urgent_waits.clear()
            if (left_s := self._held_until_s - self._monotonic()) > 0.0:
                await asyncio.sleep(left_s)
            while self._urgent:
                head = self._urgent[0]
                if not await self._publish(head.leaf, head.payload, retain=head.retain):
                    break  # `connected` wakes us
                if self._urgent and self._urgent[0] is head:
                    self._urgent.popleft()
                self._on_sent(head)
            if self._urgent and self._uplink.connected:
                await asyncio.sleep(0.2)  # the broker did not confirm in time though the link is up
                self._urgent_waits.set()

    async def _run_live(self) -> None:
        while True:
            await self._live_waits.wait()
            self._live_waits.clear()
            while self._live:
                message = self._live.popleft()
                if await self._publish("telemetry", message.payload):
                    self._sent.add(message.row)
                self._in_flight.discard(message.row)
                self._backlog_waits.set()

    async def _run_backlog(self) -> None:
        patience_s = self._pacing.resend_after_s
        self._progress_s = self._monotonic()
        while True:
            whole = await self._send_page()
            if whole:
                continue
            await self._wait(min(patience_s, 5.0))
            quiet_s = self._monotonic() - self._progress_s
            if quiet_s < self._pacing.resend_after_s or not self._buffer.count(self._site_id):
                patience_s = self._pacing.resend_after_s
            elif quiet_s >= patience_s and self._uplink.connected:
                patience_s = min(2.0 * patience_s, _LONGEST_RESEND_S)
                self._progress_s = self._monotonic() - self._pacing.resend_after_s
                self._sent.clear()
                self._cursor = 0

    async def _send_page(self) -> bool:
        """Send the oldest unsent messages, in order; return whether there is more to do at once."""
        page = self._buffer.after(self._site_id, self._cursor, _PAGE) if self._uplink.connected else []
        for message in page:
            if message.row in self._in_flight:
                return False
            if message.row not in self._sent:
                if not await self._publish("telemetry", message.payload):
                    return False
                await asyncio.sleep(1.0 / self._pacing.backlog_per_s)
            self._sent.discard(message.row)
            self._cursor = max(self._cursor, message.row)
        return len(page) == _PAGE

    async def _wait(self, longest_s: float) -> None:
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._backlog_waits.wait()
        self._backlog_waits.clear()
