"""The gateway's memory: what `state_file.py` keeps, changed in one place and on disk before anyone acts on it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from edge.envelope import KeySet, Unverified, decode_ack, encode_ack, verify_keys
from edge.gateway.commands import FleetMark
from edge.gateway.duty import Duty
from edge.gateway.state_file import MAX_ACKS, AckRecord, DutyRecord, Remembered
from edge.plan import Acknowledgement, CommandId


class Disk(Protocol):
    """Where a memory is kept; `edge.gateway.state_file.StateFile` is the real one."""

    def load(self) -> Remembered: ...

    def save(self, remembered: Remembered) -> None: ...


class Memory:
    """What outlives a restart. Setters change the copy in memory; `save` makes it durable."""

    def __init__(self, disk: Disk, root_public: bytes) -> None:
        self._disk = disk
        self._writing = asyncio.Lock()
        self.held = disk.load()
        self._root_public = root_public
        self.keys = KeySet(epoch=-1, keys=())
        if self.held.key_set is not None:
            self.adopt_keys(base64.b64decode(self.held.key_set))
        self._acks: dict[CommandId, Acknowledgement] = {}
        for record in self.held.acks:
            ack = decode_ack(record.payload.encode())
            self._acks[ack.command_id] = ack

    @property
    def acks(self) -> Mapping[CommandId, Acknowledgement]:
        """The last acknowledgement of each command that is remembered."""
        return self._acks

    @property
    def fleet(self) -> FleetMark:
        """The last fleet command obeyed."""
        return FleetMark(
            epoch=self.held.fleet_epoch,
            sequence=self.held.fleet_sequence,
            stopped=self.held.fleet_stopped,
        )

    async def save(self, now: datetime) -> None:
        """Make everything durable; returns after the fsync.

        Raises:
            StateFileError: The disk refuses: nothing may be done that is not remembered.
        """
        async with self._writing:
            self.held = replace(self.held, seen_at=now)
            await asyncio.to_thread(self._disk.save, self.held)

    def adopt_keys(self, envelope: bytes) -> str | None:
        """Take over a root-signed key set of a higher epoch; return why not, or None."""
        keys = verify_keys(envelope, self._root_public)
        if isinstance(keys, Unverified):
            return keys.reason
        if keys.epoch <= self.keys.epoch:
            return "same_epoch" if keys.epoch == self.keys.epoch else "older_epoch"
        self.keys = keys
        self.held = replace(self.held, key_set=base64.b64encode(envelope).decode())
        return None

    def note_sequence(self, sequence: int) -> None:
        self.held = replace(self.held, last_sequence=max(self.held.last_sequence, sequence))

    def note_fleet(self, mark: FleetMark) -> None:
        self.held = replace(
            self.held,
            fleet_epoch=mark.epoch,
            fleet_sequence=mark.sequence,
            fleet_stopped=mark.stopped,
        )

    def note_ack(self, ack: Acknowledgement) -> bytes:
        """Remember an acknowledgement, not yet sent, and return its bytes."""
        payload = encode_ack(ack)
        record = AckRecord(command_id=ack.command_id, payload=payload.decode())
        kept = (*self.held.acks, record)[-MAX_ACKS:]
        self.held = replace(self.held, acks=kept)
        self._acks[ack.command_id] = ack
        if len(self._acks) > MAX_ACKS:
            names = {record.command_id for record in kept}
            self._acks = {name: known for name, known in self._acks.items() if name in names}
        return payload

    def amend_ack(self, ack: Acknowledgement) -> bytes:
        """Replace the last acknowledgement of a command: what was remembered before acting, with the outcome."""
        kept = list(self.held.acks)
        index = max(n for n, record in enumerate(kept) if record.command_id == ack.command_id)
        del kept[index]
        self.held = replace(self.held, acks=tuple(kept))
        return self.note_ack(ack)

    def note_sent(self, payload: bytes) -> None:
        """Mark an acknowledgement as confirmed by the broker (durable with the next save)."""
        text = payload.decode()
        self.held = replace(
            self.held,
            acks=tuple(replace(r, sent=True) if r.payload == text else r for r in self.held.acks),
        )

    def unsent(self) -> list[bytes]:
        """Return the acknowledgements that the broker has not confirmed, oldest first."""
        return [record.payload.encode() for record in self.held.acks if not record.sent]

    def note_duties(self, duties: Iterable[Duty]) -> None:
        """Remember the commands in force."""
        self.held = replace(self.held, duties=tuple(_record(duty) for duty in duties))

    def discharged_wh(self, now: datetime) -> float:
        """Return the energy discharged in the UTC day of the instant, Wh."""
        return self.held.discharged_wh if self.held.day == now.date().isoformat() else 0.0

    def note_discharge(self, wh: float, now: datetime) -> None:
        """Add to the day's discharge (durable with the next save)."""
        total_wh = self.discharged_wh(now) + wh
        self.held = replace(self.held, day=now.date().isoformat(), discharged_wh=total_wh)


def _record(duty: Duty) -> DutyRecord:
    record = DutyRecord(
        envelope=base64.b64encode(duty.envelope).decode(),
        command_id=duty.command.command_id,
        digest=duty.digest,
        accepted_at=duty.accepted_at,
        limited_wh=round(duty.limited_wh, 3),
        limited_told=duty.limited_told,
        in_outage=duty.in_outage,
    )
    answer = duty.response
    if answer is None:
        return record
    return replace(
        record,
        triggered_at=answer.triggered_at,
        up_wh=round(answer.up_wh, 3),
        down_wh=round(answer.down_wh, 3),
        given_wh=round(answer.given_wh, 3),
        taken_wh=round(answer.taken_wh, 3),
    )
