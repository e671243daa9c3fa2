"""One site's controller: one asyncio object, fed by a port to the cabinet and a link to the centre.

Three loops: the control step (1 s of domain time), the mains look (at least 4 a second) and the orders from the
centre. One lock keeps their writes apart. Whatever goes wrong, the answer is float voltage with charging closed,
then a late and slow recharge; and should this process die, the device does it by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from msgspec.structs import replace as alter

from edge.gateway import roster
from edge.gateway.buffer import Buffer
from edge.gateway.cabinet import Cabinet
from edge.gateway.condition import Condition
from edge.gateway.config import SiteConfig
from edge.gateway.control import Loop, at_float, start_loop, step
from edge.gateway.duty import Duty, advance, tells_limited
from edge.gateway.frequency import FastPath, offered
from edge.gateway.island import Island
from edge.gateway.memory import Disk, Memory
from edge.gateway.orders import Orders
from edge.gateway.outbox import Outbox, Urgent
from edge.gateway.own_control import OwnControl
from edge.gateway.pace import Tick, jumped, speed_of, stretched_s
from edge.gateway.recharge import Recharge, plan_recharge
from edge.gateway.recorder import Recorder
from edge.gateway.reserve import ReserveLoop, account
from edge.gateway.runner import run_core
from edge.gateway.shedder import Shedder
from edge.gateway.status import StateTeller, site_state
from edge.gateway.uplink import Uplink
from edge.modbus.port import Capabilities, DeviceError, FieldSample, SitePort
from edge.plan import Acknowledgement, AckVerdict, GridReserve
from telemetry.model.clock import Clock
from telemetry.model.reading import SiteState

_REAL_SPEED: Final = 1.01


def _without_export(config: SiteConfig) -> SiteConfig:
    """Return the file of a site whose devices have no inverter: whatever it says, nothing can be exported."""
    return alter(config, limits=alter(config.limits, export=None))


class GatewayCore:
    """A site's gateway. `run` until cancelled; the port must be open and the uplink not yet."""

    def __init__(
        self,
        config: SiteConfig,
        port: SitePort,
        uplink: Uplink,
        buffer: Buffer,
        disk: Disk,
        clock: Clock,
        rng: Random,
        *,
        boot_id: str,
        local_lock: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        config = config if port.capabilities.inverter else _without_export(config)
        self.config = config
        # Of what answers the site's own load alone: reserves and local rules never export.
        self.own_load_limits = alter(config.limits, export=None)
        self._port = port
        self._uplink = uplink
        self.clock = clock
        self.rng = rng
        self.monotonic = monotonic
        self._lock = asyncio.Lock()
        self.memory = Memory(disk, config.root_public)
        self.outbox = Outbox(config.name, boot_id, uplink, buffer, config.pacing, self._on_sent, monotonic)
        self.recorder = Recorder(config, boot_id, self.memory, self.outbox, local_lock)
        self._orders = Orders(self, self._lock)
        self._cabinet = Cabinet(port, timedelta(seconds=config.pacing.revert_s))
        self._shedder = Shedder(port, config.shed, config.limits, self.outbox.event)
        self.loop: Loop = start_loop(port.capabilities, config.limits)
        self.duties: roster.Roster = ()
        self._own = OwnControl(self, port)
        self.reserve = ReserveLoop(self, self._lock, port)
        self.recharge: Recharge | None = None
        self.condition = Condition(self, port)
        self.island = Island(self, self._lock, port, self._cabinet)
        self.mains_looked_s = monotonic()  # when the last look at the mains, or scan, began
        self._tick: Tick | None = None
        self._teller = StateTeller()
        uplink.listen(self._orders.on_message, self._on_connected)

    async def fail(self, now: datetime, cause: str) -> None:
        """A device did not do what was written: float, and no more writes until it answers well."""
        await self.condition.enter_fault(now, cause, deaf=True)

    # -- life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Control the site until cancelled, then leave it at float with everything buffered."""
        await run_core(self, self._port, self._uplink)

    async def run_messages(self) -> None:
        """Send and obey until cancelled, without control steps of its own."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.outbox.run())
            group.create_task(self._orders.run())

    async def idle(self) -> None:
        """Return when every message that has come in was worked on."""
        await self._orders.idle()

    def restore(self, now: datetime) -> None:
        """Take up what was accepted before a restart, if it can still be believed."""
        held = self.memory.held
        self.duties, given_up = roster.restore(held.duties, self.memory.keys, held.seen_at, now)
        for record in given_up:
            self.acknowledge(roster.given_up_ack(record, self.config.name, now))
        self.memory.note_duties(self.duties)
        self.recharge = plan_recharge(self.config.recharge, now, self.rng)
        if self.config.fast is not None:
            found = offered(self.config.fast, self._port.capabilities)
            can = [name for name, reason in found.items() if reason is None]
            self.outbox.event(now, "reserves_offered", ", ".join(can) or "none")

    # -- one control step --------------------------------------------------------------------------------

    async def control_once(self) -> None:
        """Scan, decide, write, report. Never raises for a device that misbehaves."""
        looked_s = self.monotonic()
        try:
            sample = await self._port.read()
        except DeviceError as error:
            async with self._lock:
                await self.condition.miss_scan(str(error))
            return
        self.mains_looked_s = looked_s
        read_at = self.clock.now()
        async with self._lock:
            now = self.clock.now()
            tick = Tick(at=now, wall_s=self.monotonic(), speed=speed_of(self.clock))
            before, self._tick = self._tick, tick
            self.condition.scanned()
            if self.recorder.note(sample, now, before, self.condition.fault):
                self._teller.forget()
                self._cabinet.forget()
                self.recharge = plan_recharge(self.config.recharge, now, self.rng)
            if before is not None and jumped(before, tick, self.config.pacing.clock_jump_s):
                self.outbox.event(now, "clock_jump", f"{(now - before.at).total_seconds():.1f} s")
                await self.float_now(now, "clock_jump")
            self.island.look(sample.switch, read_at, now)
            await self.condition.judge(sample, now)
            try:
                await self.act(sample, now)
            except DeviceError as error:
                await self.condition.enter_fault(now, str(error), deaf=True)
            if not (self.condition.deaf or self.recorder.local_lock):
                await self._shedder.step(sample, now)
                await self._own.switch_modules(sample, now)
            self.tell_state(now)
        self.recorder.flush_when_due(tick)

    async def act(self, sample: FieldSample, now: datetime) -> float | None:
        """Write what the duty in force, or the recharge, asks for; return the voltage read back if one was written."""
        if self.condition.in_outage and not (self.condition.deaf or self.recorder.local_lock):
            await self.island.act(sample, now)
        if self.holds_still:
            return None
        capabilities = self._port.capabilities
        period = self.period()
        duty = roster.current(self.duties, now)
        if duty is None:
            self.loop = self._own.outputs(sample, now)
        elif isinstance(duty.command.body, GridReserve):
            self._own.give_way()
            self.loop = await self.reserve.hold(duty, now)
        else:
            self._own.give_way()
            limits = self.island.limits(sample, now)
            asked = advance(duty, sample, self.loop, limits, now, period, self.config.pacing.ramp_w_per_s)
            self.keep_duty(duty, self.limited(self.island.named(asked.duty, sample, now), now))
            self.loop = step(self.loop, asked.target_w, sample, capabilities, limits)
        return await self._cabinet.apply(self.loop, now, period)

    @property
    def holds_still(self) -> bool:
        """Whether nothing is written: an outage's battery is the network's, a locked cabinet the technician's."""
        return self.condition.in_outage or self.condition.deaf or self.recorder.local_lock

    @property
    def fast(self) -> FastPath | None:
        """What a reserve stands on; nothing at a clock speed above 1, where ten looks a second are not to be had."""
        return self.config.fast if speed_of(self.clock) <= _REAL_SPEED else None

    async def write(self, loop: Loop, now: datetime) -> float | None:
        """Make a loop's outputs the present ones.

        Raises:
            DeviceError: A device did not answer, or holds something else.
        """
        self.loop = loop
        return await self._cabinet.apply(loop, now, self.period())

    def forget_cabinet(self) -> None:
        """Believe nothing about what the devices hold: the next step writes everything."""
        self._cabinet.forget()

    def keep_duty(self, before: Duty, after: Duty) -> None:
        """Put a duty's new account in the place of the old one."""
        self.duties = tuple(after if duty is before else duty for duty in self.duties)

    def limited(self, duty: Duty, now: datetime) -> Duty:
        """Say once that a duty is being limited, and why."""
        if not tells_limited(duty):
            return duty
        told = replace(duty, limited_told=True)
        self.acknowledge(
            roster.say(
                told, self.config.name, now, AckVerdict.LIMITED, str(duty.reason), limited_wh=duty.limited_wh
            )
        )
        return told

    def period(self) -> timedelta:
        """Return the present control period in domain time."""
        pacing = self.config.pacing
        speed = speed_of(self.clock)
        return timedelta(seconds=stretched_s(pacing.control_s, pacing.control_min_wall_s, speed))

    # -- return to float -------------------------------------------------------------------------------

    async def float_now(self, now: datetime, cause: str) -> None:
        """End every duty for a cause of the site's own and return to float; a failed write is left to the revert."""
        ended, self.duties = self.duties, ()
        self.loop = at_float(self.loop, self._port.capabilities)
        self.recharge = plan_recharge(self.config.recharge, now, self.rng)
        try:
            await self._cabinet.release()
        except DeviceError as error:
            self._cabinet.forget()
            self.outbox.event(now, "release_failed", str(error)[:200])
        for duty in ended:
            self.close(duty, now, cause)
        if ended:
            self.memory.note_duties(())
            await self.memory.save(now)

    def close(self, duty: Duty, now: datetime, cause: str = "") -> None:
        """Say the last word on a duty."""
        self.acknowledge(roster.closing_ack(duty, self.config.name, now, cause))
        self.tell_account(duty, now)

    def tell_account(self, duty: Duty, now: datetime) -> None:
        """Send a reserve's energy account, once, when it ends."""
        if isinstance(duty.command.body, GridReserve):
            self.outbox.event(now, "reserve_account", f"{duty.command.command_id}: {account(duty)}")

    async def mains_lost(self) -> None:
        """The mains look found none."""
        async with self._lock:
            await self.condition.lose_mains(self.clock.now())

    def spread_report(self) -> None:
        """Speak a little later than others: whatever this is, the whole region has it."""
        most_s = self.config.pacing.report_spread_s / max(1.0, speed_of(self.clock))
        self.outbox.hold_back(self.rng.random() * most_s)

    async def let_go(self) -> None:
        """Return the cabinet to float; what is in force stays remembered for the next start.

        Raises:
            DeviceError: A device did not answer: its own revert timer does it.
        """
        await self._cabinet.release()

    # -- report ------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What the cabinet can do."""
        return self._port.capabilities

    def acknowledge(self, ack: Acknowledgement) -> None:
        """Remember an acknowledgement (durable with the next save) and send it."""
        self.outbox.send(Urgent(leaf="ack", payload=self.memory.note_ack(ack)))

    def state(self, now: datetime) -> SiteState:
        """Return what the site is doing."""
        return site_state(self, now)

    def tell_state(self, now: datetime, *, again: bool = False) -> None:
        """Publish the retained state when it changed, and once a minute."""
        self._teller.tell(self, now, again=again)

    def _on_connected(self) -> None:
        for payload in self.memory.unsent():
            self.outbox.send(Urgent(leaf="ack", payload=payload))
        self.tell_state(self.clock.now(), again=True)
        self.outbox.connected()

    def _on_sent(self, urgent: Urgent) -> None:
        if urgent.leaf == "ack":
            self.memory.note_sent(urgent.payload)
