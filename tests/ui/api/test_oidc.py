"""Signing in through a provider: a real one over HTTP, good and bad; who is let in, who is not, and what is kept of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey

from tests.services import Database
from tests.ui.api.oidc_provider import CLIENT, SECRET, TestProvider, running_provider
from tests.ui.api.world import PASSWORD, QUICK, WALL, World, reset, two_person_plan, world_over
from ui.api.oidc import OidcSettings, challenge_of
from ui.api.oidc_provider import Provider, ProviderAwayError
from ui.api.roles import Role

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
BASE, CONSOLE = "http://127.0.0.1:8600", "https://console.example/ops"
VERIFIER = "v" * 43
SETTINGS = OidcSettings(
    issuer="", client_id=CLIENT, client_secret=SECRET, redirect_base=BASE, console_url=CONSOLE, role_claim="groups",
    roles={"cw-viewers": Role.VIEWER, "cw-operators": Role.OPERATOR, "cw-approvers": Role.APPROVER, "cw-admins": Role.ADMIN},
    label="Example",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Scene:
    """The application, its provider, and a browser."""

    world: World
    provider: TestProvider

    def browser(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.world.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=BASE)

    async def at_the_provider(self, browser: httpx.AsyncClient, challenge: str = "") -> str:
        """Begin, let the provider do its part, and return where it sends the browser back to."""
        query = {"challenge": challenge} if challenge else {}
        begun = await browser.get("/v1/oidc/start", params=query)
        assert begun.status_code == 303, begun.text
        async with httpx.AsyncClient(trust_env=False) as elsewhere:
            return (await elsewhere.get(begun.headers["Location"])).headers["Location"]

    async def signed_in(self, challenge: str = "") -> httpx.Response:
        """Go there and back again."""
        async with self.browser() as browser:
            return await browser.get(await self.at_the_provider(browser, challenge))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    with running_provider(lambda: WALL, f"{BASE}/v1/oidc/callback") as provider:
        settings = replace(SETTINGS, issuer=provider.issuer)
        async with world_over(module_database, tmp_path_factory.mktemp("oidc"), oidc=settings) as world:
            yield Scene(world=world, provider=provider)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(whole: Scene) -> Scene:
    reset(whole.world)
    whole.provider.reset()
    whole.world.sql("DELETE FROM oidc_identity")
    for name in ("olga", "ann", "ada"):
        body = {"subject": f"subject-{name}"}
        assert (await whole.world.ask("ada", "PUT", f"/v1/users/{name}/oidc", body)).status_code == 200
    return whole


def refusals(world: World) -> list[Any]:
    """Return what the trail says of refusals, the last one last."""
    return [entry[3] for entry in world.audit("oidc.refused")]


async def test_a_person_signs_in_and_the_console_gets_a_session_for_its_code_once(scene: Scene) -> None:
    world = scene.world
    answer = await scene.signed_in(challenge_of(VERIFIER))
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{CONSOLE}/signed-in?code=")
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    body = {"code": code, "verifier": VERIFIER}
    session = await world.ask("", "POST", "/v1/oidc/session", body)
    assert session.status_code == 201
    world.tokens["fresh"] = session.json()["token"]
    me = await world.get("/v1/me", "fresh")
    assert (me["name"], me["kind"], me["role"]) == ("olga", "user", "operator")
    assert (await world.ask("", "POST", "/v1/oidc/session", body)).status_code == 401
    assert world.audit("oidc.signed_in")[-1][:3] == ("cellwatt_api", "olga", "olga")


@pytest.mark.parametrize(("verifier", "later_s"), [("w" * 43, 0), (VERIFIER, 60)])
async def test_a_code_is_worth_nothing_without_its_verifier_or_after_a_minute(
    scene: Scene, verifier: str, later_s: int
) -> None:
    answer = await scene.signed_in(challenge_of(VERIFIER))
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    scene.world.wall.at += timedelta(seconds=later_s)
    for attempt in (verifier, VERIFIER):  # the wrong one ends it for the right one too
        body = {"code": code, "verifier": attempt}
        assert (await scene.world.ask("", "POST", "/v1/oidc/session", body)).status_code == 401


async def test_without_a_challenge_the_phones_pages_open(scene: Scene) -> None:
    async with scene.browser() as browser:
        assert 'href="/v1/oidc/start"' in (await browser.get("/m/login")).text
        answer = await browser.get(await scene.at_the_provider(browser))
        assert (answer.status_code, answer.headers["Location"]) == (303, "/m")
        listed = await browser.get("/m")
    assert listed.status_code == 200
    assert "Plans to decide" in listed.text


def _without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda claims: {name: value for name, value in claims.items() if name not in names}


def _with(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda claims: {**claims, **changes}


_OPENED = (
    "SELECT (SELECT count(*) FROM oidc_code), (SELECT count(*) FROM audit WHERE action = 'session.opened')"
)
NOW_S = int(WALL.timestamp())


@pytest.mark.parametrize(
    ("change", "sign", "why"),
    [
        (_with(nonce="another"), "RS256", "nonce"),
        (_with(nonce=["another"]), "RS256", "nonce"),
        (_with(nonce="\ud800"), "RS256", "nonce"),
        (_without("nonce"), "RS256", "nonce"),
        (_with(aud="another-application"), "RS256", "'aud'"),
        (_with(aud=[CLIENT, "another"]), "RS256", "azp"),
        (_with(azp="another"), "RS256", "azp"),
        (_without("aud"), "RS256", "'aud'"),
        (_with(iss="http://127.0.0.1:9"), "RS256", "'iss'"),
        (_without("exp"), "RS256", "'exp'"),
        (_with(exp="tomorrow"), "RS256", "'exp'"),
        (_with(exp=NOW_S - 30), "RS256", "expired"),
        (_with(iat=NOW_S + 31), "RS256", "future"),
        (_without("iat"), "RS256", "'iat'"),
        (_without("sub"), "RS256", "'sub'"),
        (_with(sub="x" * 256), "RS256", "sub"),
        (_with(), "none", "not signed"),
        (_with(), "HS256", "not signed"),
        (_with(), "forged", "not signed"),
        (_with(), "unknown", "does not publish"),
        (_with(groups=["site-crew"]), "RS256", "no role here"),
        (_with(groups={"cw-admins": True}), "RS256", "no role here"),
        (_without("groups"), "RS256", "no role here"),
        (_with(sub="somebody-else"), "RS256", "nobody here is known by this sign-in"),
    ],
)
async def test_what_is_not_right_is_refused_with_a_reason_and_stands_in_the_trail(
    scene: Scene, change: Any, sign: str, why: str
) -> None:
    before, opened = len(refusals(scene.world)), scene.world.sql(_OPENED)
    scene.provider.change, scene.provider.sign = change, sign
    answer = await scene.signed_in(challenge_of(VERIFIER))
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "You are not signed in" in answer.text
    assert len(refusals(scene.world)) == before + 1
    assert why in refusals(scene.world)[-1]["why"]
    # A role that is gone ends sessions; nothing opens one.
    assert scene.world.sql(_OPENED) == opened


async def test_a_token_is_believed_to_its_last_second_with_half_a_minute_for_clocks(scene: Scene) -> None:
    scene.provider.change = _with(exp=NOW_S - 29, iat=NOW_S + 30)
    assert (await scene.signed_in()).headers["Location"] == "/m"


async def test_a_state_works_once_for_ten_minutes_and_in_the_browser_that_began(scene: Scene) -> None:
    async with scene.browser() as browser:
        back = await scene.at_the_provider(browser)
        cookie = browser.cookies["cellwatt_sign_in"]
        assert (await browser.get(back)).status_code == 303
        browser.cookies.set("cellwatt_sign_in", cookie, domain="127.0.0.1", path="/v1/oidc")
        replayed = await browser.get(back)
        assert replayed.status_code == 403
        assert "was used already" in replayed.text
    for later_s, status in ((599, 303), (600, 403)):
        scene.world.wall.at = WALL
        async with (
            scene.browser() as browser
        ):  # a fresh one: another cookie of that name would be refused anyway
            back = await scene.at_the_provider(browser)
            scene.world.wall.at += timedelta(seconds=later_s)
            scene.provider.change = _with(exp=NOW_S + 900)
            assert (await browser.get(back)).status_code == status
    scene.world.wall.at = WALL
    async with scene.browser() as browser:
        stolen = await scene.at_the_provider(browser)
    async with scene.browser() as victim:
        assert (await victim.get(stolen)).status_code == 403
        assert (
            await victim.get("/v1/oidc/callback", params={"state": "made up", "code": "c"})
        ).status_code == 403
        assert (await victim.get("/v1/oidc/callback")).status_code == 403


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": "http://127.0.0.1:9"}, "another provider"),
        ({"error": "access_denied"}, "access_denied"),
        ({"error": "\0<script>"}, "unreadable"),
        ({"code": ""}, "no code"),
        ({"code": "invented"}, "refuses the code"),
    ],
)
async def test_an_answer_that_is_not_the_providers_yes_is_refused(
    scene: Scene, change: dict[str, str], why: str
) -> None:
    async with scene.browser() as browser:
        back = await scene.at_the_provider(browser)
        query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        answer = await browser.get("/v1/oidc/callback", params={**query, **change})
    assert answer.status_code == 403
    assert "<script>" not in answer.text
    assert why in refusals(scene.world)[-1]["why"]


async def test_the_role_is_the_providers_at_each_sign_in_and_its_loss_ends_what_is_open(scene: Scene) -> None:
    world = scene.world
    scene.provider.claims["groups"] = ["cw-viewers", "cw-approvers", "unheard-of"]
    assert (await world.ask("olga", "GET", "/v1/me")).status_code == 200  # and is remembered for 5 s
    assert (await scene.signed_in()).status_code == 303
    users = {one["name"]: one for one in (await world.get("/v1/users", "ada"))["items"]}
    assert (users["olga"]["role"], users["olga"]["oidc_subject"]) == ("approver", "subject-olga")
    assert (users["vic"]["role"], users["vic"]["oidc_subject"]) == ("viewer", None)
    assert world.audit("user.changed")[-1][1:3] == ("oidc", "olga")
    # The session of before had another role: it ended.
    assert (await world.ask("olga", "GET", "/v1/me")).status_code == 401
    assert world.sql("SELECT count(*) FROM app_session WHERE name = 'olga'") == [(1,)]
    login = {"name": "olga", "password": PASSWORD}
    world.tokens["again"] = (await world.ask("", "POST", "/v1/session", login)).json()["token"]
    assert (await world.ask("again", "GET", "/v1/me")).status_code == 200
    scene.provider.claims["groups"] = []
    assert (await scene.signed_in()).status_code == 403
    assert (await world.ask("again", "GET", "/v1/me")).status_code == 401
    assert world.sql("SELECT count(*) FROM app_session WHERE name = 'olga'") == [(0,)]


async def test_a_closed_account_and_the_last_admin_are_told_so(scene: Scene) -> None:
    world = scene.world
    world.sql("UPDATE app_user SET active = false WHERE name = 'olga'")
    assert "this account is closed" in (await scene.signed_in()).text
    scene.provider.claims = {"sub": "subject-ada", "groups": ["cw-viewers"]}
    assert "nobody else here can administer" in (await scene.signed_in()).text
    assert world.sql("SELECT role FROM app_user WHERE name = 'ada'") == [("admin",)]


async def test_two_sign_ins_of_one_person_are_one_person(scene: Scene) -> None:
    world = scene.world
    plan = await world.plan(two_person_plan("plan-oidc"))
    digest = (await world.get(f"/v1/plans/{plan.plan_id}"))["envelope_digest"]
    body, path = {"envelope_digest": digest}, f"/v1/plans/{plan.plan_id}/approve"
    assert (await world.ask("ann", "POST", path, body)).status_code == 200
    scene.provider.claims = {"sub": "subject-ann", "groups": ["cw-approvers"]}
    answer = await scene.signed_in(challenge_of(VERIFIER))
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    session = await world.ask("", "POST", "/v1/oidc/session", {"code": code, "verifier": VERIFIER})
    world.tokens["fresh"] = session.json()["token"]
    assert (await world.ask("fresh", "POST", path, body)).status_code == 409
    found = await world.get(f"/v1/plans/{plan.plan_id}")
    assert {one["approver"] for one in found["approvals"]} == {"ann"}
    # Nor can one subject become a second user.
    taken = await world.ask("ada", "PUT", "/v1/users/bo/oidc", {"subject": "subject-ann"})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (409, "subject")


async def test_a_user_without_a_password_comes_in_through_the_provider_alone(scene: Scene) -> None:
    world = scene.world
    made = await world.ask("ada", "POST", "/v1/users", {"name": "nora", "role": "viewer"})
    assert made.status_code == 201
    assert (await world.ask("ada", "PUT", "/v1/users/nora/oidc", {"subject": "n"})).status_code == 200
    assert (await world.ask("ada", "PUT", "/v1/users/nobody-such/oidc", {"subject": "m"})).status_code == 404
    scene.provider.claims = {"sub": "n", "groups": "cw-viewers"}
    assert (await scene.signed_in()).status_code == 303
    assert (await world.ask("ada", "DELETE", "/v1/users/nora/oidc")).status_code == 204
    assert world.sql("SELECT count(*) FROM app_session WHERE name = 'nora'") == [(0,)]
    assert (await scene.signed_in()).status_code == 403
    assert (await world.ask("ada", "DELETE", "/v1/users/nora/oidc")).status_code == 404


async def test_new_keys_are_fetched_when_a_token_names_one_and_not_for_every_invented_one(
    scene: Scene,
) -> None:
    seconds = [0.0]
    provider = Provider(replace(SETTINGS, issuer=scene.provider.issuer), lambda: seconds[0])
    try:
        asked = scene.provider.asked.get("/jwks", 0)
        await provider.keys()
        await provider.keys()
        await provider.keys(again=True)  # a moment later: not again
        assert scene.provider.asked["/jwks"] == asked + 1
        seconds[0] = 11.0
        await provider.keys(again=True)
        assert scene.provider.asked["/jwks"] == asked + 2
    finally:
        await provider.close()


async def test_a_provider_that_changes_its_key_is_believed_at_once(scene: Scene, tmp_path: Path) -> None:
    settings = replace(SETTINGS, issuer=scene.provider.issuer)
    async with world_over(scene.world.database, tmp_path, oidc=settings) as other:
        mine = Scene(world=other, provider=scene.provider)
        assert (await mine.signed_in()).status_code == 303
        provider = other.services.provider
        assert provider is not None
        assert provider._keys is not None
        provider._keys = (provider._keys[0] - 11.0, provider._keys[1])  # eleven seconds pass
        first, scene.provider.key = scene.provider.key, RSAKey.generate_key(2048, {"kid": "two"})
        try:
            assert (await mine.signed_in()).status_code == 303
        finally:
            scene.provider.key = first  # the others' application knows this one


async def test_a_provider_that_is_away_or_is_another_is_said_to_be_so(scene: Scene) -> None:
    away = Provider(replace(SETTINGS, issuer="http://127.0.0.1:9"))
    with pytest.raises(ProviderAwayError, match="does not answer"):
        await away.metadata()
    await away.close()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"issuer": "https://evil.example"}, "calls itself"),
        ({"token_endpoint": "http://login.example/token"}, "token_endpoint is no https"),
        ({"jwks_uri": None}, "jwks_uri is no https"),
    ]
    for extra, why in wrong:
        scene.provider.extra = extra
        provider = Provider(replace(SETTINGS, issuer=scene.provider.issuer))
        with pytest.raises(ProviderAwayError, match=why):
            await provider.metadata()
        await provider.close()


async def test_sign_ins_that_nobody_finished_are_forgotten_without_reading_the_others(scene: Scene) -> None:
    world = scene.world
    async with scene.browser() as browser:
        for later_s in (0, 599, 601):  # at 601 s the first is over, and the second is not
            world.wall.at = WALL + timedelta(seconds=later_s)
            await scene.at_the_provider(browser)
    assert world.sql("SELECT count(*) FROM oidc_sign_in WHERE expires_at <= %s", world.wall.at) == [(0,)]
    assert world.sql(
        "SELECT count(*) FROM oidc_sign_in WHERE expires_at > %s", WALL + timedelta(minutes=10)
    ) == [(2,)]
    assert world.sql(
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'oidc_sign_in' AND indexdef LIKE '%%(expires_at)'"
    ) == [(1,)]  # fmt: skip


async def test_sign_ins_at_once_do_not_meet(scene: Scene) -> None:
    answers = await asyncio.gather(*(scene.signed_in() for _ in range(4)))
    assert {answer.status_code for answer in answers} == {303}


async def test_one_state_and_one_code_used_at_once_work_once(scene: Scene) -> None:
    async with scene.browser() as browser:
        back = await scene.at_the_provider(browser, challenge_of(VERIFIER))
        answers = await asyncio.gather(*(browser.get(back) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [303, 403, 403, 403]
    [location] = [answer.headers["Location"] for answer in answers if answer.status_code == 303]
    body = {"code": parse_qs(urlsplit(location).query)["code"][0], "verifier": VERIFIER}
    asked = (scene.world.ask("", "POST", "/v1/oidc/session", body) for _ in range(4))
    assert sorted(one.status_code for one in await asyncio.gather(*asked)) == [201, 401, 401, 401]


@pytest.mark.parametrize("end", ["unlinked", "linked anew", "no role any more", "closed"])
async def test_what_ends_a_persons_sessions_ends_their_code_on_its_way_too(scene: Scene, end: str) -> None:
    world = scene.world
    answer = await scene.signed_in(challenge_of(VERIFIER))
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    match end:
        case "unlinked":
            assert (await world.ask("ada", "DELETE", "/v1/users/olga/oidc")).status_code == 204
        case "linked anew":
            path = "/v1/users/olga/oidc"
            assert (await world.ask("ada", "PUT", path, {"subject": "another"})).status_code == 200
        case "closed":
            assert (await world.ask("ada", "PATCH", "/v1/users/olga", {"active": False})).status_code == 200
        case _:
            scene.provider.claims["groups"] = []
            assert (await scene.signed_in()).status_code == 403
    body = {"code": code, "verifier": VERIFIER}
    assert (await world.ask("", "POST", "/v1/oidc/session", body)).status_code == 401


async def test_behind_tls_the_cookie_stays_there_and_a_provider_that_names_itself_must_do_so(
    scene: Scene, tmp_path: Path
) -> None:
    scene.provider.extra = {"authorization_response_iss_parameter_supported": True}
    settings = replace(SETTINGS, issuer=scene.provider.issuer, redirect_base="https://api.example")
    async with world_over(scene.world.database, tmp_path, oidc=settings) as other:
        begun = await other.ask("", "GET", "/v1/oidc/start")
        [cookie] = begun.headers.get_list("set-cookie")
        pair, *attributes = cookie.split("; ")
        assert sorted(attributes) == ["HttpOnly", "Max-Age=600", "Path=/v1/oidc", "SameSite=lax", "Secure"]
        state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
        query = {"state": state, "code": "c"}
        answer = await other.ask("", "GET", "/v1/oidc/callback", params=query, headers={"Cookie": pair})
    assert answer.status_code == 403
    assert "another provider" in answer.text


async def test_one_address_begins_and_ends_few_sign_ins_at_once(scene: Scene, tmp_path: Path) -> None:
    settings = replace(SETTINGS, issuer=scene.provider.issuer)
    body = {"code": "invented", "verifier": VERIFIER}
    for method, path, sent, status in (
        ("GET", "/v1/oidc/start", None, 303),
        ("POST", "/v1/oidc/session", body, 401),
    ):
        few = replace(QUICK, login_burst=2, login_rate_per_s=0.001)
        async with world_over(scene.world.database, tmp_path, settings=few, oidc=settings) as other:
            asked = [(await other.ask("", method, path, sent)).status_code for _ in range(3)]
        assert asked == [status, status, 429]


async def test_a_subject_that_is_replaced_stands_in_the_trail(scene: Scene) -> None:
    world = scene.world
    answer = await world.ask("ada", "PUT", "/v1/users/olga/oidc", {"subject": "another"})
    assert answer.status_code == 200
    [(before,)] = world.sql("SELECT before FROM audit WHERE action = 'oidc.linked' ORDER BY seq DESC LIMIT 1")
    assert before == {"issuer": scene.provider.issuer, "subject": "subject-olga"}


async def test_a_provider_that_drips_is_not_waited_for_longer_than_its_time() -> None:
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = Provider(replace(SETTINGS, issuer=f"http://127.0.0.1:{port}"), timeout_s=0.3)
    try:
        async with asyncio.timeout(20.0):
            with pytest.raises(ProviderAwayError, match="does not answer"):
                await provider.metadata()
    finally:
        await provider.close()
        server.close()
        async with asyncio.timeout(20.0):
            await gone.wait()


async def test_without_a_provider_there_is_no_offer(scene: Scene, tmp_path: Path) -> None:
    offered = await scene.world.ask("", "GET", "/v1/oidc")
    assert offered.json() == {
        "offered": True, "label": "Example", "start": f"{BASE}/v1/oidc/start", "console": True,
    }  # fmt: skip
    async with world_over(scene.world.database, tmp_path) as other:
        none = await other.ask("", "GET", "/v1/oidc")
        assert none.json() == {"offered": False, "label": "", "start": "", "console": False}
        assert (await other.ask("", "GET", "/v1/oidc/start")).status_code == 404
        assert "oidc" not in (await other.ask("", "GET", "/m/login")).text
