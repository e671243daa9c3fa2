"""Energy by quarter of an hour, of a fleet whose loads step and whose gateways reboot; and the feeders at the common end.

Control steps of exactly one second (`edge_fleet`), so that the figure is the gateways' and not the machine's. Simulated.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import numpy as np

from edge.plan import Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault, TimedFault
from edge.simulator.registry import feeder_of
from ui.bench.edge_account import QUARTER, Account
from ui.bench.edge_fleet import SteppedFleet, stepped_fleet

EVENING = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)  # 18:00 at the sites
SHARE_W = 400.0  # each site's share of its feeder's headroom, AC: a quarter of what it would recharge with
_LEAD = timedelta(minutes=2)  # between the order and its first quarter
_SHARES = (0.5, 0.35, 0.2)  # of the load at the time of the order, quarter by quarter
_LOAD_STEPS_FRAC = 0.2  # of the sites, in every quarter
_REBOOT_S = 5.0
_AFTER_S = 5.0  # control steps in the hour after the event


async def energy_event(
    folder: Path, *, seed: int, sites: int, quarters: int, reboot_frac: float, after: timedelta
) -> dict[str, Any]:
    """Return figures of one event and of the time after its end.

    Args:
        folder: For the gateways' memories.
        seed: Of plant, loads, load steps and reboots.
        sites: Simulated sites; those that may dispatch get an order.
        quarters: Length of the event.
        reboot_frac: Share of gateways that reboot somewhere in the event.
        after: How long the feeders are watched afterwards, while all recharge.
    """
    random, began_s = Random(seed), monotonic()  # noqa: S311 (which sites step, which reboot)
    async with stepped_fleet(
        folder, seed=seed, sites=sites, start=EVENING - _LEAD, feeder_share_w=SHARE_W
    ) as fleet:
        orders = {index: _order(fleet, index, quarters) for index in fleet.able}
        await fleet.order(orders)
        fleet.account = account = Account(fleet.fleet, orders, EVENING, quarters)
        fleet.fleet.plan_faults(load_steps(random, fleet.able, EVENING, quarters))
        fleet.fleet.plan_faults(reboots(random, fleet.able, EVENING, quarters, reboot_frac))
        await fleet.step(1.0, int((account.end - fleet.clock.at).total_seconds()))
        fleet.account = None
        done = account.outcome()
        core_us = 1e6 * fleet.core_cpu_s / (fleet.steps * len(fleet.sites))
        await fleet.step(1.0, 30)
        said = fleet.answers(fleet.able)
        over = await _watch_feeders(fleet, after)
    return {
        "energy_sites": len(orders),
        "deviation_frac": done.error_wh / done.commanded_wh,
        "deviation_true_frac": done.true_error_wh / done.commanded_wh,
        "limited_frac": done.limited_wh / done.commanded_wh,
        "commanded_wh": done.commanded_wh,
        "relief_per_delivered_ratio": done.relief_wh / done.delivered_wh,
        "orders_completed": said.get("completed", 0),
        "orders_otherwise": sorted(words for words in said if words != "completed"),
        "core_step_cpu_us": core_us,
        **over,
        "energy_wall_s": monotonic() - began_s,
    }


def _order(fleet: SteppedFleet, index: int, quarters: int) -> Command:
    site, now, state = fleet.sites[index], fleet.clock.now(), fleet.fleet.plant.state
    load_w = max(200.0, float(state.load_w[index] - state.pv_w[index]))
    return Command(
        command_id=CommandId(f"energy-{site.site_id}"),
        plan_id=None,
        site_id=site.site_id,
        sequence=1,
        accept_by=now + timedelta(minutes=1),
        not_before=now,
        valid_until=EVENING + quarters * QUARTER,
        kind=CommandKind.SCHEDULE,
        body=ScheduleBody(
            start=EVENING,
            step_s=900,
            setpoint_w=tuple(-round(_SHARES[k % len(_SHARES)] * load_w) for k in range(quarters)),
        ),
    )


def load_steps(random: Random, indices: Sequence[int], first: datetime, quarters: int) -> list[TimedFault]:
    """Return load steps of a fifth of the sites in each quarter: to 15 to 130 % of the load for one to five minutes."""
    faults = []
    for quarter in range(quarters):
        begin_s = (first + quarter * QUARTER).timestamp()
        for index in random.sample(indices, ceil(_LOAD_STEPS_FRAC * len(indices))):
            at_s = begin_s + random.uniform(0.0, 600.0)
            step = Fault(site=index, kind="load_step", value=random.uniform(0.15, 1.3))
            end_s = at_s + random.uniform(60.0, 290.0)
            faults += [
                TimedFault(at_s=at_s, fault=step),
                TimedFault(at_s=end_s, fault=replace(step, on=False)),
            ]
    return faults


def reboots(
    random: Random, indices: Sequence[int], first: datetime, quarters: int, share: float
) -> list[TimedFault]:
    """Return reboots of a share of the sites anywhere in the event, away for 5 s each."""
    span_s = quarters * QUARTER.total_seconds()
    return [
        TimedFault(
            at_s=first.timestamp() + random.uniform(30.0, span_s - 120.0),
            fault=Fault(site=index, kind="reboot", value=_REBOOT_S),
        )
        for index in random.sample(indices, ceil(share * len(indices)))
    ]


async def _watch_feeders(fleet: SteppedFleet, after: timedelta) -> dict[str, Any]:
    """Return how near the feeders came to their limit while all their sites recharge after the common end.

    The limit leaves each feeder what its sites draw without recharge, and `SHARE_W` for each of them: tight on purpose.
    """
    plant, count, end = fleet.fleet.plant, len(fleet.sites), fleet.clock.at + after
    member = np.array([feeder_of(index, count) for index in range(count)])
    room_w = SHARE_W * np.bincount(member)
    worst_w, most_w = -np.inf, 0.0
    while fleet.clock.at < end:
        await fleet.step(_AFTER_S)
        state = plant.state
        without_w = np.maximum(state.load_w - state.pv_w, 0.0)
        recharge_w = np.maximum(state.rectifier_in_w - without_w - plant.rectifier_loss_w(without_w), 0.0)
        by_feeder = np.bincount(member, weights=recharge_w)
        worst_w = max(worst_w, float((by_feeder - room_w).max()))
        most_w = max(most_w, float(by_feeder.sum()))
    return {"feeder_over_limit_w": worst_w, "recharge_peak_w": most_w, "recharge_room_w": float(room_w.sum())}
