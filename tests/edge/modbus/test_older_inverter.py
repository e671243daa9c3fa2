"""A site whose only meter of the mains is an older inverter: model 103, no 203, no 701."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from edge.modbus.client import Connection, Device, Link, Patience
from edge.modbus.port import DeviceError
from edge.modbus.sample import plan_reads
from edge.modbus.site_port import ModbusSitePort
from edge.modbus.sunspec import layout_of, open_models
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.site_spec import SiteSpec

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SITE = SiteSpec(site_id="sim-001", inverter_w=2000.0, inverter_models="older")
METER_HEADER = [203, 105]
VENDOR_HEADER = [64203, 105]  # a vendor's own model of the same length: not known here


class NoMeterLink:
    """A way to the simulated devices on which the meter's model bears a number that nobody knows."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        held = await self._link.read(unit, address, count)
        return VENDOR_HEADER if held == METER_HEADER else held

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        await self._link.write(unit, address, values)

    async def close(self) -> None:
        await self._link.close()


@asynccontextmanager
async def older_site(profile: str = "example_fine") -> AsyncIterator[tuple[FleetSimulation, ModbusSitePort]]:
    sim = FleetSimulation([SITE], seed=5, start=START)
    sim.advance_to(START + timedelta(seconds=30))
    spec = sim.port_spec(0)
    rectifier = msgspec.structs.replace(spec.devices[0], profile=profile)
    spec = msgspec.structs.replace(spec, devices=[rectifier, *spec.devices[1:]])
    port = ModbusSitePort(spec, lambda _: NoMeterLink(sim.link(0)), Patience(retries=0))
    await port.open()
    try:
        yield sim, port
    finally:
        await port.close()


async def test_an_older_inverter_says_the_mains_voltage_and_frequency() -> None:
    async with older_site() as (sim, port):
        sim.put(Fault(site=0, kind="grid_frequency", value=49.70))
        sim.advance_to(sim.at + timedelta(seconds=1))
        sample = await port.read()
        assert sample.grid_v == pytest.approx(230.0, abs=5.0)  # the simulated mains' rated voltage
        assert sample.grid_hz == pytest.approx(49.70, abs=0.0151)  # its noise, and steps of 0.01 Hz
        assert await port.read_grid_hz() == pytest.approx(49.70, abs=0.0151)
        assert port.capabilities.frequency_step_hz == pytest.approx(0.01)
        assert sample.grid_w is None  # an inverter does not see the site's import


async def test_a_controller_that_measures_frequency_is_asked_before_an_older_inverter(tmp_path: Path) -> None:
    text = files("edge.modbus").joinpath("profiles/example_fine.yaml").read_text(encoding="utf-8")
    own = "points:\n  grid_hz: {address: 99, type: uint16, scale: 0.1, unit: Hz}\n"
    profile = tmp_path / "own_meter.yaml"
    profile.write_text(text.replace("points:\n", own, 1))
    async with older_site(str(profile)) as (_, port):
        assert port.capabilities.frequency_step_hz == pytest.approx(0.1)  # the inverter's is 0.01


async def test_an_outage_is_no_frequency_for_an_older_inverter_either() -> None:
    async with older_site() as (sim, port):
        sim.put(Fault(site=0, kind="mains_outage"))
        sim.advance_to(sim.at + timedelta(seconds=1))
        with pytest.raises(DeviceError, match="no mains frequency"):
            await port.read_grid_hz()
        assert (await port.read()).grid_v == pytest.approx(0.0, abs=1.0)


async def test_the_meter_is_asked_before_the_inverters() -> None:
    sim = FleetSimulation([SITE], seed=5, start=START)
    models = await open_models(Device("d", Connection(sim.link(0)), 2, Patience(retries=0)))
    inverter, meter = models[103], models[203]
    assert 103 not in plan_reads({103: inverter, 203: meter}, set())
    assert plan_reads({103: inverter}, set()) == {103: {"grid_v": "PhVphA", "grid_hz": "Hz"}}
    assert plan_reads({103: inverter}, {"grid_v", "grid_hz"}) == {}  # the controller measures both
    assert layout_of(101) == layout_of(103)  # a single-phase inverter's phase is PhVphA too
