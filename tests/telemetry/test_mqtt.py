import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from telemetry.mqtt import (
    BacklogFullError,
    InboundMessage,
    MqttClient,
    MqttError,
    MqttSettings,
    Will,
    backoff_delay,
    forget_session,
)
from tests.mqtt_clients import SOON, Received, connected, until
from tests.services import Broker
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import INGEST, CertificateAuthority

SETTINGS = MqttSettings(
    host="127.0.0.1",
    port=1,
    authority=Path("ca.crt"),
    certificate=Path("a.crt"),
    key=Path("a.key"),
    client_id="a",
    first_backoff=timedelta(seconds=1),
    longest_backoff=timedelta(seconds=10),
)


@pytest.mark.parametrize(
    ("failures", "unit_random", "seconds"),
    [(0, 1.0, 1.0), (0, 0.0, 0.5), (1, 1.0, 2.0), (3, 0.5, 6.0), (4, 1.0, 10.0), (10_000, 0.0, 5.0)],
)
def test_backoff_doubles_to_its_cap_and_is_spread(failures: int, unit_random: float, seconds: float) -> None:
    assert backoff_delay(SETTINGS, failures, unit_random).total_seconds() == seconds


@pytest.mark.broker
async def test_fifty_clients_share_one_process_without_a_thread_each(broker: Broker) -> None:
    received = Received()
    before = threading.active_count()
    with ThreadPoolExecutor(2) as executor:
        async with (
            connected(broker.service(INGEST), "cbs/v1/+/telemetry", on_message=received.append),
            AsyncExitStack() as stack,
        ):
            sites = [
                MqttClient(
                    broker.site(f"many-{n}"), on_message=lambda _: None, random=Random(n), executor=executor
                )
                for n in range(50)
            ]
            for site in sites:
                stack.push_async_callback(site.stop)
                site.start()
            await asyncio.gather(*(site.wait_ready(SOON) for site in sites))
            confirmations = [
                site.publish(f"cbs/v1/many-{n}/telemetry", b"%d" % k)
                for n, site in enumerate(sites)
                for k in range(20)
            ]
            await asyncio.gather(*confirmations)
            await received.until(1000)
            assert threading.active_count() <= before + 3  # two handshake threads, one of the ingest client's
    each = [message.payload for message in received if message.topic == "cbs/v1/many-7/telemetry"]
    assert each == [b"%d" % k for k in range(20)]
    assert len(received) == 1000


@pytest.mark.broker
async def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(broker: Broker) -> None:
    settings = replace(broker.service("svc-ingest-9"), persistent_session=True)
    first, second = Received(), Received()
    async with connected(broker.site("ack-1")) as site:
        async with connected(
            settings, "cbs/v1/ack-1/event", on_message=first.append, manual_acknowledge=True
        ):
            await asyncio.gather(
                *(site.publish("cbs/v1/ack-1/event", payload) for payload in (b"1", b"2", b"3"))
            )
            await first.until(3)
            first[0].acknowledge()
            await asyncio.sleep(0.1)
        async with connected(
            settings, "cbs/v1/ack-1/event", on_message=second.append, manual_acknowledge=True
        ):
            await second.until(2)
            first[1].acknowledge()  # of the connection before: must not confirm anything now
            second[1].acknowledge()
            await asyncio.sleep(0.1)
    assert second.payloads() == [b"2", b"3"]
    assert [message.duplicate for message in second] == [True, True]
    third = Received()
    async with connected(settings, "cbs/v1/ack-1/event", on_message=third.append):
        await third.until(1)
    assert third.payloads() == [b"2"]


@pytest.mark.broker
async def test_a_message_whose_handling_failed_stays_and_the_connection_lives(broker: Broker) -> None:
    settings = replace(broker.service("svc-ingest-10"), persistent_session=True)
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(str(context["exception"]))
    )
    handled, again = Received(), Received()

    def handle(message: InboundMessage) -> None:
        if message.payload == b"bad":
            raise ValueError("cannot handle bad")
        handled.append(message)

    async with connected(broker.site("fail-1")) as site:
        async with connected(settings, "cbs/v1/fail-1/event", on_message=handle):
            await site.publish("cbs/v1/fail-1/event", b"bad")
            await site.publish("cbs/v1/fail-1/event", b"good")
            await handled.until(1)
        async with connected(settings, "cbs/v1/fail-1/event", on_message=again.append):
            await again.until(1)
    assert reported == ["cannot handle bad"]
    assert again.payloads() == [b"bad"]


@pytest.mark.broker
async def test_the_will_is_said_for_a_client_that_vanished_and_not_for_one_that_left(broker: Broker) -> None:
    received = Received()

    def said() -> list[tuple[str, bytes]]:
        # The broker is shared: other tests' retained states arrive here too.
        mine = {"cbs/v1/left-1/state", "cbs/v1/gone-1/state"}
        return [(message.topic, message.payload) for message in received if message.topic in mine]

    async with connected(broker.service(INGEST), "cbs/v1/+/state", on_message=received.append):
        for name in ("left-1", "gone-1"):
            will = Will(topic=f"cbs/v1/{name}/state", payload=b"offline")
            async with connected(broker.site(name), will=will) as site:
                await site.publish(f"cbs/v1/{name}/state", b"online", retain=True)
                if name == "gone-1":
                    vanish(site)
                    await until(lambda: len(said()) >= 3)
    assert said() == [
        ("cbs/v1/left-1/state", b"online"),
        ("cbs/v1/gone-1/state", b"online"),
        ("cbs/v1/gone-1/state", b"offline"),
    ]


def vanish(client: MqttClient) -> None:
    """Cut the line without a goodbye."""
    client._link.cut()


@pytest.mark.broker
async def test_a_lost_connection_comes_back_and_says_so(broker: Broker) -> None:
    said: list[str] = []
    received = Received()
    client = MqttClient(
        replace(broker.site("back-1"), first_backoff=timedelta(milliseconds=20)),
        on_message=received.append,
        random=Random(1),
        on_connect=lambda: said.append("connected"),
        on_disconnect=lambda: said.append("lost"),
    )
    client.subscribe("cbs/v1/back-1/stored")
    client.start()
    await client.wait_ready(SOON)
    vanish(client)
    await until(lambda: said == ["connected", "lost", "connected"])
    await client.wait_ready(SOON)
    async with connected(broker.service(INGEST)) as ingest:
        await ingest.publish("cbs/v1/back-1/stored", b"after")
        await received.until(1)  # the subscription came back too
    await client.stop()
    assert said == ["connected", "lost", "connected", "lost"]


@pytest.fixture
def own_broker(tmp_path: Path, broker: Broker) -> Iterator[tuple[EmbeddedBroker, CertificateAuthority]]:
    """A broker that a test may stop; asks for the shared one so that an absent mosquitto is noticed there."""
    authority = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    running = EmbeddedBroker(private_folder(tmp_path / "broker"), authority)
    running.start()
    yield running, authority
    running.stop()


@pytest.mark.broker
async def test_messages_published_without_a_broker_arrive_in_order_when_it_is_back(
    own_broker: tuple[EmbeddedBroker, CertificateAuthority], tmp_path: Path
) -> None:
    running, authority = own_broker
    quick = timedelta(milliseconds=50)
    site_settings = replace(running.address.settings(authority.site("wait-1")), first_backoff=quick)
    ingest_settings = replace(
        running.address.settings(authority.service(INGEST)), first_backoff=quick, persistent_session=True
    )
    received = Received()
    async with (
        connected(ingest_settings, "cbs/v1/+/telemetry", on_message=received.append) as ingest,
        connected(site_settings) as site,
    ):
        running.stop()
        await until(lambda: not site.connected and not ingest.connected)
        waiting = [site.publish("cbs/v1/wait-1/telemetry", b"%d" % n) for n in range(5)]
        assert site.unconfirmed == 5
        again = EmbeddedBroker(tmp_path / "broker", authority, preferred_port=running.address.port)
        with again:
            assert again.address == running.address
            await asyncio.gather(*waiting)
            assert site.unconfirmed == 0
            await received.until(5)
    assert received.payloads() == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.broker
async def test_the_backlog_is_bounded(broker: Broker) -> None:
    client = MqttClient(
        replace(broker.site("full-1"), max_unconfirmed=2), on_message=lambda _: None, random=Random(1)
    )
    first = [client.publish("cbs/v1/full-1/event", b"x") for _ in range(2)]
    with pytest.raises(BacklogFullError):
        client.publish("cbs/v1/full-1/event", b"x")
    client.start()
    await asyncio.gather(*first)
    await client.publish("cbs/v1/full-1/event", b"x")
    await client.stop()


@pytest.mark.broker
async def test_a_broker_that_cannot_prove_itself_is_not_trusted(broker: Broker, tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path / "pki", now=datetime.now(UTC))
    client = MqttClient(
        replace(broker.site("trust-1"), authority=other.path), on_message=lambda _: None, random=Random(1)
    )
    client.start()
    with pytest.raises(MqttError, match="certificate verify failed"):
        await client.wait_ready(timedelta(seconds=0.5))
    await client.stop()


@pytest.mark.broker
async def test_what_is_unconfirmed_at_the_end_is_cancelled(broker: Broker) -> None:
    client = MqttClient(broker.site("end-1"), on_message=lambda _: None, random=Random(1))
    never = client.publish("cbs/v1/end-1/event", b"x")
    await client.stop()
    assert never.cancelled()


@pytest.mark.broker
async def test_a_broker_that_hangs_is_noticed_by_the_keep_alive(
    own_broker: tuple[EmbeddedBroker, CertificateAuthority],
) -> None:
    running, authority = own_broker
    settings = replace(
        running.address.settings(authority.site("hang-1")),
        keepalive=timedelta(seconds=1),
        first_backoff=timedelta(milliseconds=50),
    )
    async with connected(settings) as site:
        running.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not site.connected)
        finally:
            running.process.send_signal(signal.SIGCONT)
        await site.wait_ready(SOON)


@pytest.mark.broker
async def test_a_server_that_accepts_and_says_nothing_does_not_hold_the_client(broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = replace(
            broker.site("silent-1"), port=silent.getsockname()[1], connect_timeout=timedelta(seconds=0.2)
        )
        client = MqttClient(settings, on_message=lambda _: None, random=Random(1))
        client.start()
        with pytest.raises(MqttError, match="timed out"):
            await client.wait_ready(timedelta(seconds=0.6))
        await client.stop()


@pytest.mark.broker
async def test_a_client_stopped_during_its_handshake_leaves_no_connection(broker: Broker) -> None:
    client = MqttClient(broker.site("early-1"), on_message=lambda _: None, random=Random(1))
    client.start()
    await asyncio.sleep(0)  # the handshake has begun in its thread
    await client.stop()
    assert not client._link.up
    assert not client.connected


@pytest.mark.broker
async def test_a_retired_worker_takes_its_share_until_its_session_is_forgotten(broker: Broker) -> None:
    stays, retires = (
        replace(broker.service(f"svc-ingest-{number}"), persistent_session=True) for number in (11, 12)
    )
    shared = "$share/retiring/cbs/v1/retire-1/event"
    received = Received()
    async with (
        connected(broker.site("retire-1")) as site,
        connected(stays, shared, on_message=received.append),
    ):
        async with connected(retires, shared):
            pass
        for _ in range(10):
            await site.publish("cbs/v1/retire-1/event", b"before")
        await asyncio.sleep(0.2)
        assert len(received) == 5
        await forget_session(retires, random=Random(1), within=SOON)
        for _ in range(10):
            await site.publish("cbs/v1/retire-1/event", b"after")
        await received.until(15)
    assert received.payloads() == [b"before"] * 5 + [b"after"] * 10
