"""What the edge does in a simulated fleet: response, confirmation, energy by quarter of an hour, mains release.

Real gateway cores, real MQTT over TLS to mosquitto, real Modbus codecs; plant, load and the link's faults are
simulated, and so is every figure here.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from statistics import fmean
from time import monotonic
from typing import Any

import numpy as np

from edge.plan import AckVerdict, Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault
from ui.bench.edge_world import LinkQuality, World, running_world

START = datetime(2026, 3, 10, 11, 58, tzinfo=UTC)
STEP = timedelta(minutes=15)
_RESEND_S = (
    1.0  # the centre repeats an unanswered command this often; the site answers it without acting twice
)
_REBOOT_S = 5.0


def run(
    seed: int = 0,
    sites: int = 50,
    quarters: int = 3,
    window_s: float = 60.0,
    reboot_frac: float = 0.02,
) -> dict[str, Any]:
    """Return figures and goals of one simulated event.

    Args:
        seed: Of plant, loads, link faults and reboots; sockets are not deterministic.
        sites: Simulated sites; those that may dispatch (lithium, remote) get a command.
        quarters: Length of the event whose energy is judged, quarters of an hour. It runs at clock speed 60, slower
            above 50 sites: one process does the work of as many controllers.
        window_s: How long a command may be accepted.
        reboot_frac: Share of gateways that are away for 5 s when the commands are sent.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_run(Path(folder), seed, sites, quarters, window_s, reboot_frac))
    goals = {
        "response_mean_s": {"op": "<=", "value": 1.1, "gating": True},
        "response_p99_s": {"op": "<=", "value": 3.0, "gating": True},
        "confirmed_frac": {"op": ">=", "value": 0.997, "gating": True},
        "deviation_frac": {"op": "<=", "value": 0.02, "gating": True},
        "ended_early": {"op": "==", "value": 0, "gating": True},
        "process_lag_max_s": {"op": "<=", "value": 1.0, "gating": False},
        "mains_release_max_s": {"op": "<=", "value": 1.0, "gating": True},
    }
    return {"figures": figures, "goals": goals}


async def _run(
    folder: Path, seed: int, sites: int, quarters: int, window_s: float, reboot_frac: float
) -> dict[str, Any]:
    speed = min(60.0, 3000.0 / sites)
    random = Random(seed)  # noqa: S311 (which gateways reboot)
    async with running_world(folder, seed=seed, sites=sites, quality=LinkQuality(), start=START) as world:
        await asyncio.sleep(4.0 + sites / 50.0)
        away = random.sample(world.indices, ceil(reboot_frac * len(world.indices)))
        response, late, to_power = await _dispatch(world, window_s, quarters, away)
        refused = {a.ack.reason for a in world.answers.values() if a.ack.verdict is AckVerdict.REFUSED}
        deviation = await _settle(world, quarters, speed)
        early = [ack for ack in world.last.values() if ack.verdict is AckVerdict.EXPIRED]
        release = await _lose_mains(world)
        lag_s = world.lag_s
    reachable = len(world.indices) - len(away)
    return {
        "sites": sites,
        "commanded": len(world.indices),
        "rebooted": len(away),
        "response_mean_s": fmean(response) if response else None,
        "response_p99_s": _quantile(response, 0.99),
        "power_90_mean_s": fmean(to_power) if to_power else None,
        "power_90_p99_s": _quantile(to_power, 0.99),
        "confirmed_frac": len(response) / reachable,
        "rebooted_confirmed": len(late),
        "rebooted_response_max_s": max(late, default=None),
        "refused_why": sorted(refused),
        "ended_early": len(early),
        "ended_early_why": sorted({ack.reason for ack in early}),
        "deviation_frac": deviation["error_wh"] / deviation["commanded_wh"],
        "limited_frac": deviation["limited_wh"] / deviation["commanded_wh"],
        "mains_release_max_s": max(release),
        "mains_release_mean_s": fmean(release),
        "event_speed": speed,
        "process_lag_max_s": lag_s,
        "data": "simulated",
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return sorted(values)[min(len(values) - 1, ceil(share * len(values)) - 1)] if values else None


def _order(world: World, index: int, window_s: float, quarters: int) -> Command:
    """Return a discharge of 0.5, 0.35, 0.2 ... of the site's present load from the next quarter of an hour but one."""
    now = world.clock.now()
    load_w = float(world.fleet.plant.state.load_w[index] - world.fleet.plant.state.pv_w[index])
    shares = [(0.5, 0.35, 0.2)[n % 3] for n in range(quarters + 1)]
    start = datetime(now.year, now.month, now.day, now.hour, now.minute // 15 * 15, tzinfo=UTC)
    return Command(
        command_id=CommandId(f"bench-{world.sites[index].site_id}"),
        plan_id=None,
        site_id=world.sites[index].site_id,
        sequence=1,
        accept_by=now + timedelta(seconds=window_s),
        not_before=now,
        valid_until=start + STEP * (quarters + 1),
        kind=CommandKind.SCHEDULE,
        body=ScheduleBody(
            start=start, step_s=900, setpoint_w=tuple(-round(share * max(200.0, load_w)) for share in shares)
        ),
    )


async def _dispatch(
    world: World, window_s: float, quarters: int, away: Sequence[int]
) -> tuple[list[float], list[float], list[float]]:
    """Command every site at once and return seconds from the approval.

    Returns:
        To the read-back, of the sites that were reachable at the approval; the same of those that were rebooting;
        to 90 % of the power, of all.
    """
    reboots = [asyncio.create_task(world.reboot(index, _REBOOT_S)) for index in away]
    await asyncio.sleep(0.2)
    approved_at, approved_s = world.clock.now(), monotonic()
    world.orders = {index: _order(world, index, window_s, quarters) for index in world.indices}
    for index, command in world.orders.items():
        world.send(index, command)
    sent_s, reached = monotonic(), dict[int, float]()
    while monotonic() - approved_s < window_s:
        missing = [i for i, command in world.orders.items() if command.command_id not in world.answers]
        _note_power(world, reached, monotonic() - approved_s)
        refused = [a for a in world.answers.values() if a.ack.verdict is AckVerdict.REFUSED]
        if not missing and len(reached) + len(refused) >= len(world.orders):
            break
        if monotonic() - sent_s >= _RESEND_S:
            sent_s = monotonic()
            for index in missing:
                world.send(index, world.orders[index])
        await asyncio.sleep(0.05)
    await asyncio.gather(*reboots)
    absent = {world.orders[index].command_id for index in away}
    taken_s = {
        name: (answer.ack.at - approved_at).total_seconds()
        for name, answer in world.answers.items()
        if answer.ack.verdict is AckVerdict.ACCEPTED
    }
    response = [seconds for name, seconds in taken_s.items() if name not in absent]
    late = [seconds for name, seconds in taken_s.items() if name in absent]
    return response, late, list(reached.values())


def _note_power(world: World, reached: dict[int, float], after_s: float) -> None:
    state = world.fleet.plant.state
    power_w = state.string_a.sum(axis=1) * state.bus_v
    for index, command in world.orders.items():
        body = command.body
        if (
            index not in reached
            and isinstance(body, ScheduleBody)
            and power_w[index] <= 0.9 * body.setpoint_w[0]
        ):
            reached[index] = after_s


async def _settle(world: World, quarters: int, speed: float) -> dict[str, float]:
    """Let the event run fast and compare each quarter's energy at the terminals with what was owed."""
    now = world.clock.now()
    first = datetime(now.year, now.month, now.day, now.hour, now.minute // 15 * 15, tzinfo=UTC) + STEP
    world.edges = [first + STEP * n for n in range(quarters + 1)]
    world.set_speed(speed)
    wall_s = ((first - now) + STEP * quarters).total_seconds() / speed
    until = monotonic() + 3.0 * wall_s + 10.0
    while world.edges and monotonic() < until:  # noqa: ASYNC110 (the plant's loop empties the list)
        await asyncio.sleep(0.1)
    world.set_speed(1.0)
    chosen = np.array(world.indices)
    error_wh = commanded_wh = limited_wh = 0.0
    for n in range(1, len(world.delivered_wh)):
        got = (world.delivered_wh[n] - world.delivered_wh[n - 1])[chosen]
        owed = world.owed_wh[n][chosen]
        asked = np.array([_asked_wh(world.orders[i], first + STEP * (n - 1)) for i in world.indices])
        error_wh += float(np.abs(got - owed).sum())
        commanded_wh += float(np.abs(asked).sum())
        limited_wh += float((np.abs(asked) - np.abs(owed)).sum())
    return {"error_wh": error_wh, "commanded_wh": commanded_wh, "limited_wh": limited_wh}


def _asked_wh(command: Command, quarter: datetime) -> float:
    body = command.body
    if not isinstance(body, ScheduleBody):
        return 0.0
    index = (quarter - body.start) // STEP
    return body.setpoint_w[index] / 4.0 if 0 <= index < len(body.setpoint_w) else 0.0


async def _lose_mains(world: World) -> list[float]:
    """Discharge every site again, cut all mains in one instant; return the seconds until each rectifier is at float."""
    world.answers.clear()
    now = world.clock.now()
    for index in world.indices:
        old = world.orders[index]
        fresh = Command(
            command_id=CommandId(f"again-{old.site_id}"),
            plan_id=None,
            site_id=old.site_id,
            sequence=2,
            accept_by=now + timedelta(seconds=30),
            not_before=now,
            valid_until=now + timedelta(minutes=30),
            kind=CommandKind.SCHEDULE,
            body=ScheduleBody(start=now, step_s=900, setpoint_w=(-200.0, -200.0)),
        )
        world.send(index, fresh)
    await asyncio.sleep(5.0)
    float_v = world.fleet.plant.float_v - 0.02
    lowered = [i for i in world.indices if world.fleet.plant.commands.rectifier_v[i] < float_v[i]]
    for index in lowered:
        world.fleet.put(Fault(site=index, kind="mains_outage"))
    cut_s, released = monotonic(), dict[int, float]()
    while len(released) < len(lowered) and monotonic() - cut_s < 10.0:
        for index in lowered:
            if index not in released and world.fleet.plant.commands.rectifier_v[index] >= float_v[index]:
                released[index] = monotonic() - cut_s
        await asyncio.sleep(0.01)
    return [released.get(index, 10.0) for index in lowered] or [10.0]
