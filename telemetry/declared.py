"""Sequence numbers that will never be rows: declared lost by the gateway, or in quarantine (pure).

The `stored` mark goes over them, so that a gateway neither sends a message again for ever nor waits for what is gone.
"""

from typing import NamedTuple

import msgspec

from telemetry.decode import Refused, SiteEvent
from telemetry.ranges import Span, to_spans
from telemetry.wire import MAX_READINGS, Count, Name, WireError, unpack

READINGS_LOST = "readings_lost"
_LARGEST = 2**63 - 1


class Declared(NamedTuple):
    """Numbers of one boot of one site that need not be waited for."""

    site_id: str
    boot_id: str
    spans: tuple[Span, ...]


class _Numbered(msgspec.Struct, frozen=True):
    sequence: Count


class _Skeleton(msgspec.Struct, frozen=True):
    """What must be readable of a refused telemetry message; other keys may be anything."""

    site_id: Name
    boot_id: Name
    readings: tuple[_Numbered, ...]


class _BootName(msgspec.Struct, frozen=True):
    boot_id: Name


_SKELETONS = msgspec.json.Decoder(_Skeleton)


def declared_lost(event: SiteEvent) -> Declared | None:
    """Return what a `readings_lost` event declares (`boot first last`), None for any other event or detail."""
    words = event.detail.split(" ")
    if event.kind != READINGS_LOST or len(words) != 3 or not all(word.isdecimal() for word in words[1:]):
        return None
    try:
        boot_id = msgspec.convert({"boot_id": words[0]}, _BootName).boot_id
    except msgspec.ValidationError:
        return None
    if len(words[1]) > 19 or len(words[2]) > 19:  # int() of a long text is slow
        return None
    first, last = int(words[1]), int(words[2])
    if not first <= last <= _LARGEST:
        return None
    return Declared(event.site_id, boot_id, (Span(first, last),))


def quarantined(refused: Refused) -> Declared | None:
    """Return the numbers of a refused telemetry message, None if they cannot be read or its sender lies."""
    parts = refused.topic.split("/")
    if len(parts) != 4 or parts[3] != "telemetry":
        return None
    try:
        skeleton = _SKELETONS.decode(unpack(refused.payload))
    except (WireError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if skeleton.site_id != parts[2] or not 0 < len(skeleton.readings) <= MAX_READINGS:
        return None
    return Declared(skeleton.site_id, skeleton.boot_id, to_spans(each.sequence for each in skeleton.readings))
