"""All sites of one feeder end their duty in the same instant: its limit holds while they recharge. Plant simulated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace as alter

from edge.envelope import sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.core import GatewayCore
from edge.gateway.recharge import RechargeRule, recharge_w
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.modbus.site_port import DeviceSpec, ModbusSitePort
from edge.plan import ScheduleBody
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import InProcessLink
from edge.simulator.site_spec import SiteSpec
from telemetry.model.site import SiteId
from tests.edge.gateway.bench import CONFIG, KEYS, LIMITS, NOON, ROOT, SCHEDULE, BenchLink, StepClock, seal
from tests.edge.gateway.test_commands import SAMPLE

SITES = tuple(SiteId(f"cbs-{n:04d}") for n in range(1, 7))
TIGHT_UNTIL = NOON + timedelta(hours=1)
# Hour 12 leaves the feeder nothing, hour 13 leaves each of six sites 600 W.
SHARES_W = tuple(0.0 if hour == 12 else 600.0 for hour in range(24))
RULE = RechargeRule(min_delay_s=30.0, max_delay_s=300.0, ramp_s=120.0)


def link_to(fleet: FleetSimulation, index: int, _spec: DeviceSpec) -> InProcessLink:
    return fleet.link(index)


@dataclass
class FeederBench:
    """Six cores on one feeder and the import that the feeder saw, W by instant."""

    fleet: FleetSimulation
    clock: StepClock
    cores: list[GatewayCore]
    links: list[BenchLink]
    seen: list[tuple[datetime, float, float]] = field(default_factory=list)

    async def step(self, seconds: float, count: int) -> None:
        for _ in range(count):
            self.clock.advance(seconds)
            self.fleet.advance_to(self.clock.now())
            for core in self.cores:
                await core.control_once()
            state = self.fleet.plant.state
            charge_w = float((state.string_a.sum(axis=1) * state.bus_v).sum())
            self.seen.append((self.clock.now(), float(state.grid_w.sum()), charge_w))


@asynccontextmanager
async def feeder(folder: Path, rule: RechargeRule) -> AsyncIterator[FeederBench]:
    specs = [SiteSpec(site_id=site_id) for site_id in SITES]
    fleet, clock = FleetSimulation(specs, seed=5, start=NOON), StepClock()
    made = FeederBench(fleet, clock, [], [])
    async with AsyncExitStack() as stack:
        buffer = Buffer(folder / "buffer.db")
        stack.callback(buffer.close)
        for index, site_id in enumerate(SITES):
            port = ModbusSitePort(fleet.port_spec(index), make_link=partial(link_to, fleet, index))
            await port.open()
            stack.push_async_callback(port.close)
            link = BenchLink()
            config = alter(CONFIG, site_id=site_id, recharge=rule)
            disk = StateFile(folder / f"{site_id}.json")
            rng, boot = Random(index), f"boot-{index}"
            made.cores.append(
                GatewayCore(
                    config, port, link, buffer, disk, clock, rng, boot_id=boot, monotonic=clock.monotonic
                )
            )
            made.links.append(link)
            await link.open()
        yield made


async def order(made: FeederBench, index: int, leaf: str, payload: bytes) -> None:
    made.links[index].deliver(leaf, payload)
    await made.cores[index].idle()


async def run_event(made: FeederBench) -> None:
    """Discharge all six at 1 kW until 12:15, then let them recharge until 13:40."""
    await made.step(1.0, 1)
    ends = NOON + timedelta(minutes=15)
    workers = [asyncio.create_task(core.run_messages()) for core in made.cores]
    try:
        for index, site_id in enumerate(SITES):
            await order(made, index, FLEET_KEYS, sign_keys(KEYS, ROOT))
            command = replace(
                SCHEDULE,
                site_id=site_id,
                valid_until=ends,
                body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1000.0, -1000.0)),
            )
            await order(made, index, topic(site_id, "command"), seal(command))
        assert all(core.duties for core in made.cores)
        await made.step(30.0, 31)
        assert not any(core.duties for core in made.cores)
        await made.step(30.0, 170)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


@pytest.mark.parametrize("bounded", [True, False])
async def test_a_feeder_near_its_limit_is_not_overrun_when_all_its_sites_expire_together(
    tmp_path: Path, bounded: bool
) -> None:
    rule = alter(RULE, feeder_share_w=SHARES_W) if bounded else RULE
    async with feeder(tmp_path, rule) as made:
        await run_event(made)
        freed = NOON + timedelta(minutes=15, seconds=20)
        tight = [(grid_w, charge_w) for at, grid_w, charge_w in made.seen if freed <= at < TIGHT_UNTIL]
        later = [charge_w for at, _, charge_w in made.seen if at >= TIGHT_UNTIL]
        # The limit is what the sites draw without any charging plus 5 %: 6 x 0.1 C = 9.2 kW would break it.
        without_w = [grid_w - max(0.0, charge_w) / 0.95 for grid_w, charge_w in tight]
        over_w = [grid_w - 1.05 * base_w for (grid_w, _), base_w in zip(tight, without_w, strict=True)]
        assert (max(over_w) <= 0.0) is bounded
        if bounded:
            # 6 x 600 W at AC, 0.96 efficient: 3,456 W at the terminals, reached and not passed.
            assert max(later) == pytest.approx(3456.0, rel=0.03)
        else:
            # Six ramps of 1,536 W in 120 s that begin at instants of their own: never all of them in one look.
            rises = [b - a for (_, a), (_, b) in pairwise(tight)]
            assert max(rises) < 6 * 384.0
            assert max(charge_w for _, charge_w in tight) == pytest.approx(6 * 1536.0, rel=0.05)


@pytest.mark.parametrize(("at", "expected_w"), [
    (NOON, 0.0),
    (TIGHT_UNTIL - timedelta(seconds=11), 0.0),
    (TIGHT_UNTIL, 576.0),  # 600 W x 0.96
])  # fmt: skip
def test_the_share_of_the_hour_bounds_a_battery_that_floats_too(at: datetime, expected_w: float) -> None:
    rule = alter(RULE, feeder_share_w=SHARES_W)
    assert recharge_w(None, rule, LIMITS, replace(SAMPLE, battery_c=30.0), at) == pytest.approx(expected_w)


@pytest.mark.parametrize("shares_w", [(100.0,) * 23, (*(100.0,) * 23, -1.0), (*(1.0,) * 23, float("nan"))])
def test_a_share_that_is_no_day_is_refused(shares_w: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="24 values"):
        RechargeRule(feeder_share_w=shares_w)
