"""A reserve at work: ten looks a second at the frequency meter, the answer written at once, its energy counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from edge.gateway import roster
from edge.gateway.actuator import Actuator, aim, start_actuator
from edge.gateway.control import Loop, at_float
from edge.gateway.duty import Duty
from edge.gateway.frequency import Response, respond
from edge.gateway.limits import Reason, allow
from edge.gateway.products import Shape, shipped_products
from edge.modbus.port import DeviceError, QuickSample, SitePort
from edge.plan import GridReserve

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore

_BLIND_AFTER: Final = timedelta(seconds=1)  # an answer older than this is not held by the slow loop
_SAVE_EVERY: Final = timedelta(seconds=10)
_NOTABLE_WH: Final = 0.1


class ReserveLoop:
    """The fast loop of one core; it acts only while a reserve is in force."""

    def __init__(self, core: GatewayCore, lock: asyncio.Lock, port: SitePort) -> None:
        self._core = core
        self._lock = lock
        self._port = port
        self._actuator: Actuator | None = None
        self._for = ""  # the command that the actuator was started for
        self._blind = False
        self._saved_at: datetime | None = None
        self._saved_wh = 0.0

    def in_force(self, now: datetime) -> bool:
        """Return whether a reserve is to be answered now."""
        duty = roster.current(self._core.duties, now)
        return duty is not None and isinstance(duty.command.body, GridReserve)

    async def tick(self) -> None:
        """Look, decide, write, count. Never raises for a device: one that fails leaves the answer at zero."""
        core = self._core
        hz, quick = await self._look()
        async with self._lock:
            now = core.clock.now()
            duty = roster.current(core.duties, now)
            sample = core.recorder.sample
            if duty is None or sample is None or core.holds_still or quick is None:
                return
            body = duty.command.body
            if not isinstance(body, GridReserve):
                return
            self._tell_blind(hz is None, now)
            before = duty.response or Response(at=duty.at)
            product = shipped_products()[body.product]
            after = _measured(respond(before, body, product, hz, now), before, quick, now)
            allowed = allow(after.power_w, sample, core.own_load_limits)
            actuator = aim(
                self._actuator_for(duty),
                allowed.power_w,
                quick,
                self._port.capabilities,
                core.config.limits,
                discharges=body.up_w > 0.0,
            )
            self._actuator = actuator
            reason = allowed.reason or actuator.held
            counted = _limited(duty, after, allowed.power_w, quick, reason, now)
            core.keep_duty(duty, core.limited(counted, now))
            try:
                await core.write(self._loop(actuator), now)
            except DeviceError as error:
                await core.fail(now, str(error))
                return
            await self._save_when_due(before, after, product.shape, now)

    async def hold(self, duty: Duty, now: datetime) -> Loop:
        """Return what the one-second loop writes in between: the last answer, or standby if that is too old."""
        actuator = self._actuator_for(duty)
        response = duty.response
        stale = response is None or now - response.at > max(_BLIND_AFTER, 2 * self._core.period())
        sample = self._core.recorder.sample
        body = duty.command.body
        if stale and sample is not None and isinstance(body, GridReserve):
            quick = QuickSample(bus_v=sample.bus_v, battery_w=sample.battery_w)
            actuator = aim(
                actuator,
                0.0,
                quick,
                self._port.capabilities,
                self._core.config.limits,
                discharges=body.up_w > 0.0,
            )
        self._actuator = actuator
        return self._loop(actuator)

    async def _look(self) -> tuple[float | None, QuickSample | None]:
        hz: float | None = None
        try:
            hz = await self._port.read_grid_hz()
        except DeviceError:
            hz = None  # a reserve is never held blind: the answer goes to zero
        try:
            return hz, await self._port.read_quick()
        except DeviceError:
            return hz, None  # the one-second loop counts failures and makes a fault of them

    def _actuator_for(self, duty: Duty) -> Actuator:
        core = self._core
        sample = core.recorder.sample
        if self._actuator is None or self._for != duty.command.command_id:
            soc_frac = 0.0 if sample is None or sample.soc_frac is None else sample.soc_frac
            self._for = duty.command.command_id
            self._actuator = start_actuator(core.loop, soc_frac, self._port.capabilities, core.config.limits)
        return self._actuator

    def _loop(self, actuator: Actuator) -> Loop:
        loop = at_float(self._core.loop, self._port.capabilities, actuator.charge_limit_a)
        return replace(loop, want_v=actuator.volts, volts=actuator.volts, ohm=actuator.ohm)

    def _tell_blind(self, blind: bool, now: datetime) -> None:
        if blind != self._blind:
            self._blind = blind
            kind = "reserve_blind" if blind else "reserve_sees"
            self._core.outbox.event(now, kind, "no frequency: no answer" if blind else "")

    async def _save_when_due(self, before: Response, after: Response, shape: Shape, now: datetime) -> None:
        """Remember the energy account every ten seconds that it moved, and a trigger at once: both outlive a restart."""
        core = self._core
        moved_wh = after.up_wh + after.down_wh + after.given_wh + after.taken_wh
        due = self._saved_at is None or not timedelta(0) <= now - self._saved_at < _SAVE_EVERY
        triggered = shape is Shape.STEP and after.triggered_at != before.triggered_at
        if triggered or (due and moved_wh - self._saved_wh > _NOTABLE_WH):
            self._saved_at, self._saved_wh = now, moved_wh
            core.memory.note_duties(core.duties)
            await core.memory.save(now)


def _measured(response: Response, before: Response, quick: QuickSample, now: datetime) -> Response:
    """Return the response with the battery's measured energy since the last look in its account.

    In standby nothing is counted: a shunt's noise, rectified, would add up to watt-hours in an afternoon.
    """
    if response is before or before.power_w == response.power_w == 0.0:
        return response
    wh = quick.battery_w * max(0.0, (now - before.at).total_seconds()) / 3600.0
    return replace(
        response,
        given_wh=response.given_wh + max(0.0, -wh),
        taken_wh=response.taken_wh + max(0.0, wh),
    )


def _limited(
    duty: Duty, after: Response, allowed_w: float, quick: QuickSample, reason: Reason | None, now: datetime
) -> Duty:
    """Return the duty with the answer, and with what limits or physics took away of it."""
    hours = max(0.0, (now - duty.at).total_seconds()) / 3600.0
    reached_w = allowed_w
    if reason in {Reason.BACKSTOP, Reason.BATTERY_ACCEPTANCE}:
        reached_w = quick.battery_w if quick.battery_w * after.power_w > 0.0 else 0.0
    missing_w = 0.0 if reason is None else max(0.0, abs(after.power_w) - abs(reached_w))
    return replace(
        duty,
        at=now,
        asked_w=after.power_w,
        set_w=allowed_w,
        response=after,
        reason=reason,
        limited_wh=duty.limited_wh + missing_w * hours,
    )


def account(duty: Duty) -> str:
    """Return a reserve's energy account in words, Wh: what the rule asked for and what the battery did."""
    r = duty.response
    if r is None:
        return "never answered"
    return (
        f"asked up {r.up_wh:.1f} down {r.down_wh:.1f}, measured up {r.given_wh:.1f} down {r.taken_wh:.1f} Wh"
    )
