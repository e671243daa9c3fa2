"""What every node has around it: a time-out that ends the run with a word, and a second try where the database was away."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from psycopg import OperationalError

from agents.deps import AgentSettings
from agents.graph import build_graph
from edge.plan import PlanId
from telemetry.model.incident import Incident
from tests.agents.harness import bench_over
from tests.agents.test_loop import a_loop, events, once, say
from tests.services import Database
from tools.planning.dispatch_store import DispatchStore


async def test_a_tool_that_hangs_ends_in_an_error_that_people_see(database: Database) -> None:
    async def hang() -> Sequence[Incident]:
        await asyncio.sleep(3600)
        return ()

    async with bench_over(database) as bench:
        loop = a_loop(bench)
        settings = AgentSettings(step_timeout=timedelta(seconds=0.5))
        loop.deps = replace(loop.deps, settings=settings, tools=replace(loop.deps.tools, incidents=hang))
        say(bench, "which incidents are open?")
        async with asyncio.timeout(30.0):
            await once(loop)
        [error] = events(bench, "error")
        assert "NodeTimeoutError" in error["text"]
        assert events(bench, "message") == []
        [(outcome,)] = bench.sql("SELECT outcome FROM thread_command_done")
        assert str(outcome).startswith("failed: NodeTimeoutError")
        loop.deps = replace(loop.deps, settings=AgentSettings(), tools=bench.deps().tools)
        say(bench, "which incidents are open?")
        await once(loop)
        assert len(events(bench, "message")) == 1  # the thread lives on


class AwayOnce(DispatchStore):
    """Writes a request, and loses the connection before it can say so; the first time only."""

    calls = 0

    async def request_dispatch(self, plan_id: PlanId, *, at: datetime) -> int:
        self.calls += 1
        number = await super().request_dispatch(plan_id, at=at)
        if self.calls == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return number


async def test_a_database_that_was_away_for_a_moment_is_asked_again_and_has_one_effect(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        dispatch = AwayOnce(bench.pool)
        wired = bench.deps()
        wired = replace(wired, tools=replace(wired.tools, dispatch=dispatch))
        given: Any = {"run_id": "r", "thread_id": "t", "kind": "cycle", "request": "timer"}
        config: Any = {"configurable": {"thread_id": "r"}}
        graph = build_graph(wired.settings).compile(checkpointer=bench.saver)
        state = await graph.ainvoke(given, config, context=wired, durability="sync")
        assert dispatch.calls == 2
        assert bench.sql("SELECT plan_id FROM dispatch_request") == [("plan-r-1-deep",)]
        assert [step["tool"] for step in state["steps"]].count("dispatch_request") == 1
        assert state["__interrupt__"][0].value["kind"] == "wait"
