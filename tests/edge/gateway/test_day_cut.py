"""A day without a link, at speed: real SQLite, real broker, one reading a minute instead of one a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing
from edge.gateway.mqtt_uplink import MqttUplink
from edge.gateway.outbox import Outbox, offline_state
from edge.gateway.uplink import topic
from telemetry.model.reading import Reading
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.wire import EventMessage, StoredMessage, TelemetryMessage, decode, encode
from tests.edge.gateway.bench import NOON, SITE
from tests.services import service_absent
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.mosquitto_binary import BrokerAbsentError
from ui.ops.pki import INGEST, CertificateAuthority

pytestmark = pytest.mark.broker
DAY = 24 * 60
KEPT = 1200  # messages: four hours less than the day
RATE_PER_S = 400.0
BOOT = "boot-1"


def reading(sequence: int) -> Reading:
    return Reading(
        site_id=SITE,
        boot_id=BOOT,
        sequence=sequence,
        at=NOON + timedelta(minutes=sequence),
        bus_v=54.4,
        load_w=1000.0,
    )


def keep_day(outbox: Outbox) -> None:
    """Let the day pass without a link."""
    for sequence in range(1, DAY + 1):
        lost = outbox.keep((reading(sequence),))
        if lost is not None:
            outbox.lost(NOON, lost)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, 20 s at most."""
    for _ in range(400):
        if holds():
            return
        await asyncio.sleep(0.05)


async def test_a_day_of_readings_arrives_in_order_rate_limited_and_live_ones_do_not_wait(
    tmp_path: Path,
) -> None:
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    broker = EmbeddedBroker(private_folder(tmp_path / "broker"), authority)
    try:
        broker.start()
    except BrokerAbsentError as error:
        service_absent(str(error))
    heard: list[tuple[float, int]] = []
    events: list[str] = []

    def hear(message: InboundMessage) -> None:
        if message.topic.endswith("/telemetry"):
            telemetry = decode(message.payload, TelemetryMessage)
            heard.extend((monotonic(), r.sequence) for r in telemetry.readings)
        else:
            events.append(decode(message.payload, EventMessage).detail)

    ingest = MqttClient(broker.settings(authority.service(INGEST)), on_message=hear, random=Random(1))
    ingest.subscribe("cbs/v1/+/telemetry", "cbs/v1/+/event")
    ingest.start()
    await ingest.wait_ready(timedelta(seconds=5))
    buffer = Buffer(tmp_path / "buffer.db", max_rows_per_site=KEPT)
    will = offline_state(SITE, NOON, 0, "0")
    uplink = MqttUplink(SITE, broker.settings(authority.site(SITE)), will, Random(2))
    outbox = Outbox(
        SITE, BOOT, uplink, buffer, Pacing(backlog_per_s=RATE_PER_S, resend_after_s=60.0), lambda _sent: None
    )
    uplink.listen(lambda _name, payload: confirm(payload), outbox.connected)

    def confirm(payload: bytes) -> None:
        outbox.confirm(decode(payload, StoredMessage).marks)

    try:
        keep_day(outbox)
        assert buffer.count(SITE) == KEPT
        running = asyncio.create_task(outbox.run())
        opened_s = monotonic()
        await uplink.open()
        await uplink.wait_ready(timedelta(seconds=5))
        sent_s: dict[int, float] = {}
        for sequence in range(DAY + 1, DAY + 6):  # live readings while the backlog drains
            await asyncio.sleep(0.3)
            sent_s[sequence] = monotonic()
            outbox.keep((reading(sequence),))
        whole = set(range(DAY - KEPT + 1, DAY + 1))
        await until(lambda: whole <= {sequence for _, sequence in heard})
        done_s = monotonic() - opened_s
        first_s = {sequence: at for at, sequence in reversed(heard)}
        assert whole | set(sent_s) <= set(first_s)
        # What was pushed out by the bound is said in one report, and is what does not come.
        assert events[-1] == f"{BOOT} 1 {DAY - KEPT}"
        # The backlog in order: the last 20 of the day were still waiting as live messages and went at once.
        backlog = [sequence for _, sequence in heard if sequence <= DAY - 20]
        assert backlog == sorted(backlog)
        # 1,180 messages at 400 a second: not in less than 2.95 s.
        assert done_s >= 1180 / RATE_PER_S
        assert max(first_s[n] - at for n, at in sent_s.items()) < 0.5
        stored = StoredMessage(v=1, site_id=SITE, marks={BOOT: DAY + 5})
        ingest.publish(topic(SITE, "stored"), encode(stored), retain=True)
        await until(lambda: buffer.count(SITE) == 0)
        assert buffer.count(SITE) == 0
        running.cancel()
        await asyncio.wait([running])
    finally:
        await uplink.close()
        await ingest.stop()
        buffer.close()
        broker.stop()
