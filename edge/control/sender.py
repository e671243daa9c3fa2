"""Sends the outbox: paced, spread over feeders, the same bytes again until a site answers or its time is over."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from edge.control.command_store import CommandStore, OpenCommand
from edge.control.ports import ControlSettings, Publish, Topics, domain_time
from edge.plan import CommandId
from telemetry.model.clock import Clock
from telemetry.mqtt import BacklogFullError

_log = logging.getLogger(__name__)
_UNPACED = frozenset(
    {"release"}
)  # a return to float of all sites at once is what every plan was checked against


def spread(commands: Iterable[OpenCommand]) -> list[OpenCommand]:
    """Return the commands in the order to send them: releases first, then one of each feeder in turn."""
    place: dict[object, int] = defaultdict(int)
    keyed: list[tuple[bool, int, int, OpenCommand]] = []
    for number, command in enumerate(commands):
        paced = command.kind not in _UNPACED
        turn = place[(paced, command.feeder_id)]
        place[(paced, command.feeder_id)] += 1
        keyed.append((paced, turn, number, command))
    return [command for _, _, _, command in sorted(keyed, key=lambda one: one[:3])]


def retry_delay(settings: ControlSettings, sendings: int) -> timedelta:
    """Return how long to wait for an answer after so many sendings: doubling to a cap, wall time."""
    return min(settings.longest_retry, settings.first_retry * (1 << min(max(sendings - 1, 0), 20)))


@dataclass(slots=True, kw_only=True)
class _Sending:
    """What this process knows of a command beyond the table: how often it sent it, and when to send it again."""

    times: int
    again_at_s: float
    task: asyncio.Task[None]


class Sender:
    """Keeps sending what is open. A restart begins with an empty memory: everything open is sent at once again."""

    def __init__(
        self,
        store: CommandStore,
        publish: Publish,
        clock: Clock,
        settings: ControlSettings,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._publish = publish
        self._clock = clock
        self._settings = settings
        self._monotonic_s = monotonic_s
        self._topics = Topics()
        self._sendings: dict[CommandId, _Sending] = {}
        self._wake = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """Look at the outbox now."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the present round: a cancellation that a library swallows must not keep us."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Send until stopped or cancelled."""
        try:
            while not self._stopped:
                self._wake.clear()
                await self._round()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.look_every.total_seconds()):
                        await self._wake.wait()
        finally:
            for sending in self._sendings.values():
                sending.task.cancel()

    async def _round(self) -> None:
        """Send what is due, give up what is overdue."""
        commands = await self._store.open_commands()
        known = {command.command_id for command in commands}
        for command_id in [name for name in self._sendings if name not in known]:
            self._sendings.pop(command_id).task.cancel()
        for command in spread(commands):
            now = self._clock.now()
            if now > command.accept_by + domain_time(self._clock, self._settings.grace):
                await self._give_up(command)
            elif now <= command.accept_by and self._due(command):
                self._send(command)
                if command.kind not in _UNPACED:
                    await asyncio.sleep(1.0 / self._settings.sends_per_s)
            if self._wake.is_set():  # there is something new, perhaps a release: look again before going on
                return

    def _due(self, command: OpenCommand) -> bool:
        sending = self._sendings.get(command.command_id)
        return sending is None or (sending.task.done() and self._monotonic_s() >= sending.again_at_s)

    def _send(self, command: OpenCommand) -> None:
        last = self._sendings.get(command.command_id)
        if last is not None and not last.task.cancelled() and (error := last.task.exception()) is not None:
            raise error
        times = 1 if last is None else last.times + 1
        self._sendings[command.command_id] = _Sending(
            times=times,
            again_at_s=self._monotonic_s() + retry_delay(self._settings, times).total_seconds(),
            task=asyncio.get_running_loop().create_task(self._deliver(command)),
        )

    async def _deliver(self, command: OpenCommand) -> None:
        envelope = await self._store.envelope(command.command_id)
        if envelope is None:  # answered, aborted or superseded since
            return
        try:
            await self._publish(self._topics.command(command.site_id), envelope)
        except BacklogFullError as error:
            _log.warning("the broker is behind, a command waits", extra={"error": str(error)})
            return
        await self._store.mark_sent(command.command_id, self._clock.now())

    async def _give_up(self, command: OpenCommand) -> None:
        sending = self._sendings.pop(command.command_id, None)
        if sending is not None:
            sending.task.cancel()
        await self._store.mark_missing(command, self._clock.now())
        _log.warning(
            "no answer to a command",
            extra={
                "site_id": command.site_id,
                "command_id": command.command_id,
                "attempts": command.attempts,
            },
        )
