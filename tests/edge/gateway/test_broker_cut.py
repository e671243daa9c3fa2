"""A broker that goes away and comes back in mid-event: nobody drops out and no reading is missing."""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace as alter

from edge.envelope import decode_ack, public_bytes, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing
from edge.gateway.process import build_core, run_many
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.modbus.client import Link
from edge.modbus.site_port import DeviceSpec, ModbusSitePort
from edge.plan import AckVerdict, ScheduleBody
from edge.simulator.fleet import FleetSimulation
from edge.simulator.site_spec import SiteSpec
from telemetry.model.clock import Pace, PacedClock, read_wall
from telemetry.model.site import SiteId
from telemetry.mqtt import InboundMessage, MqttClient, MqttSettings
from telemetry.wire import StoredMessage, TelemetryMessage, decode, encode
from tests.edge.gateway.bench import CONFIG, KEYS, NOON, ROOT, SCHEDULE, seal
from tests.services import service_absent
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.mosquitto_binary import BrokerAbsentError
from ui.ops.pki import CONTROL, INGEST, CertificateAuthority

pytestmark = pytest.mark.broker
FEW = 3
SPEED = 10.0
BRISK = Pacing(resend_after_s=1.0, backlog_per_s=200.0)


class Ingest:
    """The cloud's end: keeps every sequence by site and boot, and says what is whole."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.client: MqttClient | None = None

    def hear(self, message: InboundMessage) -> None:
        telemetry = decode(message.payload, TelemetryMessage)
        self.seen[telemetry.site_id, telemetry.boot_id] += [r.sequence for r in telemetry.readings]

    def confirm(self) -> None:
        """Publish the highest whole sequence of every boot."""
        for (site_id, boot_id), sequences in self.seen.items():
            known, whole = set(sequences), 0
            while whole + 1 in known:
                whole += 1
            marks = StoredMessage(v=1, site_id=site_id, marks={boot_id: whole})
            assert self.client is not None
            self.client.publish(topic(SiteId(site_id), "stored"), encode(marks), retain=True)


async def _client(settings: MqttSettings, hear: object, *filters: str) -> MqttClient:
    assert callable(hear)
    quick = replace(
        settings,
        longest_backoff=timedelta(seconds=0.4),
        first_backoff=timedelta(seconds=0.1),
        persistent_session=True,
    )
    client = MqttClient(quick, on_message=hear, random=Random(1))
    client.subscribe(*filters)
    client.start()
    await client.wait_ready(timedelta(seconds=5))
    return client


def _link(fleet: FleetSimulation, index: int, _spec: DeviceSpec) -> Link:
    return fleet.link(index)


@pytest.mark.parametrize("count", [FEW, pytest.param(40, marks=pytest.mark.proof)])
async def test_a_broker_that_restarts_in_mid_event_costs_no_reading_and_no_watt(
    tmp_path: Path, count: int
) -> None:
    sites = tuple(SiteId(f"cbs-{n:04d}") for n in range(1, count + 1))
    patience = 1.0 if count == FEW else 10.0  # a fleet on one machine comes and goes more slowly
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    broker = EmbeddedBroker(private_folder(tmp_path / "broker"), authority)
    try:
        broker.start()
    except BrokerAbsentError as error:
        service_absent(str(error))
    again = EmbeddedBroker(tmp_path / "broker", authority, preferred_port=broker.port)
    pace = Pace(wall=read_wall(), domain=NOON, speed=SPEED)
    clock = PacedClock(lambda: pace)
    fleet = FleetSimulation([SiteSpec(site_id=site_id) for site_id in sites], seed=5, start=NOON)
    buffer = Buffer(tmp_path / "buffer.db")
    pool = ThreadPoolExecutor(4)
    acks: list[AckVerdict] = []
    ingest = Ingest()
    control = await _client(
        broker.settings(authority.service(CONTROL)),
        lambda message: acks.append(decode_ack(message.payload).verdict),
        "cbs/v1/+/ack",
    )
    ingest.client = await _client(
        broker.settings(authority.service(INGEST)), ingest.hear, "cbs/v1/+/telemetry"
    )
    await control.publish(FLEET_KEYS, sign_keys(KEYS, ROOT), retain=True)

    async def live() -> None:
        while True:
            fleet.advance_to(clock.now())
            await asyncio.sleep(0.05)

    cores = []
    for index, site_id in enumerate(sites):
        port = ModbusSitePort(fleet.port_spec(index), make_link=partial(_link, fleet, index))
        await port.open()
        root = base64.b64encode(public_bytes(ROOT)).decode()
        config = alter(CONFIG, site_id=site_id, root_public_b64=root, pacing=BRISK)
        quick = replace(
            broker.settings(authority.site(site_id)),
            longest_backoff=timedelta(seconds=0.4),
            first_backoff=timedelta(seconds=0.1),
        )
        cores.append(build_core(config, port, quick, buffer, tmp_path, clock, Random(index), executor=pool))
    tasks = [asyncio.create_task(live()), asyncio.create_task(run_many(cores))]
    try:
        await asyncio.sleep(1.0 * patience)
        now = clock.now()
        for site_id in sites:
            command = replace(
                SCHEDULE,
                site_id=site_id,
                accept_by=now + timedelta(minutes=5),
                body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1000.0,)),
            )
            await control.publish(topic(site_id, "command"), seal(command))
        await asyncio.sleep(1.5 * patience)
        assert acks == [AckVerdict.ACCEPTED] * count
        broker.stop()
        await asyncio.sleep(2.0)  # 20 s of domain time without a broker
        held = [buffer.count(site_id) for site_id in sites]
        assert all(count >= 2 for count in held)
        again.start()
        assert again.port == broker.port
        for _ in range(round(40 * patience)):
            await asyncio.sleep(0.1)
            ingest.confirm()
            if all(buffer.count(site_id) <= 1 for site_id in sites):
                break
        state = fleet.plant.state
        power_w = state.string_a.sum(axis=1) * state.bus_v
        assert power_w.tolist() == pytest.approx([-1000.0] * count, abs=160.0)
        assert set(acks) == {AckVerdict.ACCEPTED}
        assert len(ingest.seen) == count
        for sequences in ingest.seen.values():
            whole = set(sequences)
            # Sampled for 4.5 s of wall time and more, ten times a second: nothing from the first on is missing.
            assert whole == set(range(1, max(whole) + 1))
            assert max(whole) >= 40
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await control.stop()
        await ingest.client.stop()
        again.stop()
        broker.stop()
        buffer.close()
        pool.shutdown()
