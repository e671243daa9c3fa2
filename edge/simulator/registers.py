"""The registers of a simulated site's devices, read from the sensors and written through to the plant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edge.modbus.codec import encode
from edge.modbus.profile import Point, Profile
from edge.simulator.plant import Plant
from edge.simulator.sensors import ALARMS, Sensors

RECTIFIER_UNIT = 1
_MOST_SPANS = 64
_WIDEST = 4  # registers of the widest point
_Row = tuple[int, int, str, Point]  # from, to, name, point


class IllegalAddressError(Exception):
    """No such register, or it is not writable (Modbus exception 2)."""


class IllegalValueError(Exception):
    """A value the device does not take (Modbus exception 3)."""


class DeviceBusyError(Exception):
    """The device is under local control (Modbus exception 6)."""


def _set_v(plant: Plant, k: int, _armed_s: float) -> float:
    cmd = plant.commands
    return float(cmd.rectifier_v[k] if cmd.revert_s[k] > 0.0 else plant.float_v[k])


# Points that are the controller's own, not a sensor's: (plant, site, time armed) -> value.
_OWN: dict[str, Callable[[Plant, int, float], float]] = {
    "rectifier_set_v": _set_v,
    "revert_s": lambda _plant, _k, armed_s: armed_s,
    "revert_left_s": lambda plant, k, _: math.ceil(plant.commands.revert_s[k]),
    "charge_limit_a": lambda plant, k, _: min(plant.commands.charge_limit_a[k], 1000.0),
    "discharge_limit_a": lambda plant, k, _: min(plant.commands.discharge_limit_a[k], 1000.0),
    "load_shed": lambda plant, k, _: float(plant.commands.load_shed[k]),
    "modules_off": lambda plant, k, _: float(plant.commands.modules_off[k]),
    "lvd_v": lambda plant, _k, _: plant.settings.lvd_v,
    "boost_v": lambda plant, k, _: plant.max_v[k],
}


class RectifierRegisters:
    """A vendor controller whose map is a register profile."""

    def __init__(self, site: int, plant: Plant, sensors: Sensors, profile: Profile) -> None:
        self._site, self._plant, self._sensors = site, plant, sensors
        self._profile = profile
        self._at = {p.address: name for name, p in profile.points.items()}
        ends = [p.address + p.size for p in profile.points.values()]
        self._span = (min(self._at), max(ends) - min(self._at))
        # A gateway asks for the same few spans again and again: their points are found once.
        self._asked: dict[tuple[int, int], list[_Row]] = {}
        self._armed_s = 0.0
        self.wrong: dict[str, float] = {}  # point -> value it answers instead, a fault

    @property
    def points(self) -> frozenset[str]:
        """The points of the map."""
        return frozenset(self._profile.points)

    def first_and_count(self) -> tuple[int, int]:
        """Return the span of addresses that exist."""
        return self._span

    def _value(self, name: str) -> float:
        if name in self.wrong:
            return self.wrong[name]
        if name in _OWN:
            return float(_OWN[name](self._plant, self._site, self._armed_s))
        return float(self._sensors.values[name][self._site])

    def read(self, address: int, count: int) -> list[int]:
        """Return registers; holes between points read as zero.

        Raises:
            IllegalAddressError: Outside the map.
        """
        first, span = self._span
        if not (first <= address and address + count <= first + span):
            raise IllegalAddressError(address)
        self._plant.commands.silent_s[self._site] = 0.0
        rows = self._asked.get((address, count))
        if rows is None:
            rows = self._lay_out(address, count)
        held = [0] * (count + 2 * _WIDEST)  # a point may begin before the span, or end behind it
        for start, end, name, point in rows:
            held[start:end] = self._alarm_words(name) if name == "alarms" else point.encode(self._value(name))
        return held[_WIDEST : _WIDEST + count]

    def _lay_out(self, address: int, count: int) -> list[_Row]:
        """Return the points that lie in a span, at least in part, with their place in it."""
        points = [(at - address, name, self._profile.points[name]) for at, name in self._at.items()]
        rows = [
            (_WIDEST + at, _WIDEST + at + point.size, name, point)
            for at, name, point in points
            if -point.size < at < count
        ]
        if len(self._asked) < _MOST_SPANS:
            self._asked[address, count] = rows
        return rows

    def _alarm_words(self, name: str) -> list[int]:
        point = self._profile.points[name]
        ours = int(self._value(name))
        raw = 0
        for bit, text in point.bits:
            if text in ALARMS and ours >> ALARMS.index(text) & 1:
                raw |= 1 << bit
        return encode(point.kind, raw, point.order)

    def write(self, address: int, values: Sequence[int]) -> None:
        """Take whole points, in order.

        Raises:
            IllegalAddressError: Not the start of a writable point.
            IllegalValueError: Outside the point's range.
            DeviceBusyError: Under local control.
        """
        if self._plant.hardware.local_lock[self._site]:
            raise DeviceBusyError
        self._plant.commands.silent_s[self._site] = 0.0
        at = address
        while at < address + len(values):
            name = self._at.get(at)
            if name is None or not self._profile.points[name].writable:
                raise IllegalAddressError(at)
            point = self._profile.points[name]
            value = point.decode(values[at - address : at - address + point.size])
            if point.low is None or point.high is None or not (point.low <= value <= point.high):
                raise IllegalValueError(f"{name} = {value}")
            self._apply(name, value)
            at += point.size

    def _apply(self, name: str, value: float) -> None:
        k, cmd = self._site, self._plant.commands
        if name == "rectifier_set_v":
            cmd.rectifier_v[k] = value
        elif name == "revert_s":
            self._armed_s = value
            cmd.revert_s[k] = value
        elif name == "charge_limit_a":
            cmd.charge_limit_a[k] = value
        elif name == "discharge_limit_a":
            cmd.discharge_limit_a[k] = value
        elif name == "load_shed":
            cmd.load_shed[k] = int(value)
        elif name == "modules_off":
            cmd.modules_off[k] = int(value)
