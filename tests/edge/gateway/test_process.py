"""The whole gateway as a process: one YAML file, Modbus TCP to a simulated cabinet, MQTT with TLS to mosquitto."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import msgspec
import pytest

from edge.envelope import KeySet, SigningKey, decode_ack, public_bytes, sign_keys
from edge.gateway.check import check_all
from edge.gateway.check_clock import ClockState
from edge.gateway.config import ConfigError, Pacing, read_config
from edge.gateway.process import main, port_spec
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.plan import Acknowledgement, AckVerdict, Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from telemetry.model.site import SiteMode
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.wire import StateMessage, StoredMessage, TelemetryMessage, decode, encode
from tests.edge.gateway.bench import LIMITS, ROOT, SIGNER, SITE, SPEC, seal
from tests.services import Broker
from ui.ops.pki import CONTROL, INGEST

pytestmark = pytest.mark.broker
ROOT_FOLDER = Path(__file__).parents[3]
# The clock of the machine that runs the tests is not what they are about.
SYNCHRONISED = ClockState(synchronised=True, source="the test")


def document(broker: Broker, folder: Path, modbus_port: int) -> dict[str, Any]:
    """Return the gateway's file as a plain document."""
    settings = broker.site(SITE)
    fleet = FleetSimulation([SPEC], seed=7, start=datetime.now(UTC))
    return {
        "site": {
            "site_id": SITE,
            "root_public_b64": base64.b64encode(public_bytes(ROOT)).decode(),
            "mode": "remote",
            "highest_mode": "remote",
            "limits": msgspec.to_builtins(LIMITS),
            "pacing": {"publish_s": 1.0},
        },
        "broker": {
            "url": f"mqtts://{settings.host}:{settings.port}",
            "ca_file": str(settings.authority),
            "certificate_file": str(settings.certificate),
            "key_file": str(settings.key),
        },
        "state_dir": str(folder / "state"),
        "devices": msgspec.to_builtins(fleet.port_spec(0, port=modbus_port)),
    }


def write(folder: Path, doc: dict[str, Any]) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(doc))  # JSON is YAML
    return path


@asynccontextmanager
async def cabinet() -> AsyncIterator[tuple[FleetSimulation, SiteServer]]:
    """A simulated cabinet on Modbus TCP that lives in wall time."""
    fleet = FleetSimulation([SPEC], seed=7, start=datetime.now(UTC))
    server = SiteServer(fleet.devices[0])
    await server.start()

    async def live() -> None:
        while True:
            fleet.advance_to(datetime.now(UTC))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(live())
    try:
        yield fleet, server
    finally:
        task.cancel()
        await asyncio.wait([task])
        await server.stop()


@dataclass
class Centre:
    """What the cloud side of this test hears and says."""

    control: MqttClient
    ingest: MqttClient
    heard: list[tuple[str, bytes, float]] = field(default_factory=list)

    def acks(self) -> list[Acknowledgement]:
        return [decode_ack(payload) for name, payload, _ in self.heard if name.endswith("/ack")]

    async def wait(self, leaf: str, count: int = 1, within_s: float = 10.0) -> float:
        """Return when the count-th message of a kind was heard, monotonic seconds."""
        end = monotonic() + within_s
        while monotonic() < end:
            times = [at for name, _, at in self.heard if name == topic(SITE, leaf)]
            if len(times) >= count:
                return times[count - 1]
            await asyncio.sleep(0.005)
        raise AssertionError(f"{count} messages of {leaf} not heard in {within_s} s")


@asynccontextmanager
async def centre(broker: Broker) -> AsyncIterator[Centre]:
    def heard(message: InboundMessage) -> None:
        made.heard.append((message.topic, message.payload, monotonic()))

    control = MqttClient(broker.service(CONTROL), on_message=heard, random=Random(1))
    ingest = MqttClient(broker.service(INGEST), on_message=heard, random=Random(2))
    made = Centre(control, ingest)
    control.subscribe(topic(SITE, "ack"))
    ingest.subscribe(topic(SITE, "telemetry"), topic(SITE, "state"), topic(SITE, "event"))
    for client in (control, ingest):
        client.start()
        await client.wait_ready(timedelta(seconds=5))
    try:
        yield made
    finally:
        await control.publish(FLEET_KEYS, b"", retain=True)
        await control.stop()
        await ingest.stop()


def key_set(now: datetime) -> KeySet:
    key = SigningKey(
        key_id="k1",
        public=public_bytes(SIGNER),
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=1),
    )
    return KeySet(epoch=1, keys=(key,))


def order(now: datetime, sequence: int, watts: float) -> Command:
    return Command(
        command_id=CommandId(f"c-{sequence}"),
        plan_id=None,
        site_id=SITE,
        sequence=sequence,
        accept_by=now + timedelta(minutes=1),
        not_before=now,
        valid_until=now + timedelta(hours=1),
        kind=CommandKind.SCHEDULE,
        body=ScheduleBody(start=now, step_s=900, setpoint_w=(watts,) * 4),
    )


def resident_mb(pid: int) -> float:
    line = next(r for r in Path(f"/proc/{pid}/status").read_text().splitlines() if r.startswith("VmRSS"))
    return int(line.split()[1]) / 1024.0


async def test_a_gateway_process_obeys_over_mqtt_and_its_site_survives_its_death(
    broker: Broker, tmp_path: Path
) -> None:
    async with cabinet() as (fleet, server), centre(broker) as cloud:
        now = datetime.now(UTC)
        await cloud.control.publish(FLEET_KEYS, sign_keys(key_set(now), ROOT), retain=True)
        path = write(tmp_path, document(broker, tmp_path, server.port))
        began = monotonic()
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge.gateway.process", str(path), cwd=ROOT_FOLDER
        )
        try:
            online = await cloud.wait("state")
            assert online - began < 5.0  # the goal of 2 s is measured on a quiet machine
            await cloud.wait("telemetry")
            await cloud.control.publish(topic(SITE, "command"), seal(order(now, 1, -1000.0)))
            await cloud.wait("ack")
            ack = cloud.acks()[0]
            assert ack.verdict is AckVerdict.ACCEPTED, ack.reason
            assert ack.read_back_v is not None
            assert fleet.plant.commands.rectifier_v[0] < 54.0
            await cloud.wait("telemetry", 3)
            assert resident_mb(gateway.pid) < 80.0
        finally:
            gateway.send_signal(signal.SIGKILL)
            await gateway.wait()
        fleet.advance_to(datetime.now(UTC) + timedelta(seconds=60))
        assert fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        await cloud.wait("state", 3)  # float, dispatch, and the broker's word for the dead
        states = [decode(p, StateMessage) for n, p, _ in cloud.heard if n == topic(SITE, "state")]
        assert not states[-1].online
        readings = [
            reading.sequence
            for name, payload, _ in cloud.heard
            if name == topic(SITE, "telemetry")
            for reading in decode(payload, TelemetryMessage).readings
        ]
        assert readings == list(range(1, len(readings) + 1))


async def test_a_gateway_told_to_stop_leaves_its_site_at_float(broker: Broker, tmp_path: Path) -> None:
    async with cabinet() as (fleet, server), centre(broker) as cloud:
        now = datetime.now(UTC)
        await cloud.control.publish(FLEET_KEYS, sign_keys(key_set(now), ROOT), retain=True)
        path = write(tmp_path, document(broker, tmp_path, server.port))
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge.gateway.process", str(path), cwd=ROOT_FOLDER
        )
        await cloud.wait("telemetry")
        await cloud.control.publish(topic(SITE, "command"), seal(order(now, 1, -1000.0)))
        await cloud.wait("ack")
        assert fleet.plant.commands.rectifier_v[0] < 54.0
        marks = StoredMessage(v=1, site_id=SITE, marks={"nobody": 1})
        await cloud.ingest.publish(topic(SITE, "stored"), encode(marks), retain=True)
        gateway.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(gateway.wait(), 10.0) == 0
        assert fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        states = [decode(p, StateMessage) for n, p, _ in cloud.heard if n == topic(SITE, "state")]
        assert states


async def test_the_check_says_what_to_fix(broker: Broker, tmp_path: Path) -> None:
    async with cabinet() as (_, server):
        good = document(broker, tmp_path, server.port)
        found = await check_all(read_config(write(tmp_path, good)), clock_state=lambda: SYNCHRONISED)
        assert [finding.what for finding in found if finding.fix] == []
        assert {"config", "certificate", "devices", "broker", "broker ACL"} <= {
            finding.what for finding in found
        }
        other = broker.site("cbs-0002")
        wrong = {
            **good,
            "site": {**good["site"], "limits": {**good["site"]["limits"], "continuity_proven": False}},
            "broker": {**good["broker"], "certificate_file": str(other.certificate)},
            "devices": {**good["devices"], "devices": [{**good["devices"]["devices"][0], "port": 1}]},
        }
        found = await check_all(
            read_config(write(tmp_path, wrong)), timedelta(seconds=1), lambda: SYNCHRONISED
        )
        broken = {finding.what: finding for finding in found if finding.fix}
        assert set(broken) == {"continuity", "certificate", "device rectifier", "broker"}
        assert "cbs-0001" in " ".join(f.fix for f in found if f.what == "certificate")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sites": 1}, "unknown field `sites`"),
        ({"site": {"site_id": "a b"}}, "site_id"),
        ({"state_dir": 3}, "state_dir"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_that_is_wrong(
    tmp_path: Path, change: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"url": "mqtts://127.0.0.1", "ca_file": "a", "certificate_file": "b", "key_file": "c"}
    site = {
        "site_id": SITE,
        "root_public_b64": base64.b64encode(public_bytes(ROOT)).decode(),
        "limits": msgspec.to_builtins(LIMITS),
    }
    doc: dict[str, Any] = {"site": site, "broker": settings, "state_dir": "s", "devices": {}, **change}
    with pytest.raises(ConfigError, match=r"gateway\.yaml"):
        read_config(write(tmp_path, doc))
    assert main([str(tmp_path / "gateway.yaml")]) == 2
    assert complaint in capsys.readouterr().err


def test_a_revert_longer_than_a_minute_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"revert_s must be in 5\.\.60"):
        msgspec.convert({"revert_s": 61.0}, Pacing)


def test_the_example_file_is_a_file_of_ours() -> None:
    file = read_config(ROOT_FOLDER / "deploy" / "gateway.example.yaml")
    assert not file.site.limits.continuity_proven  # as shipped it refuses every schedule
    assert file.site.highest_mode is SiteMode.SHADOW
    assert file.site.local.import_peak is not None
    assert port_spec(file).devices[1].tls is not None
