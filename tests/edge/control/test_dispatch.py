"""From a dispatch request to commands that sites accepted, over the real database and broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.envelope import Verified, verify_command
from edge.plan import CommandKind, PlanStatus, ScheduleBody
from tests.edge.control.world import SITES, World, eventually, fleet_plan, world_of
from tests.edge.safety.examples import START
from tests.services import Broker, Database


@pytest.fixture
async def world(database: Database, broker: Broker, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(database, broker, tmp_path) as built:
        yield built


async def test_a_small_plan_goes_out_by_the_policy_alone(world: World) -> None:
    async with world.running_sites() as sites, world.running_control():
        plan = await world.propose(fleet_plan("plan-1"))
        await world.request(plan)
        outcome = await world.outcome(plan, "authorised")

        async def all_answered() -> list[str] | None:
            states = [command.state for command in await world.asks.commands(plan.plan_id)]
            return states if states == ["acknowledged"] * 3 else None

        await eventually(all_answered)

    assert outcome.doc["approvers"] == ["policy"]
    assert outcome.doc["commands"] == 3
    assert await world.status(plan) is PlanStatus.DISPATCHED
    for site_id in SITES:
        (command,) = sites[site_id].applied
        assert command.kind is CommandKind.SCHEDULE
        assert command.sequence == 1
        assert command.body == ScheduleBody(start=START, step_s=900, setpoint_w=(-256.0,) * 16)
        assert (command.not_before, command.valid_until) == (plan.window_start, plan.window_end)
    rows = await world.rows("SELECT site_id, envelope FROM command ORDER BY site_id")
    for site_id, envelope in rows:
        assert sites[site_id].payloads == [bytes(envelope)]
        assert isinstance(verify_command(bytes(envelope), world.keys, world.clock.now()), Verified)
    read_back = [command.read_back_v for command in await world.asks.commands(plan.plan_id)]
    assert read_back == [51.25] * 3
