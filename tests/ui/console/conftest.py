"""The real API over HTTP on a free port, over a small installation, for the whole folder."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from psycopg.types.json import Jsonb

from tests.edge.safety.examples import NOW
from tests.services import Database, DatabaseServer
from tests.ui.api.world import PASSWORD, World, one_person_plan, world_over
from ui.api.oidc import OidcSettings
from ui.console.api_client import ApiClient, log_in, open_http
from ui.ops.ports import free_port
from ui.ops.secrets import DatabaseRole
from ui.processes.api import listening, serve

PLAN = "plan-console"
THREAD = "chat-console"
KEYS_PLAN = "plan-keys"  # decided by a test too
PHONE_PLAN, PHONE_THREAD = "plan-phone", "chat-phone"  # decided by a test, so nobody else's
INCIDENT = "incident-console"
CURVE_THREAD = "chat-curve"
_START_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveApi:
    """Where it answers, its database, and one connection pool that all who ask share."""

    url: str
    database: Database
    http: httpx.Client

    def client(self, name: str) -> ApiClient:
        """Log somebody in."""
        token, _ = log_in(self.http, name, PASSWORD)
        return ApiClient(http=self.http, token=token)


async def fill(world: World) -> None:
    """Add plans that wait for one person's yes, conversations about them, and an open incident."""
    await converse(world, THREAD, PLAN)
    await converse(world, PHONE_THREAD, PHONE_PLAN)
    await world.plan(one_person_plan(KEYS_PLAN))
    look_back(world)
    world.sql(
        "INSERT INTO incident VALUES (%s, 'site-1', 'load', %s, NULL, 4.5, 'warning', 'open', %s, '[]')",
        INCIDENT, NOW - timedelta(hours=2), Jsonb({"expected_w": 1000.0, "measured_w": 1800.0}),
    )  # fmt: skip


async def converse(world: World, thread_id: str, plan_id: str) -> None:
    """Add a conversation that ends with a plan that waits."""
    world.thread(thread_id, "chat")
    await world.plan(one_person_plan(plan_id), thread_id=thread_id)
    events = [
        (
            "step",
            {"run_id": "r", "tool": "fleet_state", "arguments": {}, "result": {"sites": 2}, "seconds": 0.25},
        ),
        (
            "message",
            {"run_id": "r", "text": "2 of 2 sites are online.", "planner": "policy planner", "notes": []},
        ),
        (
            "interrupt",
            {
                "run_id": "r",
                "kind": "approval",
                "plan_id": plan_id,
                "until": NOW.isoformat(),
                "tier": "one_person",
            },
        ),
    ]
    for k, (kind, body) in enumerate(events):
        world.sql(
            "INSERT INTO thread_event (thread_id, at, kind, body) VALUES (%s, %s, %s, %s)",
            thread_id, NOW + timedelta(seconds=k), kind, Jsonb(body), role=DatabaseRole.LOOP,
        )  # fmt: skip


def look_back(world: World) -> None:
    """Add a conversation in which a tool found a course of time, and one that rests on a forecast that is not there."""
    world.thread(CURVE_THREAD, "chat")
    points = [[(NOW + timedelta(minutes=15 * k)).isoformat(), 1000.0 + 100.0 * k] for k in range(4)]
    window = {"site_id": "site-1", "metric": "load_w", "points": points}
    forecast = {"subject_id": "site-1", "made_at": NOW.isoformat(), "peak_kw": 1.2}
    for tool, result in (("telemetry_window", window), ("forecast", forecast)):
        body = {"run_id": "r", "tool": tool, "arguments": {}, "result": result, "seconds": 0.1}
        world.sql(
            "INSERT INTO thread_event (thread_id, at, kind, body) VALUES (%s, %s, 'step', %s)",
            CURVE_THREAD, NOW, Jsonb(body), role=DatabaseRole.LOOP,
        )  # fmt: skip


async def _run(
    database: Database,
    folder: Path,
    port: int,
    ready: threading.Event,
    stop: threading.Event,
    oidc: OidcSettings | None,
) -> None:
    async with _served(database, folder, port, ready, oidc):
        while not stop.is_set():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _served(
    database: Database, folder: Path, port: int, ready: threading.Event, oidc: OidcSettings | None
) -> AsyncIterator[None]:
    async with world_over(database, folder, oidc=oidc) as world:
        await fill(world)
        with listening(port) as listener:
            serving = asyncio.create_task(serve(world.services, listener, ready.set))
            yield
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


@contextlib.contextmanager
def serving_api(
    database: Database, folder: Path, port: int, oidc: OidcSettings | None = None
) -> Iterator[LiveApi]:
    """Serve a filled installation on a port, in a thread of its own."""
    ready, stop = threading.Event(), threading.Event()
    run = _run(database, folder, port, ready, stop, oidc)
    thread = threading.Thread(target=lambda: asyncio.run(run))
    thread.start()
    try:
        assert ready.wait(_START_WITHIN_S), "the API did not come up"
        with open_http(f"http://127.0.0.1:{port}") as http:
            yield LiveApi(url=f"http://127.0.0.1:{port}", database=database, http=http)
    finally:
        stop.set()
        thread.join(_START_WITHIN_S)


@contextlib.contextmanager
def fresh_api(server: DatabaseServer, folder: Path) -> Iterator[LiveApi]:
    """Serve a filled installation over a database of its own."""
    with server.fresh() as database, serving_api(database, folder, free_port()) as api:
        yield api


@pytest.fixture(scope="package")
def live_api(postgres_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with fresh_api(postgres_server, tmp_path_factory.mktemp("console-api")) as api:
        yield api
