"""The registers of a simulated site's devices, read from the sensors and written through to the plant."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.modbus.codec import encode
from edge.modbus.profile import Profile
from edge.simulator.plant import Plant
from edge.simulator.sensors import ALARMS, Sensors

RECTIFIER_UNIT = 1


class IllegalAddressError(Exception):
    """No such register, or it is not writable (Modbus exception 2)."""


class IllegalValueError(Exception):
    """A value the device does not take (Modbus exception 3)."""


class DeviceBusyError(Exception):
    """The device is under local control (Modbus exception 6)."""


class RectifierRegisters:
    """A vendor controller whose map is a register profile."""

    def __init__(self, site: int, plant: Plant, sensors: Sensors, profile: Profile) -> None:
        self._site, self._plant, self._sensors = site, plant, sensors
        self._profile = profile
        self._at = {p.address: name for name, p in profile.points.items()}
        self._armed_s = 0.0
        self.wrong: dict[str, float] = {}  # point -> value it answers instead, a fault

    @property
    def points(self) -> frozenset[str]:
        """The points of the map."""
        return frozenset(self._profile.points)

    def first_and_count(self) -> tuple[int, int]:
        """Return the span of addresses that exist."""
        ends = [p.address + p.size for p in self._profile.points.values()]
        return min(self._at), max(ends) - min(self._at)

    def _value(self, name: str) -> float:
        if name in self.wrong:
            return self.wrong[name]
        k, cmd, plant = self._site, self._plant.commands, self._plant
        left_s = float(cmd.revert_s[k])
        own = {
            "rectifier_set_v": cmd.rectifier_v[k] if left_s > 0.0 else plant.float_v[k],
            "revert_s": self._armed_s,
            "revert_left_s": math.ceil(left_s),
            "charge_limit_a": min(cmd.charge_limit_a[k], 1000.0),
            "discharge_limit_a": min(cmd.discharge_limit_a[k], 1000.0),
            "lvd_v": plant.settings.lvd_v,
            "boost_v": plant.max_v[k],
        }
        return float(own[name] if name in own else self._sensors.values[name][k])

    def read(self, address: int, count: int) -> list[int]:
        """Return registers; holes between points read as zero.

        Raises:
            IllegalAddressError: Outside the map.
        """
        first, span = self.first_and_count()
        if not (first <= address and address + count <= first + span):
            raise IllegalAddressError(address)
        self._plant.commands.silent_s[self._site] = 0.0
        held = [0] * count
        for at, name in self._at.items():
            point = self._profile.points[name]
            if at + point.size <= address or at >= address + count:
                continue
            words = self._alarm_words(name) if name == "alarms" else point.encode(self._value(name))
            for k, word in enumerate(words):
                if address <= at + k < address + count:
                    held[at + k - address] = word
        return held

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
