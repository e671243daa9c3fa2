"""A loop process of its own for the crash tests: `python -m tests.agents.crash_child DSN MODE`.

MODE is where it stops and waits for its end: `before` or `after` the dispatch request is written, or `never`.
"""

import asyncio
import sys
from datetime import datetime, timedelta

from agents.checkpoints import open_checkpoints
from agents.deps import AgentDeps, AgentSettings
from agents.loop import Loop, LoopSettings
from agents.policy import PolicyPlanner
from agents.thread_store import ThreadStore
from edge.plan import ApprovalTier, PlanId
from edge.safety.validator import validate
from telemetry.db import open_async_pool
from telemetry.model.incident import Incident
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from tests.agents.harness import JumpClock
from tests.agents.worlds import World
from tools.deps import Deps, Fleet
from tools.health_look import HealthLook
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore


class Stopping(DispatchStore):
    """Says so and stands still at one point of the request."""

    mode = "never"

    async def request_dispatch(self, plan_id: PlanId, *, at: datetime) -> int:
        if self.mode == "before":
            await stand_still()
        number = await super().request_dispatch(plan_id, at=at)
        if self.mode == "after":
            await stand_still()
        return number


async def stand_still() -> None:
    print("here", flush=True)  # noqa: T201 (the parent waits for this line)
    await asyncio.sleep(3600)


async def main(dsn: str, mode: str) -> None:
    pool = await open_async_pool(dsn, application_name="crash-child")
    saver, _ = await open_checkpoints(dsn)
    world, clock = World(), JumpClock()
    dispatch = Stopping(pool)
    dispatch.mode = mode

    async def fleet() -> Fleet:
        return world.fleet(clock.now())

    async def nothing(_: datetime) -> int:
        return 0

    async def no_incidents() -> list[Incident]:
        return []

    deps = AgentDeps(
        tools=Deps(
            now=clock.now,
            fleet=fleet,
            refresh_forecasts=nothing,
            refresh_incidents=nothing,
            incidents=no_incidents,
            readings=ReadingStore(pool),
            health=HealthLook(readings=ReadingStore(pool), registry=RegistryStore(pool)),
            plans=PlanStore(pool),
            dispatch=dispatch,
            check=lambda plan, seen, now: validate(plan, seen.state, seen.limits, now),
            tier=lambda _plan, _fleet: ApprovalTier.AUTOMATIC,
        ),
        model=PolicyPlanner(),
        clock=clock,
        settings=AgentSettings(patience=timedelta(0)),
    )
    threads = ThreadStore(pool)
    every = (
        timedelta(minutes=15) if mode != "never" else timedelta(0)
    )  # the second life starts nothing by itself
    loop = Loop(
        deps=deps,
        threads=threads,
        saver=saver,
        settings=LoopSettings(owner="loop", cycle_every=every, look_every=timedelta(milliseconds=50)),
        notified=threads.notifications,
    )
    await loop.look()
    await loop.settle()
    print("settled", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
