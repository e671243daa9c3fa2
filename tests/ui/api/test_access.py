"""Every route of the API asked by every role: who may gets past the door, who may not gets 401 or 403."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from starlette.routing import BaseRoute, Route

from tests.services import Database
from tests.ui.api.world import World, one_person_plan
from ui.api.gatekeeper import COOKIE

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]

# What each role may do beyond the roles before it, written out by hand: a new route must be entered here.
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/v1/session"),
    ("GET", "/v1/oidc"),
    ("GET", "/v1/oidc/start"),
    ("GET", "/v1/oidc/callback"),
    ("POST", "/v1/oidc/session"),
}
EVERYBODY = {("GET", "/v1/me")}
VIEWER = {
    ("GET", "/metrics"),
    ("DELETE", "/v1/session"),
    ("PUT", "/v1/me/password"),
    ("GET", "/v1/fleet"),
    ("GET", "/v1/live"),
    ("GET", "/v1/sites"),
    ("GET", "/v1/sites/{site_id}"),
    ("GET", "/v1/sites/{site_id}/series"),
    ("GET", "/v1/feeders"),
    ("GET", "/v1/feeders/{feeder_id}/series"),
    ("GET", "/v1/critical-sites"),
    ("GET", "/v1/autonomy-profiles"),
    ("GET", "/v1/battery-types"),
    ("GET", "/v1/tariffs"),
    ("GET", "/v1/profile-clusters"),
    ("GET", "/v1/incidents"),
    ("GET", "/v1/incidents/{incident_id}"),
    ("GET", "/v1/forecasts"),
    ("GET", "/v1/forecasts/{subject_id}"),
    ("GET", "/v1/forecasts/{subject_id}/components"),
    ("GET", "/v1/alerts"),
    ("GET", "/v1/events"),
    ("GET", "/v1/forecast-accuracy"),
    ("GET", "/v1/health/batteries"),
    ("GET", "/v1/sites/{site_id}/health"),
    ("GET", "/v1/quality"),
    ("GET", "/v1/knowledge/search"),
    ("GET", "/v1/knowledge/documents"),
    ("GET", "/v1/knowledge/document"),
    ("GET", "/v1/plans"),
    ("GET", "/v1/plans/{plan_id}"),
    ("GET", "/v1/plans/{plan_id}/schedule"),
    ("GET", "/v1/plans/{plan_id}/delivery"),
    ("GET", "/v1/control/requests/{request_id}"),
    ("GET", "/v1/mode"),
    ("GET", "/v1/threads"),
    ("GET", "/v1/objectives"),
    ("GET", "/v1/threads/{thread_id}"),
    ("GET", "/v1/threads/{thread_id}/events"),
}
OPERATOR = {
    ("POST", "/v1/incidents/{incident_id}/acknowledge"),
    ("POST", "/v1/incidents/{incident_id}/close"),
    ("POST", "/v1/incidents/{incident_id}/assign"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/notifications"),
    ("GET", "/v1/settings/policy"),
    ("GET", "/v1/settings/model"),
    ("GET", "/v1/notifications/targets"),
    ("GET", "/v1/registry/{kind}/{subject_id}/changes"),
    ("POST", "/v1/knowledge/documents"),
    ("GET", "/v1/audit/verify"),
    ("POST", "/v1/plans/{plan_id}/abort"),
    ("POST", "/v1/plans/{plan_id}/validate"),
    ("POST", "/v1/control/stop"),
    ("POST", "/v1/threads"),
    ("POST", "/v1/objectives"),
    ("DELETE", "/v1/objectives/{objective_id}"),
    ("POST", "/v1/threads/{thread_id}/messages"),
    ("POST", "/v1/threads/{thread_id}/resume"),
    ("POST", "/v1/threads/{thread_id}/cancel"),
}
UPLOADERS = {("POST", "/v1/telemetry")}  # sites and operators, not viewers
APPROVER = {
    ("POST", "/v1/plans/{plan_id}/approve"),
    ("POST", "/v1/plans/{plan_id}/decline"),
    ("POST", "/v1/control/clear"),
    ("PUT", "/v1/sites/{site_id}/mode"),
    ("PUT", "/v1/mode"),
}
ADMIN = {
    ("DELETE", "/v1/knowledge/document"),
    ("PUT", "/v1/sites/{site_id}"),
    ("PUT", "/v1/feeders/{feeder_id}"),
    ("PUT", "/v1/critical-sites/{critical_site_id}"),
    ("PUT", "/v1/autonomy-profiles/{profile_id}"),
    ("PUT", "/v1/battery-types/{battery_type_id}"),
    ("PUT", "/v1/tariffs/{tariff_id}"),
    ("GET", "/v1/users"),
    ("POST", "/v1/notifications/test"),
    ("POST", "/v1/users"),
    ("PATCH", "/v1/users/{name}"),
    ("PUT", "/v1/users/{name}/oidc"),
    ("DELETE", "/v1/users/{name}/oidc"),
    ("GET", "/v1/tokens"),
    ("POST", "/v1/tokens"),
    ("DELETE", "/v1/tokens/{token_id}"),
}
MAY = {
    "": OPEN,
    "site": OPEN | EVERYBODY | UPLOADERS,
    "vic": OPEN | EVERYBODY | VIEWER,
    "olga": OPEN | EVERYBODY | VIEWER | OPERATOR | UPLOADERS,
    "robot": OPEN | EVERYBODY | VIEWER | OPERATOR | UPLOADERS,
    "ann": OPEN | EVERYBODY | VIEWER | OPERATOR | UPLOADERS | APPROVER,
    "ada": OPEN | EVERYBODY | VIEWER | OPERATOR | UPLOADERS | APPROVER | ADMIN,
}
# The phone's pages and the documentation, which are no part of the OpenAPI document: for people, by cookie.
PAGES_OPEN = {
    ("GET", "/m/login"),
    ("POST", "/m/login"),
    ("GET", "/m/style.css"),
    ("GET", "/m/manifest.webmanifest"),
    ("GET", "/m/icon.svg"),
    ("GET", "/m/icon-{side}.png"),
}
PAGES_KNOWN = {("GET", "/docs"), ("GET", "/openapi.json")}  # how the API is used: tokens may read it too
PAGES_VIEWER = {
    ("GET", "/m"),
    ("GET", "/m/plans/{plan_id}"),
    ("GET", "/m/incidents/{incident_id}"),
    ("POST", "/m/logout"),
}
PAGES_OPERATOR = {("POST", "/m/stop")}
PAGES_APPROVER = {("POST", "/m/plans/{plan_id}/approve"), ("POST", "/m/plans/{plan_id}/decline")}
PAGES = {
    "": PAGES_OPEN,
    "site": PAGES_OPEN | PAGES_KNOWN,
    "robot": PAGES_OPEN | PAGES_KNOWN,
    "vic": PAGES_OPEN | PAGES_KNOWN | PAGES_VIEWER,
    "olga": PAGES_OPEN | PAGES_KNOWN | PAGES_VIEWER | PAGES_OPERATOR,
    "ann": PAGES_OPEN | PAGES_KNOWN | PAGES_VIEWER | PAGES_OPERATOR | PAGES_APPROVER,
    "ada": PAGES_OPEN | PAGES_KNOWN | PAGES_VIEWER | PAGES_OPERATOR | PAGES_APPROVER,
}
# A token is nobody: it ends no session, has no password.
NOT_FOR_TOKENS = {("DELETE", "/v1/session"), ("PUT", "/v1/me/password")}
ENDLESS = {("GET", "/v1/live")}  # proved with a real server (test_threads)


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    """Filled by the first test that asks: making the document takes half a second."""
    return {}


def operations(world: World, paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if not paths:
        paths.update(world.app.openapi()["paths"])
    for path, item in paths.items():
        for method, operation in item.items():
            yield method.upper(), path, operation


async def test_every_route_is_in_the_matrix_and_declares_the_same(
    world: World, paths: dict[str, Any]
) -> None:
    found = {(method, path): operation["x-roles"] for method, path, operation in operations(world, paths)}
    assert set(found) == MAY["ada"]
    roles = {"site": "site", "vic": "viewer", "olga": "operator", "ann": "approver", "ada": "admin"}
    for route, declared in found.items():
        expected = ["nobody"] if route in OPEN else [role for who, role in roles.items() if route in MAY[who]]
        assert declared == expected, route


@pytest.mark.parametrize("who", MAY)
async def test_who_may_gets_in_and_nobody_else(world: World, who: str, paths: dict[str, Any]) -> None:
    for method, path, _ in operations(world, paths):
        route = (method, path)
        if route in ENDLESS and route in MAY[who]:
            continue
        if route == ("DELETE", "/v1/session") and route in MAY[who]:
            continue  # it would end the session that asks
        url = re.sub(r"\{request_id\}", "999999", path)
        url = re.sub(r"\{token_id\}", "0" * 16, url)
        url = re.sub(r"\{\w+\}", "none-such", url)
        # An empty object is malformed where something has to be told, and does nothing where nothing has: the id is nobody's.
        body: dict[str, str] | None = {} if method in {"POST", "PUT", "PATCH"} else None
        status = (await world.ask(who, method, url, body)).status_code
        if route in MAY[who] - (NOT_FOR_TOKENS if who == "robot" else set()):
            let_in = {401} if route == ("POST", "/v1/session") else set()
            assert status not in {403, *({401} - let_in)}, (who, route, status)
            assert status < 500, (who, route, status)
        elif who == "robot" and route in NOT_FOR_TOKENS:
            assert status in {403, 422}, (who, route, status)
        else:
            # The role is asked before the body is judged: even a malformed one is told 403 (401 without a login).
            assert status == (403 if who else 401), (who, route, status)


def routes_of(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route that answers, whether or not the document shows it."""
    for route in routes:
        if isinstance(route, Route):
            for method in (route.methods or set()) - {"HEAD"}:
                yield method, route.path
        else:
            yield from routes_of(getattr(route, "original_router").routes)  # noqa: B009 (of no public class)


async def test_every_page_is_in_the_matrix(world: World, paths: dict[str, Any]) -> None:
    shown = {(method, path) for method, path, _ in operations(world, paths)}
    # Nothing answers that is in neither list: every route of the application is asked by every role.
    assert set(routes_of(world.app.routes)) - shown == PAGES["ada"]
    assert shown & PAGES["ada"] == set()


@pytest.mark.parametrize("who", PAGES)
async def test_who_may_sees_the_page_and_nobody_else(world: World, who: str) -> None:
    world.client.cookies.clear()
    headers = {"Cookie": f"{COOKIE}={world.tokens[who]}"} if who else {}
    form: dict[str, str] = {}
    if ("GET", "/m") in PAGES[who]:
        listed = (await world.client.get("/m", headers=headers)).text
        form = dict(re.findall(r'name="(csrf|once)" value="([0-9a-f]+)"', listed))
        assert set(form) == {"csrf", "once"}
    plan = await world.plan(one_person_plan(f"matrix-{who or 'nobody'}"))
    names = {"{side}": "192", "{plan_id}": plan.plan_id}
    requests_before = world.sql("SELECT count(*) FROM control_request")
    for method, path in sorted(PAGES["ada"], key=lambda route: route[1] == "/m/logout"):
        url = re.sub(r"\{\w+\}", lambda found: names.get(found.group(), "none-such"), path)
        # The session's own form with no field filled in: it acts on nothing, and is refused for its role first.
        data = form if method == "POST" else None
        answer = await world.client.request(method, url, headers=headers, data=data)
        told = (who, method, path, answer.status_code)
        if (method, path) not in PAGES[who]:
            if who:
                assert answer.status_code == 403, told
            elif path.startswith(("/m", "/docs")):
                assert (answer.status_code, answer.headers["location"][:8]) == (303, "/m/login"), told
            else:
                assert answer.status_code == 401, told
        elif path == "/m/logout":
            assert (answer.status_code, answer.headers["location"]) == (303, "/m/login"), told
        elif path == "/m/login" and method == "POST":
            assert (answer.status_code, "/m/login" in answer.text) == (401, True), (
                told
            )  # no name, no password
        else:
            assert answer.status_code in {200, 404, 422}, told
    assert world.sql("SELECT count(*) FROM control_request") == requests_before
    assert world.sql("SELECT status FROM plan WHERE plan_id = %s", plan.plan_id) == [("validated",)]


async def test_an_open_page_shows_nothing_of_the_fleet(world: World) -> None:
    for method, path in PAGES_OPEN - {("POST", "/m/login")}:
        answer = await world.client.request(method, path.replace("{side}", "512"))
        assert answer.status_code == 200
        assert b"site-1" not in answer.content


@pytest.mark.parametrize(
    "path",
    ["/openapi.json", "/docs", "/metrics", "/v1", "/", "/v1/fleet/", "/nothing/here", "/m/../v1/fleet"],
)
async def test_nothing_is_readable_without_a_login(world: World, path: str) -> None:
    answer = await world.ask("", "GET", path)
    assert answer.status_code in {401, 303}
    assert "site-1" not in answer.text


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YWRhOng=", "Bearer cw_wrong", "Bearer \xff\xfe", "bearer null"]
)
async def test_bad_credentials_are_no_credentials(world: World, header: str) -> None:
    answer = await world.client.get("/v1/fleet", headers=[(b"authorization", header.encode("latin-1"))])
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_cookie_alone_opens_no_api(world: World) -> None:
    headers = {"Cookie": f"cellwatt_session={world.tokens['ada']}"}
    assert (await world.client.get("/v1/users", headers=headers)).status_code == 401


async def test_a_token_never_decides_what_a_person_must(world: World) -> None:
    world.sql("UPDATE api_token SET role = 'admin' WHERE label = 'robot'")
    world.services.gatekeeper.forget()
    for method, path, body in [
        ("POST", "/v1/plans/none/approve", {"envelope_digest": "0" * 64}),
        ("POST", "/v1/plans/none/decline", {"reason": "because"}),
        ("POST", "/v1/control/clear", {"reason": "because"}),
        ("PUT", "/v1/mode", {"mode": "storm", "reason": "because"}),
        ("POST", "/v1/users", {"name": "eve", "password": "long enough it is", "role": "admin"}),
    ]:
        assert (await world.ask("robot", method, path, body)).status_code in {403, 404}
    assert world.sql("SELECT mode FROM fleet_mode") == [("normal",)]
    assert world.sql("SELECT 1 FROM app_user WHERE name = 'eve'") == []
    world.sql("UPDATE api_token SET role = 'operator' WHERE label = 'robot'")


async def test_the_gate_bounds_a_body(world: World, module_database: Database) -> None:
    big = b'{"title": "' + b"x" * 1_100_000 + b'"}'
    headers = {"Authorization": f"Bearer {world.tokens['olga']}", "Content-Type": "application/json"}
    told = await world.client.post("/v1/threads", content=big, headers=headers)
    assert told.status_code == 413

    async def chunks() -> Any:
        for first in range(0, len(big), 65_536):
            yield big[first : first + 65_536]

    untold = await world.client.post("/v1/threads", content=chunks(), headers=headers)
    assert untold.status_code == 413
    assert world.sql("SELECT count(*) FROM thread WHERE who = 'olga'") == [(0,)]
