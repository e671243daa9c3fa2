"""Export with the mains absent, on the plant (simulated): through the transfer switch or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace as alter

from edge.gateway.config import SiteConfig
from edge.gateway.interlock import SwitchPosition
from edge.gateway.uplink import FLEET_STOP
from edge.plan import AckVerdict, Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault, FaultKind
from edge.simulator.site_spec import SiteSpec
from tests.edge.gateway.bench import CONFIG, LIMITS, NOON, TEST, Bench, bench, seal
from tests.edge.gateway.test_export import EXPORT
from tests.edge.gateway.test_interlock import ISLAND

SITE = SiteSpec(
    site_id="cbs-0001", inverter_w=2000.0, transfer_switch=True, island_w=1200.0, initial_soc_frac=0.9
)
FEEDS = alter(CONFIG, limits=alter(LIMITS, export=alter(EXPORT, island=ISLAND)))


def order(watts: float = -3500.0, number: int = 1) -> bytes:
    body = ScheduleBody(start=NOON, step_s=900, setpoint_w=(watts,) * 4)
    command: Command = replace(
        TEST, command_id=CommandId(f"c-{number}"), sequence=number, kind=CommandKind.SCHEDULE, body=body
    )
    return seal(command)


def put(made: Bench, kind: FaultKind, *, on: bool = True, value: float | None = None) -> None:
    made.fleet.put(Fault(site=0, kind=kind, on=on, value=value))


async def darken(made: Bench, *, opens: bool = True) -> None:
    """Take the mains away, let the switch open, and wait until it has stood for its five seconds."""
    put(made, "mains_outage")
    await made.step()
    if opens:
        put(made, "switch_open")
    await made.step(count=8)


async def feed(made: Bench) -> None:
    """Bring the site to feeding its section."""
    await darken(made)
    await made.order(order())
    assert made.last_ack().verdict is AckVerdict.ACCEPTED, made.last_ack()
    await made.step(count=5)
    assert inverter_w(made) < -1000.0


def inverter_w(made: Bench) -> float:
    return float(made.fleet.plant.state.inverter_w[0])


def told(made: Bench) -> list[str]:
    return [event.detail or "" for event in made.events() if event.kind == "interlock"]


async def test_with_the_switch_open_the_section_is_fed_and_never_the_utility(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        state = made.fleet.plant.state
        # 3,500 W less the load through 95 %: some 1,190 W at AC, of which the section takes at most 1,200 W.
        load_w = float(state.load_w[0])
        expected_w = min(1200.0, (3500.0 - load_w) * 0.95)
        assert -inverter_w(made) == pytest.approx(expected_w, abs=60.0)
        assert float(state.island_w[0]) == -inverter_w(made)
        assert float(state.grid_w[0]) == 0.0
        assert float(state.energy.backfed[0]) == 0.0
        assert made.core.condition.in_outage
        battery_w = -float(state.string_a[0].sum() * state.bus_v[0])
        assert battery_w == pytest.approx(load_w - inverter_w(made) / 0.95, rel=0.001)
        # Its timer is three seconds long and is armed anew with every step.
        assert 2.0 <= float(made.fleet.plant.commands.inverter_revert_s[0]) <= 3.0


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (CONFIG, "in_outage"),
        (alter(CONFIG, limits=alter(LIMITS, export=EXPORT)), "in_outage"),
        (FEEDS, None),
    ],
)
async def test_without_a_declared_island_an_outage_refuses_every_duty(
    tmp_path: Path, config: SiteConfig, reason: str | None
) -> None:
    async with bench(tmp_path, config=config, spec=SITE) as made:
        await darken(made)
        await made.order(order())
        assert (made.last_ack().reason or None) == reason


async def test_a_closed_switch_refuses_in_an_outage_and_so_does_one_that_has_just_opened(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made, opens=False)
        await made.order(order())
        assert made.last_ack().reason == "interlock"
        put(made, "switch_open")
        await made.step(count=5)  # first seen open one step ago less than five seconds
        await made.order(order(number=2))
        assert made.last_ack().reason == "interlock"
        await made.step()
        await made.order(order(number=3))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED


async def test_a_file_without_a_switch_among_its_devices_exports_nothing_at_all(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=replace(SITE, transfer_switch=False)) as made:
        await made.step(count=8)
        await made.order(order())
        assert made.last_ack().reason == "interlock"
        put(made, "mains_outage")
        await made.step(count=8)
        await made.order(order(number=2))
        assert made.last_ack().reason == "interlock"
        assert made.core.island.position is SwitchPosition.DOUBTFUL


async def test_between_mains_loss_and_the_next_scan_nothing_opens(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await made.step(count=8)  # closed, settled, mains present: an export with the mains may be
        put(made, "mains_outage")
        await made.core.mains_lost()  # the quick look; the last scan still says that the mains are there
        await made.order(order())
        assert made.last_ack().reason == "interlock"
        assert made.fleet.plant.commands.inverter_w[0] == 0.0


@pytest.mark.parametrize(
    ("kind", "value", "gap"),
    [
        ("switch_contradicts", 1.0, "switch_contradictory"),
        ("switch_contradicts", 0.0, "switch_contradictory"),
        ("switch_stale", None, "switch_stale"),
        ("switch_lost", None, "switch_not_read"),
        ("genset_fails", None, None),  # nothing to do with it: it goes on
    ],
)
async def test_a_position_that_is_lost_or_doubtful_ends_it_within_one_step(
    tmp_path: Path, kind: FaultKind, value: float | None, gap: str | None
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, kind, value=value)
        await made.step()
        if gap is None:
            assert inverter_w(made) < -1000.0
            return
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert made.last_ack().reason == "interlock"
        assert told(made) == [gap]
        # Back in order, it stays ended until somebody orders anew.
        put(made, kind, on=False)
        await made.step(count=8)
        assert inverter_w(made) == 0.0
        await made.order(order(number=2))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED


async def test_a_switch_that_closes_in_mid_export_ends_it_within_one_step(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "switch_open", on=False)
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert told(made) == ["switch_closed"]
        # The inverter's own grid ended with its contact: not a watt-hour went into the dead section.
        assert float(made.fleet.plant.state.energy.backfed[0]) == 0.0


@pytest.mark.parametrize("blind", [False, True])
async def test_contacts_that_agree_on_a_lie_are_found_out_by_the_voltage_within_one_step(
    tmp_path: Path, *, blind: bool
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made, opens=False)
        put(made, "switch_lies", value=1.0)
        if (
            blind
        ):  # the controller's mains input is stuck as well: the meter at the utility's terminals is left
            made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="mains_ok", value=0.0))
        await made.step(count=8)
        assert made.core.island.position is SwitchPosition.OPEN  # as far as anybody can tell
        await made.order(order())
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        backfed_w = []
        for _ in range(20):
            await made.step()
            backfed_w.append(float(made.fleet.plant.state.backfed_w[0]))
        # One second of it: the power ramps by 1,000 W/s, so that the first watts beyond the load are few.
        assert len([watts for watts in backfed_w if watts > 0.0]) == 1
        assert max(backfed_w) < 1000.0
        assert made.core.duties == ()
        assert made.last_ack().reason == ("interlock" if blind else "mains_back")
        assert told(made) == (["utility_live"] if blind else [])


async def test_contacts_that_lie_closed_never_let_it_begin(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        put(made, "switch_lies", value=0.0)
        await darken(made)
        await made.order(order())
        assert made.last_ack().reason == "interlock"


async def test_a_stuck_pole_does_not_open_and_nothing_is_fed(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        put(made, "switch_stuck")
        await darken(made)
        await made.order(order())
        assert made.last_ack().reason == "interlock"
        assert made.core.island.position is SwitchPosition.CLOSED


async def test_a_glance_between_steps_ends_it_without_waiting_for_the_next(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        made.clock.advance(0.2)
        made.fleet.advance_to(made.clock.now())
        await made.core.island.glance()
        assert made.fleet.plant.commands.inverter_w[0] < -1000.0
        put(made, "switch_contradicts", value=1.0)
        made.clock.advance(0.2)
        made.fleet.advance_to(made.clock.now())
        await made.core.island.glance()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        await made.settle()
        assert told(made) == ["switch_contradictory"]


async def test_a_scan_that_fails_ends_it_although_everything_else_bears_two(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "modbus_silence")
        await made.step()
        assert made.core.duties == ()
        assert told(made) == ["not_read"]
        # Nobody answers, so nobody could be told: three seconds after the last word the inverter stops by itself.
        await made.step(count=3)
        assert inverter_w(made) == 0.0


async def test_a_dead_gateway_stops_feeding_in_three_seconds(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        made.fleet.advance_to(made.clock.now() + timedelta(seconds=3))
        assert inverter_w(made) == 0.0


async def test_the_mains_return_ends_it_and_the_site_recovers_as_ever(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "mains_outage", on=False)
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert made.last_ack().reason == "mains_back"
        assert not made.core.condition.in_outage
        assert float(made.fleet.plant.state.energy.unserved[0]) == 0.0


async def test_below_the_charge_that_is_the_sites_own_nothing_is_given(tmp_path: Path) -> None:
    half = replace(SITE, initial_soc_frac=0.46)  # 0.5 are the site's; its BMS may say 1.5 % more or less
    async with bench(tmp_path, config=FEEDS, spec=half) as made:
        await darken(made)
        await made.order(order())
        assert made.last_ack().reason == "soc_band"


async def test_nothing_is_charged_in_an_outage(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        await made.order(order(500.0))
        assert made.last_ack().reason == "charge_headroom"


async def test_with_the_mains_an_open_switch_keeps_the_inverter_to_the_sites_own_load(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await made.step(count=6)
        await made.order(order())
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        await made.step(count=10)
        assert float(made.fleet.plant.state.grid_w[0]) < -500.0
        put(made, "switch_open")
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert len(made.core.duties) == 1  # it goes on within the load
        await made.step(count=10)
        assert [a.reason for a in made.acks() if a.verdict is AckVerdict.LIMITED] == ["interlock"]
        await made.order(order(number=2))
        assert made.last_ack().reason == "interlock"


async def _release(made: Bench) -> None:
    release = replace(TEST, command_id=CommandId("c-9"), sequence=9, kind=CommandKind.RELEASE)
    await made.order(seal(release))


async def _stop_fleet(made: Bench) -> None:
    stop = replace(TEST, command_id=CommandId("f-1"), kind=CommandKind.STOP, site_id=None)
    await made.order(seal(stop), FLEET_STOP)


async def _open_a_string(made: Bench) -> None:
    put(made, "battery_trip", value=0.0)
    await made.step()


@pytest.mark.parametrize(
    ("act", "verdict", "reason"),
    [
        (_release, AckVerdict.SUPERSEDED, "by c-9"),
        (_stop_fleet, AckVerdict.EXPIRED, "fleet_stopped"),
        (_open_a_string, AckVerdict.EXPIRED, "device_fault"),
    ],
)
async def test_what_ends_any_duty_ends_the_feeding_of_a_section(
    tmp_path: Path, act: Callable[[Bench], Awaitable[None]], verdict: AckVerdict, reason: str
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        await act(made)
        ends = [ack for ack in made.acks() if ack.command_id == "c-1"]
        assert (ends[-1].verdict, ends[-1].reason) == (verdict, reason)
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert inverter_w(made) == 0.0


async def test_a_technicians_lock_ends_it_and_the_inverters_own_timer_does_the_rest(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "local_lock")  # the cabinet answers busy to every write from now on
        await made.step()
        assert made.core.duties == ()
        assert made.last_ack().reason == "local_lock"
        await made.step(count=3)
        assert inverter_w(made) == 0.0


async def test_a_step_without_a_setpoint_feeds_nobody(tmp_path: Path) -> None:
    body = ScheduleBody(start=NOON, step_s=60, setpoint_w=(-3500.0, 0.0))
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        await made.order(seal(replace(TEST, kind=CommandKind.SCHEDULE, body=body)))
        await made.step(count=10)
        assert inverter_w(made) < -1000.0
        await made.step(count=40)  # past the first minute
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        await made.step(count=65)  # past the last step
        assert made.last_ack().verdict is AckVerdict.COMPLETED
        assert inverter_w(made) == 0.0


async def test_older_storage_behind_a_socket_is_held_by_the_same_interlock(tmp_path: Path) -> None:
    older = replace(SITE, inverter_models="older")
    async with bench(tmp_path, config=FEEDS, spec=older, wire=True) as made:
        await feed(made)
        put(made, "switch_open", on=False)
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert told(made) == ["switch_closed"]
