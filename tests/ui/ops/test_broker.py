import asyncio
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from telemetry.mqtt import MqttClient, MqttError, MqttProtocol, MqttSettings, PublishRefusedError
from tests.mqtt_clients import Received, connected, until
from tests.services import Broker
from tests.ui.ops.waiting import gone, wait_for
from ui.ops.broker import BrokerAddress, EmbeddedBroker, answers, broker_from_env, external_address
from ui.ops.files import private_folder
from ui.ops.pki import CHECK, CONTROL, INGEST, CertificateAuthority, ingest_worker

pytestmark = pytest.mark.broker


def v5(settings: MqttSettings) -> MqttSettings:
    return replace(settings, protocol=MqttProtocol.V5)


async def test_a_site_and_the_services_reach_each_other(broker: Broker) -> None:
    up, down = Received(), Received()
    async with (
        connected(broker.service(INGEST), "cbs/v1/+/telemetry", on_message=up.append) as ingest,
        connected(broker.service(CONTROL)) as control,
        connected(
            broker.site("own-1"),
            "cbs/v1/own-1/command",
            "cbs/v1/own-1/stored",
            "cbs/v1/fleet/#",
            on_message=down.append,
        ) as site,
    ):
        await site.publish("cbs/v1/own-1/telemetry", b"reading")
        await control.publish("cbs/v1/own-1/command", b"command")
        await ingest.publish("cbs/v1/own-1/stored", b"stored")
        await control.publish("cbs/v1/fleet/stop", b"stop")
        await up.until(1)
        await down.until(3)
    assert [(message.topic, message.payload) for message in up] == [("cbs/v1/own-1/telemetry", b"reading")]
    assert down.payloads() == [b"command", b"stored", b"stop"]


async def test_a_feeders_meter_reports_under_its_own_name_only(broker: Broker) -> None:
    received = Received()
    async with (
        connected(broker.service(INGEST), "cbs/v1/+/feeder", on_message=received.append),
        connected(v5(broker.site("feeder-6"))) as meter,
    ):
        with pytest.raises(PublishRefusedError):
            await meter.publish("cbs/v1/feeder-7/feeder", b"forged")
        await meter.publish("cbs/v1/feeder-6/feeder", b"load")
        await received.until(1)
    assert [(message.topic, message.payload) for message in received] == [("cbs/v1/feeder-6/feeder", b"load")]


@pytest.mark.parametrize(
    "topic",
    [
        "cbs/v1/other-1/telemetry",
        "cbs/v1/other-1/state",
        "cbs/v1/bad-1/command",
        "cbs/v1/bad-1/stored",
        "cbs/v1/fleet/stop",
        "cbs/v1/fleet/telemetry",
        "cbs/check/x",
        "elsewhere",
    ],
)
async def test_a_site_is_told_that_it_may_not_write_there(broker: Broker, topic: str) -> None:
    async with connected(v5(broker.site("bad-1"))) as site:
        with pytest.raises(PublishRefusedError, match="Not authorized"):
            await site.publish(topic, b"x")


async def test_a_forbidden_message_that_looked_fine_is_not_delivered(broker: Broker) -> None:
    received = Received()
    async with (
        connected(broker.service(INGEST), "cbs/v1/+/telemetry", on_message=received.append),
        connected(broker.site("bad-2")) as site,
    ):
        await site.publish("cbs/v1/other-2/telemetry", b"forged")  # MQTT 3.1.1 confirms it
        await site.publish("cbs/v1/bad-2/telemetry", b"honest")
        await received.until(1)
    assert received.payloads() == [b"honest"]


async def test_a_site_reads_nothing_of_another_though_its_subscription_is_granted(broker: Broker) -> None:
    spied, arrived = Received(), Received()
    async with (
        connected(broker.site("spy-3"), "#", "cbs/v1/other-3/command", on_message=spied.append),
        connected(broker.site("other-3"), "cbs/v1/other-3/command", on_message=arrived.append) as other,
        connected(broker.service(CONTROL)) as control,
    ):
        await other.publish("cbs/v1/other-3/telemetry", b"private")
        await control.publish("cbs/v1/other-3/command", b"private")
        await control.publish("cbs/v1/spy-3/command", b"its own")
        await arrived.until(1)
        await spied.until(1)
    assert [message.payload for message in spied if message.topic != "cbs/v1/fleet/stop"] == [b"its own"]


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        (INGEST, "cbs/v1/any-1/command"),
        (INGEST, "cbs/v1/fleet/stop"),
        (CONTROL, "cbs/v1/any-1/telemetry"),
        (CONTROL, "cbs/v1/any-1/stored"),
        (CHECK, "cbs/v1/any-1/command"),
    ],
)
async def test_a_service_writes_its_own_topics_only(broker: Broker, service: str, topic: str) -> None:
    async with connected(v5(broker.service(service))) as client:
        with pytest.raises(PublishRefusedError):
            await client.publish(topic, b"x")


async def test_a_site_that_calls_itself_control_is_still_the_site_and_does_not_push_control_out(
    broker: Broker,
) -> None:
    pretending = replace(v5(broker.site("bad-4")), client_id=CONTROL)
    async with connected(v5(broker.service(CONTROL))) as control, connected(pretending) as site:
        with pytest.raises(PublishRefusedError):
            await site.publish("cbs/v1/other-4/command", b"x")
        await control.publish("cbs/v1/other-4/command", b"x")
        assert control.connected


async def test_a_certificate_of_another_authority_is_refused(broker: Broker, tmp_path: Path) -> None:
    stranger = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC)).service(CONTROL)
    settings = replace(broker.service(CONTROL), certificate=stranger.certificate, key=stranger.key)
    client = MqttClient(settings, on_message=lambda _: None, random=Random(1))
    client.start()
    with pytest.raises(MqttError, match="svc-control is not connected"):
        await client.wait_ready(timedelta(seconds=0.5))
    await client.stop()


async def test_workers_on_a_shared_subscription_divide_the_messages(broker: Broker) -> None:
    first, second = Received(), Received()
    shared = "$share/ingest/cbs/v1/+/telemetry"
    async with (
        connected(broker.service(ingest_worker(1)), shared, on_message=first.append),
        connected(broker.service(ingest_worker(2)), shared, on_message=second.append),
        connected(broker.site("share-5")) as site,
    ):
        await asyncio.gather(*(site.publish("cbs/v1/share-5/telemetry", b"%d" % n) for n in range(40)))
        await until(lambda: len(first) + len(second) >= 40)
    assert sorted(first.payloads() + second.payloads(), key=int) == [b"%d" % n for n in range(40)]
    assert first
    assert second


@pytest.fixture
def folder(tmp_path: Path, broker: Broker) -> Path:
    """For a broker of one's own; asks for the shared one so that an absent mosquitto is noticed there."""
    return private_folder(tmp_path / "broker")


async def test_a_retained_message_survives_a_restart(folder: Path, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    received = Received()
    with EmbeddedBroker(folder, authority) as running:
        async with connected(running.address.settings(authority.site("kept"))) as site:
            await site.publish("cbs/v1/kept/state", b"last", retain=True)
        pid = running.process.pid
    assert gone(pid)
    with EmbeddedBroker(folder, authority) as running:
        settings = running.address.settings(authority.service(INGEST))
        async with connected(settings, "cbs/v1/+/state", on_message=received.append):
            await received.until(1)
    assert [(message.payload, message.retained) for message in received] == [(b"last", True)]


def test_a_withdrawn_certificate_is_refused_and_its_successor_accepted(folder: Path, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    site = authority.site("stolen")
    thief = replace(site, certificate=tmp_path / "thief.crt", key=tmp_path / "thief.key")
    thief.certificate.write_bytes(site.certificate.read_bytes())
    thief.key.write_bytes(site.key.read_bytes())
    with EmbeddedBroker(folder, authority) as running:
        assert answers(running.address, thief)
    authority.revoke("stolen")
    with EmbeddedBroker(folder, authority) as running:
        assert not answers(running.address, thief)
        assert answers(running.address, authority.site("stolen"))
        assert answers(running.address, authority.service(CHECK))


def test_kill_9_of_the_parent_ends_the_broker(folder: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ui.ops.doomed", "broker", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.send_signal(signal.SIGKILL)
    assert wait_for(lambda: gone(pid))


def test_a_taken_port_is_left_to_its_owner(folder: Path, tmp_path: Path, broker: Broker) -> None:
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    with EmbeddedBroker(folder, authority, preferred_port=broker.address.port) as running:
        assert running.address.port != broker.address.port
        assert answers(running.address, authority.service(CHECK))
        assert not answers(broker.address, authority.service(CHECK))  # another authority's


def test_mqtt_url_means_no_embedded_broker(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    with broker_from_env({"MQTT_URL": "mqtts://broker.example"}, tmp_path / "unused", authority) as address:
        assert address == BrokerAddress(host="broker.example", port=8883)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("url", ["mqtt://broker.example:1883", "broker.example", "mqtts://"])
def test_a_broker_without_tls_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="mqtts://"):
        external_address(url)
