from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edge.modbus.client import NoAnswerError, RefusedError
from edge.simulator.faults import Fault, TimedFault
from edge.simulator.fleet import FleetSimulation, follow
from edge.simulator.site_spec import SiteSpec

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SPECS = tuple(
    SiteSpec(site_id=f"sim-{k:03d}", peak_load_w=2000.0 + 500.0 * k, pv_rated_w=1500.0 if k == 1 else 0.0)
    for k in range(3)
)


def fleet(seed: int = 1) -> FleetSimulation:
    return FleetSimulation(SPECS, seed=seed, start=START)


def test_the_same_seed_and_steps_give_the_same_run() -> None:
    one, two, other = fleet(), fleet(), fleet(seed=2)
    for sim in (one, two, other):
        sim.advance_to(START + timedelta(minutes=3))
    assert np.array_equal(one.plant.state.soc_frac, two.plant.state.soc_frac)
    assert np.array_equal(one.sensors.values["meter_battery_w"], two.sensors.values["meter_battery_w"])
    assert not np.array_equal(one.plant.state.load_w, other.plant.state.load_w)


def test_the_plant_does_not_depend_on_the_portions_it_is_stepped_in() -> None:
    whole, parts = fleet(), fleet()
    whole.advance_to(START + timedelta(seconds=120))
    for k in range(1, 121):
        parts.advance_to(START + timedelta(seconds=k))
    assert parts.plant.state.soc_frac == pytest.approx(whole.plant.state.soc_frac, abs=1e-12)
    assert np.array_equal(parts.plant.state.load_w, whole.plant.state.load_w)


def test_time_does_not_run_backwards() -> None:
    sim = fleet()
    sim.advance_to(START - timedelta(hours=1))
    assert sim.at == START


def test_history_has_a_row_per_step_and_a_live_run_goes_on_from_its_end() -> None:
    sim = fleet()
    history = sim.run_history(START + timedelta(hours=6))
    assert history.unix_s.size == 72
    assert history.values["load_w"].shape == (72, 3)
    assert history.instants()[-1] == START + timedelta(hours=6)
    expected = sim.model.site_load_w(
        np.arange(3), history.unix_s - 300.0, np.array([2000.0, 2500.0, 3000.0])
    ).T
    # A reading shows the load of the step before it, within gain error and noise.
    assert history.values["load_w"] == pytest.approx(expected, rel=0.03)
    sim.advance_to(START + timedelta(hours=6, seconds=5))
    assert sim.at == START + timedelta(hours=6, seconds=5)


def test_a_fault_strikes_at_its_instant_and_ends_at_its_end() -> None:
    sim = fleet()
    strike = START.timestamp() + 10.4
    sim.plan_faults(
        [
            TimedFault(at_s=strike + 5.0, fault=Fault(site=1, kind="mains_outage", on=False)),
            TimedFault(at_s=strike, fault=Fault(site=1, kind="mains_outage")),
        ]
    )
    seen = []
    for k in range(1, 40):
        sim.advance_to(START + timedelta(seconds=0.5 * k))
        seen.append(bool(sim.plant.state.mains[1]))
    # Struck 0.4 s into the step that ends at 10.5 s: dark from there to the step that begins at 15.4 s.
    assert [k for k, ok in enumerate(seen, start=1) if not ok] == list(range(21, 31))
    assert sim.plant.state.mains[0]


def test_a_stuck_sensor_keeps_its_value_while_the_plant_moves_on() -> None:
    sim = fleet()
    sim.put(Fault(site=0, kind="stuck_sensor", point="load_w"))
    held = float(sim.sensors.values["load_w"][0])
    sim.advance_to(START + timedelta(minutes=20))
    assert sim.sensors.values["load_w"][0] == held
    sim.put(Fault(site=0, kind="stuck_sensor", point="load_w", on=False))
    sim.advance_to(START + timedelta(minutes=21))
    assert sim.sensors.values["load_w"][0] != held


def test_an_unknown_sensor_cannot_stick() -> None:
    with pytest.raises(ValueError, match="no sensor"):
        fleet().put(Fault(site=0, kind="stuck_sensor", point="colour"))


def test_a_tripped_battery_and_a_lost_module_show_as_alarms() -> None:
    sim = fleet()
    sim.put(Fault(site=0, kind="battery_trip", value=1))
    sim.put(Fault(site=2, kind="module_loss", value=2))
    sim.advance_to(START + timedelta(seconds=2))
    assert sim.sensors.values["alarms"].tolist() == [2.0, 0.0, 4.0]
    assert sim.plant.state.closed[0].tolist() == [True, False, True]
    assert sim.plant.modules_ok().tolist() == [3, 3, 1]


def test_a_weak_cell_takes_its_strings_capacity() -> None:
    sim = fleet()
    before = sim.plant.full_ah()[0].sum()
    sim.put(Fault(site=0, kind="weak_cell", value=0.7))
    # 30 Ah of one 100 Ah string.
    assert before - sim.plant.full_ah()[0].sum() == pytest.approx(30.0)


async def test_silence_wrong_values_and_a_local_lock_on_the_wire() -> None:
    sim = fleet()
    link = sim.link(0)
    sim.put(Fault(site=0, kind="modbus_wrong_value", point="bus_v", value=48.0))
    assert await link.read(1, 100, 1) == [4800]
    sim.put(Fault(site=0, kind="modbus_wrong_value", point="bus_v", on=False))
    assert await link.read(1, 100, 1) != [4800]
    sim.put(Fault(site=0, kind="local_lock"))
    with pytest.raises(RefusedError, match="Busy"):
        await link.write(1, 201, [60])
    sim.put(Fault(site=0, kind="modbus_silence"))
    with pytest.raises(NoAnswerError):
        await link.read(1, 100, 1)


def test_the_meter_and_the_bms_disagree_by_no_more_than_their_errors() -> None:
    sim = fleet()
    sim.plant.commands.rectifier_v[:] = 47.0
    sim.plant.commands.revert_s[:] = 900.0
    ratios = []
    for k in range(1, 200):
        sim.advance_to(START + timedelta(seconds=k))
        if k > 20:
            true_w = sim.plant.state.string_a.sum(axis=1) * sim.plant.state.bus_v
            ratios.append(sim.sensors.values["meter_battery_w"] / true_w)
    means, spread = np.mean(ratios, axis=0), np.std(ratios, axis=0)
    # Class 0.5: gain error 0.15 % (three sigma 0.45 %), noise 0.2 % of reading and 2 W.
    assert means == pytest.approx(np.ones(3), abs=0.0055)
    assert 0.001 < spread.mean() < 0.004


async def test_following_a_clock_keeps_the_plant_at_its_instant() -> None:
    sim = fleet()
    waited: list[float] = []
    instants = iter(START + timedelta(seconds=s) for s in (0.1, 0.2, 6.2))

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await follow(sim, lambda: next(instants), sleep)
    assert sim.at == START + timedelta(seconds=6.2)
    assert waited == [0.1, 0.1, 0.1]


def test_a_long_gap_is_crossed_in_a_bounded_number_of_steps() -> None:
    sim = fleet()
    sim.advance_to(START + timedelta(hours=8), most_steps=96)
    assert sim.at == START + timedelta(hours=8)
    # 5-minute steps: energy served is load over the span all the same.
    assert sim.plant.state.energy.unserved.max() == 0.0
    assert 8 * 900.0 < sim.plant.state.energy.load[0] < 8 * 2100.0


def test_a_history_with_planned_faults_shows_them_where_they_were_planned() -> None:
    sim, plain = fleet(), fleet()
    hour = START.timestamp() + 3600.0
    sim.plan_faults(
        [
            TimedFault(at_s=hour, fault=Fault(site=0, kind="load_step", value=0.5)),
            TimedFault(at_s=hour + 3600.0, fault=Fault(site=0, kind="load_step", on=False)),
            TimedFault(at_s=hour, fault=Fault(site=2, kind="stuck_sensor", point="battery_c")),
        ]
    )
    step = timedelta(minutes=15)
    seen, truth = (one.run_history(START + timedelta(hours=3), step) for one in (sim, plain))
    ratio = seen.values["load_w"][:, 0] / truth.values["load_w"][:, 0]
    # Twelve quarters: the second hour at half the load, noise of 0.3 % and 2 W on both.
    assert ratio == pytest.approx(np.array([1.0] * 4 + [0.5] * 4 + [1.0] * 4), abs=0.02)
    assert len(set(seen.values["battery_c"][4:, 2])) == 1
    assert np.array_equal(seen.values["load_w"][:, 1], truth.values["load_w"][:, 1])
