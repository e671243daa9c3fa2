"""Schemathesis against the whole schema over a real server: no 5xx, no answer that the document does not promise.

Seeded and small here; `CELLWATT_CONTRACT_EXAMPLES=200` makes it large.
"""

import asyncio
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from telemetry.db import open_async_pool
from tests.edge.safety.examples import a_background, a_forecast
from tests.services import Database
from tests.ui.api.oidc_provider import running_provider
from tests.ui.api.test_oidc import SETTINGS
from tests.ui.api.world import SITES, WALL, World, one_person_plan, two_person_plan, world_over
from tools.forecasting.forecast_store import ForecastStore
from ui.ops.secrets import DatabaseRole
from ui.processes.api import listening, serve

pytestmark = pytest.mark.database
EXAMPLES = int(os.environ.get("CELLWATT_CONTRACT_EXAMPLES", "2"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
ENDLESS = {("GET", "/v1/live")}
SELF_DEFEATING = {("DELETE", "/v1/session"), ("PUT", "/v1/me/password")}  # they end the session that asks
# What is made by a POST and lives under an id that it answers with.
MADE = r"^/v1/(threads|objectives|tokens)(/|$)"
# Names that exist, so that not every question ends at 404.
KNOWN = {
    "site_id": "site-1", "feeder_id": "feeder-1", "plan_id": "plan-1", "thread_id": "cycle-1", "subject_id": "site-1",
    "incident_id": "incident-1", "name": "vic", "request_id": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """The served API: its address, its document and an admin's token."""

    url: str
    document: dict[str, Any]
    token: str


@pytest.fixture(scope="module")
def running(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve in a thread of its own, since the generator of requests is not asynchronous."""
    started: list[Running] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def body() -> None:
        folder = tmp_path_factory.mktemp("api")
        with running_provider(lambda: WALL, SETTINGS.redirect_uri) as provider:
            oidc = replace(SETTINGS, issuer=provider.issuer)
            async with world_over(module_database, folder, oidc=oidc) as world:
                await serve_until(world)

    async def serve_until(world: World) -> None:
        await _fill(world)
        with listening(0) as listener:
            serving = asyncio.create_task(serve(world.services, listener, lambda: None))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            started.append(Running(url, world.app.openapi(), world.tokens["ada"]))
            ready.set()
            await stop.wait()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(body()))
    thread.start()
    try:
        assert ready.wait(60)
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


async def _fill(world: World) -> None:
    thread_id = world.thread()
    await world.plan(one_person_plan(), thread_id=thread_id)
    await world.plan(two_person_plan())
    world.sql(
        "INSERT INTO incident VALUES ('incident-1', 'site-1', 'k', %s, NULL, 1, 'info', 'open', '{}', '[]')",
        world.clock.at,
    )
    world.sql(
        "INSERT INTO control_request (kind, who, reason, at) VALUES ('stop', 'x', 'y', %s)", world.clock.at
    )
    world.sql(
        "INSERT INTO thread_event (thread_id, at, kind, body) VALUES ('cycle-1', %s, 'done', '{}')",
        world.clock.at,
    )
    pool = await open_async_pool(world.database.dsn(DatabaseRole.LOOP), application_name="test-loop")
    try:
        await ForecastStore(pool).put([*(a_forecast(name) for name in SITES), a_background()])
    finally:
        await pool.close()


@dataclass(slots=True)
class Prober:
    """Asks one operation many things and keeps what was answered wrongly."""

    running: Running
    session: requests.Session
    asked: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[str] = field(default_factory=list)

    def probe(self, operation: Any, route: tuple[str, str], mode: GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            self._ask(case, route)

        try:
            ask()
        except Unsatisfiable:
            # What takes no arguments cannot be asked wrongly.
            assert mode is GenerationMode.NEGATIVE
        except (Failure, FailureGroup) as error:  # every operation is asked before any failure is told
            self.wrong.append(f"{route} {mode}: {error}")

    def _ask(self, case: Case[Any], route: tuple[str, str]) -> None:
        for name, value in KNOWN.items():
            if name in case.path_parameters and self.asked[route] % 2 == 0:
                case.path_parameters[name] = value
        self.asked[route] += 1
        response = case.call(
            base_url=self.running.url, session=self.session, timeout=20, allow_redirects=False
        )
        case.validate_response(response, checks=CHECKS)


def test_every_operation_answers_as_promised(running: Running) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {running.token}"
    prober = Prober(running, session)
    for result in schemathesis.openapi.from_dict(running.document).get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        route = (operation.method.upper(), operation.path)
        if route not in ENDLESS | SELF_DEFEATING:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                prober.probe(operation, route, mode)
    assert not prober.wrong, "\n\n".join(prober.wrong)
    everything = {
        (method.upper(), path) for path, item in running.document["paths"].items() for method in item
    }
    assert set(prober.asked) == everything - ENDLESS - SELF_DEFEATING


def ids_in(answer: Any) -> set[str]:
    """Return the ids that only the API gives out: of a conversation, an objective, a token."""
    found = {str(answer.get(name, "")) for name in ("thread_id", "objective_id")}
    found.add(str((answer.get("about") or {}).get("token_id", "")))
    return {one for one in found if re.fullmatch(r"(chat|objective)-[0-9a-f]+|[0-9a-f]{16}", one)}


@dataclass(slots=True)
class Walk:
    """What a stateful run did: which routes it got an answer of, what its POSTs made, and where that was found again."""

    answered: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    made: set[str] = field(default_factory=set)
    found_again: set[str] = field(default_factory=set)

    def note(self, route: str, ids: set[str], response: Any) -> None:
        """Take an answer down."""
        self.answered[route].add(response.status_code)
        if response.status_code >= 300:
            return
        if ids & self.made:
            self.found_again.add(route)
        if route.startswith("POST "):
            self.made.update(ids_in(response.json()))


def walk(running: Running, path_regex: str) -> Walk:
    """Follow the links that lie in the document's shapes: what is made is shown, changed and ended."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {running.token}"
    schema: Any = schemathesis.openapi.from_dict(running.document).include(path_regex=path_regex)
    for method, path in ENDLESS | SELF_DEFEATING:
        schema = schema.exclude(method=method, path=path)
    done = Walk()

    class Machine(schema.as_state_machine()):  # type: ignore[misc]
        """Asks the real server and takes down what it says."""

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return {"base_url": running.url, "session": session, "timeout": 20, "allow_redirects": False}

        def validate_response(self, response: Any, case: Case[Any], **_: Any) -> None:
            ids = set(map(str, (case.path_parameters or {}).values()))
            done.note(f"{case.method.upper()} {case.path}", ids, response)
            case.validate_response(response, checks=CHECKS)

    Machine.run(
        settings=settings(
            max_examples=5 * EXAMPLES,
            stateful_step_count=6,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )
    return done


def test_sequences_over_the_whole_document_answer_as_promised(running: Running) -> None:
    done = walk(running, "^/")
    assert any("{" in route and min(statuses) < 300 for route, statuses in done.answered.items())


def test_what_one_operation_makes_the_next_ones_can_use(running: Running) -> None:
    done = walk(running, MADE)
    # A good answer for an id that a POST of this run gave out: no generator could have guessed it, and it stood nowhere before.
    assert done.found_again, sorted(done.made)
