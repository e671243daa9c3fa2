"""Orders from the centre: judged one after the other, remembered on disk, then done, then acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, assert_never

from msgspec.structs import replace

from edge.envelope import Verified, encode_ack
from edge.gateway import roster
from edge.gateway.commands import DUTY_KINDS, Accept, FleetOrder, Refuse, Repeat, decide, decide_fleet
from edge.gateway.outbox import Urgent
from edge.gateway.uplink import FLEET_KEYS, FLEET_STOP, topic
from edge.gateway.view import site, standing
from edge.modbus.port import DeviceError
from edge.plan import Acknowledgement, AckVerdict, CommandKind, ModeBody
from telemetry.wire import StoredMessage, WireError, decode

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore

_log = logging.getLogger(__name__)
_MOST_WAITING: Final = 256
_REFUSALS_A_MINUTE: Final = 20  # events about bytes that prove nothing; more would help a flood


class Orders:
    """The queue of incoming messages of one core and what is done with each."""

    def __init__(self, core: GatewayCore, lock: asyncio.Lock) -> None:
        self._core = core
        self._lock = lock
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_MOST_WAITING)
        self._unknown_stop: bytes | None = None
        self._told: deque[datetime] = deque(maxlen=_REFUSALS_A_MINUTE)
        self._stored = topic(core.config.name, "stored")
        self._command = topic(core.config.name, "command")

    def on_message(self, name: str, payload: bytes) -> None:
        """Take a message in; called on the event loop."""
        if name == self._stored:
            try:
                self._core.outbox.confirm(decode(payload, StoredMessage).marks)
            except WireError as error:
                _log.warning("stored mark not readable", extra={"error": str(error)})
            return
        try:
            self._queue.put_nowait((name, payload))
        except asyncio.QueueFull:
            _log.warning("too many orders wait; one dropped", extra={"topic": name})

    async def run(self) -> None:
        """Work through the queue until cancelled."""
        while True:
            name, payload = await self._queue.get()
            async with self._lock:
                now = self._core.clock.now()
                if name == self._command:
                    await self.obey(payload, now)
                elif name == FLEET_STOP:
                    await self.obey_fleet(payload, now)
                elif name == FLEET_KEYS:
                    await self._take_keys(payload, now)
            self._queue.task_done()

    async def idle(self) -> None:
        """Return when the queue has been worked through."""
        await self._queue.join()

    async def obey(self, envelope: bytes, now: datetime) -> None:
        """Decide on one command and do it; the caller holds the lock."""
        core = self._core
        limits = core.island.limits(core.recorder.sample, now)
        decision = decide(
            envelope, core.memory.keys, standing(core, now), site(core, now), limits, now, core.fast
        )
        match decision:
            case Repeat():
                core.outbox.send(Urgent(leaf="ack", payload=encode_ack(decision.ack)))
            case Refuse():
                await self._refuse(decision, now)
            case Accept():
                await self._accept(decision.verified, envelope, now)
            case _:
                assert_never(decision)

    async def _refuse(self, refusal: Refuse, now: datetime) -> None:
        core = self._core
        if refusal.verified is None:
            while self._told and now - self._told[0] > timedelta(minutes=1):
                self._told.popleft()
            if len(self._told) < _REFUSALS_A_MINUTE:
                self._told.append(now)
                detail = f"{refusal.reason}: {refusal.detail}"[:200]
                core.outbox.event(now, "command_not_believed", detail)
            return
        ack = self._ack(refusal.verified, AckVerdict.REFUSED, refusal.reason, now)
        if refusal.spends_sequence:
            core.memory.note_sequence(refusal.verified.command.sequence)
            payload = core.memory.note_ack(ack)
            await core.memory.save(now)
        else:
            payload = encode_ack(ack)
        core.outbox.send(Urgent(leaf="ack", payload=payload))

    def _ack(
        self,
        verified: Verified,
        verdict: AckVerdict,
        reason: str,
        now: datetime,
        read_back_v: float | None = None,
    ) -> Acknowledgement:
        return Acknowledgement(
            site_id=self._core.config.name,
            command_id=verified.command.command_id,
            digest=verified.digest,
            verdict=verdict,
            reason=reason,
            at=now,
            read_back_v=read_back_v,
        )

    async def _accept(self, verified: Verified, envelope: bytes, now: datetime) -> None:
        """Remember, act, read back, acknowledge: in this order, so that a crash in between repeats nothing."""
        core = self._core
        command = verified.command
        out = self._replace_duties(verified, envelope, now)
        if isinstance(command.body, ModeBody):
            core.memory.held = replace(core.memory.held, mode=command.body.mode)
        core.memory.note_sequence(command.sequence)
        accepted = self._ack(verified, AckVerdict.ACCEPTED, "", now)
        core.memory.note_ack(accepted)
        core.memory.note_duties(core.duties)
        await core.memory.save(now)
        for duty in out:
            core.acknowledge(
                roster.say(
                    duty,
                    core.config.name,
                    now,
                    AckVerdict.SUPERSEDED,
                    f"by {command.command_id}",
                    limited_wh=duty.limited_wh,
                )
            )
            core.tell_account(duty, now)
        try:
            # Remembering takes time: what is done now stands on what is known now.
            read_back_v = await self._act(command.kind, bool(out), core.clock.now())
        except DeviceError as error:
            core.duties = tuple(duty for duty in core.duties if duty.command.command_id != command.command_id)
            await core.fail(now, str(error))
            final = self._ack(verified, AckVerdict.REFUSED, "device_fault", now)
        else:
            final = self._ack(verified, AckVerdict.ACCEPTED, "", core.clock.now(), read_back_v)
            ended = all(duty.command.command_id != command.command_id for duty in core.duties)
            if command.kind in DUTY_KINDS and ended:  # its last word was said
                core.tell_state(core.clock.now())
                return
        core.outbox.send(Urgent(leaf="ack", payload=core.memory.amend_ack(final)))
        core.tell_state(core.clock.now())

    def _replace_duties(self, verified: Verified, envelope: bytes, now: datetime) -> roster.Roster:
        """Change the roster as the command asks; return what it supersedes."""
        core = self._core
        command = verified.command
        if command.kind in DUTY_KINDS:
            fresh = roster.new_duty(verified, envelope, now, in_outage=core.condition.in_outage)
            core.duties, out = roster.take_on(core.duties, fresh)
            return out
        lowered = isinstance(command.body, ModeBody) and command.body.mode.value != "remote"
        if command.kind is CommandKind.RELEASE or lowered:
            out, core.duties = core.duties, ()
            return out
        return ()

    async def _act(self, kind: CommandKind, superseded: bool, now: datetime) -> float | None:
        """Write the first setpoint at once, without waiting for the next control step."""
        core = self._core
        sample = core.recorder.sample
        if sample is None:
            return None
        if kind in {CommandKind.RELEASE, CommandKind.MODE} and superseded:
            await core.float_now(now, "")
            return core.capabilities.float_v
        if kind in DUTY_KINDS:
            written_v = await core.act(sample, now)
            if written_v is not None:
                return written_v
        return sample.rectifier_set_v

    async def obey_fleet(self, envelope: bytes, now: datetime) -> None:
        """Obey a stop or a clear; a stop whose key is not known yet waits for the key set."""
        core = self._core
        decision = decide_fleet(envelope, core.memory.keys, core.memory.fleet, now)
        if isinstance(decision, FleetOrder):
            core.memory.note_fleet(decision.mark)
            await core.memory.save(now)
            if decision.mark.stopped and core.duties:
                await core.float_now(now, "fleet_stopped")
            core.outbox.event(now, "fleet_stopped" if decision.mark.stopped else "fleet_cleared")
            core.acknowledge(self._ack(decision.verified, AckVerdict.ACCEPTED, "", now))
            await core.memory.save(now)
            core.tell_state(now)
            return
        if decision.reason == "unknown_key":
            self._unknown_stop = envelope
        if decision.reason != "stale_sequence":  # a retained stop comes again with each connection
            await self._refuse(decision, now)

    async def _take_keys(self, envelope: bytes, now: datetime) -> None:
        core = self._core
        reason = core.memory.adopt_keys(envelope)
        if reason is None:
            await core.memory.save(now)
            core.outbox.event(now, "key_set", f"epoch {core.memory.keys.epoch}")
            waiting, self._unknown_stop = self._unknown_stop, None
            if waiting is not None:
                await self.obey_fleet(waiting, now)
        elif reason != "same_epoch":
            await self._refuse(Refuse(reason=f"key_set_{reason}"), now)
