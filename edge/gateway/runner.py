"""The rhythm of a core: when it scans and acts, when it looks at the mains, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import TYPE_CHECKING, Final

from edge.gateway.outbox import offline_state
from edge.gateway.pace import speed_of, stretched_s, wall_wait_s
from edge.gateway.schedule import next_edge
from edge.gateway.uplink import Uplink, UplinkError, topic
from edge.modbus.port import DeviceError, SitePort

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore

_log = logging.getLogger(__name__)
_LEAVE_WITHIN_S: Final = 5.0
_SOON_S: Final = 0.001
_IDLE_S: Final = 0.5  # how often the fast loop asks whether a reserve has begun


async def run_core(core: GatewayCore, port: SitePort, uplink: Uplink) -> None:
    """Control a site until cancelled, then leave it at float with everything buffered."""
    core.restore(core.clock.now())
    try:
        # The broker may hold a command for us: a site that has not looked at itself yet would refuse it for good.
        await core.control_once()
        async with asyncio.TaskGroup() as group:
            group.create_task(core.run_messages())
            group.create_task(_run_mains(core, port))
            group.create_task(_run_control(core))
            if core.config.fast is not None:
                group.create_task(_run_reserve(core, core.config.fast.meter_period_s))
            await uplink.open()
    finally:
        await _leave(core, uplink)


async def _run_control(core: GatewayCore) -> None:
    pacing = core.config.pacing
    # Cores that share a machine start together: each takes a phase of its own, or all would scan in the same instant.
    await asyncio.sleep(core.rng.random() * wall_wait_s(pacing.control_s, speed_of(core.clock)))
    while True:
        started_s = core.monotonic()
        await core.control_once()
        speed = speed_of(core.clock)
        period_s = stretched_s(pacing.control_s, pacing.control_min_wall_s, speed)
        edge_s = _to_edge_s(core, core.clock.now())
        if 0.0 < edge_s < period_s:
            await asyncio.sleep(max(0.005, wall_wait_s(edge_s, speed)))
        else:
            taken_s = core.monotonic() - started_s
            await asyncio.sleep(max(0.005, wall_wait_s(period_s, speed) - taken_s))


def _to_edge_s(core: GatewayCore, now: datetime) -> float:
    """Return the domain seconds until a schedule's step changes; a step is not begun a period late."""
    edges = [next_edge(duty.command, now) for duty in core.duties]
    return min(((edge - now).total_seconds() for edge in edges if edge is not None), default=-1.0)


async def _run_mains(core: GatewayCore, port: SitePort) -> None:
    """Look at the mains between control steps; a scan is a look too, and where scans come as often they are enough."""
    pacing = core.config.pacing
    while True:
        speed = speed_of(core.clock)
        period_s = stretched_s(pacing.mains_s, pacing.control_min_wall_s, speed)
        wait_s = wall_wait_s(period_s, speed)
        left_s = wait_s - (core.monotonic() - core.mains_looked_s)
        if left_s > _SOON_S:
            await asyncio.sleep(left_s)
            continue
        if stretched_s(pacing.control_s, pacing.control_min_wall_s, speed) <= period_s:
            await asyncio.sleep(wait_s)
            continue
        core.mains_looked_s = core.monotonic()
        if core.condition.in_outage:
            await core.island.glance()
            continue
        try:
            present = await port.read_mains()
        except DeviceError:
            continue  # the control step counts failures
        if not present:
            await core.mains_lost()


async def _run_reserve(core: GatewayCore, period_s: float) -> None:
    """Answer frequency at the meter's pace while a reserve is in force; wall time, for a reserve needs speed 1."""
    next_s = core.monotonic()
    while True:
        if not core.reserve.in_force(core.clock.now()):
            await asyncio.sleep(_IDLE_S)
            next_s = core.monotonic()
            continue
        await core.reserve.tick()
        next_s = max(next_s + period_s, core.monotonic())
        await asyncio.sleep(max(0.005, next_s - core.monotonic()))


async def _leave(core: GatewayCore, uplink: Uplink) -> None:
    """Float, say that we are gone (a goodbye keeps the last will unsaid), close."""
    core.recorder.flush()
    config = core.config
    gone = offline_state(config.name, core.clock.now(), core.memory.held.last_sequence, config.firmware)
    try:
        async with asyncio.timeout(_LEAVE_WITHIN_S):
            await core.let_go()
    except (DeviceError, TimeoutError) as error:
        _log.warning("not released", extra={"site_id": config.site_id, "error": str(error)})
    try:
        async with asyncio.timeout(_LEAVE_WITHIN_S):
            if uplink.connected:
                await uplink.publish(topic(config.name, "state"), gone, retain=True)
    except (UplinkError, TimeoutError, OSError) as error:
        _log.warning("no goodbye", extra={"site_id": config.site_id, "error": str(error)})
    try:
        # By itself: a goodbye that nobody confirms must not leave the connection standing behind us.
        async with asyncio.timeout(_LEAVE_WITHIN_S):
            await uplink.close()
    except (UplinkError, TimeoutError, OSError) as error:
        _log.warning("not closed", extra={"site_id": config.site_id, "error": str(error)})
