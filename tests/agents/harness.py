"""What the agent's tests run on: real PostgreSQL, the real gate and optimiser, a clock that jumps, control's rows."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from agents.checkpoints import open_checkpoints
from agents.deps import AgentDeps, AgentSettings
from agents.model_client import ChatModel
from agents.policy import PolicyPlanner
from agents.thread_store import ThreadStore
from edge.plan import ApprovalTier, Plan, PlanStatus
from edge.safety.validator import validate
from telemetry.db import open_async_pool
from telemetry.model.incident import Incident
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from tests.agents.worlds import NOW, World
from tests.services import Database
from tools.deps import Deps, Fleet
from tools.health_look import HealthLook
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from ui.ops.secrets import DatabaseRole


@dataclass(slots=True)
class JumpClock:
    """A clock whose sleeps take no time: domain time jumps instead."""

    at: datetime = NOW
    on_sleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self.at

    async def sleep(self, duration: timedelta) -> None:
        self.at += duration
        self.on_sleep()
        await asyncio.sleep(0)

    def to_wall(self, duration: timedelta) -> timedelta:
        return timedelta(0) * (duration / duration if duration else 1)


@dataclass(slots=True, kw_only=True)
class Bench:
    """Everything a test needs to run the agent and to look at what it did."""

    world: World
    clock: JumpClock
    database: Database
    pool: AsyncConnectionPool[AsyncConnection]
    saver: AsyncPostgresSaver
    threads: ThreadStore
    tier: ApprovalTier | None = ApprovalTier.AUTOMATIC
    sequence: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    connections: dict[DatabaseRole, psycopg.Connection] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)
    before_look: Callable[[int], None] = lambda _: None

    def deps(self, model: ChatModel | None = None, settings: AgentSettings | None = None) -> AgentDeps:
        """Return the agent's dependencies over the real stores, with the loop's database role."""
        return AgentDeps(
            tools=Deps(
                now=self.clock.now,
                fleet=self._fleet,
                refresh_forecasts=self._count("forecasts", 8),
                refresh_incidents=self._count("incidents", len(self.world.incidents)),
                incidents=self._incidents,
                readings=ReadingStore(self.pool),
                health=HealthLook(readings=ReadingStore(self.pool), registry=RegistryStore(self.pool)),
                plans=PlanStore(self.pool),
                dispatch=DispatchStore(self.pool),
                check=lambda plan, fleet, now: validate(plan, fleet.state, fleet.limits, now),
                tier=lambda plan, fleet: self.tier,
            ),
            model=model or PolicyPlanner(),
            clock=self.clock,
            settings=settings or AgentSettings(patience=timedelta(0)),
        )

    async def _fleet(self) -> Fleet:
        self.looks.append("fleet")
        self.before_look(len(self.looks))
        return self.world.fleet(self.clock.now())

    async def _incidents(self) -> Sequence[Incident]:
        return self.world.incidents

    def _count(self, what: str, number: int) -> Callable[[datetime], "asyncio.Future[int]"]:
        async def done(_: datetime) -> int:
            self.looks.append(what)
            return number

        return done  # type: ignore[return-value]

    def sql(
        self, query: str, *arguments: object, role: DatabaseRole = DatabaseRole.OWNER
    ) -> list[tuple[object, ...]]:
        """Run a query as a role, outside any transaction, and return its rows."""
        if role not in self.connections:
            self.connections[role] = psycopg.connect(self.database.dsn(role), autocommit=True)
        cursor = self.connections[role].execute(query.encode(), arguments)
        return cursor.fetchall() if cursor.description else []

    def control_says(self, plan: Plan, outcome: str, doc: dict[str, object]) -> None:
        """Write control's answer to a request."""
        self.sql(
            "INSERT INTO dispatch_outcome SELECT request_id, %s, %s, %s FROM dispatch_request WHERE plan_id = %s"
            " ON CONFLICT (request_id) DO UPDATE SET at = excluded.at, outcome = excluded.outcome, doc = excluded.doc",
            self.clock.now(), outcome, Jsonb(doc), plan.plan_id, role=DatabaseRole.CONTROL,
        )  # fmt: skip

    async def decline(self, plan: Plan, who: str, reason: str) -> None:
        """Write a person's no with the API's role."""
        pool = await open_async_pool(self.database.dsn(DatabaseRole.API), application_name="test-api")
        await DispatchStore(pool).decline(plan.plan_id, who=who, reason=reason, at=self.clock.now())
        await pool.close()

    def control_authorises(self, plan: Plan, *, verdict: str = "accepted", skip: Sequence[str] = ()) -> None:
        """Write, as control's role, what control and the sites would: an outcome, commands, acknowledgements."""
        at = self.clock.now()
        control = DatabaseRole.CONTROL
        self.control_says(plan, "authorised", {})
        self.sql("UPDATE plan SET status = 'approved' WHERE plan_id = %s", plan.plan_id, role=control)
        self.sql("UPDATE plan SET status = 'dispatched' WHERE plan_id = %s", plan.plan_id, role=control)
        for site in plan.sites:
            if site.site_id in skip:
                continue
            command_id = f"{plan.plan_id}/{site.site_id}"
            self.sql(
                "INSERT INTO command VALUES (%s, %s, %s, %s, 'schedule', 'x', 'd', 'k', %s, %s, %s, %s, 'acknowledged')",
                command_id, plan.plan_id, site.site_id, next(self.sequence), at, at, plan.window_start, plan.window_end,
                role=control,
            )  # fmt: skip
            self.sql(
                "INSERT INTO acknowledgement (command_id, site_id, digest, verdict, reason, at, received_at, limited_wh)"
                " VALUES (%s, %s, 'd', %s, '', %s, %s, 0)",
                command_id, site.site_id, verdict, at, at, role=control,
            )  # fmt: skip

    def approve(self, plan: Plan, who: str, tier: ApprovalTier = ApprovalTier.ONE_PERSON) -> None:
        """Write a person's yes as the API does."""
        self.sql(
            "INSERT INTO approval (plan_id, envelope_digest, tier, approver, approved_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s)",
            plan.plan_id, plan.envelope.digest(), tier.value, who, self.clock.now(), plan.window_end,
            role=DatabaseRole.API,
        )  # fmt: skip

    def meters(self, plan: Plan, share: float = 1.0) -> None:
        """Write the roll-ups that the sites' meters would show: each setpoint times a share."""
        for site in plan.sites:
            for step, setpoint_w in enumerate(site.schedule_w):
                self.sql(
                    "INSERT INTO rollup (site_id, bucket, samples, completeness, meter_battery_w) VALUES (%s, %s, 3, 1, %s)",
                    site.site_id, plan.window_start + step * timedelta(minutes=15), setpoint_w * share,
                    role=DatabaseRole.INGEST,
                )  # fmt: skip


@asynccontextmanager
async def bench_over(database: Database, clock: JumpClock | None = None) -> AsyncIterator[Bench]:
    """Open the stores with the loop's role."""
    dsn = database.dsn(DatabaseRole.LOOP)
    pool = await open_async_pool(dsn, application_name="test-loop", max_size=6)
    saver, checkpoints = await open_checkpoints(dsn)
    bench = Bench(
        world=World(),
        clock=clock or JumpClock(),
        database=database,
        pool=pool,
        saver=saver,
        threads=ThreadStore(pool),
    )
    try:
        yield bench
    finally:
        for connection in bench.connections.values():
            connection.close()
        await checkpoints.close()
        await pool.close()


HERE = Path(__file__).parent
__all__ = ["HERE", "Bench", "JumpClock", "PlanStatus", "bench_over"]
