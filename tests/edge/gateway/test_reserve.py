"""A reserve from the signed command to the battery: on the simulated plant, ten looks a second at its meter."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from msgspec.structs import replace as alter

from edge.envelope import sign_keys
from edge.gateway.core import GatewayCore
from edge.gateway.frequency import FastPath
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.plan import AckVerdict, CommandId, CommandKind, GridReserve, ScheduleBody
from edge.simulator.faults import Fault
from telemetry.model.clock import Pace, PacedClock, read_wall
from telemetry.model.reading import SiteState
from tests.edge.gateway.bench import (
    CONFIG,
    KEYS,
    NOON,
    ROOT,
    SPEC,
    TEST,
    Bench,
    BenchLink,
    StepClock,
    bench,
    seal,
)

FAST = FastPath(meter_error_hz=0.01, meter_period_s=0.1, actuator_s=0.3, ramp_w_per_s=5000.0)
SITE = alter(CONFIG, fast=FAST)
HALF_FULL = replace(SPEC, initial_soc_frac=0.7)
FCR_D = GridReserve(
    product="fcr_d",
    up_w=1000.0,
    down_w=0.0,
    droop_hz=0.4,
    dead_band_hz=0.1,
    activation_s=8.0,
    energy_wh=300.0,
)
FCR = replace(
    FCR_D, product="fcr", up_w=800.0, down_w=800.0, droop_hz=0.19, dead_band_hz=0.01, activation_s=10.0
)
FFR = replace(FCR_D, product="ffr_1.3", droop_hz=0.2, activation_s=0.8)
ORDER = replace(TEST, kind=CommandKind.GRID_RESERVE, body=FCR_D)
# Half a 10 mV step over 5 mOhm is 54 W, and a step is taken only when it is sure by a tenth of one.
ABOUT_W = 75.0


def hertz(made: Bench, hz: float) -> None:
    made.fleet.put(Fault(site=0, kind="grid_frequency", value=hz))


def power_at(made: Bench, seconds: float, since: datetime) -> float:
    """Return the battery's true power, W, so many seconds after an instant."""
    at = since + timedelta(seconds=seconds)
    return min(made.trace, key=lambda row: abs(row[0] - at))[1]


async def armed(made: Bench, body: GridReserve = FCR_D) -> datetime:
    """Let a site take a reserve and find its standby; return the instant."""
    await made.order(seal(replace(ORDER, body=body)))
    assert made.last_ack().verdict is AckVerdict.ACCEPTED
    await made.tick(5.0)
    return made.clock.now()


async def test_fcr_d_over_modbus_tcp_is_half_there_in_five_seconds_and_ends_in_standby(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL, wire=True) as made:
        start = await armed(made)
        # Standby: no current, a little above where discharge begins (52.7 to 53.3 V by the OCV curve at 0.7).
        assert abs(made.trace[-1][1]) < 30.0
        assert 52.7 < made.trace[-1][2] < 53.4
        assert made.states()[-1].state is SiteState.DISPATCH
        hertz(made, 49.4)
        await made.tick(15.0)
        # 1,000 W in 8 s: 125 W a second, whole by 8 s; the market asks for half in 5 s and all in 30 s.
        assert power_at(made, 4.4, start) == pytest.approx(-540.0, abs=ABOUT_W + 25.0)
        assert power_at(made, 5.0, start) <= -500.0
        assert power_at(made, 14.0, start) == pytest.approx(-1000.0, abs=ABOUT_W)
        hertz(made, 49.7)  # 0.3 Hz off, 0.1 dead band: (0.3 - 0.1) / 0.4 is half
        await made.tick(10.0)
        assert made.trace[-1][1] == pytest.approx(-500.0, abs=ABOUT_W)
        hertz(made, 49.95)  # inside the dead band
        await made.tick(10.0)
        assert abs(made.trace[-1][1]) < 30.0
        assert made.fleet.plant.state.energy.unserved[0] == 0.0


async def test_energy_is_counted_as_asked_and_as_measured_and_told_at_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made)
        hertz(made, 49.4)
        await made.tick(30.0)
        answer = made.core.duties[0].response
        assert answer is not None
        # 8 s at 500 W mean and 22 s at 1,000 W: 26,000 Ws = 7.22 Wh.
        assert answer.up_wh == pytest.approx(7.22, abs=0.05)
        assert answer.given_wh == pytest.approx(7.22, abs=0.6)
        true_wh = sum(-w for _, w, _, _ in made.trace[-300:]) * 0.1 / 3600.0
        assert answer.given_wh == pytest.approx(true_wh, rel=0.03)  # a BMS shunt's gain error
        assert answer.down_wh == 0.0
        assert answer.taken_wh < 0.01
        release = replace(TEST, kind=CommandKind.RELEASE, command_id=CommandId("c-2"), sequence=2)
        await made.order(seal(replace(release, accept_by=NOON + timedelta(hours=1))))
        told = [event.detail for event in made.events() if event.kind == "reserve_account"]
        assert len(told) == 1
        assert told[0].startswith("c-1: asked up 7.2 down 0.0, measured up ")


async def test_ffr_is_whole_in_its_time_held_and_not_triggered_again_before_it_is_ready(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        start = await armed(made, FFR)
        hertz(made, 49.69)
        await made.tick(1.3)
        assert made.trace[-1][1] == pytest.approx(-1000.0, abs=ABOUT_W)
        hertz(made, 50.0)
        await made.tick(28.0)
        assert power_at(made, 29.0, start) == pytest.approx(-1000.0, abs=ABOUT_W)  # held though it is back
        await made.tick(4.0)
        assert abs(made.trace[-1][1]) < 30.0
        hertz(made, 49.6)
        await made.tick(3.0)
        assert abs(made.trace[-1][1]) < 30.0
        assert made.core.memory.held.duties[0].triggered_at is not None  # a restart does not trigger it again


async def test_a_symmetric_reserve_charges_above_and_discharges_below(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made, FCR)
        hertz(made, 50.2)
        await made.tick(12.0)
        assert made.trace[-1][1] == pytest.approx(800.0, abs=25.0)
        hertz(made, 49.8)
        await made.tick(24.0)
        assert made.trace[-1][1] == pytest.approx(-800.0, abs=ABOUT_W)
        answer = made.core.duties[0].response
        assert answer is not None
        # Up to 800 W in 10 s, 2 s of it, and 10 s back: 9,600 Ws = 2.67 Wh of charge.
        assert answer.down_wh == pytest.approx(2.67, abs=0.1)
        assert answer.taken_wh == pytest.approx(2.67, abs=0.15)


async def test_energy_that_is_used_up_ends_the_answer_and_a_restart_does_not_give_it_back(
    tmp_path: Path,
) -> None:
    small = replace(FCR_D, energy_wh=4.0)
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made, small)
        hertz(made, 49.4)
        await made.tick(40.0)
        assert abs(made.trace[-1][1]) < 30.0
        fleet, clock = made.fleet, made.clock
    async with bench(tmp_path, config=SITE, fleet=fleet, clock=clock, keys=False, seed=8) as made:
        made.core.restore(clock.now())
        await made.tick(15.0)
        answer = made.core.duties[0].response
        assert answer is not None
        assert answer.up_wh >= 4.0
        assert abs(made.trace[-1][1]) < 30.0


async def test_without_its_meter_a_site_answers_nothing_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made)
        hertz(made, 49.4)
        await made.tick(12.0)
        assert made.trace[-1][1] < -900.0
        made.fleet.sensors.stuck[0, "grid_hz"] = 0.0
        await made.tick(1.0)
        assert abs(made.trace[-1][1]) < 30.0
        assert [e.kind for e in made.events()][-1] == "reserve_blind"
        del made.fleet.sensors.stuck[0, "grid_hz"]
        await made.tick(10.0)
        assert made.trace[-1][1] < -900.0
        assert [e.kind for e in made.events()][-1] == "reserve_sees"


async def test_a_fast_loop_that_stopped_is_not_held_by_the_slow_one(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made)
        hertz(made, 49.4)
        await made.tick(12.0)
        assert made.trace[-1][1] < -900.0
        await made.step(count=5)  # control steps alone
        assert abs(made.trace[-1][1]) < 30.0


async def test_mains_loss_ends_a_reserve_and_gives_the_battery_back(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made)
        hertz(made, 49.4)
        await made.tick(10.0)
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.tick(1.0)
        assert made.core.condition.in_outage
        assert made.last_ack().reason == "outage"
        assert made.core.duties == ()
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        await made.tick(5.0)
        assert made.fleet.plant.state.energy.unserved[0] == 0.0


async def test_a_bms_that_opens_in_full_activation_never_drops_the_bus(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made, replace(FCR_D, up_w=1900.0))
        hertz(made, 49.0)
        await made.tick(12.0)
        made.fleet.plant.state.bus_min_v[0] = made.fleet.plant.state.bus_v[0]
        made.fleet.put(Fault(site=0, kind="battery_trip", value=-1.0))
        await made.tick(5.0)
        assert made.fleet.plant.state.bus_min_v[0] >= 44.0
        assert made.fleet.plant.state.energy.unserved[0] == 0.0
        assert made.last_ack().reason == "device_fault"


async def test_a_load_below_the_reserve_limits_it_and_the_rest_is_counted(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await made.step(count=2)
        load_w = made.trace[-1][3]
        body = replace(FCR_D, up_w=load_w * 0.99, activation_s=9.0)
        await armed(made, body)
        made.fleet.plant.commands.load_shed[0] = 3  # 35 % of the load goes off
        hertz(made, 49.0)
        await made.tick(40.0)
        limited = [ack for ack in made.acks() if ack.verdict is AckVerdict.LIMITED]
        assert [ack.reason for ack in limited] == ["load_below_setpoint"]
        # A third of 2 kW for half a minute: 5 to 6 Wh.
        assert made.core.duties[0].limited_wh == pytest.approx(load_w * 0.34 * 34.0 / 3600.0, rel=0.15)
        assert all(-w <= load + 1.0 for _, w, _, load in made.trace)


async def test_a_site_says_at_its_start_what_it_can_offer(tmp_path: Path) -> None:
    slow = alter(SITE, fast=alter(FAST, actuator_s=1.5))  # 1.6 s: in time for FCR, too late for any FFR
    for folder, config, expected in (
        ("a", SITE, "fcr_n, fcr_d, fcr, ffr_1.3, ffr_1.0"),
        ("b", slow, "fcr_n, fcr_d, fcr"),
    ):
        (tmp_path / folder).mkdir()
        async with bench(tmp_path / folder, config=config, spec=HALF_FULL) as made:
            made.core.restore(made.clock.now())
            await made.settle()
            assert [e.detail for e in made.events() if e.kind == "reserves_offered"] == [expected]


async def test_a_site_without_a_declared_meter_offers_no_reserve(tmp_path: Path) -> None:
    async with bench(tmp_path, spec=HALF_FULL) as made:
        await made.order(seal(ORDER))
        assert (made.last_ack().verdict, made.last_ack().reason) == (AckVerdict.REFUSED, "no_fast_meter")


class FastClock(StepClock):
    """Sixty domain seconds in a second of wall time."""

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration / 60.0


async def test_a_clock_that_runs_faster_than_time_offers_no_reserve(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL, clock=FastClock()) as made:
        await made.order(seal(ORDER))
        assert made.last_ack().reason == "no_fast_meter"


async def test_a_schedule_after_a_reserve_takes_over_and_the_reserve_is_superseded(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made)
        body = ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1000.0,) * 4)
        order = replace(TEST, kind=CommandKind.SCHEDULE, body=body, command_id=CommandId("c-2"), sequence=2)
        await made.order(seal(order))
        assert [(a.command_id, a.verdict) for a in made.acks()[-2:]] == [
            ("c-1", AckVerdict.SUPERSEDED),
            ("c-2", AckVerdict.ACCEPTED),
        ]
        hertz(made, 49.0)
        await made.tick(20.0)
        assert made.trace[-1][1] == pytest.approx(-1000.0, abs=160.0)


async def test_the_timer_is_refreshed_and_a_dead_gateways_reserve_ends_at_float(tmp_path: Path) -> None:
    async with bench(tmp_path, config=SITE, spec=HALF_FULL) as made:
        await armed(made)
        hertz(made, 49.4)
        await made.tick(50.0)  # longer than the revert time of 45 s
        assert made.trace[-1][1] < -900.0
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=60))
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_the_gateways_own_rhythm_answers_a_step_in_wall_time(tmp_path: Path) -> None:
    async with bench(tmp_path, spec=HALF_FULL, keys=False, wire=True) as made:
        start = made.clock.now()
        pace = Pace(wall=read_wall(), domain=start, speed=1.0)
        clock, link = PacedClock(lambda: pace), BenchLink()
        disk = StateFile(tmp_path / "live.json")
        core = GatewayCore(SITE, made.port, link, made.buffer, disk, clock, Random(1), boot_id="live")
        task = asyncio.create_task(core.run())
        power_w = 0.0

        async def live(until_s: float) -> None:
            nonlocal power_w
            while monotonic() < until_s and power_w > -850.0:
                made.fleet.advance_to(clock.now())
                state = made.fleet.plant.state
                power_w = float(state.string_a[0].sum() * state.bus_v[0])
                await asyncio.sleep(0.02)

        await live(monotonic() + 0.3)
        link.deliver(FLEET_KEYS, sign_keys(KEYS, ROOT))
        link.deliver(topic(CONFIG.name, "command"), seal(replace(ORDER, body=FFR)))
        await live(monotonic() + 2.5)
        assert power_w > -850.0
        hertz(made, 49.69)
        await live(monotonic() + 10.0)  # a busy machine; the bench says how fast it is
        assert power_w <= -850.0
        task.cancel()
        await asyncio.wait([task])
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
