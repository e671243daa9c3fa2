"""`--check` at a cabinet on Modbus TCP where some devices are dead: each is named, and only it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from edge.gateway.check_devices import check_devices
from edge.gateway.config import BrokerConfig, GatewayFile
from edge.gateway.finding import Finding
from edge.modbus.site_port import PortSpec
from edge.simulator.fleet import FleetSimulation, follow
from edge.simulator.modbus_server import SiteServer
from edge.simulator.site_spec import SiteSpec
from tests.edge.gateway.bench import CONFIG, SITE

NOBODY = BrokerConfig(
    url="mqtts://127.0.0.1", ca_file=Path("a"), certificate_file=Path("b"), key_file=Path("c")
)


@asynccontextmanager
async def cabinet() -> AsyncIterator[PortSpec]:
    """A rectifier, meters and a transfer switch behind one TCP port, living in wall time."""
    spec = SiteSpec(site_id=SITE, transfer_switch=True)
    fleet = FleetSimulation([spec], seed=7, start=datetime.now(UTC))
    server = SiteServer(fleet.devices[0])
    number = await server.start()
    living = asyncio.create_task(follow(fleet, partial(datetime.now, UTC), asyncio.sleep))
    try:
        yield fleet.port_spec(0, port=number)
    finally:
        living.cancel()
        await asyncio.wait([living])
        await server.stop()


def closed_port() -> int:
    """Return a port on which nobody answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def checked(spec: PortSpec, folder: Path, changes: dict[str, dict[str, object]]) -> list[Finding]:
    """Return the findings for the cabinet's list with some entries changed, by device name."""
    devices = [
        msgspec.structs.replace(device, **changes.get(device.name, {}), timeout_s=0.3)
        for device in spec.devices
    ]
    held = msgspec.to_builtins(msgspec.structs.replace(spec, devices=devices))
    file = GatewayFile(site=CONFIG, broker=NOBODY, state_dir=folder, devices=held)
    return await check_devices(file)


async def test_two_dead_devices_and_a_good_one_are_three_findings(tmp_path: Path) -> None:
    dead = closed_port()
    async with cabinet() as spec:
        # Unit 1 is the rectifier controller, which is no SunSpec device.
        found = await checked(spec, tmp_path, {"rectifier": {"port": dead}, "meters": {"unit": 1}})
    assert [(finding.what, bool(finding.fix)) for finding in found] == [
        ("device rectifier", True),
        ("device meters", True),
        ("device transfer switch", False),
    ]
    assert f"127.0.0.1:{dead} unit 1" in found[0].found
    assert "no SunSpec mark" in found[1].found
    assert "of meters" in found[1].fix
    assert "example_switch" in found[2].found


async def test_a_whole_cabinet_is_judged_as_a_site_after_each_device(tmp_path: Path) -> None:
    async with cabinet() as spec:
        found = await checked(spec, tmp_path, {})
    assert [finding.what for finding in found[:4]] == [
        "device rectifier", "device meters", "device transfer switch", "devices",
    ]  # fmt: skip
    assert not [finding for finding in found if finding.fix]
    # What this cabinet's SunSpec device lists: no inverter, no sun.
    assert "models 1, 203, 713, 714, 802" in found[1].found


async def test_a_dead_switch_does_not_hide_what_else_the_site_lacks(tmp_path: Path) -> None:
    async with cabinet() as spec:
        found = await checked(spec, tmp_path, {"transfer switch": {"port": closed_port()}})
    broken = {finding.what for finding in found if finding.fix}
    assert broken == {"device transfer switch", "transfer switch"}
    assert "devices" in {finding.what for finding in found if not finding.fix}


async def test_a_profile_that_is_not_there_is_named_with_its_device(tmp_path: Path) -> None:
    async with cabinet() as spec:
        found = await checked(spec, tmp_path, {"rectifier": {"profile": "nobody_wrote_it"}})
    assert [finding.what for finding in found if finding.fix] == ["device rectifier"]
    assert "nobody_wrote_it" in found[0].found
