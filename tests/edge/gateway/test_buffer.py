"""Nothing sampled is lost while the buffer lasts, and it arrives in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest
from msgspec.structs import replace as alter

from edge.gateway.buffer import Buffer, BufferFileError, Lost, Stored
from edge.gateway.config import Pacing
from edge.gateway.outbox import Outbox
from telemetry.model.reading import Reading
from telemetry.model.site import SiteId
from telemetry.wire import EventMessage, TelemetryMessage, decode
from tests.edge.gateway.bench import NOON, SITE, BenchLink
from tests.mqtt_clients import until

OTHER = SiteId("cbs-0002")


def message(first: int, boot_id: str = "b1", count: int = 10) -> Stored:
    last = first + count - 1
    return Stored(row=0, boot_id=boot_id, first=first, last=last, payload=f"{boot_id}:{first}".encode())


def test_messages_come_back_in_order_and_only_until_they_are_stored(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "b.db")
    for first in (1, 11, 21):
        buffer.add(SITE, message(first))
    buffer.add(OTHER, message(1))
    assert [m.first for m in buffer.after(SITE, 0, 10)] == [1, 11, 21]
    # 15 is inside the second message: only the first is whole.
    assert buffer.confirm(SITE, {"b1": 15}) == 1
    assert [m.first for m in buffer.after(SITE, 0, 10)] == [11, 21]
    assert buffer.confirm(SITE, {"other-boot": 99}) == 0
    assert (buffer.count(SITE), buffer.count(OTHER)) == (2, 1)
    buffer.close()


def test_a_full_buffer_drops_the_oldest_and_names_it(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "b.db", max_rows_per_site=2)
    assert buffer.add(SITE, message(1))[1] is None
    assert buffer.add(SITE, message(11))[1] is None
    assert buffer.add(SITE, message(21))[1] == Lost(boot_id="b1", first=1, last=10)
    assert [m.first for m in buffer.after(SITE, 0, 10)] == [11, 21]
    buffer.close()


def test_a_restart_finds_what_was_kept(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "b.db")
    buffer.add(SITE, message(1))
    buffer.close()
    again = Buffer(tmp_path / "b.db")
    assert again.count(SITE) == 1
    assert again.after(SITE, 0, 1)[0].payload == b"b1:1"
    again.close()


def test_a_file_that_is_no_buffer_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "b.db").write_bytes(b"no database at all, only text, long enough to be looked at" * 20)
    with pytest.raises(BufferFileError):
        Buffer(tmp_path / "b.db")


# -- the outbox over a link that breaks ------------------------------------------------------------------------


def readings(first: int, count: int = 10) -> tuple[Reading, ...]:
    return tuple(
        Reading(site_id=SITE, boot_id="b1", sequence=n, at=NOON + timedelta(seconds=n))
        for n in range(first, first + count)
    )


@asynccontextmanager
async def outbox(tmp_path: Path, link: BenchLink, pacing: Pacing) -> AsyncIterator[tuple[Outbox, Buffer]]:
    buffer = Buffer(tmp_path / "b.db")
    box = Outbox(SITE, "b1", link, buffer, pacing, lambda _urgent: None)
    link.listen(lambda _topic, _payload: None, box.connected)
    task = asyncio.create_task(box.run())
    try:
        yield box, buffer
    finally:
        task.cancel()
        await asyncio.wait([task])
        buffer.close()


def firsts(link: BenchLink) -> list[int]:
    return [
        decode(payload, TelemetryMessage).readings[0].sequence
        for name, payload, _ in link.sent
        if name.endswith("/telemetry")
    ]


FAST = Pacing(backlog_per_s=2000.0)


async def test_a_day_without_a_link_arrives_whole_in_order_and_does_not_delay_live_data(
    tmp_path: Path,
) -> None:
    link = BenchLink()
    async with outbox(tmp_path, link, alter(FAST, backlog_per_s=400.0)) as (box, buffer):
        old = [1 + 10 * n for n in range(200)]
        for first in old:
            box.keep(readings(first))
        await asyncio.sleep(0.02)
        assert firsts(link) == []
        link.mend()
        await asyncio.sleep(0.1)
        sent_before = len(firsts(link))
        assert sent_before < 100  # rate-limited: about 40 in 0.1 s
        box.keep(readings(2001))
        await asyncio.sleep(0.02)
        assert 2001 in firsts(link)[sent_before : sent_before + 15]  # live, in the middle of the backlog
        while len(firsts(link)) < 201:
            await asyncio.sleep(0.02)
        assert [first for first in firsts(link) if first != 2001] == old
        box.confirm({"b1": 2010})
        assert buffer.count(SITE) == 0


async def test_what_was_sent_but_never_stored_is_sent_again_from_the_oldest(tmp_path: Path) -> None:
    link = BenchLink()
    async with outbox(tmp_path, link, alter(FAST, resend_after_s=0.1)) as (box, _):
        link.mend()
        for first in (1, 11, 21):
            box.keep(readings(first))
        await asyncio.sleep(0.05)
        assert firsts(link) == [1, 11, 21]
        box.confirm({"b1": 10})
        await asyncio.sleep(0.25)
        assert firsts(link)[3:5] == [11, 21]


async def test_stored_data_is_not_sent_again(tmp_path: Path) -> None:
    link = BenchLink()
    async with outbox(tmp_path, link, alter(FAST, resend_after_s=0.05)) as (box, _):
        link.mend()
        box.keep(readings(1))
        await asyncio.sleep(0.02)
        box.confirm({"b1": 10})
        link.cut()
        link.mend()
        await asyncio.sleep(0.2)
        assert firsts(link) == [1]


async def test_a_link_that_breaks_in_the_middle_loses_and_reorders_nothing(tmp_path: Path) -> None:
    link = BenchLink()
    async with outbox(tmp_path, link, FAST) as (box, _):
        for n in range(100):
            if n % 17 == 0:
                link.cut()
            if n % 17 == 5:
                link.mend()
            box.keep(readings(1 + 10 * n))
            await asyncio.sleep(0.001)
        link.mend()
        await asyncio.sleep(0.4)
        arrived = list(dict.fromkeys(firsts(link)))
        assert sorted(arrived) == [1 + 10 * n for n in range(100)]


async def test_the_newest_state_replaces_one_that_waits_and_events_keep_their_order(tmp_path: Path) -> None:
    link = BenchLink()
    async with outbox(tmp_path, link, FAST) as (box, _):
        for n in range(3):
            box.event(NOON, f"kind-{n}")
            box.send_state(f"state-{n}".encode())
        link.mend()
        await asyncio.sleep(0.05)
        leaves = [name.rsplit("/", 1)[1] for name, _, _ in link.sent]
        assert leaves == ["event", "event", "event", "state"]
        assert link.sent[-1][1:] == (b"state-2", True)


async def test_urgent_messages_that_are_held_back_come_later_and_in_order(tmp_path: Path) -> None:
    link = BenchLink()
    async with outbox(tmp_path, link, FAST) as (box, _):
        link.mend()
        began_s = monotonic()
        box.hold_back(0.3)
        for kind in ("mains_lost", "duty_over"):
            box.event(NOON, kind)
        await asyncio.sleep(0.1)
        assert link.sent == []
        await until(lambda: len(link.sent) == 2)
        assert monotonic() - began_s >= 0.3
        assert [decode(payload, EventMessage).kind for _, payload, _ in link.sent] == [
            "mains_lost",
            "duty_over",
        ]
