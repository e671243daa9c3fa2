"""Hostile commands and, worked out independently of the gateway, what each must be answered.

The rule is what was signed by whom, for whom, for when, and which sequence came before.
"""

import base64
import json
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import digest_of, sign_command
from edge.plan import Command, CommandId, CommandKind, EmptyBody, ScheduleBody
from telemetry.model.site import SiteId

REPEATED = "repeated"  # the stored answer again
_REMEMBERED = (
    40  # commands whose answers a gateway surely still has: it keeps 64 answers, some two to a command
)


@dataclass(frozen=True, slots=True)
class Shot:
    """One hostile message and the answer that it must get: a reason, or `repeated`, or `accepted`."""

    kind: str
    envelope: bytes
    reason: str

    @property
    def digest(self) -> str:
        """The digest of the payload that the envelope carries."""
        return digest_of(base64.b64decode(json.loads(self.envelope)["payload_b64"]))


class Besieger:
    """Makes hostile commands and knows what each must be answered."""

    def __init__(
        self, site_id: SiteId, other: SiteId, keys: dict[str, Ed25519PrivateKey], luck: Random
    ) -> None:
        self.site_id = site_id
        self._other = other
        self._keys = keys
        self._luck = luck
        self._number = 0
        self.last_sequence = 0
        self.known: OrderedDict[str, bytes] = OrderedDict()  # command_id -> envelope: answers it still has
        self._honest: set[str] = set()
        self.forgotten: deque[bytes] = deque(maxlen=10_000)
        self.makers: tuple[Callable[[datetime], Shot], ...] = (
            self._tampered_payload,
            self._tampered_signature,
            self._borrowed_signature,
            self._not_an_envelope,
            self._stranger,
            self._old_key,
            self._replayed,
            self._replayed_late,
            self._reordered,
            self._same_name_other_bytes,
            self._expired,
            self._too_late,
            self._backwards,
            self._far_ahead,
            self._mis_addressed,
            self._fleet_order_here,
        )

    def command(self, now: datetime, step: int = 1) -> Command:
        """Return an honest command; a step of zero or less makes its sequence stale."""
        self._number += 1
        return Command(
            command_id=CommandId(f"c-{self._number}"),
            plan_id=None,
            site_id=self.site_id,
            sequence=max(0, self.last_sequence + step),
            accept_by=now + timedelta(minutes=1),
            not_before=now,
            valid_until=now + timedelta(hours=1),
            kind=CommandKind.SCHEDULE,
            body=ScheduleBody(start=now, step_s=900, setpoint_w=(-500.0, -500.0)),
        )

    def sign(self, command: Command, key: str = "good") -> bytes:
        """Return a command's envelope."""
        return sign_command(command, key, self._keys[key])[0]

    def _spent(self, kind: str, command: Command, reason: str) -> Shot:
        """Return a shot that is fresh and well addressed: its refusal is remembered, its sequence spent."""
        envelope = self.sign(command)
        self.note(command, envelope)
        return Shot(kind, envelope, reason)

    def note(self, command: Command, envelope: bytes, *, honest: bool = False) -> None:
        """Remember what the gateway remembers."""
        if honest:
            self._honest.add(command.command_id)
        self.last_sequence = command.sequence
        self.known[command.command_id] = envelope
        while len(self.known) > _REMEMBERED:
            name, old = self.known.popitem(last=False)
            if name not in self._honest:  # what was accepted is spoken of again when it is superseded
                self.forgotten.append(old)

    def _parts(self, now: datetime) -> dict[str, object]:
        parts: dict[str, object] = json.loads(self.sign(self.command(now)))
        return parts

    def _tampered_payload(self, now: datetime) -> Shot:
        parts = self._parts(now)
        payload = base64.b64decode(str(parts["payload_b64"]))
        grown = (
            payload.replace(b"-500", b"-5000", 1) if self._luck.random() < 0.5 else _flip(payload, self._luck)
        )
        parts["payload_b64"] = base64.b64encode(grown).decode()
        return Shot("tampered", json.dumps(parts).encode(), "bad_signature")

    def _tampered_signature(self, now: datetime) -> Shot:
        parts = self._parts(now)
        signature = _flip(base64.b64decode(str(parts["signature"])), self._luck)
        parts["signature"] = base64.b64encode(signature).decode()
        return Shot("tampered", json.dumps(parts).encode(), "bad_signature")

    def _borrowed_signature(self, now: datetime) -> Shot:
        parts = self._parts(now)
        parts["signature"] = self._parts(now)["signature"]
        return Shot("tampered", json.dumps(parts).encode(), "bad_signature")

    def _not_an_envelope(self, now: datetime) -> Shot:
        whole = self.sign(self.command(now))
        parts = self._parts(now)
        choice = self._luck.randrange(4)
        if choice == 0:
            envelope = whole[: self._luck.randrange(1, len(whole) - 1)]
        elif choice == 1:
            envelope = self._luck.randbytes(self._luck.randrange(1, 400))
        elif choice == 2:
            envelope = json.dumps(parts | {"and": "more"}).encode()
        else:
            envelope = json.dumps(parts | {"v": 99}).encode()
        return Shot("tampered", envelope, "malformed")

    def _stranger(self, now: datetime) -> Shot:
        return Shot("tampered", self.sign(self.command(now), "stranger"), "unknown_key")

    def _old_key(self, now: datetime) -> Shot:
        return Shot("expired", self.sign(self.command(now), "old"), "key_expired")

    def _replayed(self, now: datetime) -> Shot:
        del now
        envelope = self._luck.choice(tuple(self.known.values()))
        return Shot("replayed", envelope, REPEATED)

    def _replayed_late(self, now: datetime) -> Shot:
        """Return bytes so old that their answer is forgotten: their sequence is spent for good."""
        older = len(self.forgotten) - _REMEMBERED
        if older <= 0:
            return self._replayed(now)
        return Shot("replayed", self.forgotten[self._luck.randrange(older)], "stale_sequence")

    def _reordered(self, now: datetime) -> Shot:
        late = self.command(now, step=-self._luck.randrange(0, 50))
        return Shot("reordered", self.sign(late), "stale_sequence")

    def _same_name_other_bytes(self, now: datetime) -> Shot:
        name = self._luck.choice(tuple(self.known))
        other = replace(self.command(now, step=0), command_id=CommandId(name))
        return Shot("replayed", self.sign(other), "stale_sequence")

    def _expired(self, now: datetime) -> Shot:
        command = self.command(now - timedelta(hours=2))
        return self._spent("expired", replace(command, accept_by=now + timedelta(minutes=1)), "expired")

    def _too_late(self, now: datetime) -> Shot:
        command = replace(self.command(now), accept_by=now - timedelta(seconds=self._luck.randrange(1, 600)))
        return self._spent("expired", command, "too_late")

    def _backwards(self, now: datetime) -> Shot:
        command = self.command(now)
        over = ScheduleBody(start=now - timedelta(hours=1), step_s=900, setpoint_w=(-500.0,))
        return self._spent("expired", replace(command, body=over), "window_unsound")

    def _far_ahead(self, now: datetime) -> Shot:
        far = now + timedelta(days=30)
        body = ScheduleBody(start=far, step_s=900, setpoint_w=(-500.0,))
        command = replace(self.command(now), not_before=far, valid_until=far + timedelta(hours=1), body=body)
        return self._spent("expired", command, "too_far_ahead")

    def _mis_addressed(self, now: datetime) -> Shot:
        return Shot("misaddressed", self.sign(replace(self.command(now), site_id=self._other)), "wrong_site")

    def _fleet_order_here(self, now: datetime) -> Shot:
        kind = self._luck.choice((CommandKind.STOP, CommandKind.CLEAR))
        order = replace(self.command(now), site_id=None, kind=kind, body=EmptyBody())
        return Shot("misaddressed", self.sign(order), "wrong_site")


def _flip(raw: bytes, luck: Random) -> bytes:
    at = luck.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << luck.randrange(8))]) + raw[at + 1 :]
