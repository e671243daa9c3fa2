"""After how long an operator sees that something happens: the loop over real PostgreSQL, until a run writes its first event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from time import perf_counter

from agents.checkpoints import open_checkpoints
from agents.deps import AgentDeps
from agents.loop import Loop, LoopSettings
from agents.model_client import ChatModel
from telemetry.db import open_async_pool
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from ui.bench.agent_store import TimedThreadStore, ask
from ui.bench.eval_database import bench_database
from ui.bench.eval_fleet import NOW, evaluation_deps, evaluation_fleet
from ui.bench.harness import BenchmarkError
from ui.bench.still_clock import StillClock
from ui.ops.secrets import DatabaseRole

FIRST_EVENT = "first_event_s"
_WITHIN_S = 60.0
_GRACE_S = 0.3


def first_events(model: ChatModel, requests: Sequence[str]) -> list[float]:
    """Return for each request the seconds from its command to the first event of its run; none for no request.

    Each is asked while the planner still works on those before it: the run is not waited for.

    Raises:
        BenchmarkError: No event came within a minute.
    """
    if not requests:
        return []
    with bench_database() as dsn:
        return asyncio.run(first_events_over(dsn, model, requests))


async def first_events_over(
    dsn: Callable[[DatabaseRole], str], model: ChatModel, requests: Sequence[str]
) -> list[float]:
    """Return the same over a database that is there."""
    api = dsn(DatabaseRole.API)
    async with _loop(dsn(DatabaseRole.LOOP), model) as (loop, threads):
        stop = asyncio.Event()
        running = asyncio.create_task(loop.run(stop))
        try:
            return [
                await _until_shown(threads, api, number, text) for number, text in enumerate(("", *requests))
            ][1:]  # the first one compiles the graph and opens connections, once for a process
        finally:
            await asyncio.sleep(_GRACE_S)  # a quick planner comes to its end; a slow one is left
            stop.set()
            await running


async def _until_shown(threads: TimedThreadStore, api: str, number: int, text: str) -> float:
    threads.begin()
    begun = perf_counter()
    await asyncio.to_thread(
        ask, api, f"first-{number}", {"text": text or "how is the fleet?"}, NOW + timedelta(seconds=number)
    )
    while threads.first_event_s is None:
        if perf_counter() - begun > _WITHIN_S:
            raise BenchmarkError(f"the loop showed nothing within {_WITHIN_S:g} s")
        await asyncio.sleep(0.002)
    return threads.first_event_s - begun


@asynccontextmanager
async def _loop(own: str, model: ChatModel) -> AsyncIterator[tuple[Loop, TimedThreadStore]]:
    pool = await open_async_pool(own, application_name="cellwatt-bench", max_size=6)
    saver, checkpoints = await open_checkpoints(own)
    threads = TimedThreadStore(pool)
    tools = replace(evaluation_deps(evaluation_fleet()), plans=PlanStore(pool), dispatch=DispatchStore(pool))
    try:
        yield (
            Loop(
                deps=AgentDeps(tools=tools, model=model, clock=StillClock(NOW)),
                threads=threads,
                saver=saver,
                settings=LoopSettings(owner="bench", cycle_every=timedelta(0), at_once=8),
                notified=threads.notifications,
            ),
            threads,
        )
    finally:
        await checkpoints.close()
        await pool.close()
