"""The site port over real TCP, RTU framing over TCP, and in-process: the same registers, the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from edge.modbus.client import Patience
from edge.modbus.port import (
    DeviceError,
    DeviceTimeoutError,
    FastMeter,
    ReadBackError,
    SitePort,
    WriteRefusedError,
)
from edge.modbus.site_port import ModbusSitePort, PortSpec, modbus_link
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.site_spec import SiteSpec
from edge.simulator.sunspec_registers import SunspecRegisters

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SITE = SiteSpec(site_id="sim-001", pv_rated_w=1500.0, inverter_w=2000.0, initial_soc_frac=0.9)
QUICK = Patience(retries=1, back_off=timedelta(milliseconds=1))
MINUTE = timedelta(seconds=60)


def simulated(spec: SiteSpec = SITE) -> FleetSimulation:
    sim = FleetSimulation([spec], seed=5, start=START)
    sim.advance_to(START + timedelta(seconds=30))
    return sim


def later(sim: FleetSimulation, seconds: float) -> None:
    sim.advance_to(sim.at + timedelta(seconds=seconds))


@asynccontextmanager
async def opened(
    sim: FleetSimulation, way: str, spec: PortSpec | None = None
) -> AsyncIterator[ModbusSitePort]:
    server = SiteServer(sim.devices[0], rtu_framing=way == "rtu")
    number = 0 if way == "in_process" else await server.start()
    wanted = spec or sim.port_spec(0)
    devices = [
        msgspec.structs.replace(d, port=number, rtu_over_tcp=way == "rtu", timeout_s=0.3)
        for d in wanted.devices
    ]
    wanted = msgspec.structs.replace(wanted, devices=devices)
    make = (lambda _: sim.link(0)) if way == "in_process" else modbus_link
    port = ModbusSitePort(wanted, make, QUICK)
    try:
        await port.open()
        yield port
    finally:
        await port.close()
        await server.stop()


@pytest.mark.parametrize("way", ["tcp", "rtu", "in_process"])
async def test_a_site_is_read_and_written_alike_by_every_way(way: str) -> None:
    sim = simulated()
    async with opened(sim, way) as port:
        as_protocol: SitePort = port
        sample = await as_protocol.read()
        readings = sim.sensors.values
        assert sample.bus_v == pytest.approx(readings["bus_v"][0], abs=0.006)
        assert sample.meter_battery_w == pytest.approx(readings["meter_battery_w"][0], abs=0.6)
        assert sample.grid_w == pytest.approx(readings["grid_w"][0], abs=0.6)
        assert sample.pv_w == pytest.approx(readings["pv_w"][0], abs=0.6)
        assert sample.soc_frac == pytest.approx(readings["soc_frac"][0], abs=0.001)
        assert sample.mains_ok
        assert sample.rectifier_modules_ok == 3
        assert len(sample.string_a) == 8
        assert await port.read_mains()
        # 90 % full and charging: above zero in our sign.
        assert sample.battery_a > 10.0
        assert await port.write_rectifier_v(47.503, MINUTE) == pytest.approx(47.50)
        later(sim, 20)
        sample = await port.read()
        assert sample.rectifier_set_v == pytest.approx(47.5)
        assert sample.rectifier_w == 0.0
        assert sample.battery_w == pytest.approx(-(sample.load_w - (sample.pv_w or 0.0)), rel=0.03)
        assert sample.meter_battery_w == pytest.approx(sample.battery_w, rel=0.03)
        await port.release()
        later(sim, 5)
        assert (await port.read()).rectifier_set_v == pytest.approx(54.4)


async def test_capabilities_come_from_profile_and_device_list() -> None:
    async with opened(simulated(), "in_process") as port:
        caps = port.capabilities
        assert (caps.float_v, caps.backstop_v, caps.max_v) == (54.4, 47.0, 56.0)
        assert (caps.voltage_step_v, caps.can_revert, caps.full_load_blocks_only, caps.inverter) == (
            0.01, True, False, True,
        )  # fmt: skip
        assert caps.rectifier_limit_w == 9000.0


async def test_a_coarse_controller_offers_full_load_blocks_and_half_volt_steps() -> None:
    sim = simulated(replace(SITE, controller="coarse"))
    async with opened(sim, "tcp") as port:
        assert port.capabilities.full_load_blocks_only
        assert await port.write_rectifier_v(47.3, MINUTE) == 47.5
        later(sim, 20)
        sample = await port.read()
        # Discharge-positive, low word first in the registers; ours is charging positive.
        assert sample.battery_w == pytest.approx(float(sim.sensors.values["battery_w"][0]), abs=0.1)
        assert sample.battery_w < -1000.0
        with pytest.raises(WriteRefusedError, match="no discharge_limit_a"):
            await port.write_discharge_limit_a(10.0)


async def test_the_device_reverts_when_the_gateway_falls_silent() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        await port.write_rectifier_v(47.0, MINUTE)
    later(sim, 58)
    assert sim.plant.state.rectifier_v[0] == pytest.approx(47.0)
    later(sim, 3)
    assert sim.plant.commands.rectifier_v[0] == 54.4


async def test_a_charge_limit_does_not_outlive_the_gateway() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        await port.write_charge_limit_a(0.0)
        for _ in range(4):
            later(sim, 150)
            await port.read()
        # A gateway that goes on asking keeps its limit.
        assert sim.plant.commands.charge_limit_a[0] == 0.0
    later(sim, 301)
    # 0.3 C of 300 Ah, the controller's own.
    assert sim.plant.commands.charge_limit_a[0] == pytest.approx(90.0)


async def test_the_timer_is_armed_before_the_voltage_is_written() -> None:
    sim = simulated()
    async with opened(sim, "in_process") as port:
        await port.write_rectifier_v(47.0, MINUTE)
    assert sim.devices[0].writes == [(1, 201, (60,)), (1, 200, (4700,))]


@pytest.mark.parametrize("volts", [46.99, 56.01, float("nan"), 0.0])
async def test_a_voltage_below_the_backstop_or_above_the_top_is_never_sent(volts: float) -> None:
    sim = simulated()
    async with opened(sim, "in_process") as port:
        with pytest.raises(WriteRefusedError, match="outside"):
            await port.write_rectifier_v(volts, MINUTE)
    assert sim.devices[0].writes == []


async def test_a_controller_without_a_timer_is_monitored_only(tmp_path: Path) -> None:
    sim = simulated()
    from importlib.resources import files

    text = files("edge.modbus").joinpath("profiles/example_fine.yaml").read_text(encoding="utf-8")
    without = "\n".join(line for line in text.splitlines() if not line.startswith("  revert_"))
    (tmp_path / "no_timer.yaml").write_text(without, encoding="utf-8")
    spec = sim.port_spec(0)
    devices = [
        msgspec.structs.replace(d, profile=str(tmp_path / "no_timer.yaml")) if d.kind == "profile" else d
        for d in spec.devices
    ]
    async with opened(sim, "in_process", msgspec.structs.replace(spec, devices=devices)) as port:
        assert not port.capabilities.can_revert
        with pytest.raises(WriteRefusedError, match="monitored only"):
            await port.write_rectifier_v(47.0, MINUTE)
        with pytest.raises(WriteRefusedError, match="monitored only"):
            await port.write_charge_limit_a(0.0)
        assert (await port.read()).mains_ok
    assert sim.devices[0].writes == []


async def test_a_controller_that_answers_another_voltage_is_found_out() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        sim.put(Fault(site=0, kind="modbus_wrong_value", point="rectifier_set_v", value=54.4))
        with pytest.raises(ReadBackError) as caught:
            await port.write_rectifier_v(47.0, MINUTE)
        assert (caught.value.wrote, caught.value.read) == (4700.0, 5440.0)


async def test_a_timer_that_does_not_run_is_found_out_before_the_voltage_is_touched() -> None:
    sim = simulated()
    async with opened(sim, "in_process") as port:
        sim.put(Fault(site=0, kind="modbus_wrong_value", point="revert_left_s", value=0.0))
        with pytest.raises(ReadBackError, match="revert_left_s"):
            await port.write_rectifier_v(47.0, MINUTE)
    assert [w[1] for w in sim.devices[0].writes] == [201]


async def test_a_silent_device_times_out_and_is_found_again() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        sim.put(Fault(site=0, kind="modbus_silence"))
        with pytest.raises(DeviceTimeoutError):
            async with asyncio.timeout(5.0):
                await port.read_mains()
        sim.put(Fault(site=0, kind="modbus_silence", on=False))
        assert await port.read_mains()


async def test_a_site_under_local_control_refuses_at_the_device() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        sim.put(Fault(site=0, kind="local_lock"))
        later(sim, 1)
        assert (await port.read()).local_lock
        with pytest.raises(DeviceError):
            await port.write_rectifier_v(47.0, MINUTE)


async def test_limits_are_written_and_read_back() -> None:
    sim = simulated()
    async with opened(sim, "in_process") as port:
        assert await port.write_charge_limit_a(12.34) == pytest.approx(12.3)
        assert await port.write_discharge_limit_a(50.0) == 50.0
        later(sim, 30)
        assert sim.plant.state.string_a.sum() == pytest.approx(12.3)
        with pytest.raises(WriteRefusedError, match="outside"):
            await port.write_charge_limit_a(-1.0)


async def test_inverter_power_turns_its_sign_on_the_wire() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        assert await port.write_inverter_w(-1500.0, MINUTE) == -1500.0
        later(sim, 2)
        assert sim.plant.state.inverter_w[0] == -1500.0  # discharging
        # On the wire it was generation, positive.
        assert (2, 1500) in [
            (unit, 65536 * v[0] + v[1]) for unit, _, v in sim.devices[0].writes if len(v) == 2
        ]
        with pytest.raises(WriteRefusedError, match="outside"):
            await port.write_inverter_w(-2001.0, MINUTE)
        await port.release()
        later(sim, 2)
        assert sim.plant.state.inverter_w[0] == 0.0


@pytest.mark.parametrize("power_w", [-1500.0, 800.0])
async def test_older_storage_is_held_between_its_rates_and_reverts_by_itself(power_w: float) -> None:
    sim = simulated(replace(SITE, inverter_models="older"))
    async with opened(sim, "tcp") as port:
        assert await port.write_inverter_w(power_w, MINUTE) == pytest.approx(power_w)
        later(sim, 2)
        assert sim.plant.state.inverter_w[0] == pytest.approx(power_w)
        # 2,000 W are 100 %: percent with two decimals on the wire, charging in, discharging out.
        percent = round(10_000 * power_w / 2000.0)
        written = [
            v[0] - 65536 if v[0] > 32767 else v[0] for unit, _, v in sim.devices[0].writes if unit == 2
        ]
        assert written == [60, percent, -percent, 3]
        later(sim, 61)
        assert sim.plant.state.inverter_w[0] == 0.0
        assert await port.write_inverter_w(power_w, MINUTE) == pytest.approx(power_w)
        await port.release()
        later(sim, 2)
        assert sim.plant.state.inverter_w[0] == 0.0


async def test_older_storage_without_a_reversion_time_is_monitored_only() -> None:
    sim = simulated(replace(SITE, inverter_models="older"))
    units = sim.devices[0].units[2]
    assert isinstance(units, SunspecRegisters)
    del units._control["InOutWRte_RvrtTms"]  # this device does not implement it
    async with opened(sim, "in_process") as port:
        with pytest.raises(WriteRefusedError, match="monitored only"):
            await port.write_inverter_w(-100.0, MINUTE)
        assert sim.plant.commands.inverter_w[0] == 0.0


async def test_without_a_declared_inverter_its_power_is_refused() -> None:
    sim = simulated()
    spec = msgspec.structs.replace(sim.port_spec(0), inverter_w=0.0)
    async with opened(sim, "in_process", spec) as port:
        with pytest.raises(WriteRefusedError, match="no inverter"):
            await port.write_inverter_w(-100.0, MINUTE)


async def test_mains_loss_is_seen_by_the_quick_read_and_the_alarm() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        sim.put(Fault(site=0, kind="mains_outage"))
        later(sim, 1)
        assert not await port.read_mains()
        assert "mains_fail" in (await port.read()).alarms


async def test_frequency_is_read_to_ten_millihertz() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        meter: FastMeter = port
        sim.put(Fault(site=0, kind="grid_frequency", value=49.70))
        later(sim, 0.1)
        assert await meter.read_grid_hz() == pytest.approx(49.70, abs=0.0151)
        sim.put(Fault(site=0, kind="mains_outage"))
        later(sim, 0.1)
        with pytest.raises(DeviceError, match="frequency"):
            await meter.read_grid_hz()


async def test_a_slow_device_is_waited_for_up_to_the_time_out() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        sim.put(Fault(site=0, kind="modbus_delay", value=0.1))
        assert await port.read_mains()
        sim.put(Fault(site=0, kind="modbus_delay", value=0.9))
        with pytest.raises(DeviceTimeoutError):
            await port.read_mains()


async def test_a_port_that_failed_to_open_opens_later() -> None:
    sim = simulated()
    port = ModbusSitePort(sim.port_spec(0), lambda _: sim.link(0), QUICK)
    sim.put(Fault(site=0, kind="modbus_silence"))
    with pytest.raises(DeviceTimeoutError):
        await port.open()
    with pytest.raises(DeviceError, match="not open"):
        _ = port.capabilities
    sim.put(Fault(site=0, kind="modbus_silence", on=False))
    await port.open()
    await port.open()
    assert (await port.read()).mains_ok


async def test_a_device_list_without_a_rectifier_controller_is_refused() -> None:
    sim = simulated()
    spec = sim.port_spec(0)
    only = msgspec.structs.replace(spec, devices=[d for d in spec.devices if d.kind == "sunspec"])
    with pytest.raises(DeviceError, match="no rectifier controller"):
        async with opened(sim, "in_process", only):
            pass


def test_a_misspelt_key_in_a_device_list_is_an_error() -> None:
    raw = {
        "devices": [{"name": "r", "kind": "profile", "unit": 1, "hots": "x"}],
        "float_v": 54.4,
        "max_v": 56.0,
    }
    with pytest.raises(msgspec.ValidationError, match="hots"):
        msgspec.convert(raw, PortSpec)


async def test_the_quick_look_is_one_request_and_agrees_with_the_scan() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        quick, sample = await port.read_quick(), await port.read()
        assert quick.bus_v == pytest.approx(sample.bus_v)
        assert quick.battery_w == pytest.approx(sample.battery_w, abs=10.0)  # that is in whole watts
        assert quick.battery_w > 500.0  # 90 % full and charging


async def test_a_voltage_is_moved_only_under_a_timer_that_runs() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        with pytest.raises(WriteRefusedError, match="must be armed first"):
            await port.move_rectifier_v(50.0)
        assert sim.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        await port.write_rectifier_v(50.0, timedelta(seconds=10))
        writes = len(sim.devices[0].writes)
        assert await port.move_rectifier_v(49.5) == pytest.approx(49.5)
        assert len(sim.devices[0].writes) == writes + 1  # the timer is not armed anew
        later(sim, 9)
        with pytest.raises(WriteRefusedError, match="must be armed first"):
            await port.move_rectifier_v(49.0)
        for volts in (46.9, 56.1):
            with pytest.raises(WriteRefusedError, match="outside"):
                await port.move_rectifier_v(volts)


async def test_frequency_is_offered_with_the_resolution_of_whoever_measures_it(tmp_path: Path) -> None:
    async with opened(simulated(), "in_process") as port:
        assert port.capabilities.frequency_step_hz == pytest.approx(0.01)  # the meter, 203
    sim = simulated()
    spec = sim.port_spec(0)
    alone = msgspec.structs.replace(spec, devices=spec.devices[:1])
    async with opened(sim, "in_process", alone) as port:
        assert port.capabilities.frequency_step_hz is None
        with pytest.raises(DeviceError, match="no device measures frequency"):
            await port.read_grid_hz()
    text = files("edge.modbus").joinpath("profiles/example_fine.yaml").read_text(encoding="utf-8")
    path = tmp_path / "own_meter.yaml"
    path.write_text(
        text.replace(
            "points:\n", "points:\n  grid_hz: {address: 99, type: uint16, scale: 0.1, unit: Hz}\n", 1
        )
    )
    own = msgspec.structs.replace(
        alone, devices=[msgspec.structs.replace(alone.devices[0], profile=str(path))]
    )
    async with opened(simulated(), "in_process", own) as port:
        assert port.capabilities.frequency_step_hz == pytest.approx(0.1)  # too coarse for any reserve


async def test_modules_stand_by_by_mask_and_phases_are_read_from_the_meter() -> None:
    sim = simulated()
    async with opened(sim, "tcp") as port:
        assert await port.write_modules_off(0b100) == 0b100
        later(sim, 2)
        sample = await port.read()
        assert sample.modules_off == 0b100
        assert sum(sample.phase_w) == pytest.approx(sample.grid_w, abs=3.0)
        assert sample.phase_w[2] == pytest.approx(0.0, abs=1.0)  # the third module is off
        with pytest.raises(WriteRefusedError, match="outside"):
            await port.write_modules_off(65536)
