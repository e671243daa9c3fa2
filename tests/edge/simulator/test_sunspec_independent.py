"""The simulated SunSpec device, judged by a client that shares no code with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sunspec2.modbus.client as independent

from edge.modbus.profile import load_profile
from edge.simulator.modbus_server import SiteDevices, SiteServer
from edge.simulator.plant import Plant
from edge.simulator.plant_state import Drive
from edge.simulator.sensors import Sensors
from edge.simulator.site_spec import SiteSpec

SITE = SiteSpec(site_id="sim-001", pv_rated_w=2000.0, inverter_w=2000.0, initial_soc_frac=0.8)


def drive(load_w: float = 2500.0, pv_w: float = 800.0) -> Drive:
    return Drive(
        load_w=np.array([load_w]), ambient_c=np.array([20.0]), pv_w=np.array([pv_w]), mains=np.array([True])
    )


async def served(work: Callable[[int], dict[str, float]], plant: Plant, sensors: Sensors) -> dict[str, float]:
    server = SiteServer(SiteDevices(0, plant, sensors, load_profile("example_fine")))
    port = await server.start()
    try:
        return await asyncio.to_thread(work, port)
    finally:
        await server.stop()


def scan(port: int) -> independent.SunSpecModbusClientDeviceTCP:
    device = independent.SunSpecModbusClientDeviceTCP(slave_id=2, ipaddr="127.0.0.1", ipport=port, timeout=5)
    device.scan()
    return device


async def test_pysunspec2_discovers_reads_and_sets_power() -> None:
    plant = Plant([SITE])
    for _ in range(30):
        plant.step(drive(), 1.0)
    sensors = Sensors(plant, seed=7)

    def work(port: int) -> dict[str, float]:
        device = scan(port)
        try:
            found = {
                "models": float(len({k for k in device.models if isinstance(k, int)})),
                "meter_w": device.models[203][0].W.cvalue,
                "pv_w": device.models[160][0].module[0].DCW.cvalue,
                "inverter_hz": device.models[701][0].Hz.cvalue,
                "soc_percent": device.models[713][0].SoC.cvalue,
                "battery_injects_w": device.models[714][0].DCW.cvalue,
            }
            control = device.models[704][0]
            control.WSetMod.value = 1
            control.WSet.cvalue = 1200
            control.WSetRvrtTms.cvalue = 60
            control.WSetEna.value = 1
            control.write()
            control.read()
            found |= {"set_w": control.WSet.cvalue, "left_s": control.WSetRvrtRem.cvalue}
            return found
        finally:
            device.close()

    found = await served(work, plant, sensors)
    # 1, 203, 103, 701, 704, 160, 713, 714 and 802.
    assert found["models"] == 9
    assert found["meter_w"] == pytest.approx(sensors.values["grid_w"][0], abs=0.6)
    assert found["inverter_hz"] == pytest.approx(50.0, abs=0.02)
    assert found["pv_w"] == pytest.approx(800.0, abs=20.0)
    assert found["soc_percent"] == pytest.approx(80.0, abs=6.0)
    # The battery charges, so SunSpec, which counts injection positive, reads below zero.
    assert found["battery_injects_w"] < -500.0
    assert found["set_w"] == 1200
    assert found["left_s"] == 60

    plant.step(drive(), 1.0)
    # SunSpec +1200 W is generation: 1,200 W discharging in our sign.
    assert plant.state.inverter_w[0] == -1200.0
    for _ in range(60):
        plant.step(drive(), 1.0)
    assert plant.state.inverter_w[0] == 0.0


async def test_pysunspec2_sets_power_on_older_storage_too() -> None:
    plant = Plant([replace(SITE, inverter_models="older")])
    for _ in range(30):
        plant.step(drive(), 1.0)

    def work(port: int) -> dict[str, float]:
        device = scan(port)
        try:
            control = device.models[124][0]
            control.InOutWRte_RvrtTms.value = 60
            control.OutWRte.cvalue = 60.0
            control.InWRte.cvalue = -60.0
            control.StorCtl_Mod.value = 3
            control.write()
            control.read()
            return {"rate": control.OutWRte.cvalue, "most_w": control.WChaMax.cvalue}
        finally:
            device.close()

    found = await served(work, plant, Sensors(plant, seed=7))
    assert found == {"rate": 60.0, "most_w": SITE.inverter_w}
    plant.step(drive(), 1.0)
    # At least and at most 60 % of the rating out of the battery.
    assert plant.state.inverter_w[0] == pytest.approx(-0.6 * SITE.inverter_w)
    for _ in range(60):
        plant.step(drive(), 1.0)
    assert plant.state.inverter_w[0] == 0.0
