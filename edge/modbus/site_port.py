"""A site's devices, read and written as one: the `SitePort` over Modbus."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Literal

import msgspec

from edge.modbus.client import Connection, Device, Link, Patience, PymodbusLink
from edge.modbus.inverter import set_power, set_zero
from edge.modbus.port import (
    Capabilities,
    DeviceError,
    FieldSample,
    QuickSample,
    ReadBackError,
    SwitchReading,
    WriteRefusedError,
)
from edge.modbus.profile import SWITCH, Point, Profile, load_profile
from edge.modbus.sample import FREQUENCY_MODELS, OLDER, PERCENT, assemble, plan_reads
from edge.modbus.sunspec import SunspecModel, open_models
from edge.modbus.switch import SwitchInputs
from edge.modbus.writable import check_writable


class TlsFiles(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Modbus/TCP Security of one device: PEM files, and port 802 as a rule.

    The device's certificate must be issued by `ca_file` and name the host as the device list does; the gateway shows
    its own, without which a device has no reason to believe it.
    """

    ca_file: str
    certificate_file: str
    key_file: str


class DeviceSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One device of a site, as a gateway's file lists it."""

    name: str
    kind: Literal["profile", "sunspec", "switch"]  # switch: the inputs of a transfer switch
    unit: int
    host: str = ""
    port: int = 502
    serial: str = ""  # a path such as /dev/ttyS0; host and port are then unused
    baud: int = 9600
    rtu_over_tcp: bool = False
    tls: TlsFiles | None = None
    profile: str = ""  # shipped name, or a path that ends in .yaml
    timeout_s: float = 0.5
    battery_sign: Literal[1, -1] = -1  # SunSpec 802: -1 discharging positive, 1 charging positive


class PortSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A site's devices and the voltages that bound every write."""

    devices: list[DeviceSpec]
    float_v: float
    max_v: float
    backstop_v: float = 47.0
    rectifier_limit_w: float = 9000.0
    inverter_w: float = 0.0  # rating of a declared bidirectional inverter


MakeLink = Callable[[DeviceSpec], Link]


def tls_context(name: str, files: TlsFiles) -> ssl.SSLContext:
    """Return how a device is authenticated, and by what it authenticates us; TLS 1.2 or later.

    Raises:
        DeviceError: A file cannot be read or key and certificate do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(files.ca_file)
        context.load_cert_chain(files.certificate_file, files.key_file)
    except (OSError, ssl.SSLError) as error:
        raise DeviceError(name, f"TLS files: {error}") from error
    return context


def modbus_link(spec: DeviceSpec) -> Link:
    """Return the real link of a device: a serial line if one is named, else TCP, inside TLS where files are named.

    Raises:
        DeviceError: The files for TLS do not work, or TLS is asked for on a serial line.
    """
    timeout = timedelta(seconds=spec.timeout_s)
    if spec.tls is not None:
        if spec.serial or spec.rtu_over_tcp:
            raise DeviceError(spec.name, "TLS goes with Modbus TCP only")
        return PymodbusLink.tls(spec.host, spec.port, timeout, tls_context(spec.name, spec.tls))
    if spec.serial:
        return PymodbusLink.serial(spec.serial, spec.baud, timeout)
    return PymodbusLink.tcp(spec.host, spec.port, timeout, rtu_framing=spec.rtu_over_tcp)


_LEAST_LEFT_S = 2.0  # a voltage is not moved under a timer that is about to run out
_READ_BACK = frozenset(
    {"rectifier_set_v", "load_shed", "modules_off"}
)  # writable points that every scan reads


@dataclass(frozen=True, slots=True)
class _Block:
    """Points that one request reads."""

    address: int
    count: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class _Rectifier:
    device: Device
    profile: Profile
    blocks: tuple[_Block, ...]


def _rectifier(device: Device, profile: Profile) -> _Rectifier:
    """Return a controller with its scan laid out: what it measures and the voltage in force."""
    scanned = [p for p in profile.points.values() if not p.writable or p.name in _READ_BACK]
    scanned = [p for p in scanned if p.name not in {"lvd_v", "boost_v", *SWITCH}]
    return _Rectifier(
        device,
        profile,
        tuple(
            _Block(at, count, tuple(p for p in scanned if at <= p.address < at + count))
            for at, count in profile.blocks([p.name for p in scanned])
        ),
    )


@dataclass(slots=True)
class _Sunspec:
    device: Device
    models: dict[int, SunspecModel]
    plan: dict[int, dict[str, str]]  # model -> sample field -> point


_Scan = Callable[[], Awaitable[tuple[dict[str, float | None], dict[str, tuple[str, ...]]]]]


class ModbusSitePort:
    """Implements `edge.modbus.port.SitePort` over a list of devices."""

    def __init__(
        self, spec: PortSpec, make_link: MakeLink = modbus_link, patience: Patience | None = None
    ) -> None:
        self._spec = spec
        self._patience = patience or Patience()
        self._make_link = make_link
        self._connections: dict[tuple[str, int, str], Connection] = {}
        self._rectifier: _Rectifier | None = None
        self._sunspec: list[_Sunspec] = []
        self._switch: SwitchInputs | None = None
        self._capabilities: Capabilities | None = None

    async def open(self) -> None:
        """Check profiles and discover SunSpec devices; needed before anything else, again after a failure.

        Raises:
            ProfileError: A profile breaks a rule.
            DeviceError: A SunSpec device has no models, or there is not exactly one rectifier controller, or two switches.
        """
        self._rectifier, self._sunspec, self._switch, self._capabilities = None, [], None, None
        for spec in self._spec.devices:
            # What a switch does not answer at once is not known; asking again would only hold up the scan.
            patience = Patience(retries=0) if spec.kind == "switch" else self._patience
            device = Device(spec.name, self._connection(spec), spec.unit, patience)
            if spec.kind == "switch":
                if self._switch is not None:
                    raise DeviceError(spec.name, "a second transfer switch")
                self._switch = SwitchInputs.alone(device, load_profile(spec.profile))
            elif spec.kind == "profile":
                if self._rectifier is not None:
                    raise DeviceError(spec.name, "a second rectifier controller")
                self._rectifier = _rectifier(device, load_profile(spec.profile))
            else:
                models = await open_models(device, spec.battery_sign)
                self._sunspec.append(_Sunspec(device, models, {}))
        if self._rectifier is None:
            raise DeviceError("site", "no rectifier controller in the device list")
        profile = self._rectifier.profile
        if self._switch is None and set(SWITCH) <= set(profile.points):
            self._switch = SwitchInputs(self._rectifier.device, profile)
        covered = set(profile.points)
        for held_models in self._sunspec:
            held_models.plan = plan_reads(held_models.models, covered)
            covered |= {name for fields in held_models.plan.values() for name in fields}
        self._capabilities = Capabilities(
            float_v=self._spec.float_v,
            backstop_v=self._spec.backstop_v,
            voltage_step_v=profile.voltage_step_v,
            can_revert=profile.can_revert and "rectifier_set_v" in profile.points,
            full_load_blocks_only=profile.full_load_blocks_only,
            inverter=self._spec.inverter_w > 0.0 and self._inverter() is not None,
            max_v=self._spec.max_v,
            rectifier_limit_w=self._spec.rectifier_limit_w,
            frequency_step_hz=self._frequency_step_hz(),
            transfer_switch=self._switch is not None,
        )

    def _connection(self, spec: DeviceSpec) -> Connection:
        key = (spec.host, spec.port, spec.serial)
        if key not in self._connections:
            self._connections[key] = Connection(self._make_link(spec))
        return self._connections[key]

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise DeviceError("site", "the port is not open")
        return self._capabilities

    # -- reading ------------------------------------------------------------------------------------

    async def read(self) -> FieldSample:
        # Not yet called: a device that fails must not leave the others' scans behind, begun and never awaited.
        scans: list[_Scan] = [
            self._scan_rectifier,
            *(partial(self._scan_sunspec, held) for held in self._sunspec),
        ]
        values: dict[str, float | None] = {}
        words: dict[str, tuple[str, ...]] = {}
        for scan in scans:
            found, named = await scan()
            words.update(named)
            for name, value in found.items():
                # The rectifier controller comes first; a SunSpec device fills what it does not measure.
                if values.get(name) is None:
                    values[name] = value
        return replace(assemble(values, words.get("alarms", ())), switch=await self.read_switch())

    async def read_switch(self) -> SwitchReading | None:
        return None if self._switch is None else await self._switch.read()

    async def _scan_rectifier(self) -> tuple[dict[str, float | None], dict[str, tuple[str, ...]]]:
        rectifier = self._need_rectifier()
        values: dict[str, float | None] = {}
        words: dict[str, tuple[str, ...]] = {}
        for block in rectifier.blocks:
            held = await rectifier.device.read(block.address, block.count)
            for point in block.points:
                start = point.address - block.address
                registers = held[start : start + point.size]
                if point.name == "alarms":
                    words[point.name] = point.names(registers)
                else:
                    values[point.name] = point.decode(registers)
        return values, words

    async def _scan_sunspec(
        self, device: _Sunspec
    ) -> tuple[dict[str, float | None], dict[str, tuple[str, ...]]]:
        values: dict[str, float | None] = {}
        for number, fields in device.plan.items():
            points = await device.models[number].read(set(fields.values()))
            for name, point in fields.items():
                value = points[point]
                values[name] = value / 100.0 if value is not None and name in PERCENT else value
        return values, {}

    async def read_mains(self) -> bool:
        point = self._point("mains_ok")
        return await self._read_point(point) > 0.5

    async def read_grid_hz(self) -> float:
        model = self._frequency_model()
        if model is not None:
            value = (await model.read(["Hz"]))["Hz"]
        elif "grid_hz" in self._need_rectifier().profile.points:
            value = await self._read_point(self._point("grid_hz"))
        else:
            raise DeviceError("site", "no device measures frequency")
        if value is None or not value > 0.0:
            raise DeviceError("site", "no mains frequency")
        return value

    def _frequency_model(self) -> SunspecModel | None:
        """Return the meter, else the inverter, that measures frequency; an older one after the controller itself."""
        own = "grid_hz" in self._need_rectifier().profile.points
        models = [held.models for held in self._sunspec]
        return next(
            (
                found[number]
                for number in FREQUENCY_MODELS
                if not (own and number in OLDER)
                for found in models
                if number in found
            ),
            None,
        )

    def _frequency_step_hz(self) -> float | None:
        model = self._frequency_model()
        if model is not None:
            return model.step("Hz")
        point = self._need_rectifier().profile.points.get("grid_hz")
        return None if point is None else point.scale

    async def read_quick(self) -> QuickSample:
        rectifier = self._need_rectifier()
        names = [name for name in ("bus_v", "battery_a", "battery_w") if name in rectifier.profile.points]
        values: dict[str, float] = {}
        for address, count in rectifier.profile.blocks(names):
            held = await rectifier.device.read(address, count)
            for name in names:
                point = rectifier.profile.points[name]
                start = point.address - address
                if start >= 0 and start + point.size <= count:
                    values[name] = point.decode(held[start : start + point.size])
        if "bus_v" not in values or not {"battery_a", "battery_w"} & set(values):
            raise DeviceError(rectifier.device.name, "no quick reading of the battery")
        bus_v = values["bus_v"]
        power_w = values.get("battery_w", bus_v * values.get("battery_a", 0.0))
        if not (math.isfinite(bus_v) and math.isfinite(power_w)):  # a 32-bit float may say anything
            raise DeviceError(rectifier.device.name, "a reading of the battery is no number")
        return QuickSample(bus_v=bus_v, battery_w=power_w)

    async def _read_point(self, point: Point) -> float:
        return point.decode(await self._need_rectifier().device.read(point.address, point.size))

    # -- writing ------------------------------------------------------------------------------------

    async def write_rectifier_v(self, volts: float, revert: timedelta) -> float:
        self._check_volts(volts)
        await self._arm(revert)
        return await self._write_point("rectifier_set_v", volts)

    async def move_rectifier_v(self, volts: float) -> float:
        name = self._check_volts(volts)
        left_s = await self._read_point(self._point("revert_left_s"))
        if not (left_s >= _LEAST_LEFT_S):
            raise WriteRefusedError(name, f"the revert timer has {left_s} s left: it must be armed first")
        return await self._write_point("rectifier_set_v", volts)

    def _check_volts(self, volts: float) -> str:
        """Return the controller's name, or refuse a voltage outside what may ever be written."""
        caps = self.capabilities
        name = self._may_write()
        if not (caps.backstop_v <= volts <= caps.max_v):
            raise WriteRefusedError(name, f"{volts} V is outside {caps.backstop_v} to {caps.max_v} V")
        return name

    def _may_write(self) -> str:
        """Return the controller's name, or refuse if what is written would outlive a dead gateway."""
        name = self._need_rectifier().device.name
        if not self.capabilities.can_revert:
            raise WriteRefusedError(name, "the device cannot revert by itself: monitored only")
        return name

    async def _arm(self, revert: timedelta) -> None:
        """Arm the revert timer before the setpoint, so that no setpoint is ever held without one."""
        await self._write_point("revert_s", math.ceil(revert.total_seconds()))
        left = await self._read_point(self._point("revert_left_s"))
        if not (left > 0.0):
            raise ReadBackError(
                self._need_rectifier().device.name, "revert_left_s", revert.total_seconds(), left
            )

    async def write_charge_limit_a(self, amps: float) -> float:
        self._may_write()
        return await self._write_point("charge_limit_a", amps)

    async def write_discharge_limit_a(self, amps: float) -> float:
        self._may_write()
        return await self._write_point("discharge_limit_a", amps)

    async def write_load_shed(self, mask: int) -> int:
        self._may_write()
        return int(await self._write_point("load_shed", mask))

    async def write_modules_off(self, mask: int) -> int:
        self._may_write()
        return int(await self._write_point("modules_off", mask))

    async def write_inverter_w(self, power_w: float, revert: timedelta) -> float:
        model = self._inverter()
        if model is None or not self.capabilities.inverter:
            raise WriteRefusedError("site", "no inverter is declared")
        if not (abs(power_w) <= self._spec.inverter_w):
            raise WriteRefusedError(
                "site", f"{power_w} W is outside the inverter's {self._spec.inverter_w} W"
            )
        return await set_power(model, power_w, revert)

    async def release(self) -> None:
        try:
            if (model := self._inverter()) is not None and self.capabilities.inverter:
                await set_zero(model)
        finally:  # an inverter that does not answer keeps no bus from float
            if self.capabilities.can_revert:
                await self._write_point("rectifier_set_v", self.capabilities.float_v)

    async def close(self) -> None:
        await asyncio.gather(*(c.close() for c in self._connections.values()))

    async def _write_point(self, name: str, value: float) -> float:
        """Write one point, read it back and return it; the allow-list is asked here, last of all."""
        rectifier = self._need_rectifier()
        check_writable(rectifier.device.name, name, value)
        point = self._point(name)
        if not point.writable or point.low is None or point.high is None:
            raise WriteRefusedError(rectifier.device.name, f"{name} is read-only in {rectifier.profile.name}")
        if not (point.low <= value <= point.high):
            raise WriteRefusedError(
                rectifier.device.name, f"{name} = {value} is outside {point.low} to {point.high}"
            )
        registers = point.encode(value)
        await rectifier.device.write(name, point.address, registers)
        return point.decode(registers)

    def _point(self, name: str) -> Point:
        rectifier = self._need_rectifier()
        if name not in rectifier.profile.points:
            raise WriteRefusedError(rectifier.device.name, f"{rectifier.profile.name} has no {name}")
        return rectifier.profile.points[name]

    def _need_rectifier(self) -> _Rectifier:
        if self._rectifier is None:
            raise DeviceError("site", "the port is not open")
        return self._rectifier

    def _inverter(self) -> SunspecModel | None:
        models = [held.models for held in self._sunspec]
        return next((found[number] for number in (704, 124) for found in models if number in found), None)
