"""What must not slip past the interlock (simulated): failed releases, restarts, gaps between looks, stalls, lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from msgspec.structs import replace as alter

from edge.gateway.interlock import SwitchPosition, mains_gap
from edge.gateway.state_file import Remembered, StateFile
from edge.modbus.client import Connection, Device, Patience
from edge.modbus.port import DeviceError, SwitchReading
from edge.modbus.profile import load_profile
from edge.modbus.site_port import ModbusSitePort
from edge.modbus.switch import SwitchInputs
from edge.plan import AckVerdict
from edge.simulator.faults import Fault
from tests.edge.gateway.bench import CONFIG, LIMITS, Bench, StepClock, bench
from tests.edge.gateway.test_commands import SAMPLE
from tests.edge.gateway.test_export import EXPORT
from tests.edge.gateway.test_island import FEEDS, SITE, darken, feed, inverter_w, order, put, told


async def export(made: Bench) -> None:
    """Bring the site to exporting with the mains."""
    await made.step(count=8)
    await made.order(order())
    assert made.last_ack().verdict is AckVerdict.ACCEPTED, made.last_ack()
    await made.step(count=10)
    assert inverter_w(made) < -1000.0


async def test_a_release_that_failed_is_done_again_at_the_next_step(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await export(made)
        put(made, "mains_outage")
        put(made, "modbus_silence")  # for the moment in which the loss of the mains is acted on
        await made.core.mains_lost()
        put(made, "modbus_silence", on=False)
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0


async def test_with_the_mains_a_scan_that_fails_ends_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await export(made)
        put(made, "modbus_silence")
        await made.step()
        put(made, "modbus_silence", on=False)
        await made.step()
        assert len(made.core.duties) == 1
        assert told(made) == []
        assert made.fleet.plant.commands.inverter_w[0] < -1000.0


async def test_mains_that_are_only_said_to_be_there_end_an_export(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await export(made)
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="mains_ok", value=1.0))
        put(made, "mains_outage")
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        await made.order(order(number=2))
        assert made.last_ack().reason == "interlock"


async def test_a_command_taken_in_an_outage_is_not_taken_up_after_a_restart_with_the_mains(
    tmp_path: Path,
) -> None:
    clock = StepClock()
    async with bench(tmp_path, config=FEEDS, spec=SITE, clock=clock) as made:
        await feed(made)
        fleet = made.fleet
    fleet.put(Fault(site=0, kind="mains_outage", on=False))
    fleet.put(Fault(site=0, kind="switch_open", on=False))
    clock.advance(10.0)
    fleet.advance_to(clock.now())
    async with bench(tmp_path, config=FEEDS, spec=SITE, clock=clock, fleet=fleet, seed=8) as made:
        made.core.restore(clock.now())
        await made.step(count=12)
        assert made.core.duties == ()
        assert fleet.plant.commands.inverter_w[0] == 0.0
        last = [ack for ack in made.acks() if ack.command_id == "c-1"][-1]
        assert (last.verdict, last.reason) == (AckVerdict.EXPIRED, "not_restored")


async def test_a_position_unseen_for_some_scans_must_settle_anew(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "modbus_silence")
        await made.step(count=2)
        put(made, "modbus_silence", on=False)
        await made.step()
        await made.order(order(number=2))
        assert made.last_ack().reason == "interlock"
        await made.step(count=6)
        await made.order(order(number=3))
        assert made.last_ack().verdict is AckVerdict.ACCEPTED


async def test_a_gateway_that_stood_still_believes_no_position(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        await made.step(20.0)  # nothing ran: its process was stopped, or its machine busy
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert made.core.duties == ()
        assert told(made) == ["switch_stale"]


async def test_a_scan_that_waited_long_for_its_turn_says_nothing_of_the_switch(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        now = made.clock.now()
        seen = SwitchReading(open_contact=True, closed_contact=False, looks=7)
        believed = []
        for number, waited_s in ((7, 2.1), (8, 0.0), (9, 2.0), (10, -0.1)):
            read_at = now - timedelta(seconds=waited_s)
            made.core.island.look(replace(seen, looks=number), read_at, now)
            believed.append(made.core.island.position is SwitchPosition.OPEN)
        assert believed == [False, True, True, False]


class SlowDisk(StateFile):
    """A disk that takes seconds; what happens meanwhile nobody looks at."""

    def __init__(self, path: Path, clock: StepClock) -> None:
        super().__init__(path)
        self.clock, self.takes_s = clock, 0.0

    def save(self, remembered: Remembered) -> None:
        self.clock.advance(self.takes_s)
        super().save(remembered)


async def test_a_command_accepted_before_and_done_after_the_position_grew_old_feeds_nobody(
    tmp_path: Path,
) -> None:
    clock = StepClock()
    disk = SlowDisk(tmp_path / "state.json", clock)
    async with bench(tmp_path, config=FEEDS, spec=SITE, clock=clock, disk=disk) as made:
        await darken(made)
        disk.takes_s = 4.0
        await made.order(order())
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert made.core.duties == ()
        assert (made.last_ack().verdict, made.last_ack().reason) == (AckVerdict.EXPIRED, "interlock")


@pytest.mark.parametrize("bus_v", [46.9, 47.0])
async def test_the_live_backstop_ends_it_whatever_the_state_of_charge_says(
    tmp_path: Path, bus_v: float
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="bus_v", value=bus_v))
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert told(made) == ["bus_at_backstop"]


async def test_an_alarm_in_force_refuses_a_command_in_an_outage(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        put(made, "battery_trip", value=0.0)
        await darken(made)
        await made.order(order())
        assert made.last_ack().reason == "device_fault"
        assert made.fleet.plant.commands.inverter_w[0] == 0.0


async def test_an_old_scan_beside_fresh_looks_at_the_switch_opens_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        for _ in range(3):  # the scans fail, the short looks do not: only those are let through
            made.clock.advance(1.0)
            made.fleet.advance_to(made.clock.now())
            at = made.clock.now()
            made.core.island.look(await made.port.read_switch(), at, at)
        assert made.core.island.position is SwitchPosition.OPEN
        await made.order(order())
        assert made.last_ack().reason == "interlock"


async def test_without_a_switch_dead_terminals_end_an_export_too(tmp_path: Path) -> None:
    config = alter(CONFIG, limits=alter(LIMITS, export=EXPORT))
    async with bench(tmp_path, config=config, spec=replace(SITE, transfer_switch=False)) as made:
        await export(made)
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="mains_ok", value=1.0))
        put(made, "mains_outage")
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0


@pytest.mark.parametrize(
    ("grid_v", "genset_w", "gap"),
    [
        (230.0, 0.0, ""),
        (None, None, ""),  # not measured: the certified inverter is what watches the mains
        (23.0, None, "utility_dead"),
        (-23.1, None, ""),
        (float("nan"), None, "utility_dead"),
        (230.0, 100.0, ""),
        (230.0, 100.1, "genset_running"),
        (230.0, float("nan"), "genset_running"),
    ],
)
def test_mains_must_look_like_mains(grid_v: float | None, genset_w: float | None, gap: str) -> None:
    assert mains_gap(replace(SAMPLE, grid_v=grid_v, genset_w=genset_w)) == gap


async def test_an_inverter_whose_timer_runs_longer_than_armed_feeds_nobody(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="704.WSetRvrtRem", value=40.0))
        await made.order(order())
        await made.step(count=5)
        assert (made.last_ack().verdict, made.last_ack().reason) == (AckVerdict.EXPIRED, "device_fault")
        assert made.fleet.plant.commands.inverter_w[0] == 0.0


async def test_an_inverter_that_does_not_obey_keeps_no_rectifier_from_float(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await export(made)
        assert made.fleet.plant.commands.rectifier_v[0] < 54.0
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="704.WSet", value=500.0))
        with pytest.raises(DeviceError):
            await made.core.let_go()
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_a_measured_export_beyond_the_limit_ends_the_duty(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await export(made)
        # 1,900 W are declared; a tenth and 200 W more are the meter's and the load's: 2,290 W.
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="203.W", value=-2280.0))
        await made.step(count=8)
        assert len(made.core.duties) == 1
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="203.W", value=-2300.0))
        await made.step(count=4)
        assert len(made.core.duties) == 1  # one scan may be caught in mid-change
        await made.step()
        assert made.fleet.plant.commands.inverter_w[0] == 0.0
        assert made.last_ack().reason == "device_fault"
        assert made.core.condition.fault == "export_over_limit"


async def test_the_revert_timer_is_armed_before_any_power_is_set(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        await made.order(order())
        before = len(made.fleet.devices[0].writes)
        await made.step(count=4)
        assert inverter_w(made) < -1000.0
        written = [(at, words) for unit, at, words in made.fleet.devices[0].writes[before:] if unit == 2]
        # Model 704 lies at 40402: +4 WSetEna, +6 WSet, +13 WSetRvrtTms. Three seconds, then power, then on; each time.
        order_of = [at for at, _ in written if at in {40406, 40408, 40415}]
        assert len(order_of) >= 9
        assert order_of == [40415, 40408, 40406] * (len(order_of) // 3)
        assert {words for at, words in written if at == 40415} == {(0, 3)}


class SlowInverter(ModbusSitePort):
    """A port whose inverter takes its time; what happens meanwhile nobody looks at."""

    clock: StepClock
    takes_s = 0.0

    async def write_inverter_w(self, power_w: float, revert: timedelta) -> float:
        self.clock.advance(self.takes_s)
        return await super().write_inverter_w(power_w, revert)


@pytest.mark.parametrize(("takes_s", "ends"), [(2.1, ["inverter_slow"]), (1.0, [])])
async def test_an_inverter_that_is_told_too_late_feeds_nobody(
    tmp_path: Path, takes_s: float, ends: list[str]
) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE, port_type=SlowInverter) as made:
        assert isinstance(made.port, SlowInverter)
        made.port.clock = made.clock
        await feed(made)
        made.port.takes_s = takes_s
        await made.step()
        assert told(made) == ends
        assert (float(made.fleet.plant.commands.inverter_w[0]) == 0.0) is bool(ends)


class FloatInputs:
    """A link to an input module whose counter is a 32-bit float register that holds no number."""

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        return [1, 0, 0x7FC0, 0][address : address + count]

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        raise AssertionError

    async def close(self) -> None:
        pass


async def test_a_counter_that_is_no_number_is_no_look(tmp_path: Path) -> None:
    shipped = files("edge.modbus") / "profiles" / "example_switch.yaml"
    text = shipped.read_text().replace(
        "switch_looks: {address: 2, type: uint16", "switch_looks: {address: 2, type: float32"
    )
    (tmp_path / "inputs.yaml").write_text(text)
    profile = load_profile(str(tmp_path / "inputs.yaml"))
    assert profile.points["switch_looks"].size == 2
    inputs = SwitchInputs.alone(Device("inputs", Connection(FloatInputs()), 3, Patience(retries=0)), profile)
    assert await inputs.read() is None
