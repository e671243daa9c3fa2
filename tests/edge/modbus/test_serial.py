"""RTU on a serial line: two ends of a pseudo-terminal, a pymodbus serial server at the far one."""

from __future__ import annotations

import asyncio
import os
import sys
import tty
from datetime import timedelta

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.modbus.client import Connection, Device, Patience, PymodbusLink


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
async def test_registers_are_written_and_read_back_over_a_serial_line() -> None:
    near, near_end = os.openpty()
    far, far_end = os.openpty()
    for fd in (near, near_end, far, far_end):
        tty.setraw(fd)
    loop = asyncio.get_running_loop()
    # What one line's terminal end sends, the other line's end receives: a null-modem cable.
    loop.add_reader(near, lambda: os.write(far, os.read(near, 4096)))
    loop.add_reader(far, lambda: os.write(near, os.read(far, 4096)))
    registers = SimDevice(id=3, simdata=[SimData(200, count=4, values=0, datatype=DataType.REGISTERS)])
    server = ModbusSerialServer(registers, framer=FramerType.RTU, port=os.ttyname(far_end), baudrate=115200)
    await server.serve_forever(background=True)
    link = PymodbusLink.serial(os.ttyname(near_end), 115200, timedelta(seconds=1))
    device = Device("rectifier", Connection(link), 3, Patience(retries=0))
    try:
        await device.write("rectifier_set_v", 200, [4750, 60])
        assert await device.read(200, 4) == [4750, 60, 0, 0]
    finally:
        await link.close()
        await server.shutdown()  # type: ignore[no-untyped-call]
        loop.remove_reader(near)
        loop.remove_reader(far)
        for fd in (near, near_end, far, far_end):
            os.close(fd)
