"""A site by itself, while no command is in force: local rules, float and recharge, and its rectifier modules."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from edge.gateway import roster
from edge.gateway.control import Loop, at_float, step
from edge.gateway.limits import allow
from edge.gateway.local import Local, as_new, local_step
from edge.gateway.module_switch import ModuleSwitch
from edge.gateway.recharge import is_full, plan_recharge, recharge_w
from edge.modbus.port import FieldSample, SitePort
from edge.plan import GridReserve

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore


class OwnControl:
    """What one core's site does for itself; the core keeps it within its limits and writes it."""

    def __init__(self, core: GatewayCore, port: SitePort) -> None:
        self._core = core
        self._port = port
        self._switch = ModuleSwitch(port, core.config.local.modules, core.outbox.event)
        self._local = Local()
        self._sun_only = False

    def give_way(self) -> None:
        """Forget what was going on: a command has the battery now."""
        self._local = as_new(self._local)

    def outputs(self, sample: FieldSample, now: datetime) -> Loop:
        """Return the loop's outputs: what the local rules ask, else float and recharge."""
        core, before = self._core, self._local
        limits, capabilities = core.own_load_limits, self._port.capabilities
        asked = local_step(
            before,
            core.config.local,
            sample,
            limits,
            capabilities,
            now,
            may_discharge=self._may_discharge(now),
        )
        self._local = asked.local
        if asked.local.doing != before.doing:
            core.outbox.event(now, "local", asked.local.doing or "over")
            over = not asked.local.doing
            core.recharge = plan_recharge(core.config.recharge, now, core.rng) if over else None
        if asked.target_w < 0.0:
            allowed = allow(asked.target_w, sample, limits)
            return step(core.loop, allowed.power_w, sample, capabilities, limits)
        if asked.sun_only:
            core.recharge = None
        elif self._sun_only:
            core.recharge = plan_recharge(core.config.recharge, now, core.rng)
        self._sun_only = asked.sun_only
        grid_w = min(self._recharge_w(sample, now), asked.most_grid_w)
        charge_w = max(grid_w, allow(asked.sun_w, sample, limits).power_w)
        loop = at_float(core.loop, capabilities, charge_w / max(sample.bus_v, 40.0))
        return replace(loop, want_v=asked.float_v, volts=asked.float_v)

    async def switch_modules(self, sample: FieldSample, now: datetime) -> None:
        """Put rectifier modules in standby or switch them on; never raises for a device."""
        core = self._core
        duty = roster.current(core.duties, now)
        limit_w = min(core.loop.charge_limit_a * sample.bus_v, core.config.limits.rectifier_secure_w)
        # A full battery's charging limit is open for the trickle, which is all that flows.
        charge_w = max(0.0, sample.battery_w) if core.recharge is None and duty is None else limit_w
        body = None if duty is None else duty.command.body
        # What may need full power at once finds every module on.
        at_once = isinstance(body, GridReserve) and body.down_w > 0.0
        all_on = (
            core.condition.in_outage or core.condition.after_outage or bool(core.condition.fault) or at_once
        )
        await self._switch.step(sample, charge_w, now, all_on=all_on)

    def _may_discharge(self, now: datetime) -> bool:
        """Return whether the local rules may discharge at all."""
        core = self._core
        limits, capabilities = core.config.limits, self._port.capabilities
        return (
            limits.continuity_proven
            and capabilities.can_revert
            and not capabilities.full_load_blocks_only
            and not core.condition.fault
            and not core.condition.after_outage
            and not core.memory.fleet.stopped
            and core.memory.discharged_wh(now) < limits.max_cycles_per_day * limits.rated_wh
        )

    def _recharge_w(self, sample: FieldSample, now: datetime) -> float:
        """Return the charging power of the recharge rule; notes when the battery is full again."""
        core = self._core
        if core.recharge is not None and is_full(core.config.recharge, sample):
            core.recharge, core.condition.after_outage = None, False
        return recharge_w(core.recharge, core.config.recharge, core.config.limits, sample, now)
