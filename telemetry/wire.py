"""What travels over MQTT and REST, as msgspec types: unknown keys are errors, one version back is accepted.

The gateway imports this file: standard library, msgspec and `telemetry.model` only.
"""

import gzip
import zlib
from datetime import datetime
from functools import cache
from typing import Annotated, TypeVar

import msgspec

from telemetry.model.errors import ControlError
from telemetry.model.reading import FeederReading, Reading, SiteState, SiteStatus
from telemetry.model.site import FeederId, SiteId

VERSION = 1
OLDEST_VERSION = 1
MAX_MESSAGE_BYTES = 1_048_576
MAX_READINGS = 1_000
_GZIP_MAGIC = b"\x1f\x8b"

AwareInstant = Annotated[datetime, msgspec.Meta(tz=True)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


M = TypeVar("M", bound="Wire")


class WireError(ControlError):
    """A payload cannot be read; the message says what and where."""


class Wire(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all wire types."""


class ReadingWire(Wire, frozen=True, gc=False):
    """One sample inside a telemetry message; see `telemetry.model.reading.Reading`."""

    sequence: Count
    at: AwareInstant
    grid_v: float | None = None
    grid_hz: float | None = None
    grid_w: float | None = None
    aux_ac_w: float | None = None
    rectifier_w: float | None = None
    load_w: float | None = None
    bus_v: float | None = None
    battery_a: float | None = None
    battery_w: float | None = None
    meter_battery_w: float | None = None
    string_a: tuple[float, ...] | None = None
    soc_frac: float | None = None
    soh_frac: float | None = None
    battery_c: float | None = None
    ambient_c: float | None = None
    pv_w: float | None = None
    genset_w: float | None = None
    fuel_frac: float | None = None
    mains_ok: bool | None = None
    alarms: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()


class TelemetryMessage(Wire, frozen=True, gc=False):
    """`cbs/v1/{site_id}/telemetry`: several readings of one boot of one site."""

    v: int
    site_id: Name
    boot_id: Name
    readings: Annotated[tuple[ReadingWire, ...], msgspec.Meta(min_length=1, max_length=MAX_READINGS)]


class FeederSample(Wire, frozen=True):
    """One sample inside a feeder message."""

    at: AwareInstant
    background_w: float


class FeederMessage(Wire, frozen=True):
    """`cbs/v1/{feeder_id}/feeder`: what the substation's meter measured, our sites taken out."""

    v: int
    feeder_id: Name
    samples: Annotated[tuple[FeederSample, ...], msgspec.Meta(min_length=1, max_length=MAX_READINGS)]


class StateMessage(Wire, frozen=True):
    """`cbs/v1/{site_id}/state` (retained; the last will says `online: false`)."""

    v: int
    site_id: Name
    at: AwareInstant
    online: bool
    state: SiteState
    local_lock: bool
    last_sequence: Count
    firmware: str = ""


class EventMessage(Wire, frozen=True):
    """`cbs/v1/{site_id}/event`: alarms and state changes, at once."""

    v: int
    site_id: Name
    at: AwareInstant
    kind: Name
    detail: str = ""


class StoredMessage(Wire, frozen=True):
    """`cbs/v1/{site_id}/stored` (retained): by boot, the highest n with every sequence <= n safe in the cloud."""

    v: int
    site_id: Name
    marks: dict[str, Count]


class AckMessage(Wire, frozen=True):
    """`cbs/v1/{site_id}/ack`: see `edge.plan.Acknowledgement`."""

    v: int
    site_id: Name
    command_id: Name
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    verdict: Name
    reason: str
    at: AwareInstant
    read_back_v: float | None = None
    limited_wh: float = 0.0


def encode(message: Wire, *, compress: bool = False) -> bytes:
    """Return the JSON bytes of a message, gzipped if asked."""
    payload = msgspec.json.encode(message)
    return gzip.compress(payload, compresslevel=1, mtime=0) if compress else payload


def unpack(payload: bytes) -> bytes:
    """Return the plain bytes of a payload that may be gzipped, never more than `MAX_MESSAGE_BYTES`.

    Raises:
        WireError: The payload is too large, or its gzip is broken.
    """
    if payload[:2] == _GZIP_MAGIC:
        try:
            inflate = zlib.decompressobj(wbits=31)
            plain = inflate.decompress(payload, MAX_MESSAGE_BYTES + 1)
        except zlib.error as error:
            raise WireError(f"gzip: {error}") from error
        if len(plain) <= MAX_MESSAGE_BYTES and not inflate.eof:
            raise WireError("gzip: the payload ends in mid-stream")
        payload = plain
    if len(payload) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message may hold {MAX_MESSAGE_BYTES} bytes, this one is larger")
    return payload


@cache
def _decoder(kind: type[M]) -> msgspec.json.Decoder[M]:
    return msgspec.json.Decoder(kind)


def decode(payload: bytes, kind: type[M]) -> M:
    """Return a message of the given kind.

    Raises:
        WireError: Not JSON, an unknown key, a wrong type or range, or a version that we do not read.
    """
    try:
        message: M = _decoder(kind).decode(unpack(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WireError(str(error)) from error
    version = getattr(message, "v", VERSION)
    if not OLDEST_VERSION <= version <= VERSION:
        raise WireError(f"version {version} is not one of {OLDEST_VERSION}..{VERSION} - at `$.v`")
    return message


_READING_FIELDS = tuple(name for name in ReadingWire.__struct_fields__)


def to_wire(reading: Reading) -> ReadingWire:
    """Return the wire form of a reading; its site and boot travel in the message."""
    return ReadingWire(**{name: getattr(reading, name) for name in _READING_FIELDS})


def to_readings(message: TelemetryMessage) -> tuple[Reading, ...]:
    """Return the readings of a message, before any quality check."""
    site_id = SiteId(message.site_id)
    return tuple(to_reading(wire, site_id, message.boot_id) for wire in message.readings)


def to_reading(wire: ReadingWire, site_id: str, boot_id: str) -> Reading:
    """Return one sample as a reading, before any quality check."""
    values = {name: getattr(wire, name) for name in _READING_FIELDS}
    return Reading(site_id=SiteId(site_id), boot_id=boot_id, **values)


def telemetry_message(readings: tuple[Reading, ...]) -> TelemetryMessage:
    """Return one message of readings that share site and boot.

    Raises:
        ValueError: No readings, or of more than one site or boot.
    """
    if len({(reading.site_id, reading.boot_id) for reading in readings}) != 1:
        raise ValueError("a telemetry message holds readings of exactly one boot of one site")
    first = readings[0]
    return TelemetryMessage(
        v=VERSION,
        site_id=first.site_id,
        boot_id=first.boot_id,
        readings=tuple(to_wire(reading) for reading in readings),
    )


def to_status(message: StateMessage) -> SiteStatus:
    """Return the status that a state message carries."""
    return SiteStatus(
        site_id=SiteId(message.site_id),
        at=message.at,
        online=message.online,
        state=message.state,
        local_lock=message.local_lock,
        last_sequence=message.last_sequence,
        firmware=message.firmware,
    )


def to_feeder_readings(message: FeederMessage) -> tuple[FeederReading, ...]:
    """Return the samples of a feeder message."""
    feeder_id = FeederId(message.feeder_id)
    return tuple(
        FeederReading(feeder_id=feeder_id, at=sample.at, background_w=sample.background_w)
        for sample in message.samples
    )
