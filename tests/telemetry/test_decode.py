import gzip
import json
from datetime import timedelta

import pytest

from telemetry.decode import Refused, SiteEvent, decode_message
from telemetry.model.reading import FeederReading, SiteState, SiteStatus
from telemetry.wire import MAX_MESSAGE_BYTES, encode, telemetry_message
from tests.telemetry.examples import NOW, READING

TOPIC = "cbs/v1/cbs-0001/telemetry"
GOOD = encode(telemetry_message((READING,)))


def test_a_telemetry_message_becomes_its_readings() -> None:
    assert decode_message(TOPIC, GOOD, NOW) == (READING,)


def test_gzip_is_understood() -> None:
    assert decode_message(TOPIC, gzip.compress(GOOD), NOW) == (READING,)


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (TOPIC, b"not json", "JSON is malformed"),
        (TOPIC, b"", "truncated"),
        (TOPIC, b"\x1f\x8bgarbage", "gzip"),
        (TOPIC, gzip.compress(GOOD)[:-9], "mid-stream"),
        (TOPIC, b'"' + b" " * MAX_MESSAGE_BYTES + b'"', "may hold"),
        (TOPIC, gzip.compress(b" " * (MAX_MESSAGE_BYTES + 1)), "may hold"),
        (TOPIC, GOOD.replace(b'"v":1', b'"v":2'), "version 2"),
        (TOPIC, GOOD.replace(b'"load_w":2000.0', b'"load_w":"2 kW"'), "load_w"),
        (TOPIC, GOOD.replace(b'"load_w"', b'"lod_w"'), "lod_w"),
        (TOPIC, GOOD.replace(b"Z", b"", 1), "timezone"),
        (TOPIC, GOOD.replace(b'"sequence":1', b'"sequence":-1'), "sequence"),
        (TOPIC, GOOD.replace(b"2026", b"2076", 1), "beyond any clock's error"),
        (TOPIC, GOOD.replace(b"2026", b"1970", 1), "beyond any clock's error"),
        ("cbs/v1/cbs-0002/telemetry", GOOD, "speaks for cbs-0001"),
        ("cbs/v1/cbs-0001/gossip", GOOD, "gossip"),
        ("cbs/v2/cbs-0001/telemetry", GOOD, "unknown topic"),
    ],
)
def test_what_cannot_be_believed_is_refused_whole_with_the_reason(
    topic: str, payload: bytes, reason: str
) -> None:
    refused = decode_message(topic, payload, NOW)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert refused.payload == payload


def test_a_nul_in_a_text_is_refused_here_and_not_by_the_database() -> None:
    event = json.dumps(
        {"v": 1, "site_id": "cbs-0001", "at": NOW.isoformat(), "kind": "alarm", "detail": "a\0b"}
    )
    refused = decode_message("cbs/v1/cbs-0001/event", event.encode(), NOW)
    assert isinstance(refused, Refused)
    assert "NUL" in refused.reason


def test_events_and_feeder_samples_are_told_apart_by_topic() -> None:
    at = NOW.isoformat()
    event = {"v": 1, "site_id": "cbs-0001", "at": at, "kind": "mains_lost"}
    assert decode_message("cbs/v1/cbs-0001/event", json.dumps(event).encode(), NOW) == SiteEvent(
        site_id=READING.site_id, at=NOW, kind="mains_lost", detail=""
    )
    feeder = {"v": 1, "feeder_id": "feeder-1", "samples": [{"at": at, "background_w": 1e6}]}
    decoded = decode_message("cbs/v1/feeder-1/feeder", json.dumps(feeder).encode(), NOW)
    assert decoded == (FeederReading(feeder_id=decoded[0].feeder_id, at=NOW, background_w=1e6),)  # type: ignore[index, union-attr]


def test_a_last_will_speaks_of_the_moment_it_arrives() -> None:
    will = {
        "v": 1,
        "site_id": "cbs-0001",
        "at": (NOW - timedelta(hours=5)).isoformat(),
        "online": False,
        "state": "offline",
        "local_lock": False,
        "last_sequence": 0,
    }
    status = decode_message("cbs/v1/cbs-0001/state", json.dumps(will).encode(), NOW)
    assert isinstance(status, SiteStatus)
    assert (status.at, status.state) == (NOW, SiteState.OFFLINE)
