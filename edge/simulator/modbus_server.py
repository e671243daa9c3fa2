"""Simulated sites on the wire: one Modbus TCP server per site, or the same registers without a socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from ssl import SSLContext
from typing import Protocol

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.modbus.client import NoAnswerError, RefusedError
from edge.modbus.profile import Profile, load_profile
from edge.simulator.modbus_tcp import SiteProtocol
from edge.simulator.plant import Plant
from edge.simulator.registers import (
    RECTIFIER_UNIT,
    DeviceBusyError,
    IllegalAddressError,
    IllegalValueError,
    RectifierRegisters,
)
from edge.simulator.sensors import Sensors
from edge.simulator.sunspec_registers import SUNSPEC_UNIT, SunspecRegisters
from edge.simulator.switch_registers import SWITCH_UNIT, SwitchRegisters

_READS = frozenset({3, 4})
SWITCH_PROFILE = "example_switch"


class Registers(Protocol):
    """Holding registers of one simulated unit."""

    def first_and_count(self) -> tuple[int, int]: ...

    def read(self, address: int, count: int) -> list[int]: ...

    def write(self, address: int, values: Sequence[int]) -> None: ...


class SiteDevices:
    """The units of one simulated site and the faults of its bus."""

    def __init__(self, site: int, plant: Plant, sensors: Sensors, profile: Profile) -> None:
        self.rectifier = RectifierRegisters(site, plant, sensors, profile)
        self.sunspec = SunspecRegisters(site, plant, sensors)
        self.units: dict[int, Registers] = {RECTIFIER_UNIT: self.rectifier, SUNSPEC_UNIT: self.sunspec}
        if plant.specs[site].transfer_switch:
            inputs = load_profile(SWITCH_PROFILE)
            self.units[SWITCH_UNIT] = SwitchRegisters(site, plant.switches, inputs)
        self.delay_s = 0.0  # a fault: before every answer
        self._answering = asyncio.Event()
        self._answering.set()
        self.writes: list[tuple[int, int, tuple[int, ...]]] = []  # unit, address, values, as taken

    @property
    def silent(self) -> bool:
        """Whether requests go unanswered, a fault."""
        return not self._answering.is_set()

    @silent.setter
    def silent(self, value: bool) -> None:
        if value:
            self._answering.clear()
        else:
            self._answering.set()

    @property
    def slow(self) -> bool:
        """Whether a request has to wait for its answer."""
        return self.delay_s > 0.0 or not self._answering.is_set()

    def unit(self, number: int) -> Registers | None:
        """Return a unit, if there is one of that number."""
        return self.units.get(number)

    def note_write(self, number: int, address: int, values: Sequence[int]) -> None:
        """Remember what was taken."""
        self.writes.append((number, address, tuple(values)))

    async def until_answering(self) -> None:
        """Wait while the devices are silent, then for as long as they are slow."""
        await self._answering.wait()
        if self.delay_s > 0.0:
            await asyncio.sleep(self.delay_s)


class InProcessLink:
    """A `Link` to a simulated site's registers with no socket in between."""

    def __init__(self, devices: SiteDevices, *, time_out_s: float = 0.5) -> None:
        self._devices = devices
        self._time_out_s = time_out_s

    async def _unit(self, unit: int) -> Registers:
        if self._devices.slow:
            try:
                async with asyncio.timeout(self._time_out_s):
                    await self._devices.until_answering()
            except TimeoutError as error:
                raise NoAnswerError("no answer") from error
        if unit not in self._devices.units:
            raise RefusedError(f"no unit {unit}")
        return self._devices.units[unit]

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        registers = await self._unit(unit)
        try:
            return registers.read(address, count)
        except IllegalAddressError as error:
            raise RefusedError(f"illegal address {error}") from error

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        registers = await self._unit(unit)
        try:
            registers.write(address, values)
        except (IllegalAddressError, IllegalValueError, DeviceBusyError) as error:
            raise RefusedError(f"{type(error).__name__} {error}") from error
        self._devices.note_write(unit, address, values)

    async def close(self) -> None:
        return


async def _act(
    devices: SiteDevices,
    unit: int,
    function: int,
    start: int,
    address: int,
    count: int,
    current: list[int],
    values: list[int] | list[bool] | None,
) -> ExcCodes | None:
    """Answer one request out of the simulated registers (called by pymodbus before it answers)."""
    await devices.until_answering()
    registers = devices.units[unit]
    try:
        if values is not None:
            registers.write(address, [int(v) for v in values])
            devices.note_write(unit, address, [int(v) for v in values])
        elif function in _READS:
            current[address - start : address - start + count] = registers.read(address, count)
    except IllegalAddressError:
        return ExcCodes.ILLEGAL_ADDRESS
    except IllegalValueError:
        return ExcCodes.ILLEGAL_VALUE
    except DeviceBusyError:
        return ExcCodes.DEVICE_BUSY
    return None


def _sim_device(devices: SiteDevices, unit: int, registers: Registers) -> SimDevice:
    first, count = registers.first_and_count()
    return SimDevice(
        id=unit,
        simdata=[SimData(first, count=count, values=0, datatype=DataType.REGISTERS)],
        action=partial(_act, devices, unit),
    )


class SiteServer:
    """A Modbus TCP server for one simulated site, on 127.0.0.1, inside TLS with a context; or RTU on a serial line.

    Plain TCP is our own lean server (`modbus_tcp.py`), for hundreds of sites in a process; the others are pymodbus'.
    """

    def __init__(
        self,
        devices: SiteDevices,
        *,
        rtu_framing: bool = False,
        tls: SSLContext | None = None,
        serial: str = "",
    ) -> None:
        self._devices = devices
        self._serial = serial
        self._tls = tls
        self._rtu_framing = rtu_framing
        self._server: ModbusTcpServer | ModbusSerialServer | None = None
        self._lean: asyncio.Server | None = None
        self._opened: set[asyncio.Transport] = set()
        self.port = 0

    async def start(self, port: int = 0) -> int:
        """Listen on a port, a free one by default, and return it; on a serial line there is none."""
        if not (self._serial or self._rtu_framing or self._tls is not None):
            return await self._start_lean(port)
        units = [_sim_device(self._devices, unit, regs) for unit, regs in self._devices.units.items()]
        if self._serial:
            self._server = ModbusSerialServer(
                units, framer=FramerType.RTU, port=self._serial, baudrate=115_200
            )
            await self._server.serve_forever(background=True)
            return 0
        self.port = port or _free_port()
        address = ("127.0.0.1", self.port)
        framer = FramerType.RTU if self._rtu_framing else FramerType.SOCKET
        if self._tls is None:
            self._server = ModbusTcpServer(units, framer=framer, address=address)
        else:
            self._server = ModbusTlsServer(units, framer=framer, address=address, sslctx=self._tls)
        await self._server.serve_forever(background=True)
        return self.port

    async def _start_lean(self, port: int) -> int:
        self._lean = await asyncio.get_running_loop().create_server(
            lambda: SiteProtocol(self._devices, self._opened), "127.0.0.1", port
        )
        self.port = int(self._lean.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            self._server = None
        if self._lean is not None:
            self._lean.close()
            for transport in tuple(self._opened):
                transport.abort()
            await self._lean.wait_closed()
            self._lean = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
