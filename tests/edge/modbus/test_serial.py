"""RTU on a serial line: two ends of a pseudo-terminal, a pymodbus serial server at the far one."""

from __future__ import annotations

import asyncio
import os
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace as alter
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.modbus.client import Connection, Device, Link, Patience, PymodbusLink
from edge.modbus.site_port import DeviceSpec, ModbusSitePort, modbus_link
from edge.simulator.modbus_server import SiteServer
from tests.edge.modbus.test_site_port import simulated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")


@contextmanager
def line() -> Iterator[tuple[str, str]]:
    """Yield the two ends of a serial line."""
    near, near_end = os.openpty()
    far, far_end = os.openpty()
    for fd in (near, near_end, far, far_end):
        tty.setraw(fd)
    loop = asyncio.get_running_loop()
    # What one line's terminal end sends, the other line's end receives: a null-modem cable.
    loop.add_reader(near, lambda: os.write(far, os.read(near, 4096)))
    loop.add_reader(far, lambda: os.write(near, os.read(far, 4096)))
    try:
        yield os.ttyname(near_end), os.ttyname(far_end)
    finally:
        loop.remove_reader(near)
        loop.remove_reader(far)
        for fd in (near, near_end, far, far_end):
            os.close(fd)


async def test_registers_are_written_and_read_back_over_a_serial_line() -> None:
    with line() as (near, far):
        registers = SimDevice(id=3, simdata=[SimData(200, count=4, values=0, datatype=DataType.REGISTERS)])
        server = ModbusSerialServer(registers, framer=FramerType.RTU, port=far, baudrate=115200)
        await server.serve_forever(background=True)
        link = PymodbusLink.serial(near, 115200, timedelta(seconds=1))
        device = Device("rectifier", Connection(link), 3, Patience(retries=0))
        try:
            await device.write("rectifier_set_v", 200, [4750, 60])
            assert await device.read(200, 4) == [4750, 60, 0, 0]
        finally:
            await link.close()
            await server.shutdown()  # type: ignore[no-untyped-call]


async def test_a_whole_site_on_one_serial_line_is_read_and_written() -> None:
    sim = simulated()
    with line() as (near, far):
        server = SiteServer(sim.devices[0], serial=far)
        await server.start()
        spec = sim.port_spec(0)
        devices = [alter(d, host="", port=0, serial=near, baud=115_200, timeout_s=2.0) for d in spec.devices]
        made: list[DeviceSpec] = []

        def link(device: DeviceSpec) -> Link:
            made.append(device)
            return modbus_link(device)

        port = ModbusSitePort(alter(spec, devices=devices), link, Patience(retries=1))
        try:
            await port.open()
            assert len(made) == 1  # controller and meters are two units on one line: one connection
            sample, mains, hz = await asyncio.gather(port.read(), port.read_mains(), port.read_grid_hz())
            assert sample.bus_v == pytest.approx(sim.sensors.values["bus_v"][0], abs=0.006)
            assert sample.grid_w == pytest.approx(sim.sensors.values["grid_w"][0], abs=0.6)
            assert mains
            assert hz == pytest.approx(50.0, abs=0.02)
            assert await port.write_rectifier_v(50.0, timedelta(seconds=60)) == pytest.approx(50.0)
        finally:
            await port.close()
            await server.stop()
