"""The proxy path: gateways of one process serve controllers over the network, each by its own device list.

A controller without MQTT is a Modbus server somewhere on the site's network. The gateway beside it holds the last word:
nothing reaches the controller but what a verified command, within the site's own limits, asks for. Plant simulated.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace as alter

from edge.envelope import decode_ack, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.core import GatewayCore
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.modbus.client import Patience
from edge.modbus.site_port import ModbusSitePort
from edge.plan import AckVerdict
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.site_spec import SiteSpec
from telemetry.model.site import SiteId
from tests.edge.gateway.bench import CONFIG, KEYS, NOON, ROOT, SCHEDULE, STRANGER, BenchLink, StepClock, seal

SITES = (SiteId("plc-1"), SiteId("plc-2"))


async def test_one_process_serves_two_controllers_whose_meters_stand_elsewhere(tmp_path: Path) -> None:
    fleet = FleetSimulation([SiteSpec(site_id=site_id) for site_id in SITES], seed=5, start=NOON)
    servers = [SiteServer(fleet.devices[k]) for k in (0, 0, 1, 1)]  # controller and meters of each site
    ports = [await server.start() for server in servers]
    clock, buffer, links, cores = StepClock(), Buffer(tmp_path / "b.db"), [], []
    sites = []
    for k, site_id in enumerate(SITES):
        spec = fleet.port_spec(k)
        rectifier, meters = spec.devices
        devices = [alter(rectifier, port=ports[2 * k]), alter(meters, port=ports[2 * k + 1])]
        port = ModbusSitePort(alter(spec, devices=devices), patience=Patience(retries=0))
        await port.open()
        sites.append(port)
        links.append(BenchLink())
        disk = StateFile(tmp_path / f"{site_id}.json")
        config = alter(CONFIG, site_id=site_id)
        cores.append(
            GatewayCore(
                config, port, links[k], buffer, disk, clock, Random(k), boot_id=f"b{k}",
                monotonic=clock.monotonic,
            )
        )  # fmt: skip
    running = [asyncio.create_task(core.run_messages()) for core in cores]
    try:
        for core, link, site_id in zip(cores, links, SITES, strict=True):
            await link.open()
            clock.advance(1.0)
            fleet.advance_to(clock.now())
            await core.control_once()
            link.deliver(FLEET_KEYS, sign_keys(KEYS, ROOT))
            command = replace(SCHEDULE, site_id=site_id)
            link.deliver(topic(site_id, "command"), seal(command, STRANGER))
            await core.idle()
        written = [len(devices.writes) for devices in fleet.devices]
        links[1].deliver(topic(SITES[1], "command"), seal(replace(SCHEDULE, site_id=SITES[1])))
        await cores[1].idle()
        await asyncio.sleep(0.1)
        acks = [[decode_ack(p) for name, p, _ in link.sent if name.endswith("/ack")] for link in links]
        assert [[ack.verdict for ack in of_site] for of_site in acks] == [[], [AckVerdict.ACCEPTED]]
        # What was not believed wrote nothing; what was believed wrote to its own controller only.
        assert len(fleet.devices[0].writes) == written[0]
        assert len(fleet.devices[1].writes) > written[1]
        float_v = SiteSpec(site_id="x").float_v
        assert fleet.plant.commands.rectifier_v[0] == pytest.approx(float_v)
        assert acks[1][0].read_back_v == pytest.approx(float(fleet.plant.commands.rectifier_v[1]))
        assert float(fleet.plant.commands.rectifier_v[1]) < float_v
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        for port in sites:
            await port.close()
        for server in servers:
            await server.stop()
        buffer.close()
