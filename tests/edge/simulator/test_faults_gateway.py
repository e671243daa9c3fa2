"""What a gateway makes of each fault in mid-duty: four simulated sites, stepped by the second, the fault at the first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.plan import AckVerdict, Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault, FaultKind
from telemetry.model.site import SiteId
from ui.bench.edge_fleet import SteppedFleet, stepped_fleet

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ORDER = Command(
    command_id=CommandId("c-1"),
    plan_id=None,
    site_id=SiteId("cbs-0001"),
    sequence=1,
    accept_by=NOON + timedelta(seconds=61),
    not_before=NOON - timedelta(minutes=1),
    valid_until=NOON + timedelta(hours=1),
    kind=CommandKind.SCHEDULE,
    body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1200.0,)),
)


def orders(fleet: SteppedFleet) -> dict[int, Command]:
    return {
        index: replace(ORDER, site_id=fleet.sites[index].site_id, command_id=CommandId(f"c-{index}"))
        for index in fleet.able
    }


@asynccontextmanager
async def discharging(folder: Path) -> AsyncIterator[SteppedFleet]:
    """Four sites that have discharged 1.2 kW for 40 s."""
    async with stepped_fleet(folder, seed=7, sites=4, start=NOON) as fleet:
        await fleet.order(orders(fleet))
        await fleet.step(1.0, 40)
        assert power_w(fleet) == pytest.approx([-1200.0] * 4, abs=220.0)
        yield fleet


def power_w(fleet: SteppedFleet) -> list[float]:
    state = fleet.fleet.plant.state
    return list(np.asarray(state.string_a.sum(axis=1) * state.bus_v))


def verdicts(fleet: SteppedFleet, site: int) -> list[tuple[AckVerdict, str]]:
    return [(ack.verdict, ack.reason) for ack in fleet.links[site].acks]


@pytest.mark.parametrize(
    ("kind", "value", "point", "why"),
    [
        ("clock_skew", 90.0, "", "clock_jump"),
        ("modbus_silence", None, "", "device_fault"),
        ("battery_trip", 0.0, "", "device_fault"),
        ("module_loss", 1.0, "", "device_fault"),
        ("stuck_sensor", 0.0, "meter_battery_w", "device_fault"),
        ("modbus_wrong_value", 0.0, "714.DCW", ""),
        ("modbus_wrong_value", 300.0, "load_w", "device_fault"),
        ("mains_outage", None, "", "outage"),
        ("local_lock", None, "", "local_lock"),
    ],
)
async def test_a_fault_ends_the_duty_of_its_site_alone_and_says_why(
    tmp_path: Path, kind: FaultKind, value: float | None, point: str, why: str
) -> None:
    async with discharging(tmp_path) as fleet:
        fleet.put(Fault(site=0, kind=kind, value=value, point=point))
        await fleet.step(1.0, 12)
        await fleet.settle()
        ends = [reason for verdict, reason in verdicts(fleet, 0) if verdict is AckVerdict.EXPIRED]
        assert ends == ([why] if why else [])
        for site in (1, 2, 3):
            assert verdicts(fleet, site) == [(AckVerdict.ACCEPTED, "")]
        # Silent devices are not written: their own timer brings them back within its 45 s.
        await fleet.step(1.0, 40)
        commands = fleet.fleet.plant.commands
        at_float = commands.rectifier_v[0] >= fleet.fleet.plant.float_v[0] - 0.02
        assert bool(at_float) is bool(why)


async def test_a_clock_that_runs_ahead_finds_a_fresh_command_too_late(tmp_path: Path) -> None:
    async with stepped_fleet(tmp_path, seed=7, sites=4, start=NOON) as fleet:
        fleet.put(Fault(site=0, kind="clock_skew", value=120.0))
        await fleet.order(orders(fleet))
        assert verdicts(fleet, 0) == [(AckVerdict.REFUSED, "too_late")]
        assert verdicts(fleet, 1) == [(AckVerdict.ACCEPTED, "")]


async def test_a_reboot_in_mid_command_takes_it_up_again_and_answers_a_repetition_without_acting(
    tmp_path: Path,
) -> None:
    async with stepped_fleet(tmp_path, seed=7, sites=4, start=NOON) as fleet:
        await fleet.order(orders(fleet))
        fleet.put(Fault(site=0, kind="reboot", value=3.0))  # before its first control step
        await fleet.step(1.0, 2)
        assert power_w(fleet)[0] > -5.0
        await fleet.step(1.0, 40)
        assert power_w(fleet)[0] == pytest.approx(-1200.0, abs=220.0)
        writes = len(fleet.fleet.devices[0].writes)
        await fleet.order(orders(fleet))
        assert len(fleet.fleet.devices[0].writes) == writes
        assert set(verdicts(fleet, 0)) == {(AckVerdict.ACCEPTED, "")}


async def test_a_load_step_below_the_setpoint_is_limited_and_a_weak_cell_is_carried_by_the_others(
    tmp_path: Path,
) -> None:
    async with discharging(tmp_path) as fleet:
        load_w = fleet.fleet.plant.state.load_w
        fleet.put(Fault(site=0, kind="load_step", value=600.0 / float(load_w[0])))
        fleet.put(Fault(site=1, kind="weak_cell", value=0.5))
        await fleet.step(1.0, 30)
        await fleet.settle()
        assert power_w(fleet)[0] == pytest.approx(-600.0, abs=25.0)
        assert (AckVerdict.LIMITED, "load_below_setpoint") in verdicts(fleet, 0)
        string_a = fleet.fleet.plant.state.string_a[1]
        assert abs(string_a[0]) < 0.7 * abs(string_a[1])
        assert power_w(fleet)[1] == pytest.approx(-1200.0, abs=220.0)
