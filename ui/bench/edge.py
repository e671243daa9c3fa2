"""What the edge does in a simulated fleet: response, confirmation, energy by quarter of an hour, mains release.

Real gateway cores in processes of their own, real MQTT over TLS to mosquitto, real Modbus TCP; plant, load and the
links' faults are simulated, and so is every figure here. The centre is this bench: it signs and sends, and repeats what
is not answered; the approval's own checks (`edge.control`) are not in the response.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from statistics import fmean
from time import monotonic, process_time
from typing import Any

from edge.plan import AckVerdict, Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault
from ui.bench.edge_energy import energy_event
from ui.bench.edge_siege import besiege
from ui.bench.edge_world import LinkQuality, World, running_world

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
# The centre repeats an unanswered command this often; the site answers it without acting twice.
_RESEND_S = 1.0
_REBOOT_S = 5.0
_LOAD_STEPS_FRAC = 0.2  # of the sites
_HOLD_S = 30.0
_BROKER_AWAY_S = 10.0
_CALM_S = 60.0  # after the broker's restart the fleet sends what waited: on one machine, a burst that is not the mains loss's
_AFTER = timedelta(minutes=25)  # all recharge by then: 10 minutes of random delay, 10 of ramp


def run(
    seed: int = 0,
    sites: int = 500,
    quarters: int = 2,
    window_s: float = 60.0,
    reboot_frac: float = 0.02,
    siege: int = 12_000,
) -> dict[str, Any]:
    """Return figures and goals of one simulated event.

    Args:
        seed: Of plant, loads, link faults and reboots; sockets are not deterministic.
        sites: Simulated sites; those that may dispatch (lithium, remote) get a command.
        quarters: Length of the event whose energy is judged, quarters of an hour; stepped, so it takes what it takes.
        window_s: How long a command may be accepted.
        reboot_frac: Share of gateways that are away for 5 s when the commands are sent, and as many again in the event.
        siege: Hostile commands thrown at one gateway afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_run(Path(folder), seed, sites, window_s, reboot_frac))
    with tempfile.TemporaryDirectory() as folder:
        event = energy_event(
            Path(folder), seed=seed, sites=sites, quarters=quarters, reboot_frac=reboot_frac, after=_AFTER
        )
        figures |= asyncio.run(event)
    with tempfile.TemporaryDirectory() as folder:
        figures |= asyncio.run(besiege(Path(folder), seed, siege)).figures()
    goals = {
        "response_mean_s": {"op": "<=", "value": 1.1, "gating": True},
        "response_p99_s": {"op": "<=", "value": 3.0, "gating": True},
        "confirmed_frac": {"op": ">=", "value": 0.997, "gating": True},
        "deviation_frac": {"op": "<=", "value": 0.02, "gating": True},
        "ended_early": {"op": "==", "value": 0, "gating": True},
        "broker_restart_dropouts": {"op": "==", "value": 0, "gating": True},
        "feeder_over_limit_w": {"op": "<=", "value": 0.0, "gating": True},
        "plant_lag_max_s": {"op": "<=", "value": 1.0, "gating": False},
        "cores_lag_max_s": {"op": "<=", "value": 1.0, "gating": False},
        "mains_release_max_s": {"op": "<=", "value": 1.0, "gating": True},
        "siege_commands": {"op": ">=", "value": min(siege, 10_000), "gating": True},
        "siege_wrong_answer": {"op": "==", "value": 0, "gating": True},
        "siege_acted_on": {"op": "==", "value": 0, "gating": True},
    }
    return {"figures": figures, "goals": goals}


async def _run(folder: Path, seed: int, sites: int, window_s: float, reboot_frac: float) -> dict[str, Any]:
    random = Random(seed)  # noqa: S311 (which gateways reboot, whose load steps)
    async with running_world(folder, seed=seed, sites=sites, quality=LinkQuality(), start=NOON) as world:
        online_s = await world.wait_online(len(world.sites))
        idle = await _idle_cost(world)
        away = random.sample(world.indices, ceil(reboot_frac * len(world.indices)))
        response, late, to_power, orders = await _dispatch(world, window_s, away)
        quiet = await world.cores.usage()
        dispatch_lag_s, world.lag_s = world.lag_s, 0.0
        refused = {ack.reason for ack in world.answers.values() if ack.verdict is AckVerdict.REFUSED}
        held = await _hold(world, orders, random, reboot_frac)
        early = [ack for ack in world.last.values() if ack.verdict is AckVerdict.EXPIRED]
        event = await world.cores.usage()
        world.lag_s = 0.0
        release = await _lose_mains(world, orders)
        final = await world.cores.usage()
    reachable = len(world.indices) - len(away)
    return {
        "sites": sites,
        "commanded": len(world.indices),
        "rebooted": len(away),
        "all_online_s": online_s,
        "response_mean_s": fmean(response) if response else None,
        "response_p99_s": _quantile(response, 0.99),
        "response_max_s": max(response, default=None),
        "power_90_mean_s": fmean(to_power) if to_power else None,
        "power_90_p99_s": _quantile(to_power, 0.99),
        "confirmed_frac": len(response) / reachable,
        "rebooted_confirmed": len(late),
        "rebooted_response_max_s": max(late, default=None),
        "refused_why": sorted(refused),
        "ended_early": len(early),
        "ended_early_why": sorted({ack.reason for ack in early}),
        "mains_release_max_s": max(release),
        "mains_release_mean_s": fmean(release),
        "plant_lag_max_s": max(dispatch_lag_s, world.lag_s),
        "cores_lag_max_s": max(quiet.lag_max_s, final.lag_max_s),
        "cores_lag_hold_s": event.lag_max_s,
        "cores_processes": len(world.cores),
        "cores_rss_mb": final.rss_mb,
        "readings_stored": sum(stored.count() for stored in world.stored.values()),
        **held,
        **idle,
        "data": "simulated",
    }


async def _idle_cost(world: World, seconds: float = 10.0) -> dict[str, float]:
    """Return what all sites cost while nothing is asked of them, us of CPU per site and second."""
    before, own_s, began_s = await world.cores.usage(), process_time(), monotonic()
    await asyncio.sleep(seconds)
    after, count = await world.cores.usage(), len(world.sites) * (monotonic() - began_s)
    return {
        "core_cpu_per_second_us": 1e6 * (after.cpu_s - before.cpu_s) / count,
        "cabinet_cpu_per_second_us": 1e6 * (process_time() - own_s) / count,
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return sorted(values)[min(len(values) - 1, ceil(share * len(values)) - 1)] if values else None


def _order(world: World, index: int, window_s: float) -> Command:
    """Return a discharge of half of the site's present load, from now on for an hour."""
    now, state = world.clock.now(), world.fleet.plant.state
    load_w = float(state.load_w[index] - state.pv_w[index])
    return Command(
        command_id=CommandId(f"bench-{world.sites[index].site_id}"),
        plan_id=None,
        site_id=world.sites[index].site_id,
        sequence=1,
        accept_by=now + timedelta(seconds=window_s),
        not_before=now,
        valid_until=now + timedelta(hours=1),
        kind=CommandKind.SCHEDULE,
        body=ScheduleBody(start=now, step_s=900, setpoint_w=(-round(0.5 * max(200.0, load_w)),) * 4),
    )


async def _dispatch(
    world: World, window_s: float, away: Sequence[int]
) -> tuple[list[float], list[float], list[float], dict[int, Command]]:
    """Command every site at once and return seconds from the approval, and the orders.

    Returns:
        To the read-back, of the sites that were reachable at the approval; the same of those that were rebooting;
        to 90 % of the power, of all; the orders.
    """
    for index in away:
        world.put(Fault(site=index, kind="reboot", value=_REBOOT_S))
    await asyncio.sleep(0.2)
    approved_at, approved_s = world.clock.now(), monotonic()
    orders = {index: _order(world, index, window_s) for index in world.indices}
    for index, command in orders.items():
        world.send(index, command)
    sent_s, reached = monotonic(), dict[int, float]()
    while monotonic() - approved_s < window_s:
        missing = [i for i, command in orders.items() if command.command_id not in world.answers]
        _note_power(world, orders, reached, monotonic() - approved_s)
        refused = [ack for ack in world.answers.values() if ack.verdict is AckVerdict.REFUSED]
        if not missing and len(reached) + len(refused) >= len(orders):
            break
        if monotonic() - sent_s >= _RESEND_S:
            sent_s = monotonic()
            for index in missing:
                world.send(index, orders[index])
        await asyncio.sleep(0.05)
    absent = {orders[index].command_id for index in away}
    taken_s = {
        name: (ack.at - approved_at).total_seconds()
        for name, ack in world.answers.items()
        if ack.verdict is AckVerdict.ACCEPTED
    }
    response = [seconds for name, seconds in taken_s.items() if name not in absent]
    late = [seconds for name, seconds in taken_s.items() if name in absent]
    return response, late, list(reached.values()), orders


def _note_power(world: World, orders: dict[int, Command], reached: dict[int, float], after_s: float) -> None:
    state = world.fleet.plant.state
    power_w = state.string_a.sum(axis=1) * state.bus_v
    for index, command in orders.items():
        body = command.body
        if (
            index not in reached
            and isinstance(body, ScheduleBody)
            and power_w[index] <= 0.9 * body.setpoint_w[0]
        ):
            reached[index] = after_s


async def _hold(
    world: World, orders: dict[int, Command], random: Random, reboot_frac: float
) -> dict[str, Any]:
    """Let the event go on with load steps and reboots, then restart the broker under it; return who dropped out."""
    for index in random.sample(world.indices, ceil(_LOAD_STEPS_FRAC * len(world.indices))):
        world.put(Fault(site=index, kind="load_step", value=random.uniform(0.3, 1.3)))
    for index in random.sample(world.indices, ceil(reboot_frac * len(world.indices))):
        world.put(Fault(site=index, kind="reboot", value=_REBOOT_S))
    await asyncio.sleep(_HOLD_S)
    world.stop_broker()
    await asyncio.sleep(_BROKER_AWAY_S)
    world.start_broker()
    back_s = await world.wait_online(len(world.sites))
    await asyncio.sleep(5.0)
    plant = world.fleet.plant
    out = [i for i in orders if plant.commands.rectifier_v[i] >= plant.float_v[i] - 0.02]
    return {"broker_restart_dropouts": len(out), "broker_back_online_s": back_s}


async def _lose_mains(world: World, orders: dict[int, Command]) -> list[float]:
    """Discharge every site again, cut all mains in one instant; return the seconds until each rectifier is at float."""
    await asyncio.sleep(_CALM_S)
    now = world.clock.now()
    for index, old in orders.items():
        fresh = replace(
            old,
            command_id=CommandId(f"again-{old.site_id}"),
            sequence=2,
            accept_by=now + timedelta(seconds=30),
            not_before=now,
            valid_until=now + timedelta(minutes=30),
            body=ScheduleBody(start=now, step_s=900, setpoint_w=(-200.0, -200.0)),
        )
        world.send(index, fresh)
    float_v = world.fleet.plant.float_v - 0.02
    began_s = monotonic()
    while monotonic() - began_s < 20.0:
        lowered = [i for i in orders if world.fleet.plant.commands.rectifier_v[i] < float_v[i]]
        if len(lowered) == len(orders):
            break
        await asyncio.sleep(0.2)
    for index in lowered:
        world.put(Fault(site=index, kind="mains_outage"))
    cut_s, released = monotonic(), dict[int, float]()
    while len(released) < len(lowered) and monotonic() - cut_s < 10.0:
        for index in lowered:
            if index not in released and world.fleet.plant.commands.rectifier_v[index] >= float_v[index]:
                released[index] = monotonic() - cut_s
        await asyncio.sleep(0.01)
    return [released.get(index, 10.0) for index in lowered] or [10.0]
