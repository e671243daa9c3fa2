"""kill -9 of a real control process: what it committed is sent once more as the same bytes, and applied once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.control.request_store import AnotherControlError
from edge.control.signer import sign_key_set
from edge.plan import PlanStatus
from telemetry.model.clock import read_wall
from tests.edge.control.world import ROOT, SITES, World, eventually, fleet_plan, world_of
from tests.services import Broker, Database
from ui.ops.pki import CONTROL
from ui.ops.secrets import DatabaseRole

PROJECT = Path(__file__).parents[3]
NOBODY_LISTENS = 1  # port


@pytest.fixture
async def world(database: Database, broker: Broker, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(database, broker, tmp_path) as built:
        yield built


@dataclass
class Control:
    """A control process of its own."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL


@contextmanager
def control(world: World, *, port: int | None = None, sends_per_s: float = 200.0) -> Iterator[Control]:
    settings = world.broker.service(CONTROL)
    key_set = world.folder / "key_set.json"
    key_set.write_bytes(sign_key_set(world.keys, ROOT))
    config = world.folder / "control.json"
    config.write_text(
        json.dumps(
            {
                "dsn": world.database.dsn(DatabaseRole.CONTROL),
                "port": settings.port if port is None else port,
                "authority": str(settings.authority),
                "certificate": str(settings.certificate),
                "key": str(settings.key),
                "client_id": settings.client_id,
                "wall": read_wall().isoformat(),
                "domain": world.clock.now().isoformat(),
                "key_set": str(key_set),
                "heads": str(world.folder / "audit_heads.jsonl"),
                "sends_per_s": sends_per_s,
            }
        )
    )
    process = subprocess.Popen([sys.executable, "-m", "tests.edge.control.control_main", config], cwd=PROJECT)
    try:
        yield Control(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


async def rows_of(world: World) -> list[tuple[str, int, bytes]]:
    rows = await world.rows("SELECT site_id, sequence, envelope FROM command ORDER BY site_id")
    return [(site_id, sequence, bytes(envelope)) for site_id, sequence, envelope in rows]


async def states_are(world: World, plan_id: str, state: str) -> None:
    async def look() -> bool | None:
        rows = await world.rows("SELECT DISTINCT state FROM command WHERE plan_id = %s", plan_id)
        return True if rows == [(state,)] else None

    await eventually(look, within_s=10.0)


async def test_between_sign_and_send(world: World) -> None:
    plan = await world.propose(fleet_plan("plan-1"))
    await world.request(plan)
    with control(world, port=NOBODY_LISTENS) as first:
        await world.outcome(plan, "authorised", within_s=15.0)
        first.kill()
    signed = await rows_of(world)
    assert [(site, sequence) for site, sequence, _ in signed] == [(site, 1) for site in SITES]
    assert await world.rows("SELECT DISTINCT state, attempts FROM command") == [("pending", 0)]

    async with world.running_sites() as sites:
        with control(world):
            await states_are(world, "plan-1", "acknowledged")
    assert await rows_of(world) == signed
    for site_id, _, envelope in signed:
        assert len(sites[site_id].applied) == 1  # type: ignore[index]
        assert set(sites[site_id].payloads) == {envelope}  # type: ignore[index]
    assert await world.status(plan) is PlanStatus.DISPATCHED


async def test_in_the_middle_of_sending_and_before_any_answer(world: World) -> None:
    plan = await world.propose(fleet_plan("plan-1"))
    await world.request(plan)
    async with world.running_sites() as sites:
        for site in sites.values():
            site.silent = True
        with control(world, sends_per_s=2.0) as first:

            async def one_has_it() -> bool | None:
                return True if any(site.payloads for site in sites.values()) else None

            await eventually(one_has_it, within_s=15.0)
            first.kill()
        assert sum(bool(site.payloads) for site in sites.values()) < 3
        signed = await rows_of(world)
        for site in sites.values():
            site.silent = False
        with control(world):
            await states_are(world, "plan-1", "acknowledged")
    assert await rows_of(world) == signed
    for site_id, sequence, envelope in signed:
        site = sites[site_id]  # type: ignore[index]
        assert [command.sequence for command in site.applied] == [sequence] == [1]
        assert set(site.payloads) == {envelope}


async def test_a_second_control_process_does_not_start(world: World) -> None:
    with control(world, port=NOBODY_LISTENS):

        async def held() -> bool | None:
            rows = await world.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted")
            return True if rows else None

        await eventually(held, within_s=15.0)
        with pytest.raises(AnotherControlError):
            async with world.parts().requests.listening():
                pass
