"""Measurements that do not fit together end a duty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge.gateway.plausible import doubt
from edge.modbus.port import FieldSample
from edge.simulator.faults import Fault
from telemetry.model.reading import SiteState
from tests.edge.gateway.bench import bench, seal
from tests.edge.gateway.test_commands import SAMPLE
from tests.edge.gateway.test_core import HOUR

# Rectifier 1,200 W + PV 300 W = load 2,000 W + battery -500 W.
FIT = replace(SAMPLE, load_w=2000.0, rectifier_w=1200.0, pv_w=300.0, battery_w=-500.0, meter_battery_w=-500.0)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (FIT, ""),
        (replace(FIT, rectifier_w=None, load_w=9000.0), ""),
        # 250 W and 15 % of 2,000 W may be missing.
        (replace(FIT, rectifier_w=1200.0 + 550.0), ""),
        (replace(FIT, rectifier_w=1200.0 + 551.0), "power_balance"),
        (replace(FIT, rectifier_w=1200.0 - 551.0), "power_balance"),
        # The meters may differ by 200 W and 15 %: -500 W against -225 W is 275 W.
        (replace(FIT, battery_w=-225.0), ""),
        (replace(FIT, battery_w=-224.0), "battery_meters_disagree"),
        (replace(FIT, meter_battery_w=None, battery_w=-1100.0), "power_balance"),
    ],
)
def test_what_does_not_fit_is_named(sample: FieldSample, expected: str) -> None:
    assert doubt(sample, inverter=False) == expected


def test_an_inverter_on_the_bus_leaves_no_balance_to_judge() -> None:
    assert doubt(replace(FIT, rectifier_w=9000.0), inverter=True) == ""


async def test_a_stuck_current_sensor_cannot_run_the_loop_away(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
        await made.step(count=30)
        made.fleet.put(Fault(site=0, kind="stuck_sensor", point="battery_a", value=0.0))
        await made.step(count=12)
        assert made.last_ack().reason == "device_fault"
        assert made.states()[-1].state is SiteState.FAULT
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)
        # Never below what load and float allow, whatever the sensor said: the bus stayed on the live backstop's side.
        assert min(volts for _, _, volts, _ in made.trace) >= 47.0
