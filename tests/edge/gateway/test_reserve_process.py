"""A reserve through everything: signed order over MQTT with TLS, the gateway as a process, Modbus TCP, wall time."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import msgspec
import pytest

from edge.envelope import sign_keys
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.plan import AckVerdict, CommandKind
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from telemetry.wire import EventMessage, decode
from tests.edge.gateway.bench import ROOT, SITE, seal
from tests.edge.gateway.test_process import cabinet, centre, document, key_set, order, resident_mb, write
from tests.edge.gateway.test_reserve import FAST, FCR_D
from tests.services import Broker

pytestmark = [pytest.mark.broker, pytest.mark.proof]
ROOT_FOLDER = Path(__file__).parents[3]


async def until_w(fleet: FleetSimulation, most_w: float, within_s: float) -> float:
    """Return how long it took until the battery's power was at or below, s."""
    began_s = monotonic()
    while monotonic() - began_s < within_s:
        state = fleet.plant.state
        if float(state.string_a[0].sum() * state.bus_v[0]) <= most_w:
            return monotonic() - began_s
        await asyncio.sleep(0.02)
    return float("inf")


async def test_a_process_answers_a_frequency_step_and_mains_loss_takes_the_battery_back(
    broker: Broker, tmp_path: Path
) -> None:
    async with cabinet() as (fleet, server), centre(broker) as cloud:
        now = datetime.now(UTC)
        await cloud.control.publish(FLEET_KEYS, sign_keys(key_set(now), ROOT), retain=True)
        doc = document(broker, tmp_path, server.port)
        doc["site"]["fast"] = msgspec.to_builtins(FAST)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge.gateway.process", str(write(tmp_path, doc)), cwd=ROOT_FOLDER
        )
        try:
            await cloud.wait("telemetry", within_s=30.0)
            command = replace(
                order(now, 1, 0.0),
                kind=CommandKind.GRID_RESERVE,
                body=replace(FCR_D, up_w=900.0),
                accept_by=now + timedelta(minutes=2),
            )
            await cloud.control.publish(topic(SITE, "command"), seal(command))
            await cloud.wait("ack", within_s=30.0)
            assert (cloud.acks()[0].verdict, cloud.acks()[0].reason) == (AckVerdict.ACCEPTED, "")
            await asyncio.sleep(6.0)
            fleet.put(Fault(site=0, kind="grid_frequency", value=49.4))
            # The product: half in 5 s, all in 30 s; asked in 8 s. A busy machine adds to it.
            assert await until_w(fleet, -450.0, 10.0) <= 5.0
            assert await until_w(fleet, -800.0, 25.0) <= 25.0
            assert resident_mb(process.pid) < 80.0
            fleet.put(Fault(site=0, kind="mains_outage"))
            began_s = monotonic()
            while fleet.plant.commands.rectifier_v[0] < 54.39 and monotonic() - began_s < 5.0:
                await asyncio.sleep(0.01)
            assert monotonic() - began_s <= 1.0 + 0.1  # the plant itself is stepped every 100 ms
            await cloud.wait("ack", 2, within_s=30.0)
            assert (cloud.acks()[-1].verdict, cloud.acks()[-1].reason) == (AckVerdict.EXPIRED, "outage")
            await asyncio.sleep(0.5)
            events = [decode(p, EventMessage) for n, p, _ in cloud.heard if n == topic(SITE, "event")]
            told = [event.detail for event in events if event.kind == "reserve_account"]
            assert len(told) == 1
            assert told[0].startswith("c-1: asked up ")
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
