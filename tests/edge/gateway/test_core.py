"""A whole core on the simulated plant: what it does with orders and with a world that breaks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from msgspec.structs import replace as alter

from edge.envelope import decode_ack, sign_keys
from edge.gateway.core import GatewayCore
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, FLEET_STOP, topic
from edge.plan import AckVerdict, CommandId, CommandKind, EmptyBody, ModeBody, ScheduleBody
from edge.simulator.faults import Fault
from telemetry.model.clock import Pace, PacedClock, read_wall
from telemetry.model.reading import SiteState
from telemetry.model.site import SiteId, SiteMode
from telemetry.wire import StateMessage, decode
from tests.edge.gateway.bench import (
    CONFIG,
    KEYS,
    NOON,
    ROOT,
    SCHEDULE,
    SITE,
    STRANGER,
    TEST,
    Bench,
    BenchLink,
    bench,
    seal,
)
from tests.mqtt_clients import until

# A tenth of 1,000 W repays what was missed, and half a 10 mV step over 5 mOhm is 54 W.
ABOUT_W = 160.0
HOUR = replace(SCHEDULE, body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1000.0,) * 4))
FULL = replace(SCHEDULE, body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-2300.0,) * 4))


def true_w(made: Bench) -> float:
    return made.trace[-1][1]


def duties(made: Bench) -> int:
    return len(made.core.duties)


async def test_an_accepted_schedule_is_written_read_back_and_followed(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        ack = made.last_ack()
        assert ack.verdict is AckVerdict.ACCEPTED
        assert ack.at == made.clock.now()
        assert ack.read_back_v is not None
        assert 47.0 < ack.read_back_v < 54.4
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(ack.read_back_v, abs=0.006)
        await made.step(count=30)
        assert true_w(made) == pytest.approx(-1000.0, abs=ABOUT_W)
        assert made.states()[-1].state is SiteState.DISPATCH


async def test_a_schedule_that_begins_later_is_accepted_now_and_begun_then(tmp_path: Path) -> None:
    start = NOON + timedelta(seconds=20)
    later = replace(HOUR, not_before=start, body=ScheduleBody(start=start, step_s=900, setpoint_w=(-1000.0,)))
    async with bench(tmp_path) as made:
        await made.order(seal(later))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        assert made.last_ack().read_back_v == pytest.approx(54.4, abs=0.01)
        await made.step(count=15)
        assert true_w(made) >= 0.0
        await made.step(count=15)
        assert true_w(made) == pytest.approx(-1000.0, abs=ABOUT_W)


async def test_the_same_command_again_gets_the_same_answer_and_no_write(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        first, writes = made.last_ack(), len(made.fleet.devices[0].writes)
        for _ in range(50):
            await made.order(seal(HOUR))
        assert made.acks() == [first] * 51
        assert len(made.fleet.devices[0].writes) == writes


async def test_bad_commands_move_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(replace(TEST, sequence=5)))
        writes = len(made.fleet.devices[0].writes)
        for payload, verdict in (
            (seal(HOUR, STRANGER), None),
            (b"nonsense", None),
            (seal(replace(HOUR, sequence=6, site_id=SiteId("cbs-0002"))), "wrong_site"),
            (seal(replace(HOUR, command_id=CommandId("c-2"), sequence=5)), "stale_sequence"),
            (seal(replace(HOUR, command_id=CommandId("c-3"), sequence=6, accept_by=NOON)), "too_late"),
        ):
            before = len(made.acks())
            await made.order(payload)
            assert [ack.reason for ack in made.acks()[before:]] == ([] if verdict is None else [verdict])
        assert len(made.fleet.devices[0].writes) == writes
        kinds = [
            event.detail.split(":")[0] for event in made.events() if event.kind == "command_not_believed"
        ]
        assert kinds == ["bad_signature", "malformed"]


async def test_a_refused_command_cannot_be_replayed_when_the_reason_is_gone(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        made.fleet.put(Fault(site=0, kind="local_lock"))
        await made.step()
        await made.order(seal(HOUR))
        assert made.last_ack().reason == "local_lock"
        made.fleet.put(Fault(site=0, kind="local_lock", on=False))
        await made.step()
        await made.order(seal(HOUR))
        assert made.last_ack().verdict is AckVerdict.REFUSED
        assert made.core.duties == ()


async def test_a_new_command_supersedes_the_running_one(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=5)
        fresh = replace(
            HOUR,
            command_id=CommandId("c-2"),
            sequence=2,
            body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-500.0,) * 4),
        )
        await made.order(seal(fresh))
        assert [(ack.command_id, ack.verdict) for ack in made.acks()] == [
            ("c-1", AckVerdict.ACCEPTED),
            ("c-1", AckVerdict.SUPERSEDED),
            ("c-2", AckVerdict.ACCEPTED),
        ]
        await made.step(count=20)
        assert true_w(made) == pytest.approx(-500.0, abs=ABOUT_W)


async def test_schedules_that_follow_each_other_live_side_by_side(tmp_path: Path) -> None:
    first = replace(HOUR, body=ScheduleBody(start=NOON, step_s=30, setpoint_w=(-1000.0,)))
    start = NOON + timedelta(seconds=30)
    second = replace(
        HOUR,
        command_id=CommandId("c-2"),
        sequence=2,
        not_before=start,
        body=ScheduleBody(start=start, step_s=60, setpoint_w=(-500.0,)),
    )
    async with bench(tmp_path) as made:
        await made.order(seal(first))
        await made.order(seal(second))
        await made.step(count=25)
        assert true_w(made) == pytest.approx(-1000.0, abs=ABOUT_W)
        await made.step(count=20)
        assert true_w(made) == pytest.approx(-500.0, abs=ABOUT_W)
        assert AckVerdict.SUPERSEDED not in {ack.verdict for ack in made.acks()}


async def test_release_returns_to_float_with_charging_closed_then_recharges_late_and_slowly(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(FULL))
        await made.step(count=200)
        release = replace(TEST, kind=CommandKind.RELEASE, command_id=CommandId("c-2"), sequence=2)
        await made.order(seal(replace(release, accept_by=NOON + timedelta(hours=1))))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        assert made.last_ack().read_back_v == pytest.approx(54.4)
        await made.step(count=29)
        assert made.trace[-1][2] == pytest.approx(54.4, abs=0.01)
        assert abs(true_w(made)) < 1.0
        assert made.states()[-1].state is SiteState.RECHARGE
        # Opens after 30-60 s, then 60 s of ramp to 0.1 C = 1,536 W: never more than 25.6 W/s.
        charge_w = []
        for _ in range(130):
            await made.step()
            charge_w.append(true_w(made))
        assert max(charge_w) == pytest.approx(1536.0, rel=0.02)
        assert max(b - a for a, b in pairwise(charge_w)) < 40.0


async def test_the_end_of_a_schedule_is_completed_and_an_expiry_is_expired(tmp_path: Path) -> None:
    short = replace(HOUR, body=ScheduleBody(start=NOON, step_s=10, setpoint_w=(-1000.0,) * 2))
    async with bench(tmp_path) as made:
        await made.order(seal(short))
        await made.step(count=21)
        assert made.last_ack().verdict is AckVerdict.COMPLETED
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        expiring = replace(
            HOUR,
            command_id=CommandId("c-2"),
            sequence=2,
            valid_until=made.clock.now() + timedelta(seconds=10),
        )
        await made.order(seal(expiring))
        await made.step(count=11)
        assert made.last_ack().verdict is AckVerdict.EXPIRED
        assert made.last_ack().reason == ""
        await made.step(count=3)
        assert true_w(made) >= 0.0


async def test_link_loss_alone_ends_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        made.link.cut()
        await made.step(count=300)
        assert true_w(made) == pytest.approx(-1000.0, abs=ABOUT_W)


async def test_at_a_mains_loss_a_gateway_releases_at_once_and_speaks_at_a_moment_of_its_own(
    tmp_path: Path,
) -> None:
    config = alter(CONFIG, pacing=alter(CONFIG.pacing, report_spread_s=1.0))
    async with bench(tmp_path, config=config) as made:
        await made.order(seal(HOUR))
        await made.step(count=10)
        said, began_s = len(made.link.sent), monotonic()
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step()
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        assert len(made.link.sent) == said
        await until(lambda: made.states()[-1].state is SiteState.OUTAGE)
        assert 0.0 < monotonic() - began_s <= 1.5
        assert made.last_ack().reason == "outage"


async def test_mains_loss_gives_the_battery_back_within_a_second(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=10)
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        await made.step()
        assert made.core.condition.in_outage
        assert made.last_ack().verdict is AckVerdict.EXPIRED
        assert made.last_ack().reason == "outage"
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        assert made.states()[-1].state is SiteState.OUTAGE
        again = replace(HOUR, command_id=CommandId("c-2"), sequence=2)
        await made.order(seal(again))
        assert made.last_ack().reason == "in_outage"
        await made.step(count=60)
        assert made.trace[-1][3] > 0.0  # the load is served
        made.fleet.put(Fault(site=0, kind="mains_outage", on=False))
        await made.step(count=2)
        assert made.states()[-1].state is SiteState.RECOVERY
        await made.step(count=25)
        assert true_w(made) < 50.0  # no inrush: charging is still closed


async def test_an_opening_bms_at_full_discharge_never_drops_the_bus(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(FULL))
        await made.step(count=120)
        assert true_w(made) < -2000.0
        made.fleet.plant.state.bus_min_v[0] = made.fleet.plant.state.bus_v[0]
        made.fleet.put(Fault(site=0, kind="battery_trip", value=-1.0))
        await made.step(count=20)
        assert made.fleet.plant.state.bus_min_v[0] >= 44.0
        assert made.fleet.plant.state.energy.unserved[0] == 0.0
        assert made.states()[-1].state is SiteState.FAULT
        assert made.last_ack().reason == "device_fault"
        assert made.trace[-1][2] == pytest.approx(54.4, abs=0.01)
        await made.order(
            seal(replace(HOUR, command_id=CommandId("c-2"), sequence=2, accept_by=NOON + timedelta(hours=1)))
        )
        assert made.last_ack().reason == "device_fault"
        made.fleet.put(Fault(site=0, kind="battery_trip", value=-1.0, on=False))
        await made.step(count=10)
        assert made.states()[-1].state in {SiteState.RECHARGE, SiteState.FLOAT}


async def test_silent_devices_end_the_duty_and_the_device_reverts_by_itself(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=20)
        made.fleet.put(Fault(site=0, kind="modbus_silence"))
        await made.step(count=3)
        assert made.last_ack().reason == "device_fault"
        await made.step(count=57)
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        made.fleet.put(Fault(site=0, kind="modbus_silence", on=False))
        await made.step(count=8)
        assert made.states()[-1].state is not SiteState.FAULT


async def test_a_dead_gateways_site_is_at_float_within_a_minute(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=100)
        assert made.fleet.plant.commands.rectifier_v[0] < 54.0
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=60))  # the core does nothing any more
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        assert made.fleet.plant.state.bus_v[0] == pytest.approx(54.4, abs=0.01)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_clock_that_jumps_ends_the_duty(tmp_path: Path, seconds: float) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=10)
        made.clock.at += timedelta(seconds=seconds)
        await made.core.control_once()
        await made.settle()
        assert made.last_ack().reason == "clock_jump"
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_the_local_lock_ends_the_duty_and_refuses_every_order(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=5)
        made.fleet.put(Fault(site=0, kind="local_lock"))
        await made.step(count=2)
        assert made.last_ack().reason == "local_lock"
        assert made.states()[-1].local_lock
        await made.step(count=45)  # a locked cabinet takes no writes: its own revert timer does it
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_a_fleet_stop_is_obeyed_and_remembered_until_a_signed_clear(tmp_path: Path) -> None:
    stop = replace(TEST, kind=CommandKind.STOP, site_id=None, command_id=CommandId("f-1"))
    clear = replace(stop, kind=CommandKind.CLEAR, command_id=CommandId("f-2"), sequence=2)
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.order(seal(stop, STRANGER), FLEET_STOP)
        assert duties(made) == 1
        await made.order(seal(stop), FLEET_STOP)
        assert duties(made) == 0
        assert [(ack.command_id, ack.reason) for ack in made.acks()[1:]] == [
            ("c-1", "fleet_stopped"),
            ("f-1", ""),
        ]
    async with bench(tmp_path, keys=False, seed=8) as made:
        again = replace(HOUR, command_id=CommandId("c-2"), sequence=2)
        await made.order(seal(again))
        assert made.last_ack().reason == "fleet_stopped"
        await made.order(seal(clear), FLEET_STOP)
        await made.order(seal(replace(HOUR, command_id=CommandId("c-3"), sequence=3)))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED


async def test_a_stop_that_comes_before_its_key_set_is_obeyed_when_the_keys_come(tmp_path: Path) -> None:
    stop = replace(TEST, kind=CommandKind.STOP, site_id=None, command_id=CommandId("f-1"))
    async with bench(tmp_path, keys=False) as made:
        await made.order(seal(stop), FLEET_STOP)
        assert not made.core.memory.fleet.stopped
        await made.order(sign_keys(KEYS, ROOT), FLEET_KEYS)
        assert made.core.memory.fleet.stopped


async def test_key_sets_only_go_up_and_only_the_root_signs_them(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(sign_keys(replace(KEYS, epoch=9), STRANGER), FLEET_KEYS)
        await made.order(sign_keys(replace(KEYS, epoch=0), ROOT), FLEET_KEYS)
        assert made.core.memory.keys.epoch == 1
        await made.order(
            sign_keys(replace(KEYS, epoch=2, keys=(replace(KEYS.keys[0], key_id="k2"),)), ROOT), FLEET_KEYS
        )
        await made.order(seal(HOUR))
        assert made.events()[-1].detail.startswith("unknown_key")
        await made.order(seal(HOUR, key_id="k2"))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED


async def test_mode_commands_lower_the_mode_and_raise_it_only_as_far_as_commissioned(tmp_path: Path) -> None:
    config = alter(CONFIG, mode=SiteMode.SHADOW, highest_mode=SiteMode.REMOTE)
    up = replace(TEST, kind=CommandKind.MODE, body=ModeBody(mode=SiteMode.REMOTE))
    async with bench(tmp_path, config=config) as made:
        await made.order(seal(replace(HOUR, sequence=1)))
        assert made.last_ack().reason == "mode_not_remote"
        await made.order(seal(replace(up, command_id=CommandId("c-2"), sequence=2)))
        await made.order(seal(replace(HOUR, command_id=CommandId("c-3"), sequence=3)))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        down = replace(up, command_id=CommandId("c-4"), sequence=4, body=ModeBody(mode=SiteMode.MONITOR))
        await made.order(seal(down))
        assert [ack.verdict for ack in made.acks()[-2:]] == [AckVerdict.SUPERSEDED, AckVerdict.ACCEPTED]
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_a_restart_takes_up_what_was_accepted_and_sends_what_was_not_confirmed(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        made.link.cut()
        await made.order(seal(HOUR))
        fleet, clock = made.fleet, made.clock
        await made.step(count=20)
        assert made.acks() == []
    link = BenchLink()
    async with bench(tmp_path, fleet=fleet, clock=clock, link=link, keys=False, seed=8) as made:
        made.core.restore(clock.now())
        await made.step(count=20)
        assert [(ack.command_id, ack.verdict) for ack in made.acks()] == [("c-1", AckVerdict.ACCEPTED)]
        assert true_w(made) == pytest.approx(-1000.0, abs=ABOUT_W)
        await made.order(seal(HOUR))
        assert len(made.acks()) == 2


async def test_a_load_below_the_setpoint_is_limited_counted_and_said_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.step(count=3)
        load_w = made.trace[-1][3]
        asked_w = -round(load_w * 1.15)
        short = replace(HOUR, body=ScheduleBody(start=NOON, step_s=300, setpoint_w=(asked_w,)))
        await made.order(seal(short))
        await made.step(count=300)
        limited = [ack for ack in made.acks() if ack.verdict is AckVerdict.LIMITED]
        assert [ack.reason for ack in limited] == ["load_below_setpoint"]
        final = made.last_ack()
        assert final.verdict is AckVerdict.COMPLETED
        # What was asked and not delivered, by the plant's own account.
        asked = [
            (w, load)
            for at, w, _, load in made.trace
            if NOON + timedelta(seconds=4) < at <= NOON + timedelta(seconds=300)
        ]
        missing_wh = sum(max(0.0, -asked_w - load) for _, load in asked) / 3600.0
        assert final.limited_wh == pytest.approx(missing_wh, rel=0.15)
        assert all(-w <= load + 1.0 for w, load in asked)


async def test_empty_body_kinds_answer_and_change_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        writes = len(made.fleet.devices[0].writes)
        await made.order(seal(replace(TEST, body=EmptyBody())))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        assert made.last_ack().read_back_v == pytest.approx(54.4, abs=0.01)
        assert made.last_ack().site_id == SITE
        assert len(made.fleet.devices[0].writes) == writes


class CuriousLink(BenchLink):
    """A link that, when it is opened, brings at once what the broker had kept: key set and command."""

    async def open(self) -> None:
        await super().open()
        self.deliver(FLEET_KEYS, sign_keys(KEYS, ROOT))
        self.deliver(topic(SITE, "command"), seal(HOUR))


async def test_a_command_that_waited_at_the_broker_finds_a_site_that_has_looked_at_itself(
    tmp_path: Path,
) -> None:
    link = CuriousLink()
    async with bench(tmp_path, link=BenchLink(), keys=False) as made:
        fresh = GatewayCore(
            CONFIG,
            made.port,
            link,
            made.buffer,
            StateFile(tmp_path / "fresh.json"),
            made.clock,
            Random(1),
            boot_id="fresh",
            monotonic=made.clock.monotonic,
        )
        task = asyncio.create_task(fresh.run())
        for _ in range(100):
            await asyncio.sleep(0.01)
            acks = [decode_ack(payload) for name, payload, _ in link.sent if name.endswith("/ack")]
            if acks:
                break
        assert [(ack.verdict, ack.reason) for ack in acks] == [(AckVerdict.ACCEPTED, "")]
        task.cancel()
        await asyncio.wait([task])
        # Leaving, it floats the site and says that it is gone.
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        states = [decode(payload, StateMessage) for name, payload, _ in link.sent if name.endswith("/state")]
        assert not states[-1].online


async def test_a_device_that_holds_something_else_makes_the_gateway_refuse(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="rectifier_set_v", value=50.0))
        await made.order(seal(HOUR))
        assert [(ack.verdict, ack.reason) for ack in made.acks()] == [(AckVerdict.REFUSED, "device_fault")]
        assert duties(made) == 0
        assert made.core.state(made.clock.now()) is SiteState.FAULT
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="rectifier_set_v", on=False))
        await made.step(count=8)
        assert made.core.state(made.clock.now()) is not SiteState.FAULT


async def test_alarms_are_told_at_once_and_their_end_too(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.step(count=3)
        sent = len(made.telemetry())
        made.fleet.put(Fault(site=0, kind="module_loss"))
        await made.step()
        assert [(e.kind, e.detail) for e in made.events()][-2:] == [
            ("alarm", "rectifier_module_fail"),
            ("fault", "rectifier_module_fail"),
        ]
        assert len(made.telemetry()) == sent  # the event did not wait for the next message of readings
        made.fleet.put(Fault(site=0, kind="module_loss", on=False))
        await made.step(count=8)  # a fault is over after five good scans
        assert ("alarm_cleared", "rectifier_module_fail") in [(e.kind, e.detail) for e in made.events()]


async def test_mains_loss_is_seen_between_control_steps(tmp_path: Path) -> None:
    """In wall time: the mains look, not the one-second scan, gives the battery back."""
    async with bench(tmp_path, keys=False) as made:
        link, config = BenchLink(), alter(CONFIG, pacing=alter(CONFIG.pacing, control_s=2.0))
        start = made.clock.now()
        pace = Pace(wall=read_wall(), domain=start, speed=1.0)
        clock = PacedClock(lambda: pace)
        disk = StateFile(tmp_path / "live.json")
        core = GatewayCore(config, made.port, link, made.buffer, disk, clock, Random(1), boot_id="live")
        task = asyncio.create_task(core.run())
        await asyncio.sleep(0.1)
        link.deliver(FLEET_KEYS, sign_keys(KEYS, ROOT))
        link.deliver(topic(SITE, "command"), seal(HOUR))
        await core.idle()
        assert made.fleet.plant.commands.rectifier_v[0] < 54.3
        made.fleet.put(Fault(site=0, kind="mains_outage"))
        made.fleet.advance_to(made.fleet.at + timedelta(seconds=0.1))
        cut_s = monotonic()
        while made.fleet.plant.commands.rectifier_v[0] < 54.39 and monotonic() - cut_s < 3.0:
            await asyncio.sleep(0.005)
        assert monotonic() - cut_s <= 1.0
        assert core.condition.in_outage
        task.cancel()
        await asyncio.wait([task])
