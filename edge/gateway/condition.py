"""The condition a site is in: outage, fault, doubt; entered and left with each scan, ending what may not go on."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from edge.gateway import roster
from edge.gateway.plausible import SCANS, doubt
from edge.gateway.recharge import plan_recharge
from edge.modbus.port import FieldSample, SitePort

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore

_FAILS_TO_FAULT: Final = 3
_GOOD_TO_RECOVER: Final = 5


class Condition:
    """What one core's site is in, and since how many scans; the caller of every method holds the core's lock."""

    def __init__(self, core: GatewayCore, port: SitePort) -> None:
        self._core = core
        self._port = port
        self.in_outage = False
        self.after_outage = False
        self.fault = ""  # a device alarm or failure in force: no duty is accepted
        # A device did not do what was written: nothing more is written until it answers well.
        self.deaf = False
        self._fails = 0
        self._good = 0
        self._doubts = 0

    def scanned(self) -> None:
        """Count a good scan."""
        self._fails, self._good = 0, self._good + 1

    async def judge(self, sample: FieldSample, now: datetime) -> None:
        """Enter and leave outage and fault; end what may not go on."""
        core = self._core
        if not sample.mains_ok:
            await self.lose_mains(now)
        elif self.in_outage:
            if core.duties:  # what fed an isolated section in the outage ends with it
                await core.float_now(now, "mains_back")
            self.in_outage, self.after_outage = False, True
            core.recharge = plan_recharge(core.config.recharge, now, core.rng)
            core.outbox.event(now, "mains_back")
        alarms = sorted(set(sample.alarms) & set(core.config.fault_alarms))
        export = core.config.limits.export if core.duties else None
        most_w = None if export is None else export.limit_w
        doubtful = doubt(sample, inverter=self._port.capabilities.inverter, export_limit_w=most_w)
        self._doubts = self._doubts + 1 if doubtful else 0
        if self._doubts >= SCANS:
            alarms.append(doubtful)
        if alarms and (not self.in_outage or core.duties):
            await self.enter_fault(now, alarms[0], deaf=False)
        elif self.fault and self._good >= _GOOD_TO_RECOVER:
            self.fault, self.deaf = "", False
            core.forget_cabinet()
            core.recharge = plan_recharge(core.config.recharge, now, core.rng)
            core.outbox.event(now, "fault_over")
        if core.recorder.local_lock and core.duties:
            await core.float_now(now, "local_lock")
        await self._finish(now)

    async def _finish(self, now: datetime) -> None:
        """Close the duties whose time is over."""
        core = self._core
        over = roster.finished(core.duties, now)
        if not over:
            return
        core.duties = tuple(duty for duty in core.duties if duty not in over)
        if any(duty.asked_w or duty.set_w for duty in over):
            core.recharge = plan_recharge(core.config.recharge, now, core.rng)
        for duty in over:
            core.close(duty, now)
        core.memory.note_duties(core.duties)
        await core.memory.save(now)

    async def lose_mains(self, now: datetime) -> None:
        """Give the battery back to the network: it is what it is there for."""
        if not self.in_outage:
            self.in_outage = True
            self._core.spread_report()
            await self._core.float_now(now, "outage")
            self._core.outbox.event(now, "mains_lost")
            self._core.tell_state(now)

    async def enter_fault(self, now: datetime, cause: str, *, deaf: bool) -> None:
        """End every duty because a device, or what it says, cannot be relied on."""
        self._good = 0
        self.deaf = self.deaf or deaf
        if not self.fault:
            self.fault = "device_fault" if deaf else cause
            self._core.outbox.event(now, "fault", cause[:200])
            await self._core.float_now(now, "device_fault")

    async def miss_scan(self, error: str) -> None:
        """Count a scan that failed; an isolated section is not fed unseen, everything else bears two of them."""
        core = self._core
        self._fails += 1
        if core.island.exporting():
            await core.island.end(core.clock.now(), "not_read")
        if self._fails >= _FAILS_TO_FAULT:
            now = core.clock.now()
            await self.enter_fault(now, error, deaf=True)
            core.tell_state(now)
