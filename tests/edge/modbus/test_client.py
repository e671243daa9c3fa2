from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

import pytest

from edge.modbus.client import Connection, Device, NoAnswerError, Patience, PymodbusLink, RefusedError
from edge.modbus.port import DeviceError, DeviceTimeoutError, ReadBackError

QUICK = Patience(retries=2, back_off=timedelta(milliseconds=1))


class Memory:
    """A link to plain registers that fails, refuses or forgets as told."""

    def __init__(self) -> None:
        self.held: dict[int, int] = dict.fromkeys(range(300), 0)
        self.fails = 0
        self.refuses = False
        self.deaf = False  # acknowledges a write and keeps the old value
        self.calls: list[str] = []

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        self.calls.append(f"read {address}+{count}")
        await asyncio.sleep(0)
        self._perhaps_fail()
        return [self.held[address + k] for k in range(count)]

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        self.calls.append(f"write {address}")
        await asyncio.sleep(0)
        self._perhaps_fail()
        if not self.deaf:
            self.held.update(enumerate(values, start=address))

    def _perhaps_fail(self) -> None:
        if self.refuses:
            raise RefusedError("illegal address")
        if self.fails > 0:
            self.fails -= 1
            raise NoAnswerError("no answer")

    async def close(self) -> None:
        return


def device(memory: Memory) -> Device:
    return Device("d", Connection(memory), 1, QUICK)


async def test_a_write_is_read_back() -> None:
    memory = Memory()
    await device(memory).write("rectifier_set_v", 20, [4750])
    assert memory.calls == ["write 20", "read 20+1"]
    assert memory.held[20] == 4750


async def test_a_device_that_forgets_a_write_is_found_out() -> None:
    memory = Memory()
    memory.deaf = True
    with pytest.raises(ReadBackError) as caught:
        await device(memory).write("rectifier_set_v", 20, [4750])
    assert (caught.value.point, caught.value.wrote, caught.value.read) == ("rectifier_set_v", 4750.0, 0.0)


async def test_two_lost_answers_are_made_good_and_a_third_is_a_time_out() -> None:
    memory = Memory()
    memory.fails = 2
    assert await device(memory).read(0, 2) == [0, 0]
    memory.fails = 3
    with pytest.raises(DeviceTimeoutError):
        await device(memory).read(0, 2)
    assert len(memory.calls) == 6


async def test_a_refusal_is_not_tried_again() -> None:
    memory = Memory()
    memory.refuses = True
    with pytest.raises(DeviceError, match="illegal address") as caught:
        await device(memory).read(0, 2)
    assert not isinstance(caught.value, DeviceTimeoutError)
    assert len(memory.calls) == 1


async def test_long_reads_are_split_at_120_registers() -> None:
    memory = Memory()
    assert len(await device(memory).read(0, 250)) == 250
    assert memory.calls == ["read 0+120", "read 120+120", "read 240+10"]


async def test_writes_are_not_interleaved() -> None:
    memory = Memory()
    shared = Connection(memory)
    one, two = Device("a", shared, 1, QUICK), Device("b", shared, 2, QUICK)
    await asyncio.gather(one.write("p", 20, [1]), two.write("p", 30, [2]), one.read(40, 1))
    assert memory.calls == ["write 20", "read 20+1", "write 30", "read 30+1", "read 40+1"]


async def test_nobody_listening_is_a_time_out_not_a_hang() -> None:
    link = PymodbusLink.tcp("127.0.0.1", 1, timedelta(milliseconds=200))
    lonely = Device("d", Connection(link), 1, Patience(retries=1, back_off=timedelta(milliseconds=1)))
    with pytest.raises(DeviceTimeoutError):
        async with asyncio.timeout(3.0):
            await lonely.read(0, 1)


async def test_each_retry_waits_twice_as_long_as_the_one_before() -> None:
    memory = Memory()
    memory.fails = 3
    patient = Patience(retries=3, back_off=timedelta(milliseconds=20))
    began_s = monotonic()
    await Device("d", Connection(memory), 1, patient).read(0, 1)
    assert monotonic() - began_s >= 0.02 + 0.04 + 0.08
    assert len(memory.calls) == 4


async def test_a_write_that_is_retried_stays_whole_between_others() -> None:
    memory = Memory()
    memory.fails = 1
    shared = Connection(memory)
    one, two = Device("a", shared, 1, QUICK), Device("b", shared, 2, QUICK)
    await asyncio.gather(one.write("p", 20, [1]), two.write("p", 30, [2]))
    assert memory.calls == ["write 20", "write 20", "read 20+1", "write 30", "read 30+1"]


async def test_who_is_asked_to_end_in_the_turn_of_the_answer_ends() -> None:
    """Python 3.11 loses the cancellation there: a gateway's loop then went on for good and its stop hung."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(12)
        writer.write(request[:4] + bytes([0, 5, 1, 3, 2, 0, 42]))
        arrived.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        link = PymodbusLink.tcp("127.0.0.1", server.sockets[0].getsockname()[1], timedelta(seconds=5))
        reading = asyncio.create_task(link.read(1, 0, 1))
        await arrived.wait()
        client = link._client
        assert client is not None
        while not client.ctx.response_future.done():
            await asyncio.sleep(0)
        assert not reading.done(), "the answer is there and its reader has not run yet"
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await link.close()
        await gone.wait()
