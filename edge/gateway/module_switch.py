"""Rectifier modules at work: what `modules.py` says, written through the port and reported."""

from __future__ import annotations

from datetime import datetime

from edge.gateway.modules import ModuleRule, Modules, modules_step
from edge.gateway.shedder import Tell
from edge.modbus.port import DeviceError, FieldSample, SitePort


class ModuleSwitch:
    """Keeps the controller's `modules_off` register at what the rule asks for.

    A restart takes up what the device holds. A failed write is told once and tried again with each scan; should the
    gateway die, the controller switches every module on by itself (`limits_revert`).
    """

    def __init__(self, port: SitePort, rule: ModuleRule | None, tell: Tell) -> None:
        self._port = port
        self._rule = rule
        self._tell = tell
        self._modules: Modules | None = None
        self._failed = False

    async def step(self, sample: FieldSample, charge_w: float, now: datetime, *, all_on: bool) -> None:
        """Switch modules or do nothing; never raises for a device."""
        if self._rule is None or sample.modules_off is None:
            return
        before = self._modules or Modules(mask=sample.modules_off)
        after = modules_step(before, self._rule, sample, charge_w, now, all_on=all_on)
        if after.mask != sample.modules_off:
            try:
                await self._port.write_modules_off(after.mask)
            except DeviceError as error:
                if not self._failed:
                    self._tell(now, "modules_failed", str(error)[:200])
                self._failed = True
                return
        self._failed = False
        self._modules = after
        if after.mask != before.mask:
            off = [str(k) for k in range(self._rule.count) if after.mask >> k & 1]
            self._tell(now, "modules_off", ", ".join(off) or "none")
