"""What may happen while an isolated section is fed (simulated): each ends it, or leaves the interlock as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace as alter

from edge.gateway.limits import ExportRule
from edge.gateway.local import LocalRule, PeakRule, SunRule
from edge.plan import AckVerdict, CommandId, CommandKind, ModeBody, ScheduleBody
from edge.simulator.faults import Fault
from telemetry.model.site import SiteMode
from tests.edge.gateway.bench import NOON, TEST, Bench, StepClock, bench, seal
from tests.edge.gateway.test_export import EXPORT
from tests.edge.gateway.test_interlock import ISLAND
from tests.edge.gateway.test_island import FEEDS, SITE, darken, feed, inverter_w, order, put, told
from tests.edge.gateway.test_reserve import FAST, ORDER


def commanded_w(made: Bench) -> float:
    """Return the power that the inverter is told, W."""
    return float(made.fleet.plant.commands.inverter_w[0])


async def test_a_genset_that_takes_load_ends_it(tmp_path: Path) -> None:
    backed = replace(SITE, genset_w=6000.0, fuel_l=100.0)
    async with bench(tmp_path, config=FEEDS, spec=backed) as made:
        await feed(made)
        await made.step(count=40)  # it starts after thirty seconds without mains
        assert float(made.fleet.plant.state.genset_w[0]) > 100.0
        assert commanded_w(made) == 0.0
        assert told(made) == ["genset_running"]


async def test_a_reserve_is_refused_and_rules_of_the_sites_own_are_silent_meanwhile(tmp_path: Path) -> None:
    rule = LocalRule(
        keep_soc_frac=0.2,
        import_peak=PeakRule(limit_w=100.0, most_w=3000.0),
        self_consumption=SunRule(most_w=3000.0, full_weekday=6),
    )
    async with bench(tmp_path, config=alter(FEEDS, local=rule, fast=FAST), spec=SITE) as made:
        await feed(made)
        events = len([event for event in made.events() if event.kind == "local"])
        await made.order(seal(replace(ORDER, command_id=CommandId("c-2"), sequence=2)))
        assert made.last_ack().reason == "in_outage"
        await made.core.reserve.tick()
        await made.step(count=5)
        assert inverter_w(made) < -1000.0  # the refused one has changed nothing
        assert len([event for event in made.events() if event.kind == "local"]) == events
        assert made.fleet.plant.commands.rectifier_v[0] == pytest.approx(54.4)


async def test_all_duties_end_together_also_those_still_to_come(tmp_path: Path) -> None:
    first = ScheduleBody(start=NOON, step_s=60, setpoint_w=(-3500.0,))
    later = ScheduleBody(start=NOON + timedelta(seconds=60), step_s=60, setpoint_w=(-3500.0,))
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await darken(made)
        for number, body in ((1, first), (2, later)):
            name = CommandId(f"c-{number}")
            command = replace(TEST, command_id=name, sequence=number, kind=CommandKind.SCHEDULE, body=body)
            await made.order(seal(command))
            assert made.last_ack().verdict is AckVerdict.ACCEPTED
        await made.step(count=3)
        assert [duty.command.command_id for duty in made.core.duties] == ["c-1", "c-2"]
        put(made, "switch_open", on=False)
        await made.step()
        assert not made.core.duties
        put(made, "switch_open")
        await made.step(count=70)  # into the second's time
        assert commanded_w(made) == 0.0


@pytest.mark.parametrize("jump", [timedelta(seconds=30), -timedelta(seconds=30)])
async def test_a_clock_that_jumps_ends_it(tmp_path: Path, jump: timedelta) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        made.clock.at += jump
        await made.core.control_once()
        await made.settle()
        assert commanded_w(made) == 0.0
        assert made.core.duties == ()


async def test_papers_that_end_meanwhile_end_it(tmp_path: Path) -> None:
    paper = alter(ISLAND, authority_expires_at=NOON + timedelta(seconds=20))
    config = alter(FEEDS, limits=alter(FEEDS.limits, export=alter(EXPORT, island=paper)))
    async with bench(tmp_path, config=config, spec=SITE) as made:
        await feed(made)
        while made.clock.now() < paper.authority_expires_at:
            assert commanded_w(made) < 0.0
            await made.step()
        assert commanded_w(made) == 0.0
        assert told(made) == ["authority_expired"]


async def test_a_lower_mode_ends_it(tmp_path: Path) -> None:
    lower = replace(
        TEST,
        command_id=CommandId("c-2"),
        sequence=2,
        kind=CommandKind.MODE,
        body=ModeBody(mode=SiteMode.SHADOW),
    )
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        await made.order(seal(lower))
        assert commanded_w(made) == 0.0
        await made.order(order(number=3))
        assert made.last_ack().reason == "mode_not_remote"


async def test_a_restart_in_mid_feeding_ends_it_at_the_first_scan(tmp_path: Path) -> None:
    clock = StepClock()
    async with bench(tmp_path, config=FEEDS, spec=SITE, clock=clock) as made:
        await feed(made)
        fleet = made.fleet
    # Killed and back within a second: its three seconds are not over.
    async with bench(tmp_path, config=FEEDS, spec=SITE, clock=clock, fleet=fleet, seed=8) as made:
        made.core.restore(clock.now())
        assert made.core.duties == ()
        await made.step()
        assert commanded_w(made) == 0.0


async def test_mains_that_flicker_between_two_scans_end_it(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "mains_outage", on=False)
        made.clock.advance(0.2)
        made.fleet.advance_to(made.clock.now())
        await made.core.island.glance()
        put(made, "mains_outage")
        await made.step(0.8)
        assert commanded_w(made) == 0.0
        assert made.core.duties == ()
        assert made.last_ack().reason == "mains_back"


async def test_the_lesser_of_two_limits_bounds_what_is_fed(tmp_path: Path) -> None:
    small = ExportRule(certificate="EN 50549-1:2019 no. 17", limit_w=600.0, island=ISLAND)
    config = alter(FEEDS, limits=alter(FEEDS.limits, export=small))
    async with bench(tmp_path, config=config, spec=SITE) as made:
        await darken(made)
        load_w = float(made.fleet.plant.state.load_w[0])
        await made.order(order(-load_w - 600.0 / 0.95))
        await made.step(count=8)
        assert -600.0 <= commanded_w(made) <= -560.0
        made.fleet.put(Fault(site=0, kind="load_step", value=0.5))
        await made.step(count=3)
        assert commanded_w(made) == pytest.approx(-600.0, abs=1.0)


async def test_the_islands_own_limit_bounds_it_where_it_is_the_lesser(tmp_path: Path) -> None:
    hungry = replace(SITE, island_w=5000.0)
    async with bench(tmp_path, config=FEEDS, spec=hungry) as made:
        await darken(made)
        load_w = float(made.fleet.plant.state.load_w[0])
        await made.order(order(-load_w - 1800.0))  # 1,710 W at AC, of which 1,500 W are the island's
        assert made.last_ack().verdict is AckVerdict.ACCEPTED
        seen_w = []
        for _ in range(20):
            await made.step()
            seen_w.append(commanded_w(made))
        assert -1500.0 <= min(seen_w) <= -1450.0


async def test_the_higher_of_backstop_and_lowest_bus_voltage_counts(tmp_path: Path) -> None:
    config = alter(FEEDS, limits=alter(FEEDS.limits, bus_min_v=48.0))
    async with bench(tmp_path, config=config, spec=SITE) as made:
        await feed(made)
        made.fleet.put(Fault(site=0, kind="modbus_wrong_value", point="bus_v", value=47.9))
        await made.step()
        assert commanded_w(made) == 0.0
        assert told(made) == ["bus_at_backstop"]


async def test_a_glance_that_nobody_answers_ends_it(tmp_path: Path) -> None:
    async with bench(tmp_path, config=FEEDS, spec=SITE) as made:
        await feed(made)
        put(made, "modbus_silence")
        await made.core.island.glance()
        await made.settle()
        assert not made.core.duties
        assert told(made) == ["not_read"]
