"""What a kill -9 between accepting and answering leaves behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace as alter

from edge.gateway.state_file import Remembered, StateFile, StateFileError
from edge.plan import AckVerdict, CommandId
from tests.edge.gateway.bench import NOON, StepClock, bench, seal
from tests.edge.gateway.test_core import HOUR, duties

ROOT_FOLDER = Path(__file__).parents[3]


async def test_a_kill_between_accept_and_acknowledgement_repeats_nothing(tmp_path: Path) -> None:
    script = Path(__file__).with_name("die_before_ack.py")
    died = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path), cwd=ROOT_FOLDER, env={"PYTHONPATH": str(ROOT_FOLDER)}
    )
    assert await died.wait() == -signal.SIGKILL
    clock = StepClock(NOON + timedelta(seconds=20))
    async with bench(tmp_path, keys=False, clock=clock, seed=8) as made:
        # What was never said is said now, without being asked.
        assert [(ack.command_id, ack.verdict) for ack in made.acks()] == [("c-1", AckVerdict.ACCEPTED)]
        made.core.restore(clock.now())
        assert duties(made) == 1
        writes = len(made.fleet.devices[0].writes)
        await made.order(seal(HOUR))
        assert made.last_ack() == made.acks()[0]
        assert len(made.fleet.devices[0].writes) == writes
        assert duties(made) == 1
        await made.order(seal(replace(HOUR, command_id=CommandId("c-2"))))
        assert made.last_ack().reason == "stale_sequence"


async def test_a_clock_that_went_back_while_the_gateway_was_away_takes_up_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.order(seal(HOUR))
    clock = StepClock(NOON - timedelta(hours=1))
    async with bench(tmp_path, keys=False, clock=clock, seed=8) as made:
        made.core.restore(clock.now())
        assert duties(made) == 0
        await made.settle()
        assert (made.last_ack().verdict, made.last_ack().reason) == (AckVerdict.EXPIRED, "not_restored")


def test_a_state_file_is_replaced_whole_and_a_broken_one_stops_the_gateway(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json")
    assert file.load() == Remembered()
    file.save(alter(Remembered(), last_sequence=7))
    assert file.load().last_sequence == 7
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    (tmp_path / "state.json").write_bytes(b'{"last_sequ')
    with pytest.raises(StateFileError, match=r"state\.json"):
        file.load()


def test_a_disk_that_refuses_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StateFileError):
        StateFile(tmp_path / "no such folder" / "state.json").save(Remembered())
