from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.modbus.client import Connection, Device, Patience
from edge.modbus.port import DeviceError, WriteRefusedError
from edge.modbus.sunspec import SunspecModel, discover, layouts, open_models
from edge.simulator.fleet import FleetSimulation
from edge.simulator.site_spec import SiteSpec

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def simulated() -> tuple[FleetSimulation, Device]:
    spec = SiteSpec(site_id="sim-001", pv_rated_w=1500.0, inverter_w=2000.0, initial_soc_frac=0.5)
    sim = FleetSimulation([spec], seed=5, start=START)
    sim.advance_to(START + timedelta(seconds=30))
    return sim, Device("d", Connection(sim.link(0)), 2, Patience(retries=0))


def test_model_lengths_are_those_of_the_standard() -> None:
    known = layouts()
    # Lengths without id and length registers, from the SunSpec model definitions.
    assert {k: known[k].length for k in (1, 103, 203, 704, 713, 802)} == {
        1: 66, 103: 50, 203: 105, 704: 65, 713: 7, 802: 62,
    }  # fmt: skip
    assert (known[160].length, known[160].repeat_length) == (8, 20)
    assert (known[714].length, known[714].repeat_length) == (18, 25)


async def test_the_chain_is_found_in_order() -> None:
    _, device = simulated()
    assert [f.model for f in await discover(device)] == [1, 203, 103, 701, 704, 160, 713, 714, 802]


async def test_generation_positive_becomes_charging_positive() -> None:
    sim, device = simulated()
    models = await open_models(device)
    charging_w = float(sim.sensors.values["meter_battery_w"][0])
    assert charging_w > 1000.0
    # In the registers: injection positive, so below zero.
    raw = (await models[714].read(["DCW"]))["DCW"]
    assert raw == pytest.approx(charging_w, abs=0.6)
    frame = sim.devices[0].units[2].read(40000, 2)
    assert frame == [0x5375, 0x6E53]
    sim.plant.commands.inverter_w[:] = -1000.0
    sim.plant.commands.inverter_revert_s[:] = 60.0
    sim.advance_to(sim.at + timedelta(seconds=1))
    for model in (103, 701):
        assert (await models[model].read(["W"]))["W"] == pytest.approx(-1000.0, abs=20.0)


@pytest.mark.parametrize("sign", [-1, 1])
async def test_a_battery_model_is_read_with_the_sign_its_device_entry_gives(sign: int) -> None:
    sim, device = simulated()
    models = await open_models(device, sign)
    # The simulated device counts discharging positive, so only -1 gives charging positive.
    amps = (await models[802].read(["A"]))["A"]
    assert amps == pytest.approx(-sign * float(sim.sensors.values["battery_a"][0]), abs=0.06)
    assert sim.sensors.values["battery_a"][0] > 10.0


async def test_scale_factors_are_applied_and_absent_points_are_none() -> None:
    sim, device = simulated()
    models = await open_models(device)
    read = await models[203].read(["Hz", "W", "VA"])
    assert read["Hz"] == pytest.approx(float(sim.sensors.values["grid_hz"][0]), abs=0.006)
    assert read["VA"] is None
    assert await models[1].read_text("SN") == "sim-001"


async def test_a_repeating_group_is_read_by_number() -> None:
    sim, device = simulated()
    models = await open_models(device)
    assert models[160].repeats == 1
    read = await models[160].read(["DCW#0"])
    assert read["DCW#0"] == pytest.approx(float(sim.sensors.values["pv_w"][0]), abs=0.6)


@pytest.mark.parametrize(
    ("model", "point"), [(704, "AntiIslEna"), (802, "SetOp"), (704, "WMaxLimPct"), (1, "DA")]
)
async def test_points_off_the_list_are_never_written(model: int, point: str) -> None:
    sim, device = simulated()
    models: dict[int, SunspecModel] = await open_models(device)
    with pytest.raises(WriteRefusedError):
        await models[model].write(point, 1.0)
    assert sim.devices[0].writes == []


async def test_a_device_without_the_mark_is_no_sunspec_device() -> None:
    sim, _ = simulated()
    vendor = Device("r", Connection(sim.link(0)), 1, Patience(retries=0))
    with pytest.raises(DeviceError, match="no SunSpec mark"):
        await discover(vendor)
