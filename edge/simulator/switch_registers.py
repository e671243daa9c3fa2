"""The inputs of a simulated transfer switch on Modbus: two contacts and a counter, read only."""

from __future__ import annotations

from collections.abc import Sequence

from edge.modbus.profile import Profile
from edge.simulator.registers import IllegalAddressError
from edge.simulator.transfer_switch import TransferSwitches

SWITCH_UNIT = 3
_COUNTER = 65536  # the counter starts again at zero


class SwitchRegisters:
    """An input module whose map is a register profile."""

    def __init__(self, site: int, switches: TransferSwitches, profile: Profile) -> None:
        self._site, self._switches = site, switches
        self._points = profile.points
        ends = [p.address + p.size for p in profile.points.values()]
        first = min(p.address for p in profile.points.values())
        self._span = (first, max(ends) - first)

    def first_and_count(self) -> tuple[int, int]:
        """Return the span of addresses that exist."""
        return self._span

    def _values(self) -> dict[str, float]:
        k, switches = self._site, self._switches
        return {
            "switch_open": float(switches.open_contact[k]),
            "switch_closed": float(switches.closed_contact[k]),
            "switch_looks": float(int(switches.looks[k]) % _COUNTER),
        }

    def read(self, address: int, count: int) -> list[int]:
        """Return registers.

        Raises:
            IllegalAddressError: Outside the map, or the module is lost.
        """
        first, span = self._span
        if self._switches.lost[self._site] or not (first <= address and address + count <= first + span):
            raise IllegalAddressError(address)
        held = [0] * span
        for name, value in self._values().items():
            point = self._points[name]
            held[point.address - first : point.address - first + point.size] = point.encode(value)
        return held[address - first : address - first + count]

    def write(self, address: int, values: Sequence[int]) -> None:
        """Refuse: inputs are not written.

        Raises:
            IllegalAddressError: Always.
        """
        raise IllegalAddressError(address, tuple(values))
