"""One Modbus connection and one device on it: time-outs, retries, no interleaved writes, read-back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ssl import SSLContext
from typing import Protocol, TypeVar

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.transport import CommParams, CommType

from edge.modbus.port import DeviceError, DeviceTimeoutError, ReadBackError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

MAX_REGISTERS = 120  # the protocol allows 125 a read, 123 a write


class NoAnswerError(Exception):
    """A link got no answer in time, or is down; the caller may try again."""


class RefusedError(Exception):
    """The device answered with a Modbus exception; trying again will not help."""


class Link(Protocol):
    """A way to a device's holding registers."""

    async def read(self, unit: int, address: int, count: int) -> list[int]: ...

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None: ...

    async def close(self) -> None: ...


class ModbusSecurityClient(AsyncModbusTcpClient):
    """Modbus TCP inside TLS, as the Modbus/TCP Security specification has it: the MBAP header stays.

    pymodbus' own TLS client sends bare function codes without unit and transaction, which addresses one unit only and
    is not what devices speak.
    """

    def __init__(self, host: str, port: int, context: SSLContext, timeout_s: float) -> None:
        self.comm_params = CommParams(
            comm_type=CommType.TLS,
            comm_name="modbus-security",
            host=host,
            port=port,
            sslctx=context,
            timeout_connect=timeout_s,
            reconnect_delay=0.0,
        )
        super().__init__(host, framer=FramerType.SOCKET, timeout=timeout_s, retries=0, reconnect_delay=0)


class PymodbusLink:
    """A pymodbus client: TCP, TCP inside TLS, RTU over TCP, or RTU on a serial line."""

    def __init__(
        self, make: Callable[[], AsyncModbusTcpClient | AsyncModbusSerialClient], timeout: timedelta
    ) -> None:
        self._make = make
        self._timeout_s = timeout.total_seconds()
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None

    @staticmethod
    def tcp(host: str, port: int, timeout: timedelta, *, rtu_framing: bool = False) -> PymodbusLink:
        seconds = timeout.total_seconds()
        framer = FramerType.RTU if rtu_framing else FramerType.SOCKET
        return PymodbusLink(
            lambda: AsyncModbusTcpClient(
                host, port=port, framer=framer, timeout=seconds, retries=0, reconnect_delay=0
            ),
            timeout,
        )

    @staticmethod
    def tls(host: str, port: int, timeout: timedelta, context: SSLContext) -> PymodbusLink:
        seconds = timeout.total_seconds()
        return PymodbusLink(lambda: ModbusSecurityClient(host, port, context, seconds), timeout)

    @staticmethod
    def serial(path: str, baud: int, timeout: timedelta) -> PymodbusLink:
        seconds = timeout.total_seconds()
        return PymodbusLink(
            lambda: AsyncModbusSerialClient(
                path, baudrate=baud, timeout=seconds, retries=0, reconnect_delay=0
            ),
            timeout,
        )

    async def _connected(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        if self._client is None or not self._client.connected:
            await self.close()
            self._client = self._make()
            if not await self._client.connect():
                raise NoAnswerError("cannot connect")
        return self._client

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        asked = _times_asked_to_end()
        try:
            async with asyncio.timeout(2.0 * self._timeout_s):
                client = await self._connected()
                answer = await client.read_holding_registers(address, count=count, device_id=unit)
        except (TimeoutError, ConnectionException, OSError, ModbusException) as error:
            await self.close()
            raise NoAnswerError(str(error)) from error
        _heed(asked)
        if answer.isError():
            raise RefusedError(f"read {address}+{count}: {answer}")
        if len(answer.registers) != count:
            raise RefusedError(f"read {address}: {len(answer.registers)} registers for {count}")
        return [int(value) for value in answer.registers]

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        asked = _times_asked_to_end()
        try:
            async with asyncio.timeout(2.0 * self._timeout_s):
                client = await self._connected()
                answer = await client.write_registers(address, list(values), device_id=unit)
        except (TimeoutError, ConnectionException, OSError, ModbusException) as error:
            await self.close()
            raise NoAnswerError(str(error)) from error
        _heed(asked)
        if answer.isError():
            raise RefusedError(f"write {address}+{len(values)}: {answer}")

    async def close(self) -> None:
        # A late answer to a request that timed out must not meet the next one: the connection goes.
        if self._client is not None:
            self._client.close()
            self._client = None


def _times_asked_to_end() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _heed(asked: int) -> None:
    """End the task if it was asked to end since.

    Before Python 3.12 `asyncio.wait_for`, in which pymodbus waits for an answer, loses a cancellation that comes in the
    same turn as the answer: the task would go on for good, and whoever waits for its end with it.
    """
    if _times_asked_to_end() > asked:
        raise asyncio.CancelledError


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a device is waited for."""

    retries: int = 2
    back_off: timedelta = timedelta(milliseconds=50)  # doubles with each retry


class Connection:
    """A link shared by the devices behind it, one request at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.lock = asyncio.Lock()

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        return await self._link.read(unit, address, count)

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        await self._link.write(unit, address, values)

    async def close(self) -> None:
        await self._link.close()


class Device:
    """Holding registers of one Modbus unit.

    A write holds the connection from its first register to the end of its read-back, so no other write can
    come in between.
    """

    def __init__(self, name: str, connection: Connection, unit: int, patience: Patience) -> None:
        self.name = name
        self._connection = connection
        self._unit = unit
        self._patience = patience

    async def read(self, address: int, count: int) -> list[int]:
        """Return `count` registers, in as many requests as it takes.

        Raises:
            DeviceTimeoutError: No answer, retries included.
            DeviceError: The device refused.
        """
        async with self._connection.lock:
            return await self._read(address, count)

    async def write(self, point: str, address: int, values: Sequence[int]) -> None:
        """Write registers and read them back.

        Raises:
            ReadBackError: The registers hold something else afterwards.
            DeviceTimeoutError: No answer, retries included.
            DeviceError: The device refused.
        """
        async with self._connection.lock:
            await self._patiently(partial(self._connection.write, self._unit, address, values))
            held = await self._read(address, len(values))
        if held != list(values):
            _log.error("read-back mismatch", extra={"device": self.name, "point": point})
            raise ReadBackError(self.name, point, float(values[0]), float(held[0]))

    async def _read(self, address: int, count: int) -> list[int]:
        held: list[int] = []
        while len(held) < count:
            part = min(MAX_REGISTERS, count - len(held))
            start = address + len(held)
            held += await self._patiently(partial(self._connection.read, self._unit, start, part))
        return held

    async def _patiently(self, request: Callable[[], Awaitable[_T]]) -> _T:
        wait_s = self._patience.back_off.total_seconds()
        left = self._patience.retries
        while True:
            try:
                return await request()
            except RefusedError as error:
                raise DeviceError(self.name, str(error)) from error
            except NoAnswerError as error:
                if left == 0:
                    raise DeviceTimeoutError(self.name, str(error) or "no answer") from error
            left -= 1
            await asyncio.sleep(wait_s)
            wait_s *= 2.0
