"""What is signed: commands and key sets, byte for byte.

A command travels as `{v, key_id, payload_b64, signature}`: Ed25519 over exactly the payload's bytes. The keys that a
gateway believes come in a key set that the root key signed, so that signing keys rotate without touching a site.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.plan import (
    Acknowledgement,
    AckVerdict,
    Command,
    CommandBody,
    CommandId,
    CommandKind,
    ControlBounds,
    EmptyBody,
    GridReserve,
    ModeBody,
    PlanId,
    ScheduleBody,
)
from telemetry.model.site import SiteId, SiteMode
from telemetry.wire import VERSION, AckMessage, AwareInstant, Count, Name, Wire, WireError, decode, encode

_CONTEXT_KEYS = b"cellwatt key set v1\n"  # a root signature can never be taken for anything else
_FLEET_KINDS = frozenset({CommandKind.STOP, CommandKind.CLEAR})


class SignedWire(Wire, frozen=True):
    """The envelope around a command or a key set."""

    v: int
    key_id: Name
    payload_b64: str
    signature: str


class ScheduleWire(Wire, frozen=True):
    start: AwareInstant
    step_s: Annotated[int, msgspec.Meta(ge=1, le=3600)]
    setpoint_w: Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=384)]


class ReserveWire(Wire, frozen=True):
    product: Name
    up_w: float
    down_w: float
    droop_hz: float
    dead_band_hz: float
    activation_s: float
    energy_wh: float


class BoundsWire(Wire, frozen=True):
    min_w: float
    max_w: float
    grid_import_limit_w: float


class ModeWire(Wire, frozen=True):
    mode: SiteMode


class EmptyWire(Wire, frozen=True):
    pass


class PayloadWire(Wire, frozen=True):
    """The payload that is signed."""

    v: int
    command_id: Name
    plan_id: Name | None
    site_id: Name | None
    sequence: Count
    accept_by: AwareInstant
    not_before: AwareInstant
    valid_until: AwareInstant
    kind: CommandKind
    body: msgspec.Raw


class KeyWire(Wire, frozen=True):
    key_id: Name
    public_b64: str
    not_before: AwareInstant
    not_after: AwareInstant


class KeySetWire(Wire, frozen=True):
    """`cbs/v1/fleet/keys`, inside a `SignedWire` whose key_id is `root`."""

    v: int
    epoch: Count
    keys: Annotated[tuple[KeyWire, ...], msgspec.Meta(min_length=1, max_length=16)]


_BODY_WIRE: dict[CommandKind, tuple[type[Wire], type[Any]]] = {
    CommandKind.SCHEDULE: (ScheduleWire, ScheduleBody),
    CommandKind.GRID_RESERVE: (ReserveWire, GridReserve),
    CommandKind.BOUNDS: (BoundsWire, ControlBounds),
    CommandKind.MODE: (ModeWire, ModeBody),
    CommandKind.RELEASE: (EmptyWire, EmptyBody),
    CommandKind.TEST: (EmptyWire, EmptyBody),
    CommandKind.STOP: (EmptyWire, EmptyBody),
    CommandKind.CLEAR: (EmptyWire, EmptyBody),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that may sign commands while `not_before <= now < not_after`."""

    key_id: str
    public: bytes
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The signing keys that the root vouches for; a higher epoch replaces a lower one."""

    epoch: int
    keys: tuple[SigningKey, ...]

    def find(self, key_id: str) -> SigningKey | None:
        """Return the key of that name."""
        return next((key for key in self.keys if key.key_id == key_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A command whose signature holds, with the digest of its payload."""

    command: Command
    digest: str
    key_id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """Why an envelope is not believed: `malformed`, `unknown_key`, `key_expired` or `bad_signature`."""

    reason: str
    detail: str


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 public bytes of a private key."""
    return key.public_key().public_bytes_raw()


def payload_bytes(command: Command) -> bytes:
    """Return the bytes that are signed.

    Raises:
        TypeError: The body does not fit the kind.
        ValueError: A fleet command names a site, or a site command names none.
    """
    wire_type, body_type = _BODY_WIRE[command.kind]
    if not isinstance(command.body, body_type):
        raise TypeError(f"a {command.kind} command cannot carry {type(command.body).__name__}")
    if (command.site_id is None) != (command.kind in _FLEET_KINDS):
        raise ValueError(f"a {command.kind} command with site_id {command.site_id!r}")
    body = wire_type(**{name: getattr(command.body, name) for name in wire_type.__struct_fields__})
    return encode(
        PayloadWire(
            v=VERSION,
            command_id=command.command_id,
            plan_id=command.plan_id,
            site_id=command.site_id,
            sequence=command.sequence,
            accept_by=command.accept_by,
            not_before=command.not_before,
            valid_until=command.valid_until,
            kind=command.kind,
            body=msgspec.Raw(encode(body)),
        )
    )


def digest_of(payload: bytes) -> str:
    """Return the SHA-256 of payload bytes, hex: what an acknowledgement binds to."""
    return hashlib.sha256(payload).hexdigest()


def sign_command(command: Command, key_id: str, key: Ed25519PrivateKey) -> tuple[bytes, str]:
    """Return the envelope bytes to publish and the payload's digest."""
    payload = payload_bytes(command)
    return _seal(payload, key_id, key.sign(payload)), digest_of(payload)


def verify_command(envelope: bytes, keys: KeySet, now: datetime) -> Verified | Unverified:
    """Return the command if a valid key signed exactly these bytes; anything else is not believed."""
    opened = _open(envelope)
    if isinstance(opened, Unverified):
        return opened
    key_id, payload, signature = opened
    if (key := keys.find(key_id)) is None:
        return Unverified(reason="unknown_key", detail=f"key {key_id} is not in key set {keys.epoch}")
    if not key.not_before <= now < key.not_after:
        return Unverified(
            reason="key_expired", detail=f"key {key_id} is valid {key.not_before}..{key.not_after}"
        )
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, payload)
    except (InvalidSignature, ValueError):
        return Unverified(reason="bad_signature", detail=f"key {key_id} did not sign these bytes")
    try:
        command = _to_command(decode(payload, PayloadWire))
    except (WireError, ValueError) as error:
        return Unverified(reason="malformed", detail=str(error))
    return Verified(command=command, digest=digest_of(payload), key_id=key_id, epoch=keys.epoch)


def sign_keys(keys: KeySet, root: Ed25519PrivateKey) -> bytes:
    """Return the root-signed key set to publish."""
    payload = encode(
        KeySetWire(
            v=VERSION,
            epoch=keys.epoch,
            keys=tuple(
                KeyWire(
                    key_id=key.key_id,
                    public_b64=base64.b64encode(key.public).decode(),
                    not_before=key.not_before,
                    not_after=key.not_after,
                )
                for key in keys.keys
            ),
        )
    )
    return _seal(payload, "root", root.sign(_CONTEXT_KEYS + payload))


def verify_keys(envelope: bytes, root_public: bytes) -> KeySet | Unverified:
    """Return the key set if the root signed exactly these bytes."""
    opened = _open(envelope)
    if isinstance(opened, Unverified):
        return opened
    key_id, payload, signature = opened
    if key_id != "root":
        return Unverified(reason="unknown_key", detail=f"a key set is signed by root, not by {key_id}")
    try:
        Ed25519PublicKey.from_public_bytes(root_public).verify(signature, _CONTEXT_KEYS + payload)
        wire = decode(payload, KeySetWire)
        keys = tuple(
            SigningKey(
                key_id=key.key_id,
                public=base64.b64decode(key.public_b64, validate=True),
                not_before=key.not_before,
                not_after=key.not_after,
            )
            for key in wire.keys
        )
    except InvalidSignature:
        return Unverified(reason="bad_signature", detail="the root did not sign these bytes")
    except (WireError, ValueError) as error:
        return Unverified(reason="malformed", detail=str(error))
    return KeySet(epoch=wire.epoch, keys=keys)


def encode_ack(ack: Acknowledgement) -> bytes:
    """Return the bytes of an acknowledgement."""
    return encode(
        AckMessage(
            v=VERSION,
            site_id=ack.site_id,
            command_id=ack.command_id,
            digest=ack.digest,
            verdict=ack.verdict.value,
            reason=ack.reason,
            at=ack.at,
            read_back_v=ack.read_back_v,
            limited_wh=ack.limited_wh,
        )
    )


def decode_ack(payload: bytes) -> Acknowledgement:
    """Return the acknowledgement that the bytes hold.

    Raises:
        WireError: They hold none.
    """
    wire = decode(payload, AckMessage)
    try:
        verdict = AckVerdict(wire.verdict)
    except ValueError as error:
        raise WireError(f"{error} - at `$.verdict`") from error
    return Acknowledgement(
        site_id=SiteId(wire.site_id),
        command_id=CommandId(wire.command_id),
        digest=wire.digest,
        verdict=verdict,
        reason=wire.reason,
        at=wire.at,
        read_back_v=wire.read_back_v,
        limited_wh=wire.limited_wh,
    )


def _seal(payload: bytes, key_id: str, signature: bytes) -> bytes:
    return encode(
        SignedWire(
            v=VERSION,
            key_id=key_id,
            payload_b64=base64.b64encode(payload).decode(),
            signature=base64.b64encode(signature).decode(),
        )
    )


def _open(envelope: bytes) -> tuple[str, bytes, bytes] | Unverified:
    try:
        wire = decode(envelope, SignedWire)
        payload = base64.b64decode(wire.payload_b64, validate=True)
        signature = base64.b64decode(wire.signature, validate=True)
    except (WireError, binascii.Error, ValueError) as error:
        return Unverified(reason="malformed", detail=str(error))
    return wire.key_id, payload, signature


def _to_command(wire: PayloadWire) -> Command:
    wire_type, body_type = _BODY_WIRE[wire.kind]
    body_wire = decode(bytes(wire.body), wire_type)
    body: CommandBody = body_type(**{name: getattr(body_wire, name) for name in wire_type.__struct_fields__})
    if (wire.site_id is None) != (wire.kind in _FLEET_KINDS):
        raise ValueError(f"a {wire.kind} command with site_id {wire.site_id!r}")
    return Command(
        command_id=CommandId(wire.command_id),
        plan_id=None if wire.plan_id is None else PlanId(wire.plan_id),
        site_id=None if wire.site_id is None else SiteId(wire.site_id),
        sequence=wire.sequence,
        accept_by=wire.accept_by,
        not_before=wire.not_before,
        valid_until=wire.valid_until,
        kind=wire.kind,
        body=body,
    )
