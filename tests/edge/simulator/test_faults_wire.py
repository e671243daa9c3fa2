"""Every device fault as a gateway meets it: real Modbus TCP to the simulated site, the port's own reading of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace as alter

from edge.modbus.client import Patience
from edge.modbus.port import DeviceError, DeviceTimeoutError, FieldSample, ReadBackError
from edge.modbus.site_port import ModbusSitePort
from edge.simulator.faults import Fault, FaultKind
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.site_spec import SiteSpec

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SPEC = SiteSpec(site_id="s", genset_w=8000.0, fuel_l=100.0)
REVERT = timedelta(seconds=60)


@dataclass
class Wire:
    """A simulated site and a port that reaches it over a socket."""

    fleet: FleetSimulation
    port: ModbusSitePort

    async def after(self, seconds: float, *faults: Fault) -> FieldSample:
        for fault in faults:
            self.fleet.put(fault)
        self.fleet.advance_to(self.fleet.at + timedelta(seconds=seconds))
        return await self.port.read()


@asynccontextmanager
async def wire(timeout_s: float = 2.0) -> AsyncIterator[Wire]:
    fleet = FleetSimulation([SPEC], seed=1, start=START)
    server = SiteServer(fleet.devices[0])
    await server.start()
    spec = fleet.port_spec(0, port=server.port)
    quick = alter(spec, devices=[alter(device, timeout_s=timeout_s) for device in spec.devices])
    port = ModbusSitePort(quick, patience=Patience(retries=0))
    await port.open()
    try:
        yield Wire(fleet, port)
    finally:
        await port.close()
        await server.stop()


def fault(kind: FaultKind, value: float | None = None, point: str = "", *, on: bool = True) -> Fault:
    return Fault(site=0, kind=kind, value=value, point=point, on=on)


async def test_lost_modules_outage_trip_and_lock_are_read_over_the_wire() -> None:
    async with wire() as made:
        sample = await made.after(
            2, fault("module_loss", 2), fault("mains_outage"), fault("battery_trip", 1), fault("local_lock")
        )
        assert sample.rectifier_modules_ok == 1
        assert not sample.mains_ok
        assert not await made.port.read_mains()
        assert sample.local_lock
        assert set(sample.alarms) == {"mains_fail", "battery_string_open", "rectifier_module_fail"}
        assert sample.string_a[1] == pytest.approx(0.0, abs=0.8)  # the shunt's noise is 0.15 A
        assert sample.string_a[0] < -5.0
        sample = await made.after(
            60,
            *(
                fault(kind, on=False)
                for kind in ("module_loss", "mains_outage", "battery_trip", "local_lock")
            ),
        )
        assert (sample.rectifier_modules_ok, sample.mains_ok, sample.local_lock) == (3, True, False)
        assert sample.alarms == ()


async def test_a_load_step_a_stuck_sensor_and_a_weak_cell() -> None:
    async with wire() as made:
        before = await made.after(1)
        assert before.load_w is not None
        halved = await made.after(2, fault("load_step", 0.5))
        # Half the load; the sensor's gain error stays, its noise is 0.3 % and 2 W.
        assert halved.load_w == pytest.approx(0.5 * before.load_w, rel=0.03)
        stuck = await made.after(2, fault("stuck_sensor", point="load_w"), fault("load_step", on=False))
        assert stuck.load_w == halved.load_w
        free = await made.after(2, fault("stuck_sensor", point="load_w", on=False))
        assert free.load_w == pytest.approx(before.load_w, rel=0.03)
        weak = await made.after(2, fault("weak_cell", 0.4))
        # One of three strings keeps 40 %: (0.4 + 1 + 1) / 3.
        assert weak.soh_frac == pytest.approx(0.80, abs=0.005)


async def test_a_genset_that_fails_gives_nothing_in_an_outage() -> None:
    async with wire() as made:
        sample = await made.after(60, fault("genset_fails"), fault("mains_outage"))
        assert not sample.genset_w
        sample = await made.after(60, fault("genset_fails", on=False))
        assert sample.genset_w is not None
        assert sample.genset_w > 500.0


async def test_wrong_values_of_either_device_are_what_the_gateway_reads() -> None:
    async with wire() as made:
        sample = await made.after(
            1,
            fault("modbus_wrong_value", 48.0, "bus_v"),
            fault("modbus_wrong_value", 12_345.0, "203.W"),
        )
        assert sample.bus_v == 48.0
        assert sample.grid_w == 12_345.0
        sample = await made.after(
            1,
            fault("modbus_wrong_value", point="bus_v", on=False),
            fault("modbus_wrong_value", point="203.W", on=False),
        )
        assert sample.bus_v > 53.0
        assert sample.grid_w is not None
        assert sample.grid_w < 9000.0


async def test_a_controller_that_answers_another_setpoint_fails_the_read_back() -> None:
    async with wire() as made:
        assert await made.port.write_rectifier_v(52.0, REVERT) == 52.0
        made.fleet.put(fault("modbus_wrong_value", 54.4, "rectifier_set_v"))
        with pytest.raises(ReadBackError):
            await made.port.write_rectifier_v(51.0, REVERT)


async def test_a_slow_device_still_answers_and_a_slower_or_silent_one_times_out() -> None:
    async with wire(timeout_s=0.3) as made:
        made.fleet.put(fault("modbus_delay", 0.02))
        assert await made.port.read_mains()
        made.fleet.put(fault("modbus_delay", 2.0))
        with pytest.raises(DeviceTimeoutError):
            await made.port.read_mains()
        made.fleet.put(fault("modbus_delay", on=False))
        made.fleet.put(fault("modbus_silence"))
        with pytest.raises(DeviceTimeoutError):
            await made.port.read_mains()
        made.fleet.put(fault("modbus_silence", on=False))
        await asyncio.sleep(0.05)
        assert await made.port.read_mains()


@pytest.mark.parametrize("point", ["", "colour", "203.colour", "999.W"])
async def test_a_wrong_value_needs_a_point_that_is_there(point: str) -> None:
    fleet = FleetSimulation([SPEC], seed=1, start=START)
    with pytest.raises(ValueError, match="a wrong value needs"):
        fleet.put(fault("modbus_wrong_value", 1.0, point))


async def test_a_locked_cabinet_refuses_a_write() -> None:
    async with wire() as made:
        made.fleet.put(fault("local_lock"))
        with pytest.raises(DeviceError):
            await made.port.write_charge_limit_a(1.0)
