"""What the agent costs without its model: a cycle and a chat turn through LangGraph, the loop and real PostgreSQL.

The fleet is `ui.bench.eval_fleet` (simulated, in memory), the planner is the policy planner; what its tools and the planner take
is measured by their own steps and taken off, so that what is left is nodes, checkpoints (`durability="sync"`), events and leases.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from time import perf_counter, process_time
from typing import Any

import numpy as np

from agents.checkpoints import open_checkpoints
from agents.deps import AgentDeps
from agents.loop import Loop, LoopSettings
from agents.policy import PolicyPlanner
from telemetry.db import migrate, open_async_pool, provision_roles
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from ui.bench.agent_store import TimedThreadStore, ask
from ui.bench.eval_fleet import NOW, evaluation_deps, evaluation_fleet
from ui.bench.part import goal
from ui.ops.files import private_folder
from ui.ops.postgres import TUNED, EmbeddedPostgres
from ui.ops.secrets import DatabaseRole


class _Clock:
    """Domain time that moves by a second at each run, so that threads have names of their own."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, duration: timedelta) -> None:
        self.at += duration

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration


def run(runs: int = 60, *, progress: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
    """Return figures and goals of so many cycles and as many chat turns."""
    passwords: dict[str, str] = {role: token_urlsafe(18) for role in DatabaseRole}
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedPostgres(private_folder(Path(name) / "postgres"), passwords, settings=TUNED) as server,
    ):
        provision_roles(server.dsn(), passwords)
        migrate(server.dsn(), applied_at=NOW)
        api, own = server.dsn(DatabaseRole.API), server.dsn(DatabaseRole.LOOP)
        figures = asyncio.run(_measured(own, api, runs, progress))
    goals = {
        "agent_cycle_overhead_p50_ms": goal("<", 50.0, gating=False),
        "agent_first_event_p95_ms": goal("<=", 3000.0, gating=False),
    }
    return {"figures": figures, "goals": goals}


async def _measured(dsn: str, api: str, runs: int, progress: Callable[[float], None]) -> dict[str, float]:
    pool = await open_async_pool(dsn, application_name="cellwatt-bench", max_size=6)
    saver, saver_pool = await open_checkpoints(dsn)
    try:
        clock, threads = _Clock(), TimedThreadStore(pool)
        tools = replace(
            evaluation_deps(evaluation_fleet()),
            now=clock.now,
            plans=PlanStore(pool),
            dispatch=DispatchStore(pool),
        )
        loop = Loop(
            deps=AgentDeps(tools=tools, model=PolicyPlanner(), clock=clock),
            threads=threads,
            saver=saver,
            settings=LoopSettings(owner="bench", cycle_every=timedelta(0)),
            notified=_nobody,
        )
        cycles, turns = [], []
        for number in range(runs + 5):  # the first five warm caches up
            cycles.append(
                await _run(loop, threads, clock, api, f"bench-cycle-{number}", {"text": "", "cycle": True})
            )
            turns.append(
                await _run(loop, threads, clock, api, f"bench-chat-{number}", {"text": "How is the fleet?"})
            )
            progress((number + 1) / (runs + 5))
    finally:
        await saver_pool.close()
        await pool.close()
    return {
        **_figures("agent_cycle", cycles[5:]),
        **_figures("agent_turn", turns[5:]),
        "agent_first_event_p95_ms": float(np.quantile([one[2] for one in turns[5:]], 0.95)) * 1e3,
        "agent_runs_count": float(runs),
    }


def _figures(name: str, found: list[tuple[float, float, float, float]]) -> dict[str, float]:
    whole, inside = np.array([one[0] for one in found]), np.array([one[1] for one in found])
    return {
        f"{name}_overhead_p50_ms": float(np.median(whole - inside)) * 1e3,
        f"{name}_overhead_p95_ms": float(np.quantile(whole - inside, 0.95)) * 1e3,
        f"{name}_wall_p50_ms": float(np.median(whole)) * 1e3,
        # Other work on the machine does not lengthen it.
        f"{name}_cpu_p50_ms": float(np.median([one[3] for one in found])) * 1e3,
    }


async def _run(
    loop: Loop, threads: TimedThreadStore, clock: _Clock, api: str, thread_id: str, body: dict[str, Any]
) -> tuple[float, float, float, float]:
    """Return the seconds of one run, those that its steps took, until the first event was written, and of this process's CPU."""
    clock.at += timedelta(seconds=1)
    ask(api, thread_id, body, clock.now())
    threads.begin()
    begun, cpu = perf_counter(), process_time()
    await loop.look()
    await loop.settle()
    spent = process_time() - cpu
    whole = perf_counter() - begun
    first = whole if threads.first_event_s is None else threads.first_event_s - begun
    return whole, threads.inside_s, first, spent


async def _nobody() -> AsyncIterator[None]:
    for _ in ():
        yield None
