"""A site's transfer switch at work: it is followed with every scan, gates every export, and ends one in an outage.

In an outage the rectifier is dead and the battery carries the site by itself: all that is written is the inverter's
power, under a timer of a few seconds, so that a dead gateway, which watches no switch, does not go on feeding a section.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace as alter

from edge.gateway import roster
from edge.gateway.cabinet import Cabinet
from edge.gateway.duty import Duty, advance
from edge.gateway.interlock import Interlock, SwitchPosition, follow, island_gap, mains_gap, switch_gap
from edge.gateway.limits import OwnLimits, Reason, beyond_load_w
from edge.modbus.port import DeviceError, FieldSample, SitePort, SwitchReading

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore

_SHORTEST_REVERT: Final = timedelta(seconds=3)
_LONGEST_REVERT: Final = timedelta(seconds=900)
_LOOK_WITHIN: Final = timedelta(seconds=2)


class Island:
    """One core's transfer switch."""

    def __init__(self, core: GatewayCore, lock: asyncio.Lock, port: SitePort, cabinet: Cabinet) -> None:
        self._core = core
        self._lock = lock
        self._port = port
        self._cabinet = cabinet
        self._known = Interlock()
        self._looked_at: datetime | None = None
        export = core.config.limits.export
        # Declared in the file without a switch among the devices: its position is never known, nothing is exported.
        self._counts = port.capabilities.transfer_switch or (export is not None and export.island is not None)

    @property
    def position(self) -> SwitchPosition:
        """Where the switch stands, as far as anybody can tell."""
        return self._known.position

    def exporting(self) -> bool:
        """Whether a command to feed the isolated section is in force."""
        return self._core.condition.in_outage and bool(self._core.duties)

    def _within(self) -> timedelta:
        """Return how old what is known may be: two control periods, stretched or not."""
        return max(_LOOK_WITHIN, 2 * self._core.period())

    def look(self, seen: SwitchReading | None, read_at: datetime, now: datetime) -> None:
        """Take in what the contacts said at `read_at`; a change of position is reported.

        A look that waited long for its turn is none, and after a time without looks everything begins anew: nobody
        knows where the switch was meanwhile.
        """
        export = self._core.config.limits.export
        if export is None or not self._counts:
            return
        before, last, self._looked_at = self._known, self._looked_at, now
        known = before if last is None or timedelta(0) <= now - last <= self._within() else Interlock()
        fresh = timedelta(0) <= now - read_at <= self._within()
        self._known = follow(known, seen if fresh else None, export.switch, now)
        if (before.position, before.why) != (self._known.position, self._known.why):
            why = f": {self._known.why}" if self._known.why else ""
            self._core.outbox.event(now, "transfer_switch", f"{self._known.position}{why}")

    def gap(self, sample: FieldSample | None, now: datetime) -> str | None:
        """Return what an export lacks now, nothing where it may be, None where none is declared for such a time."""
        export, within = self._core.config.limits.export, self._within()
        if export is None:
            return None
        if sample is None:
            return "not_read"
        # While an outage is on, a scan that still saw the mains opens nothing: `island_gap` says so.
        if sample.mains_ok and not self._core.condition.in_outage:
            wanted = SwitchPosition.CLOSED
            gap = mains_gap(sample)
            return gap or (
                switch_gap(self._known, wanted, export.switch, now, within) if self._counts else ""
            )
        if export.island is None:
            return None
        sampled_at = self._core.recorder.sampled_at
        if sampled_at is None or not timedelta(0) <= now - sampled_at <= within:
            return "not_read"
        gap = island_gap(export.island, export.switch, self._known, sample, now, within)
        return gap or ("" if sample.bus_v > self._floor_v() else "bus_at_backstop")

    def _floor_v(self) -> float:
        """Return the bus voltage at which the battery is the site's alone, whatever its state of charge says, V."""
        return max(self._port.capabilities.backstop_v, self._core.config.limits.bus_min_v)

    def limits(self, sample: FieldSample | None, now: datetime) -> OwnLimits:
        """Return the site's limits as they are now: without export unless the switch lets it be."""
        own = self._core.config.limits
        if own.export is None:
            return own
        if sample is None or self.gap(sample, now) != "":
            return alter(own, export=None)
        island = own.export.island
        if sample.mains_ok or island is None:
            return own
        export = alter(own.export, limit_w=min(own.export.limit_w, island.limit_w))
        return alter(own, export=export, soc_min_frac=max(own.soc_min_frac, island.keep_soc_frac))

    def named(self, duty: Duty, sample: FieldSample, now: datetime) -> Duty:
        """Return the duty with the interlock as its reason where it, not the load, keeps it below its setpoint."""
        held = duty.reason is Reason.LOAD_BELOW_SETPOINT and bool(self.gap(sample, now))
        return replace(duty, reason=Reason.INTERLOCK) if held else duty

    async def act(self, sample: FieldSample, now: datetime) -> None:
        """Feed the isolated section as the command in force asks, or nothing.

        Raises:
            DeviceError: The inverter did not answer, or holds something else.
        """
        core = self._core
        if core.duties and (gap := self.gap(sample, now)):
            await self.end(now, gap)
            return
        duty, limits = roster.current(core.duties, now), self.limits(sample, now)
        power_w, period = 0.0, core.period()
        if duty is not None and limits.export is not None:
            ramp = core.config.pacing.ramp_w_per_s
            asked = advance(duty, sample, core.loop, limits, now, period, ramp)
            core.keep_duty(duty, core.limited(asked.duty, now))
            power_w = beyond_load_w(asked.target_w, sample, limits.export)
        revert = min(_LONGEST_REVERT, max(_SHORTEST_REVERT, 3 * period))
        await self._cabinet.invert(power_w, now, revert)
        # Nobody looks at the switch while an inverter is being told: one that takes long must not be left feeding.
        if power_w < 0.0 and not timedelta(0) <= (later := core.clock.now()) - now <= self._within():
            await self.end(later, "inverter_slow")

    async def glance(self) -> None:
        """Look at switch and mains between control steps, and end an export that they do not allow any more."""
        if not self.exporting():
            return
        try:
            mains_ok = await self._port.read_mains()
        except DeviceError:
            mains_ok = None
        seen = await self._port.read_switch()
        read_at = self._core.clock.now()
        async with self._lock:
            now, sample = self._core.clock.now(), self._core.recorder.sample
            if not self.exporting() or sample is None:
                return
            self.look(seen, read_at, now)
            known = None if mains_ok is None else replace(sample, mains_ok=mains_ok)
            if gap := self.gap(known, now):
                await self.end(now, gap)

    async def end(self, now: datetime, gap: str) -> None:
        """Stop feeding, for a reason; the inverter is told before anybody else."""
        core = self._core
        await core.float_now(now, "mains_back" if gap == "mains_present" else "interlock")
        core.outbox.event(now, "interlock", gap)
