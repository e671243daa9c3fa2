"""Tells people: looks at what stands, keeps what is due in the outbox, sends what the outbox holds. Runs beside the API."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from telemetry.model.incident import Severity
from tools.notify.occasion import Occasion
from tools.notify.outbox_store import Claimed, NoticeRow, Outbox, Sending
from tools.notify.rules import due
from tools.notify.sender import Courier, Tested, send_test
from tools.notify.settings import NotifySettings, NotifySettingsError

_log = logging.getLogger(__name__)
_IN_DOUBT = "(Sent again: whether the first attempt arrived is not known.)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A target as it may be shown: no address, no secret."""

    name: str
    scheme: str
    at_least: Severity
    kinds: tuple[str, ...]  # empty: all
    quiet: bool
    direct: bool
    escalation_after_min: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the notifier works; wall time.

    Attributes:
        every: Between two looks when nobody wakes it.
        lease: For how long a message being sent belongs to this process.
        most: Messages sent at the same time.
        first_wait: Before a second attempt; doubled with each.
        attempts: After so many a message has failed.
    """

    every: timedelta = timedelta(seconds=5)
    lease: timedelta = timedelta(seconds=90)
    most: int = 8
    first_wait: timedelta = timedelta(seconds=10)
    attempts: int = 8


@dataclass(slots=True, kw_only=True)
class Notifier:
    """Tells people until stopped.

    Attributes:
        outbox: Where messages are kept.
        occasions: What stands at a domain instant, incidents and plans that wait.
        settings: Reads the notification file afresh, None where there is none.
        now: Domain time: quiet hours and escalation.
        wall: Wall time: attempts.
    """

    outbox: Outbox
    occasions: Callable[[datetime], Awaitable[Sequence[Occasion]]]
    settings: Callable[[], NotifySettings | None]
    now: Callable[[], datetime]
    wall: Callable[[], datetime]
    courier: Courier = field(default_factory=Courier)
    pace: Pace = field(default_factory=Pace)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _complaint: str = ""

    async def run(self) -> None:
        """Look again and again until cancelled; a database that is away is waited for."""
        try:
            while True:
                try:
                    await self.look()
                except (OperationalError, PoolTimeout):
                    _log.warning("the database is away; messages wait")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.pace.every.total_seconds()):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            self.courier.close()

    def wake(self) -> None:
        """Look soon: an incident changed."""
        self._wake.set()

    async def look(self) -> int:
        """Make what is due, send what waits, and return how many messages were sent."""
        settings = self._settings()
        if settings is None or not settings.target:
            return 0
        now = self.now()
        standing = await self.occasions(now)
        told = await self.outbox.told([one.subject_id for one in standing])
        messages = due(standing, told, settings, now)
        await self.outbox.put(messages, at=now, wall=self.wall())
        return await self._send(settings, {one.subject_id for one in standing})

    async def _send(self, settings: NotifySettings, standing: set[str]) -> int:
        sent = 0
        while True:
            wall = self.wall()
            claimed = await self.outbox.claim(wall=wall, until=wall + self.pace.lease, most=self.pace.most)
            if not claimed:
                return sent
            sent += sum(await asyncio.gather(*(self._one(settings, each, standing) for each in claimed)))

    async def _one(self, settings: NotifySettings, claimed: Claimed, standing: set[str]) -> bool:
        """Send one claimed message and mark it; True where it was taken."""
        message = claimed.message
        target = settings.named(message.target)
        if target is None or not standing.intersection(message.subject_ids):
            why = "no such target any more" if target is None else "over before it could be sent"
            await self.outbox.settle(message.message_id, Sending.WITHDRAWN, wall=self.wall(), outcome=why)
            return False
        result = await self.courier.send(
            target,
            title=message.title,
            body=f"{message.body}\n{_IN_DOUBT}" if claimed.in_doubt else message.body,
            link=message.link,
            severity=message.severity,
            message_id=message.message_id,
        )
        wall = self.wall()
        if result.ok:
            await self.outbox.settle(message.message_id, Sending.SENT, wall=wall, outcome=result.detail)
        elif claimed.attempt >= self.pace.attempts:
            await self.outbox.settle(message.message_id, Sending.FAILED, wall=wall, outcome=result.detail)
            _log.error("a message could not be sent", extra={"target": message.target})
        else:
            wait = self.pace.first_wait * 2 ** (claimed.attempt - 1)
            await self.outbox.put_off(message.message_id, until=wall + wait, outcome=result.detail)
        return result.ok

    def _settings(self) -> NotifySettings | None:
        """Return the file's settings; a file that cannot be used is complained about once, and nobody is told."""
        try:
            found = self.settings()
        except NotifySettingsError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("nobody is told anything", extra={"why": self._complaint})
            return None
        self._complaint = ""
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyDesk:
    """What the API shows of notifications, and its test button."""

    outbox: Outbox
    settings: Callable[[], NotifySettings | None]
    courier: Courier

    def targets(self) -> tuple[TargetView, ...]:
        """Return the targets without their secrets.

        Raises:
            NotifySettingsError: The file cannot be used; the message holds no secret.
        """
        return target_views(self.settings())

    async def recent(self, limit: int, *, before: tuple[datetime, str] | None = None) -> list[NoticeRow]:
        """Return messages, the newest first."""
        return await self.outbox.recent(limit, before=before)

    async def about(self, subject_id: str) -> list[NoticeRow]:
        """Return who was told of an incident or plan, and how that went."""
        return await self.outbox.about(subject_id)

    async def test(self, name: str | None = None) -> tuple[Tested, ...]:
        """Send a test message to one target or to all.

        Raises:
            KeyError: There is no target of that name.
            NotifySettingsError: The file cannot be used.
        """
        settings = self.settings()
        if settings is None:
            raise NotifySettingsError("there is no notification file; `cellwatt notify init` writes one")
        return await send_test(settings, self.courier, name=name)


def target_views(settings: NotifySettings | None) -> tuple[TargetView, ...]:
    """Return what may be shown of a file's targets."""
    if settings is None:
        return ()
    return tuple(
        TargetView(
            name=one.name,
            scheme=one.scheme,
            at_least=one.at_least,
            kinds=tuple(sorted(one.kinds or ())),
            quiet=one.quiet and settings.quiet is not None,
            direct=one.direct,
            escalation_after_min=tuple(step.after_min for step in settings.escalation if step.to == one.name),
        )
        for one in settings.target
    )
