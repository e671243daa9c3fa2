"""The edge benchmark's parts in their small form; the full form is `cellwatt bench edge`. Everything is simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from edge.plan import Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.site_spec import SiteSpec
from telemetry.model.site import SiteId
from ui.bench.edge import run
from ui.bench.edge_account import QUARTER, Account, asked_w
from ui.bench.edge_cut import run as run_cut
from ui.bench.edge_energy import load_steps, reboots
from ui.bench.edge_fleet import stepped_fleet
from ui.bench.edge_many import run as run_many
from ui.bench.edge_physics import run as run_physics
from ui.bench.edge_siege import besiege

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ORDER = Command(
    command_id=CommandId("c-1"),
    plan_id=None,
    site_id=SiteId("cbs-0001"),
    sequence=1,
    accept_by=NOON + timedelta(minutes=5),
    not_before=NOON - timedelta(minutes=1),
    valid_until=NOON + timedelta(hours=1),
    kind=CommandKind.SCHEDULE,
    body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1000.0, -400.0)),
)


async def test_a_siege_in_small_is_answered_rightly_and_moves_nothing(tmp_path: Path) -> None:
    score = await besiege(tmp_path, 3, 300)
    assert sum(score.shots.values()) == 300
    assert set(score.shots) == {"tampered", "replayed", "reordered", "expired", "misaddressed"}
    assert score.wrong == []
    assert score.acted == 0
    assert score.obeyed == 2  # at the first shot and after 250
    assert {
        "bad_signature",
        "malformed",
        "unknown_key",
        "key_expired",
        "wrong_site",
        "stale_sequence",
    } <= set(score.answers)
    assert {"too_late", "expired", "window_unsound", "too_far_ahead"} <= set(score.answers)


def test_each_quarter_of_an_order_is_asked_of_its_site_alone() -> None:
    quarters = [NOON - QUARTER, NOON, NOON + QUARTER, NOON + 2 * QUARTER]
    assert asked_w({1: ORDER}, 3, quarters).tolist() == [
        [0.0, 0.0, 0.0],
        [0.0, -1000.0, 0.0],
        [0.0, -400.0, 0.0],
        [0.0, 0.0, 0.0],
    ]


def test_a_battery_that_does_nothing_owes_all_but_what_the_load_took_away() -> None:
    spec = SiteSpec(site_id="s", peak_load_w=3000.0, initial_soc_frac=1.0)
    fleet = FleetSimulation([spec], seed=1, start=NOON)
    account = Account(fleet, {0: ORDER}, NOON, 1)
    load_w = float(fleet.model.site_load_w(fleet._sites, fleet._drives[0], fleet._peak_w)[0, 0])
    # Half of the quarter at a load of 400 W: of the 250 Wh commanded, 600 W x 450 s are limited.
    account.advance(NOON + timedelta(seconds=450))
    fleet.put(Fault(site=0, kind="load_step", value=400.0 / load_w))
    account.advance(NOON + timedelta(minutes=16))
    assert account.done
    done = account.outcome()
    assert done.commanded_wh == pytest.approx(250.0)
    assert done.limited_wh == pytest.approx(75.0, rel=0.1)
    # Nothing was delivered: the whole of what was owed is error, and no grid relief.
    assert done.true_error_wh == pytest.approx(250.0 - done.limited_wh, rel=0.02)
    assert abs(done.relief_wh) < 5.0


async def test_a_stepped_fleet_delivers_through_a_reboot_and_lets_its_orders_end(tmp_path: Path) -> None:
    async with stepped_fleet(tmp_path, seed=7, sites=4, start=NOON - timedelta(seconds=30)) as fleet:
        orders = {
            index: replace(
                ORDER,
                site_id=fleet.sites[index].site_id,
                command_id=CommandId(f"c-{index}"),
                body=ScheduleBody(start=NOON, step_s=60, setpoint_w=(-1200.0, -600.0)),
            )
            for index in fleet.able
        }
        await fleet.order(orders)
        await fleet.step(1.0, 60)
        state = fleet.fleet.plant.state
        # One voltage step of 10 mV moves six strings of 15 mOhm by 4 A, about 215 W.
        power_w = (state.string_a.sum(axis=1) * state.bus_v)[list(orders)]
        assert power_w == pytest.approx([-1200.0] * len(orders), abs=220.0)
        fleet.put(Fault(site=fleet.able[0], kind="reboot", value=5.0))
        await fleet.step(1.0, 2)
        assert state.string_a[fleet.able[0]].sum() > -1.0  # away, and at float
        await fleet.step(1.0, 50)
        power_w = (state.string_a.sum(axis=1) * state.bus_v)[list(orders)]
        assert power_w == pytest.approx([-600.0] * len(orders), abs=220.0)
        await fleet.step(1.0, 45)
        await fleet.settle()
        assert fleet.answers(fleet.able) == {"completed": len(orders)}


def test_load_steps_and_reboots_are_as_many_as_said_and_inside_the_event() -> None:
    steps = load_steps(Random(1), range(40), NOON, 2)
    assert len([one for one in steps if one.fault.on]) == 16  # a fifth of 40, twice
    assert len(steps) == 32
    assert all(NOON.timestamp() <= one.at_s <= (NOON + 2 * QUARTER).timestamp() for one in steps)
    away = reboots(Random(1), range(40), NOON, 2, 0.05)
    assert len({one.fault.site for one in away}) == 2


def test_after_a_cut_all_readings_come_in_order_at_their_rate_and_live_ones_do_not_wait() -> None:
    figures = run_cut(seed=7, sites=4, hours=0.15, rate_per_s=40.0)["figures"]
    # 54 steps of 10 s at four sites; the last 20 messages of each go as live ones.
    assert figures["backlog_messages"] == 4 * (54 - 20)
    assert figures["readings_missing"] == 0
    assert figures["out_of_order"] == 0
    assert figures["over_rate_ratio"] <= 1.0
    assert figures["live_delay_max_s"] < 5.0


def test_a_quarter_of_a_day_of_the_plant_closes_and_repeats_itself() -> None:
    figures = run_physics(seed=7, sites=4, days=0.25, step_s=300.0)["figures"]
    assert figures["bus_error_frac"] < 1e-9
    assert figures["battery_error_frac"] < 1e-3
    assert figures["same_seed_same_run"]
    assert figures["worked_cycles"] > 0.05


@pytest.mark.proof
def test_the_whole_benchmark_of_a_dozen_sites_meets_its_goals() -> None:
    outcome = run(seed=7, sites=12, quarters=1, window_s=30.0, siege=500)
    figures, goals = outcome["figures"], outcome["goals"]
    assert figures["commanded"] == 11
    assert figures["confirmed_frac"] == 1.0
    assert figures["readings_stored"] > 100  # the centre heard and confirmed them
    assert figures["broker_restart_dropouts"] == 0
    assert figures["deviation_frac"] <= goals["deviation_frac"]["value"]
    assert figures["siege_wrong_answer"] == 0


@pytest.mark.proof
def test_two_thousand_cores_fit_one_process() -> None:
    figures = run_many(seed=7, sites=2000, seconds=40.0)["figures"]
    assert figures["online"] == 2000
    assert figures["memory_per_core_kb"] <= 500.0
    assert figures["scans_per_core_ratio"] > 0.2  # how near to 1 depends on the machine
