"""Load shedding at work: what `shed.py` says, written through the port and reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from edge.gateway.limits import OwnLimits
from edge.gateway.shed import Shedding, ShedRule, mask_of, off_in, shed_step
from edge.modbus.port import DeviceError, FieldSample, SitePort

Tell = Callable[[datetime, str, str], None]


class Shedder:
    """Keeps the controller's `load_shed` register at what the rule asks for.

    A restart takes up what the device holds, so that loads shed before it come back. A failed write is reported once
    and tried again with each scan; should the gateway die, the controller restores its loads by itself.
    """

    def __init__(self, port: SitePort, rule: ShedRule, limits: OwnLimits, tell: Tell) -> None:
        self._port = port
        self._rule = rule
        self._limits = limits
        self._tell = tell
        self._shedding: Shedding | None = None
        self._failed = False

    @property
    def off(self) -> int:
        """How many loads of the order are off."""
        return 0 if self._shedding is None else self._shedding.off

    async def step(self, sample: FieldSample, now: datetime) -> None:
        """Shed, restore or do nothing; never raises for a device."""
        if not self._rule.loads or sample.load_shed is None:
            return
        before = self._shedding or Shedding(off=off_in(self._rule, sample.load_shed))
        after = shed_step(before, self._rule, sample, self._limits, now)
        mask = mask_of(self._rule, after.off)
        if mask != sample.load_shed:
            try:
                await self._port.write_load_shed(mask)
            except DeviceError as error:
                if not self._failed:
                    self._tell(now, "shed_failed", str(error)[:200])
                self._failed = True
                return
        self._failed = False
        self._shedding = after
        for load in self._rule.loads[before.off : after.off]:
            self._tell(now, "load_shed", load.name)
        for load in reversed(self._rule.loads[after.off : before.off]):
            self._tell(now, "load_restored", load.name)
