"""The loop dies at any point and goes on: every effect happens once."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command

from agents.deps import AgentDeps
from agents.graph import build_graph
from edge.plan import Plan
from tests.agents.harness import Bench, bench_over
from tests.agents.test_loop import a_loop, events, once, say
from tests.services import Database
from tools.deps import Fleet
from ui.ops.secrets import DatabaseRole

ROOT = Path(__file__).parents[2]


class Crash(BaseException):
    """The process is gone; no `except Exception` sees it."""


def child(database: Database, mode: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "tests.agents.crash_child", database.dsn(DatabaseRole.LOOP), mode]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def line_of(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"the child never said {word!r}: {process.stderr.read()[-2000:]}")


@pytest.mark.parametrize(("mode", "written"), [("before", 0), ("after", 1)])
async def test_killed_between_approve_and_dispatch_the_request_is_made_once(
    database: Database, mode: str, written: int
) -> None:
    async with bench_over(database) as bench:
        first = child(database, mode)
        line_of(first, "here")
        first.kill()  # SIGKILL
        first.communicate()
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(written,)]
        second = child(database, "never")
        line_of(second, "settled")
        second.communicate()
        [(plan_id,)] = bench.sql("SELECT plan_id FROM dispatch_request")
        assert plan_id == "plan-cycle-20260310T155000-1-deep"
        assert bench.sql("SELECT count(*) FROM plan") == [(2,)]
        assert bench.sql("SELECT count(*) FROM plan_verdict") == [(1,)]
        [waiting] = await bench.threads.waiting()
        assert (waiting.kind, waiting.plan_id) == ("wait", plan_id)


async def test_a_crash_at_any_look_repeats_no_effect(database: Database) -> None:
    """Every node looks at the clock or the fleet, most of them several times; a run is crashed at each look in turn."""
    async with bench_over(database) as bench:
        total = await looks_in_a_whole_run(bench, "whole", crash_at=None)
        assert total >= 10
        for number in range(1, total + 1):
            run_id = f"run{number}"
            await looks_in_a_whole_run(bench, run_id, crash_at=number)
            of_run = f"plan-{run_id}-%"
            assert bench.sql("SELECT count(*) FROM dispatch_request WHERE plan_id LIKE %s", of_run) == [(1,)]
            assert bench.sql("SELECT count(*) FROM plan WHERE plan_id LIKE %s", of_run) == [(2,)]
            assert bench.sql("SELECT count(*) FROM plan_verdict WHERE plan_id LIKE %s", of_run) == [(1,)]
            assert bench.sql("SELECT count(*) FROM dispatch_report WHERE plan_id LIKE %s", of_run) == [(1,)]
            rows = bench.sql("SELECT status FROM plan WHERE plan_id = %s", f"plan-{run_id}-1-deep")
            assert rows == [("completed",)], f"crashed at look {number}"


@dataclass(slots=True)
class Looks:
    """Counts the looks at the clock and the fleet, and crashes at one of them, once."""

    crash_at: int | None
    count: int = 0

    def over(self, wired: AgentDeps) -> AgentDeps:
        """Return dependencies whose looks are counted."""

        def now() -> datetime:
            self.count += 1
            if self.count == self.crash_at:
                raise Crash
            return wired.clock.now()

        async def fleet() -> Fleet:
            now()
            return await wired.tools.fleet()

        return replace(wired, tools=replace(wired.tools, now=now, fleet=fleet))


async def looks_in_a_whole_run(bench: Bench, run_id: str, *, crash_at: int | None) -> int:
    """Run a cycle from beginning to end, crash once at the given look at the clock or the fleet, and return the looks there were."""
    start = bench.clock.at
    looks = Looks(crash_at)
    deps = looks.over(bench.deps())
    given = {"run_id": run_id, "thread_id": "t", "kind": "cycle", "request": "timer"}
    plan = await plan_of(bench, await advance(bench, deps, run_id, given))
    bench.control_authorises(plan)
    await advance(bench, deps, run_id, given)
    bench.clock.at = plan.window_end + timedelta(minutes=3)
    state = await advance(bench, deps, run_id, given)
    assert state["stage"] == "told:verified"
    bench.clock.at = start
    return looks.count


async def plan_of(bench: Bench, state: dict[str, Any]) -> Plan:
    stored = await bench.deps().tools.plans.fetch(state["plan_id"])
    assert stored is not None
    return stored.plan


async def test_a_crash_at_any_look_of_a_chat_turn_repeats_no_step(database: Database) -> None:
    async with bench_over(database) as bench:
        whole, steps = await looks_in_a_turn(bench, "whole", crash_at=None)
        assert whole >= 8  # two choices, assess, propose, validate, approve, request, report
        for number in range(1, whole + 1):
            run_id = f"turn{number}"
            _, again = await looks_in_a_turn(bench, run_id, crash_at=number)
            assert again == steps, f"crashed at look {number}"
            of_run = f"plan-{run_id}-%"
            assert bench.sql("SELECT count(*) FROM plan WHERE plan_id LIKE %s", of_run) == [(2,)]
            assert bench.sql("SELECT count(*) FROM dispatch_request WHERE plan_id LIKE %s", of_run) == [(1,)]
            assert bench.sql("SELECT count(*) FROM plan_verdict WHERE plan_id LIKE %s", of_run) == [(1,)]
            assert bench.sql("SELECT count(*) FROM dispatch_report WHERE plan_id LIKE %s", of_run) == [(1,)]


async def looks_in_a_turn(bench: Bench, run_id: str, *, crash_at: int | None) -> tuple[int, list[str]]:
    """Ask for a plan in words, let control refuse it, and return the looks and the steps that the run remembers."""
    looks = Looks(crash_at)
    deps = looks.over(bench.deps())
    words = "make a plan to shave the peak on feeder-1 from 18:00 to 19:30"
    given = {"run_id": run_id, "thread_id": "t", "kind": "chat", "request": words, "history": []}
    plan = await plan_of(bench, await advance(bench, deps, run_id, given))
    bench.control_says(plan, "refused", {"broken": []})
    state = await advance(bench, deps, run_id, given)
    assert state["stage"] == "told:refused"
    return looks.count, [step["tool"] for step in state["steps"]]


async def test_a_crash_at_any_look_of_a_replan_makes_one_successor(database: Database) -> None:
    async with bench_over(database) as bench:
        whole = await looks_in_a_replan(bench, "whole", crash_at=None)
        assert whole >= 4  # renew, validate, request, report
        for number in range(1, whole + 1):
            run_id = f"base{number}"
            await looks_in_a_replan(bench, run_id, crash_at=number)
            # 17:22 and two minutes' lead: the successor takes over at 17:30.
            successor = f"plan-{run_id}-1-deep.q20260310T1730"
            for table in ("plan", "dispatch_request", "plan_verdict", "dispatch_report"):
                rows = bench.sql(f"SELECT count(*) FROM {table} WHERE plan_id = %s", successor)
                assert rows == [(1,)], f"{table}, crashed at look {number}"


async def looks_in_a_replan(bench: Bench, run_id: str, *, crash_at: int | None) -> int:
    """Bring a plan of 4 kW to its sites, let one drop out, plan again with a crash, and return the looks of the re-plan."""
    start, goal = bench.clock.at, {
        "objective": "demand_response", "feeder_ids": ["feeder-1"], "start": "2026-03-10T17:00:00Z",
        "end": "2026-03-10T18:30:00Z", "relief_kw": 4.0,
    }  # fmt: skip
    given = {"run_id": run_id, "thread_id": "t", "kind": "cycle", "request": "r", "goal": goal}
    plan = await plan_of(bench, await advance(bench, bench.deps(), run_id, given))
    bench.control_authorises(plan)
    bench.clock.at, bench.world.live_plans = start + timedelta(minutes=92), (plan,)
    bench.world.offline.add("cbs-0003")
    looks = Looks(crash_at)
    deps, again = looks.over(bench.deps()), f"again-{run_id}"
    given = {"run_id": again, "thread_id": "t", "kind": "replan", "request": "r", "supersedes": plan.plan_id}
    successor = await plan_of(bench, await advance(bench, deps, again, given))
    assert [site.site_id for site in successor.sites] == ["cbs-0001", "cbs-0002", "cbs-0004"]
    bench.control_says(successor, "refused", {"broken": []})
    state = await advance(bench, deps, again, given)
    assert state["stage"] == "told:refused"
    bench.clock.at, bench.world.live_plans = start, ()
    bench.world.offline.clear()
    return looks.count


async def advance(bench: Bench, deps: AgentDeps, run_id: str, given: Any) -> dict[str, Any]:
    """Go on until the run waits or ends, beginning anew from the checkpoint after a crash."""
    while True:
        graph = build_graph(deps.settings).compile(checkpointer=bench.saver)
        config: Any = {"configurable": {"thread_id": run_id}}
        before = await graph.aget_state(config)
        if before.next:
            given = Command(resume="look") if before.interrupts else None
        try:
            return await graph.ainvoke(given, config, context=deps, durability="sync")
        except Crash:
            continue


class DyingSaver(AsyncPostgresSaver):
    """Dies as it is to keep that the report has been made: from then on nothing is kept."""

    dead = False

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self.dead |= any(channel == "stage" and str(value).startswith("told:") for channel, value in writes)
        if self.dead:
            raise Crash
        await super().aput_writes(config, writes, task_id, task_path)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        if self.dead:
            raise Crash
        return await super().aput(config, checkpoint, metadata, new_versions)


async def test_an_answer_is_shown_once_though_the_process_died_before_it_was_kept_as_told(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        say(bench, "How long does cbs-0003 hold on its battery?")
        first = a_loop(bench)
        first.saver = DyingSaver(bench.saver.conn)
        await once(first)
        [message] = events(bench, "message")
        assert events(bench, "done") == []
        assert bench.sql("SELECT count(*) FROM thread_command_done") == [(0,)]
        await once(a_loop(bench))  # the next process
        assert events(bench, "message") == [message]
        assert [one["stage"] for one in events(bench, "done")] == ["told:answered"]
        say(bench, "How long does cbs-0003 hold on its battery?")
        await once(a_loop(bench))
        assert len(events(bench, "message")) == 2  # another turn may well say the same
