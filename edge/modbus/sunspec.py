"""SunSpec: find a device's models, read points with their scale factors, write the few allowed ones.

SunSpec generation-positive values are turned into ours here and nowhere else: active power of inverters
(101-103, 701, 704), battery and DC port power (714, 802) are given charging positive, meters (201-204)
already count import positive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from edge.modbus.client import Device
from edge.modbus.codec import decode, decode_string, encode, is_missing
from edge.modbus.port import DeviceError, WriteRefusedError
from edge.modbus.writable import SUNSPEC_WRITABLE

MARK = (0x5375, 0x6E53)  # "SunS"
BASES = (40000, 0, 50000)
END = 0xFFFF
_MAX_MODELS = 64

# Models of one layout: the single- and split-phase ones are read like their three-phase form.
_SAME_AS = {101: 103, 102: 103, 201: 203, 202: 203, 204: 203}

# Battery model: the standard says only that current flows "to/from"; each device's list entry says which.
_BATTERY = (802, frozenset({"A", "W"}))

# Points whose sign is turned round: SunSpec counts generation or injection positive there.
_TURNED: dict[int, frozenset[str]] = {
    103: frozenset({"W", "DCW"}),
    701: frozenset({"W", "WL1", "WL2", "WL3"}),
    704: frozenset({"WSet", "WSetRvrt"}),
    714: frozenset({"DCA", "DCW"}),
}


@dataclass(frozen=True, slots=True)
class PointLayout:
    """Where a point lies, in registers after the model's header."""

    name: str
    kind: str
    offset: int
    size: int
    scale_point: str  # name of the scale factor point, a literal exponent, or empty


@dataclass(frozen=True, slots=True)
class ModelLayout:
    """A model's points, and the repeating group's if it has one."""

    points: dict[str, PointLayout]
    repeat: dict[str, PointLayout]
    length: int  # registers without the repeating group
    repeat_length: int


@cache
def layouts() -> dict[int, ModelLayout]:
    """Return the point layout of each known model."""
    text = files("edge.modbus").joinpath("sunspec_models.json").read_text(encoding="utf-8")
    found: dict[int, ModelLayout] = {}
    for key, groups in json.loads(text).items():
        points, length = _lay_out(groups["points"])
        repeat, repeat_length = _lay_out(groups.get("repeat", []))
        found[int(key)] = ModelLayout(points, repeat, length, repeat_length)
    return found


def _lay_out(rows: Sequence[Sequence[object]]) -> tuple[dict[str, PointLayout], int]:
    points: dict[str, PointLayout] = {}
    offset = 0
    for name, kind, size, scale in rows:
        points[str(name)] = PointLayout(str(name), str(kind), offset, int(str(size)), str(scale))
        offset += int(str(size))
    return points, offset


def layout_of(model: int) -> ModelLayout | None:
    """Return a model's layout, None when it is not known here."""
    return layouts().get(_SAME_AS.get(model, model))


@dataclass(frozen=True, slots=True)
class Found:
    """One model of a device's chain."""

    model: int
    address: int  # of the first point, after the id and the length
    length: int


async def discover(device: Device) -> tuple[Found, ...]:
    """Return the chain of models of a device.

    Raises:
        DeviceError: No SunSpec mark at any base, or a chain without an end.
    """
    for base in BASES:
        try:
            mark = await device.read(base, 2)
        except DeviceError as error:
            if error.__class__ is not DeviceError:
                raise
            continue
        if tuple(mark) == MARK:
            return await _chain(device, base + 2)
    raise DeviceError(device.name, "no SunSpec mark at 40000, 0 or 50000")


async def _chain(device: Device, address: int) -> tuple[Found, ...]:
    chain: list[Found] = []
    while len(chain) < _MAX_MODELS:
        model, length = await device.read(address, 2)
        if model == END:
            return tuple(chain)
        chain.append(Found(model, address + 2, length))
        address += 2 + length
    raise DeviceError(device.name, f"no end after {_MAX_MODELS} models")


class SunspecModel:
    """Reads and writes the points of one model on one device; scale factors are read once."""

    def __init__(self, device: Device, found: Found, battery_sign: int = -1) -> None:
        layout = layout_of(found.model)
        if layout is None:
            raise DeviceError(device.name, f"model {found.model} is not known here")
        self._device = device
        self._layout = layout
        self.model = _SAME_AS.get(found.model, found.model)
        self._found = found
        self._battery_sign = battery_sign
        self._scales: dict[str, int | None] = {}

    @property
    def repeats(self) -> int:
        """Return how many times the repeating group is there."""
        spare = self._found.length - self._layout.length
        return max(spare, 0) // self._layout.repeat_length if self._layout.repeat_length else 0

    async def prepare(self) -> None:
        """Read every scale factor."""
        for point in self._layout.points.values():
            if point.kind == "sunssf" and point.offset < self._found.length:
                raw = await self._device.read(self._found.address + point.offset, 1)
                self._scales[point.name] = None if is_missing("sunssf", raw) else int(decode("sunssf", raw))

    async def read(self, names: Iterable[str]) -> dict[str, float | None]:
        """Return points in our sign; None where the device does not implement one.

        A point of the k-th repeating group is named `name#k`, counted from 0. One contiguous read covers all.
        """
        places = {name: self._place(name) for name in names}
        inside = {n: p for n, p in places.items() if p[1] + p[0].size <= self._found.length}
        values: dict[str, float | None] = dict.fromkeys(places)
        if not inside:
            return values
        start = min(offset for _, offset in inside.values())
        end = max(offset + point.size for point, offset in inside.values())
        held = await self._device.read(self._found.address + start, end - start)
        for name, (point, offset) in inside.items():
            values[name] = self._value(point, held[offset - start : offset - start + point.size])
        return values

    def step(self, name: str) -> float | None:
        """Return a point's resolution in its unit; None where the device does not implement its scale factor."""
        point, _ = self._place(name)
        if not point.scale_point:
            return 1.0
        exponent = self._scales.get(point.scale_point)
        return None if exponent is None else float(10.0**exponent)

    async def read_text(self, name: str) -> str:
        """Return a string point."""
        point, offset = self._place(name)
        return decode_string(await self._device.read(self._found.address + offset, point.size))

    async def write(self, name: str, value: float) -> float:
        """Write one allowed point and return the value read back, in our sign.

        Raises:
            WriteRefusedError: The point is not on the allow-list.
            ReadBackError: The device holds something else.
        """
        if name not in SUNSPEC_WRITABLE.get(self.model, frozenset()):
            raise WriteRefusedError(self._device.name, f"{self.model}.{name} is never written")
        point, offset = self._place(name)
        raw = value * self._sign(point) / self._factor(point)
        registers = encode(point.kind, raw)
        await self._device.write(f"{self.model}.{name}", self._found.address + offset, registers)
        return decode(point.kind, registers) * self._factor(point) * self._sign(point)

    def _place(self, name: str) -> tuple[PointLayout, int]:
        base, _, index = name.partition("#")
        if index:
            point = self._layout.repeat[base]
            return point, self._layout.length + int(index) * self._layout.repeat_length + point.offset
        point = self._layout.points[base]
        return point, point.offset

    def _factor(self, point: PointLayout) -> float:
        if not point.scale_point:
            return 1.0
        exponent = self._scales.get(point.scale_point)
        if exponent is None:
            raise DeviceError(self._device.name, f"{self.model}.{point.name} has no scale factor")
        return float(10.0**exponent)

    def _sign(self, point: PointLayout) -> int:
        if self.model == _BATTERY[0] and point.name in _BATTERY[1]:
            return self._battery_sign
        return -1 if point.name in _TURNED.get(self.model, frozenset()) else 1

    def _value(self, point: PointLayout, registers: Sequence[int]) -> float | None:
        if is_missing(point.kind, registers):
            return None
        return decode(point.kind, registers) * self._factor(point) * self._sign(point)


async def open_models(device: Device, battery_sign: int = -1) -> dict[int, SunspecModel]:
    """Discover a device and return its known models by number, the first of each, ready to read.

    `battery_sign` is -1 where model 802 counts discharging positive, 1 where it counts charging positive.
    """
    models: dict[int, SunspecModel] = {}
    for found in await discover(device):
        number = _SAME_AS.get(found.model, found.model)
        if layout_of(found.model) is None or number in models:
            continue
        models[number] = SunspecModel(device, found, battery_sign)
        await models[number].prepare()
    return models
