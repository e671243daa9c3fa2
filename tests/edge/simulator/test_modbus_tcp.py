"""The lean Modbus TCP server, byte by byte: what a device answers and how it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.modbus_tcp import answer
from edge.simulator.site_spec import SiteSpec

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BUS_V = bytes.fromhex("03 0064 0001")  # function 3, register 100, one of them


def simulated() -> FleetSimulation:
    return FleetSimulation([SiteSpec(site_id="s")], seed=1, start=START)


@asynccontextmanager
async def opened(
    fleet: FleetSimulation,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, SiteServer]]:
    server = SiteServer(fleet.devices[0])
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer, server
    finally:
        writer.close()
        await server.stop()


def framed(pdu: bytes, *, transaction: int = 1, unit: int = 1) -> bytes:
    return transaction.to_bytes(2) + bytes(2) + (len(pdu) + 1).to_bytes(2) + bytes((unit,)) + pdu


async def said(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(5.0):
        head = await reader.readexactly(7)
        return int.from_bytes(head[:2]), await reader.readexactly(int.from_bytes(head[4:6]) - 1)


async def test_requests_in_one_segment_and_one_in_two_are_answered_in_order() -> None:
    fleet = simulated()
    volts = round(100 * fleet.sensors.values["bus_v"][0])
    async with opened(fleet) as (reader, writer, _server):
        whole = framed(BUS_V, transaction=7) + framed(BUS_V, transaction=8)
        writer.write(whole[:-3])
        assert await said(reader) == (7, b"\x03\x02" + volts.to_bytes(2))
        writer.write(whole[-3:])
        assert await said(reader) == (8, b"\x03\x02" + volts.to_bytes(2))


async def test_a_write_is_echoed_taken_and_noted() -> None:
    fleet = simulated()
    async with opened(fleet) as (reader, writer, _server):
        # Function 16: register 201 (revert timer), one register, two bytes, 60 s.
        writer.write(framed(bytes.fromhex("10 00c9 0001 02 003c")))
        assert await said(reader) == (1, bytes.fromhex("10 00c9 0001"))
        writer.write(framed(bytes.fromhex("06 00c9 001e")))  # function 6: 30 s
        assert await said(reader) == (1, bytes.fromhex("06 00c9 001e"))
    assert fleet.plant.commands.revert_s[0] == 30.0
    assert fleet.devices[0].writes == [(1, 201, (60,)), (1, 201, (30,))]


@pytest.mark.parametrize(
    ("unit", "pdu", "code"),
    [
        (1, "03 0000 0001", 2),  # no such register
        (1, "03 0064 0000", 3),  # none asked for
        (1, "03 0064 007e", 3),  # 126: more than a frame holds
        (1, "06 0064 1530", 2),  # a measurement is not written
        (1, "10 00c9 0001 04 003c", 3),  # the byte count does not fit
        (1, "10 00c9", 3),  # cut short
        (1, "06 00c8 ffff", 3),  # outside the range of the voltage
        (1, "2b 0e01 00", 1),  # device identification is not there
        (9, "03 0064 0001", 11),  # no such unit
    ],
)
def test_what_is_wrong_is_refused_with_modbus_own_code(unit: int, pdu: str, code: int) -> None:
    request = bytes.fromhex(pdu)
    assert answer(simulated().devices[0], unit, request) == bytes((request[0] | 0x80, code))


def test_a_locked_device_is_busy() -> None:
    fleet = simulated()
    fleet.put(Fault(site=0, kind="local_lock"))
    assert answer(fleet.devices[0], 1, bytes.fromhex("06 00c9 003c")) == b"\x86\x06"


async def test_what_came_while_the_device_was_silent_is_answered_afterwards_in_order() -> None:
    fleet = simulated()
    async with opened(fleet) as (reader, writer, _server):
        fleet.put(Fault(site=0, kind="modbus_silence"))
        writer.write(framed(BUS_V, transaction=1) + framed(BUS_V, transaction=2))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        fleet.put(Fault(site=0, kind="modbus_silence", on=False))
        writer.write(framed(BUS_V, transaction=3))
        assert [(await said(reader))[0] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "garbage", ["0001 0001 0006 01 03 0064 0001", "0001 0000 0000 01", "0001 0000 ffff 01"]
)
async def test_a_frame_that_is_none_ends_the_connection(garbage: str) -> None:
    async with opened(simulated()) as (reader, writer, _server):
        writer.write(bytes.fromhex(garbage))
        async with asyncio.timeout(5.0):
            assert await reader.read() == b""
