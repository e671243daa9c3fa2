"""Energy by quarter of an hour at the battery terminals, by the plant's own account; simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.gateway.schedule import QUARTER, setpoint_at
from edge.plan import AckVerdict, Command, ScheduleBody
from edge.simulator.battery import Floats, Ints
from edge.simulator.fleet import FleetSimulation
from edge.simulator.load import Instants, LoadModel
from tests.edge.gateway.bench import NOON, SCHEDULE, SPEC, Bench, StepClock, bench, seal

SETPOINTS_W = (-1000.0, -300.0, 900.0)
# One voltage step, 10 mV, at the 4.5 mOhm of three strings and 52 V: 0.01 / 0.0045 x 52 = 115 W.
STEP_W = 115.0
TINY = timedelta(microseconds=1)
CASES = pytest.mark.parametrize(
    ("speed", "step_s", "setpoints_w"), [(1.0, 1.0, SETPOINTS_W[:1]), (60.0, 6.0, SETPOINTS_W)]
)


class FastClock(StepClock):
    """Domain time at a speed above 1, moved by the test."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration / self.speed

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.wall_s += seconds / self.speed


class SquareLoad(LoadModel):
    """A load that steps between 2,800 W and 900 W every 100 s."""

    def site_load_w(self, sites: Ints, unix_s: Instants, peak_w: Floats) -> Floats:
        return np.broadcast_to(np.where(unix_s // 100 % 2 == 0, 2800.0, 900.0), (sites.size, unix_s.size))


def excess_w(made: Bench, command: Command) -> float:
    """Return the furthest that the true battery power ever went beyond 1.02 x the setpoint, W."""
    beyond_w = []
    for at, true_w, _, _ in made.trace:
        asked_w = setpoint_at(command, at - TINY)
        along_w = true_w if asked_w > 0.0 else -true_w
        beyond_w.append(along_w - 1.02 * abs(asked_w) if asked_w else 0.0)
    return max(beyond_w)


async def quarter_wh(made: Bench, step_s: float) -> float:
    """Let a quarter of an hour pass and return the energy into the battery, Wh."""
    energy = made.fleet.plant.state.energy
    before_wh = float(energy.battery[0])
    end = made.clock.now() + QUARTER - (made.clock.now() - NOON) % QUARTER
    while made.clock.now() < end:
        await made.step(min(step_s, (end - made.clock.now()).total_seconds()))
    return float(energy.battery[0]) - before_wh


@CASES
async def test_energy_by_quarter_stays_within_two_percent_at_any_speed(
    tmp_path: Path, speed: float, step_s: float, setpoints_w: tuple[float, ...]
) -> None:
    async with bench(tmp_path, clock=FastClock(speed)) as made:
        command = replace(SCHEDULE, body=ScheduleBody(start=NOON, step_s=900, setpoint_w=setpoints_w))
        await made.order(seal(command))
        got = [await quarter_wh(made, step_s) for _ in setpoints_w]
        wanted = [setpoint_w / 4.0 for setpoint_w in setpoints_w]
        error = sum(abs(a - b) for a, b in zip(got, wanted, strict=True))
        # 550 Wh commanded in all three quarters: 2 % is 11 Wh.
        assert error <= 0.02 * sum(abs(wh) for wh in wanted)
        assert excess_w(made, command) <= STEP_W
        assert made.last_ack().verdict is AckVerdict.COMPLETED
        assert made.last_ack().limited_wh < 1.0


async def test_a_falling_setpoint_is_followed_within_one_control_step(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        body = ScheduleBody(start=NOON, step_s=60, setpoint_w=(-1500.0, -500.0))
        command = replace(SCHEDULE, body=body)
        await made.order(seal(command))
        made.trace.clear()
        await made.step(count=110)
        assert made.trace[50][1] == pytest.approx(-1500.0, abs=0.02 * 1500.0 + STEP_W)
        assert made.trace[-1][1] == pytest.approx(-500.0, abs=0.02 * 500.0 + STEP_W)
        assert excess_w(made, command) <= STEP_W


@pytest.mark.parametrize(("speed", "step_s"), [(1.0, 1.0), (60.0, 6.0)])
async def test_load_steps_through_the_setpoint_are_limited_and_the_rest_is_delivered(
    tmp_path: Path, speed: float, step_s: float
) -> None:
    fleet = FleetSimulation([SPEC], seed=3, start=NOON, model=SquareLoad(seed=3))
    async with bench(tmp_path, clock=FastClock(speed), fleet=fleet) as made:
        command = replace(SCHEDULE, body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1200.0,)))
        await made.order(seal(command))
        got_wh = await quarter_wh(made, step_s)
        # 500 s at 1,200 W and 400 s at the load of 900 W: 166.7 + 100.0 Wh; 300 W x 400 s = 33.3 Wh are limited.
        assert got_wh == pytest.approx(-266.7, rel=0.02)
        # The load jumps by 1,900 W under a battery that carries all of it: two voltage steps until the next look.
        assert excess_w(made, command) <= 2 * STEP_W
        final = made.last_ack()
        assert final.verdict is AckVerdict.COMPLETED
        assert final.limited_wh == pytest.approx(33.3, rel=0.15)
        assert {ack.reason for ack in made.acks() if ack.verdict is AckVerdict.LIMITED} == {
            "load_below_setpoint"
        }


async def test_a_coarse_controller_discharges_the_whole_load_or_nothing(tmp_path: Path) -> None:
    fleet = FleetSimulation(
        [replace(SPEC, controller="coarse")], seed=3, start=NOON, model=SquareLoad(seed=3)
    )
    async with bench(tmp_path, fleet=fleet) as made:
        assert made.port.capabilities.full_load_blocks_only
        await made.order(
            seal(replace(SCHEDULE, body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-2900.0,))))
        )
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        await made.step(count=60)
        assert made.trace[-1][1] == pytest.approx(-2800.0, rel=0.01)
        await made.step(count=100)
        assert made.trace[-1][1] == pytest.approx(-900.0, rel=0.01)
