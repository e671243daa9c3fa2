"""A site's link through real sockets: mosquitto behind it, TLS untouched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic

import pytest

from edge.gateway.mqtt_uplink import MqttUplink
from edge.gateway.outbox import offline_state
from edge.gateway.uplink import topic
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.link import DoublingUplink, LinkFaults, LinkProxy
from edge.simulator.site_spec import SiteSpec
from edge.simulator.surroundings import SkewedClock
from telemetry.model.clock import Pace, PacedClock
from telemetry.model.site import SiteId
from telemetry.mqtt import MqttSettings
from telemetry.wire import StateMessage, decode
from tests.mqtt_clients import Received, connected, until
from tests.services import Broker
from ui.ops.pki import CONTROL

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def quick(settings: MqttSettings, port: int) -> MqttSettings:
    return replace(
        settings,
        port=port,
        first_backoff=timedelta(seconds=0.05),
        longest_backoff=timedelta(seconds=0.2),
        keepalive=timedelta(seconds=1),
    )


@asynccontextmanager
async def linked(broker: Broker, name: str) -> AsyncIterator[tuple[FleetSimulation, MqttUplink, LinkProxy]]:
    """A simulated site whose uplink goes through its proxy; faults are put through the fleet."""
    fleet = FleetSimulation([SiteSpec(site_id=name)], seed=1, start=START)
    site_id = SiteId(name)
    proxy = LinkProxy(broker.address.host, broker.address.port, fleet.around[0].link, Random(3))
    port = await proxy.start()
    will = offline_state(site_id, START, 0, "0")
    uplink = MqttUplink(site_id, quick(broker.site(name), port), will, Random(4))
    try:
        yield fleet, uplink, proxy
    finally:
        await uplink.close()
        await proxy.stop()


@pytest.mark.broker
async def test_a_cut_breaks_the_connection_the_broker_says_so_and_what_waited_comes_after(
    broker: Broker,
) -> None:
    heard = Received()
    commands: list[bytes] = []
    async with linked(broker, "cut-1") as (fleet, uplink, proxy):
        ups: list[float] = []
        uplink.listen(
            lambda name, payload: commands.append(payload) if name.endswith("command") else None,
            lambda: ups.append(monotonic()),
        )
        control = broker.service(CONTROL)
        async with connected(
            control, "cbs/v1/cut-1/state", "cbs/v1/cut-1/ack", on_message=heard.append
        ) as centre:
            await uplink.open()
            await until(lambda: uplink.connected)
            await uplink.publish(topic(SiteId("cut-1"), "ack"), b"one")
            await heard.until(1)
            fleet.put(Fault(site=0, kind="link_cut"))
            await until(lambda: not uplink.connected and proxy.connections == 0)
            await heard.until(2)  # the last will, which a goodbye would have kept unsaid
            assert decode(heard[1].payload, StateMessage).online is False
            await centre.publish(topic(SiteId("cut-1"), "command"), b"while away")
            await asyncio.sleep(0.3)
            assert commands == []
            assert len(ups) == 1
            fleet.put(Fault(site=0, kind="link_cut", on=False))
            await until(lambda: commands == [b"while away"])
            assert len(ups) == 2


@pytest.mark.broker
async def test_a_hole_is_noticed_by_the_keep_alive_and_mends(broker: Broker) -> None:
    async with linked(broker, "hole-1") as (fleet, uplink, _proxy):
        uplink.listen(lambda _name, _payload: None, lambda: None)
        await uplink.open()
        await until(lambda: uplink.connected)
        fleet.put(Fault(site=0, kind="link_hole"))
        assert uplink.connected  # nobody was told
        await until(lambda: not uplink.connected, within_s=20.0)
        fleet.put(Fault(site=0, kind="link_hole", on=False))
        await until(lambda: uplink.connected, within_s=20.0)


@pytest.mark.broker
async def test_delay_and_loss_add_to_a_round_trip_and_change_no_order(broker: Broker) -> None:
    heard = Received()
    async with linked(broker, "slow-1") as (fleet, uplink, _proxy):
        uplink.listen(lambda _name, _payload: None, lambda: None)
        async with connected(broker.service(CONTROL), "cbs/v1/slow-1/ack", on_message=heard.append):
            await uplink.open()
            await until(lambda: uplink.connected)
            fleet.put(Fault(site=0, kind="link_delay", value=0.1))
            began_s = monotonic()
            await uplink.publish(topic(SiteId("slow-1"), "ack"), b"0")
            # Out and back at 0.1 +- 0.06 s each.
            assert monotonic() - began_s >= 0.05
            fleet.put(Fault(site=0, kind="link_delay", on=False))
            fleet.put(Fault(site=0, kind="link_loss", value=0.3))
            fleet.around[0].link.retransmit_s = 0.02
            await asyncio.gather(
                *(uplink.publish(topic(SiteId("slow-1"), "ack"), str(n).encode()) for n in range(1, 41))
            )
            await heard.until(41)
    assert heard.payloads() == [str(n).encode() for n in range(41)]


def test_one_segment_in_a_hundred_waits_for_its_retransmission() -> None:
    faults, luck = LinkFaults(delay_s=0.05, spread_s=0.03, loss=0.01), Random(1)
    waits = sorted(faults.wait_s(luck) for _ in range(20_000))
    late = [wait for wait in waits if wait > 0.9]
    # 1 % of 20,000; the first time-out is 1 s, twice in a row 3 s.
    assert len(late) == pytest.approx(200, rel=0.2)
    assert waits[len(waits) // 2] == pytest.approx(0.05, abs=0.002)
    assert waits[0] == 0.0
    assert [LinkFaults().wait_s(luck) for _ in range(3)] == [0.0] * 3


@pytest.mark.broker
async def test_doubled_messages_come_twice_both_ways(broker: Broker) -> None:
    heard, commands = Received(), list[bytes]()
    async with linked(broker, "twice-1") as (fleet, inner, _proxy):
        uplink = DoublingUplink(inner, fleet.around[0].link, Random(1))
        uplink.listen(
            lambda name, payload: commands.append(payload) if name.endswith("command") else None, lambda: None
        )
        fleet.put(Fault(site=0, kind="link_duplicates", value=1.0))
        async with connected(
            broker.service(CONTROL), "cbs/v1/twice-1/ack", on_message=heard.append
        ) as centre:
            await uplink.open()
            await until(lambda: uplink.connected)
            await uplink.publish(topic(SiteId("twice-1"), "ack"), b"a")
            await centre.publish(topic(SiteId("twice-1"), "command"), b"c")
            await heard.until(2)
            await until(lambda: len(commands) == 2)
            fleet.put(Fault(site=0, kind="link_duplicates", on=False))
            await uplink.publish(topic(SiteId("twice-1"), "ack"), b"b")
            await heard.until(3)
        await uplink.close()
    assert heard.payloads() == [b"a", b"a", b"b"]
    assert commands == [b"c", b"c"]


def test_a_skewed_clock_is_ahead_until_it_is_put_right() -> None:
    fleet = FleetSimulation([SiteSpec(site_id="s")], seed=1, start=START)
    pace = Pace(wall=START, domain=START, speed=10.0)
    clock = SkewedClock(PacedClock(lambda: pace, lambda: START), fleet.around[0])
    assert clock.now() == START
    fleet.put(Fault(site=0, kind="clock_skew", value=90.0))
    assert clock.now() == START + timedelta(seconds=90)
    assert clock.to_wall(timedelta(seconds=20)) == timedelta(seconds=2)
    fleet.put(Fault(site=0, kind="clock_skew", on=False))
    assert clock.now() == START


def test_a_reboot_is_handed_to_whoever_runs_the_gateway() -> None:
    fleet = FleetSimulation([SiteSpec(site_id="s")], seed=1, start=START)
    fleet.put(Fault(site=0, kind="reboot"))  # nobody runs one: nothing happens
    away: list[float] = []
    fleet.around[0].reboot = away.append
    fleet.put(Fault(site=0, kind="reboot", value=2.5))
    assert away == [2.5]
