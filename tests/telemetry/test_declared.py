import gzip
from dataclasses import replace

import pytest

from telemetry.declared import Declared, declared_lost, quarantined
from telemetry.decode import Refused, SiteEvent
from telemetry.model.site import SiteId
from telemetry.ranges import Span
from telemetry.wire import encode, telemetry_message
from tests.telemetry.examples import NOW, READING

LOST = SiteEvent(site_id=SiteId("cbs-0001"), at=NOW, kind="readings_lost", detail="boot-1 4 9")
TOPIC = "cbs/v1/cbs-0001/telemetry"
TWO = encode(telemetry_message((READING, replace(READING, sequence=3))))


def test_a_gateway_declares_what_its_buffer_pushed_out() -> None:
    assert declared_lost(LOST) == Declared("cbs-0001", "boot-1", (Span(4, 9),))


@pytest.mark.parametrize(
    "detail",
    [
        "", "boot-1 4", "boot-1 9 4", "boot-1 -1 4", "boot-1 4 nine", "boot 1 4 9", "b\0t 4 9", "boot-1 4 9.0",
        f"boot-1 4 {2**63}", "boot-1 4 " + "9" * 5000,
    ],
)  # fmt: skip
def test_a_detail_that_says_something_else_declares_nothing(detail: str) -> None:
    assert declared_lost(replace(LOST, detail=detail)) is None


def test_other_events_declare_nothing() -> None:
    assert declared_lost(replace(LOST, kind="alarm")) is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_numbers_of_a_refused_message_are_read_from_what_is_left_of_it(pack: type) -> None:
    broken = TWO.replace(b'"load_w"', b'"lod_w"')
    refused = Refused(topic=TOPIC, reason="unknown key", payload=pack(broken))
    assert quarantined(refused) == Declared("cbs-0001", "boot-1", (Span(1, 1), Span(3, 3)))


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (TOPIC, b"{"),
        (TOPIC, TWO.replace(b'"sequence":3', b'"sequence":"3"')),
        (TOPIC, TWO.replace(b"boot-1", b"")),
        ("cbs/v1/cbs-0002/telemetry", TWO),  # one site must not advance another's mark
        ("cbs/v1/cbs-0001/event", TWO),
    ],
)
def test_numbers_that_cannot_be_read_or_believed_advance_nothing(topic: str, payload: bytes) -> None:
    assert quarantined(Refused(topic=topic, reason="bad", payload=payload)) is None
