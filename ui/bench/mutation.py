"""Payloads that a broken gateway, a bad link or a hostile site may send; each is one that the decoder must refuse."""

import gzip
from collections.abc import Iterator
from datetime import datetime
from random import Random

from telemetry.decode import Refused, decode_message
from telemetry.model.reading import Reading, SiteState
from telemetry.model.site import SiteId
from telemetry.wire import (
    VERSION,
    EventMessage,
    FeederMessage,
    FeederSample,
    StateMessage,
    encode,
    telemetry_message,
)

_WORDS = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"-1", b"1e999", b"NaN", b"9223372036854775808", b"0.5"),
    *(b'"\\u0000"', b'"\xff"', b"\x00", b'"2026-01-01T00:00:00"', b'"9999-12-31T23:59:59Z"', b"[" * 600),
)


def good_messages(site_id: str, now: datetime) -> list[tuple[str, bytes]]:
    """Return one good message of each kind that a site sends, by the last part of its topic."""
    reading = Reading(
        site_id=SiteId(site_id), boot_id="b", sequence=1, at=now, load_w=2000.0, rectifier_w=2016.0, bus_v=54.4,
        battery_w=16.0, soc_frac=0.98, alarms=("door_open",), string_a=(0.2, 0.1), mains_ok=True,
    )  # fmt: skip
    telemetry = telemetry_message((reading,))
    state = StateMessage(
        v=VERSION,
        site_id=site_id,
        at=now,
        online=True,
        state=SiteState.FLOAT,
        local_lock=False,
        last_sequence=1,
    )
    return [
        ("telemetry", encode(telemetry)),
        ("telemetry", encode(telemetry, compress=True)),
        ("state", encode(state)),
        ("event", encode(EventMessage(v=VERSION, site_id=site_id, at=now, kind="alarm", detail="door_open"))),
        ("feeder", encode(FeederMessage(v=VERSION, feeder_id=site_id, samples=(FeederSample(at=now, background_w=1e6),)))),
    ]  # fmt: skip


def bad_messages(site_id: str, now: datetime, random: Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield so many payloads that are refused, each with the last part of its topic.

    Args:
        site_id: The sender.
        now: Domain time.
        random: Chooses.
        count: How many.
    """
    good = good_messages(site_id, now)
    made = 0
    while made < count:
        kind, payload = random.choice(good)
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            payload = _mutated(payload, random)
        if isinstance(decode_message(f"cbs/v1/{site_id}/{kind}", payload, now), Refused):
            made += 1
            yield kind, payload


def _mutated(payload: bytes, random: Random) -> bytes:
    """Cut, double, insert, replace or flip at a random place, or change the version, a key or the packing."""
    place = random.randrange(len(payload) + 1)
    end = min(len(payload), place + random.randrange(1, 40))
    name = random.choice((b"load_w", b"site_id", b"at", b"boot_id", b"online", b"kind", b"samples"))
    flipped = bytes(byte ^ (1 << random.randrange(8)) for byte in payload[place : place + 1])
    changed: list[bytes] = [
        payload[:place],
        payload[:place] + random.randbytes(random.randrange(1, 9)) + payload[place:],
        payload[:place] + payload[end:],
        payload[:end] + payload[place:],
        payload[:place] + random.choice(_WORDS) + payload[end:],
        payload[:place] + flipped + payload[place + 1 :],
        payload.replace(b'"v":1', b'"v":%d' % random.randrange(2, 99)),
        payload.replace(b'"' + name + b'"', b'"' + name + b'x"'),
        gzip.compress(payload, compresslevel=1, mtime=0)[: random.randrange(4, len(payload) + 12)],
    ]
    return random.choice(changed)
