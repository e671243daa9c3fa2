"""A small installation behind the real application: real PostgreSQL with each role's own rights, two sites, one feeder.

Site 1 and 2 draw 1024 W each (`tests.edge.safety.examples`); domain time stands at `NOW`, wall time can be moved.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from argon2 import PasswordHasher
from fastapi import FastAPI

from edge.plan import Plan
from edge.safety.limits import OperatingMode
from edge.safety.verdict import Approved
from telemetry.db import open_async_pool
from telemetry.ingest_store import Batch, store_batch
from telemetry.model.reading import FeederReading, Reading, SiteState, SiteStatus
from telemetry.model.site import CriticalSite, CriticalSiteId, SiteId
from telemetry.registry_store import RegistryStore
from telemetry.rollup_store import roll_up_due
from tests.edge.safety.examples import (
    FEEDER,
    NOW,
    a_feeder,
    a_plan,
    a_policy_table,
    a_reading,
    a_site,
    schedule_of,
)
from tests.services import Database
from tools.planning.plan_store import PlanStore
from ui.api.account_store import Token
from ui.api.app import create_app
from ui.api.oidc import OidcSettings
from ui.api.passwords import make_token, token_hash
from ui.api.roles import PrincipalKind, Role
from ui.api.services import Services, open_services
from ui.api.settings import ApiSettings
from ui.ops.secrets import DatabaseRole

SITES = (SiteId("site-1"), SiteId("site-2"))
WALL = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
# Cheap on purpose: what is tested is the rule, not the cost of a guess.
_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_HASH = _CHEAP.hash(PASSWORD)
PEOPLE = {
    "vic": Role.VIEWER,
    "olga": Role.OPERATOR,
    "ann": Role.APPROVER,
    "bo": Role.APPROVER,
    "ada": Role.ADMIN,
}
QUICK = ApiSettings(
    fleet_every=timedelta(milliseconds=40),
    heartbeat=timedelta(milliseconds=200),
    answer_within=timedelta(milliseconds=120),
    remember_for=timedelta(seconds=5),
    rate_per_s=10_000.0,
    burst=10_000,
    login_burst=10_000,
)


@dataclass(slots=True)
class StandingClock:
    """Domain time that moves when the test says so."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, duration: timedelta) -> None:
        self.at += duration

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration


@dataclass(slots=True)
class Wall:
    """Wall time that moves when the test says so."""

    at: datetime = WALL

    def __call__(self) -> datetime:
        return self.at


@dataclass(slots=True, kw_only=True)
class World:
    """The application, a client, and everybody's tokens."""

    database: Database
    services: Services
    app: FastAPI
    client: httpx.AsyncClient
    clock: StandingClock
    wall: Wall
    tokens: dict[str, str] = field(default_factory=dict)

    async def ask(self, who: str, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send a request as somebody (a name of `PEOPLE`, a token's label, or empty for nobody)."""
        headers = dict(options.pop("headers", {}))
        if who:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        if body is not None:
            options["json"] = body
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, who: str = "vic") -> Any:
        """Return what a good GET answers."""
        answer = await self.ask(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def look(self) -> None:
        """Wait until the fleet has been looked at since now; a look that had begun before does not count."""
        for _ in range(2):
            await self.services.feed.after(-1)

    def sql(
        self, query: str, *arguments: object, role: DatabaseRole = DatabaseRole.OWNER
    ) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with psycopg.connect(self.database.dsn(role), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), arguments)
            return cursor.fetchall() if cursor.description else []

    async def plan(self, plan: Plan, *, validated: bool = True, thread_id: str | None = None) -> Plan:
        """Store a plan as the loop does."""
        pool = await open_async_pool(self.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
        try:
            store = PlanStore(pool)
            await store.insert(plan, thread_id=thread_id, who="loop", at=self.clock.now())
            if validated:
                await store.record_verdict(
                    Approved(plan=plan, margins=(), passed=()), at=self.clock.now(), who="loop"
                )
        finally:
            await pool.close()
        return plan

    def thread(self, thread_id: str = "cycle-1", kind: str = "loop") -> str:
        """Open a thread as the loop does."""
        self.sql(
            "INSERT INTO thread VALUES (%s, %s, 'Automated cycle', 'loop', %s)",
            thread_id, kind, self.clock.now(), role=DatabaseRole.LOOP,
        )  # fmt: skip
        return thread_id

    def audit(self, action: str) -> list[tuple[Any, ...]]:
        """Return (role, who, subject, after) of every audit entry of one action."""
        return self.sql("SELECT role, who, subject, after FROM audit WHERE action = %s ORDER BY seq", action)


def one_person_plan(plan_id: str = "plan-1") -> Plan:
    """Return 4 h of 1536 W from site 1: above the automatic tier's 1024 W, below one person's 8192 W."""
    return a_plan(schedule_of("site-1", (16, -1536.0)), plan_id=plan_id)


def two_person_plan(plan_id: str = "plan-2") -> Plan:
    """Return a quarter of an hour of 8704 W: above one person's 8192 W."""
    return a_plan(schedule_of("site-1", (1, -8704.0)), plan_id=plan_id)


def write_policy(path: Path, table: Mapping[str, Any]) -> None:
    """Write an approval policy as TOML."""
    lines = [f"version = {table['version']}"]
    for tier, scope in table.items():
        if tier != "version":
            lines.append(f"[{tier}]")
            lines += [f"{name} = {_toml(value)}" for name, value in scope.items()]
    path.write_text("\n".join(lines))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    return str(value)


def readings_of(sites: Sequence[SiteId], minutes: int = 30) -> list[Reading]:
    """Return a reading a minute until `NOW`: load 1000 W rising by 1 W a minute, the battery giving 600 W."""
    return [
        replace(
            a_reading(site_id),
            sequence=k + 1,
            at=NOW - timedelta(minutes=minutes - k),
            grid_w=500.0,
            load_w=1000.0 + k,
            battery_w=-600.0,
            meter_battery_w=-590.0,
        )
        for site_id in sites
        for k in range(minutes)
    ]


async def provision(database: Database) -> None:
    """Give the database its registry, half an hour of telemetry, the mode and the people."""
    pool = await open_async_pool(database.owner_dsn, application_name="test-owner")
    try:
        registry = RegistryStore(pool)
        await registry.put_feeders({FEEDER: a_feeder()}, who="test", at=NOW)
        await registry.put_sites({name: a_site(name) for name in SITES}, who="test", at=NOW)
        hospital = CriticalSite(
            critical_site_id=CriticalSiteId("hospital"), name="Hospital", kind="hospital", latitude=59.9, longitude=10.7,
            feeder_id=FEEDER, priority=1, demand_profile="hospital", peak_w=1e5, linked_site_ids=(),
        )  # fmt: skip
        await registry.put_critical_sites({hospital.critical_site_id: hospital}, who="test", at=NOW)
    finally:
        await pool.close()
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO fleet_mode VALUES (true, %s, 'test', %s)", [OperatingMode.NORMAL.value, NOW]
        )
        for name, role in PEOPLE.items():
            owner.execute(
                "INSERT INTO app_user (name, password_hash, role, created_at) VALUES (%s, %s, %s, %s)",
                [name, _HASH, role.value, NOW],
            )
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as ingest:
        statuses = {
            str(name): SiteStatus(
                site_id=name, at=NOW - timedelta(seconds=20), online=True, state=SiteState.DISPATCH, local_lock=False,
                last_sequence=1,
            )
            for name in SITES
        }  # fmt: skip
        feeder = [
            FeederReading(feeder_id=FEEDER, at=NOW - timedelta(minutes=30 - 5 * k), background_w=131072.0)
            for k in range(7)
        ]
        store_batch(ingest, Batch(readings=readings_of(SITES), feeder=feeder, statuses=statuses), NOW, set())
        roll_up_due(ingest, NOW + timedelta(hours=1))


def reset(world: World) -> None:
    """Undo what an earlier test of the module did to time, people, sessions, the mode and keys."""
    world.clock.at, world.wall.at = NOW, WALL
    with psycopg.connect(world.database.owner_dsn, autocommit=True) as owner:
        for name, role in PEOPLE.items():
            owner.execute(
                "UPDATE app_user SET active = true, failures = 0, locked_until = NULL, password_hash = %s, role = %s"
                " WHERE name = %s",
                [_HASH, role.value, name],
            )
            owner.execute(
                "INSERT INTO app_session VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [token_hash(world.tokens[name]), name, WALL + timedelta(hours=12)],
            )
        owner.execute("DELETE FROM idempotency")
        owner.execute("UPDATE fleet_mode SET mode = 'normal'")
    world.services.gatekeeper.forget()


@asynccontextmanager
async def world_over(
    database: Database,
    folder: Path,
    *,
    settings: ApiSettings = QUICK,
    oidc: OidcSettings | None = None,
    browser_key: bytes | None = None,
) -> AsyncIterator[World]:
    """Open the application over a database, which is filled on first use."""
    clock, wall = StandingClock(), Wall()
    with psycopg.connect(database.owner_dsn) as owner:
        filled = owner.execute("SELECT 1 FROM site").fetchone() is not None
    if not filled:
        await provision(database)
    policy = folder / "policy.toml"
    write_policy(policy, a_policy_table())
    async with open_services(
        database.dsn(DatabaseRole.API), clock=clock, policy_file=policy, secret=bytes(32), settings=settings, wall=wall,
        hasher=_CHEAP, oidc=oidc, browser_key=browser_key,
    ) as services:  # fmt: skip
        app = create_app(services)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            world = World(
                database=database, services=services, app=app, client=client, clock=clock, wall=wall
            )
            world.tokens.update({name: make_token() for name in PEOPLE})
            reset(world)
            await add_token(world, "site", PrincipalKind.SITE, "site-1", Role.SITE)
            await add_token(world, "robot", PrincipalKind.SERVICE, "", Role.OPERATOR)
            yield world


async def add_token(world: World, label: str, kind: PrincipalKind, subject: str, role: Role) -> None:
    """Make a token that `ask` can use by its label."""
    world.tokens[label] = secret = make_token()
    hashed = token_hash(secret)
    token = Token(
        token_id=hashed.hex()[:16], label=label, kind=kind, subject=subject, role=role,
        expires_at=WALL + timedelta(days=1), revoked_at=None,
    )  # fmt: skip
    await world.services.accounts.add_token(hashed, token, who="ada", at=NOW)
