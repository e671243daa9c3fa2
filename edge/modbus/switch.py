"""A transfer switch's position, read back: two auxiliary contacts and a counter of looks, never written."""

from __future__ import annotations

import math

from edge.modbus.client import Device
from edge.modbus.port import DeviceError, SwitchReading
from edge.modbus.profile import SWITCH, Profile


class SwitchInputs:
    """Digital inputs behind Modbus: a device of their own, or inputs of the rectifier controller."""

    def __init__(self, device: Device, profile: Profile) -> None:
        self._device = device
        self._points = {name: profile.points[name] for name in SWITCH}
        self._blocks = profile.blocks(SWITCH)

    @staticmethod
    def alone(device: Device, profile: Profile) -> SwitchInputs:
        """Return a device of its own.

        Raises:
            DeviceError: Its profile has other points, or lacks one.
        """
        if set(profile.points) != set(SWITCH):
            raise DeviceError(
                device.name, f"a transfer switch's profile has {', '.join(SWITCH)}, nothing else"
            )
        return SwitchInputs(device, profile)

    async def read(self) -> SwitchReading | None:
        """Return what the contacts say; None where nobody answers: the site goes on and knows no position."""
        values: dict[str, float] = {}
        try:
            for address, count in self._blocks:
                held = await self._device.read(address, count)
                for name, point in self._points.items():
                    start = point.address - address
                    if start >= 0 and start + point.size <= count:
                        values[name] = point.decode(held[start : start + point.size])
        except DeviceError:
            return None
        if not all(math.isfinite(value) for value in values.values()):
            return None
        return SwitchReading(
            open_contact=values["switch_open"] > 0.5,
            closed_contact=values["switch_closed"] > 0.5,
            looks=int(values["switch_looks"]),
        )
