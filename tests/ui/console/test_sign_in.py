"""Signing in through a provider with a real browser: console, API and provider as three servers, the last at another site."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from tests.services import DatabaseServer
from tests.ui.api.oidc_provider import TestProvider, running_provider
from tests.ui.api.test_oidc import SETTINGS
from tests.ui.api.world import WALL
from tests.ui.console.conftest import LiveApi, serving_api
from tests.ui.console.running import start
from tests.ui.console.test_browser import PATIENCE_MS, browser
from tests.ui.ops.waiting import wait_for
from ui.console.kept_login import COOKIE
from ui.console.sign_in import VERIFIER, challenge_of, sign_in_routes
from ui.ops.ports import free_port
from ui.settings import API_URL

__all__ = ["browser"]
pytestmark = [pytest.mark.database]


@dataclass(frozen=True, slots=True, kw_only=True)
class Three:
    """The console's address, the API and the provider."""

    console: str
    api: LiveApi
    provider: TestProvider


@pytest.fixture(scope="module")
def three(postgres_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    port, console_port, folder = free_port(), free_port(), tmp_path_factory.mktemp("sign-in")
    back = f"http://127.0.0.1:{port}/v1/oidc/callback"
    with postgres_server.fresh() as database, running_provider(lambda: WALL, back, "localhost") as provider:
        console = f"http://127.0.0.1:{console_port}"
        oidc = replace(
            SETTINGS,
            issuer=provider.issuer,
            redirect_base=f"http://127.0.0.1:{port}",
            console_url=console,
        )
        with serving_api(database, folder, port, oidc) as api:
            api.client("ada").act("PUT", "/v1/users/olga/oidc", {"subject": "subject-olga"})
            process = start(folder, console_port, **{API_URL: api.url})
            try:
                assert wait_for((folder / "ready").exists, within_s=40.0), "the console did not come up"
                yield Three(console=console, api=api, provider=provider)
            finally:
                process.terminate()
                process.communicate(timeout=15)


@pytest.mark.browser
def test_a_person_presses_the_button_and_sits_at_the_console(three: Three, browser: Browser) -> None:
    seen: list[str] = []
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: seen.append(request.url))
        page.goto(three.console)
        page.get_by_role("link", name="Sign in with Example").click()
        expect(page.get_by_test_id("stSidebarNav")).to_be_attached(timeout=PATIENCE_MS)
        expect(page.get_by_text("olga", exact=False).first).to_be_attached(timeout=PATIENCE_MS)
        kept = {one["name"]: one for one in context.cookies()}
        assert (kept[COOKIE]["httpOnly"], kept[COOKIE]["sameSite"]) == (True, "Strict")
        assert VERIFIER not in kept
        token = kept[COOKIE]["value"]
        assert not any(token in url for url in seen)
        page.reload()
        expect(page.get_by_test_id("stSidebarNav")).to_be_attached(timeout=PATIENCE_MS)
    hosts = {urlsplit(url).hostname for url in seen if url.startswith("http")}
    assert hosts == {"127.0.0.1", "localhost"}


@pytest.mark.browser
def test_a_cookie_that_the_api_knows_no_longer_is_let_go(three: Three, browser: Browser) -> None:
    with browser.new_context() as context:
        context.add_cookies([{"name": COOKIE, "value": "cw_over", "url": three.console, "httpOnly": True}])
        page = context.new_page()
        page.goto(three.console)
        expect(page.get_by_role("link", name="Sign in with Example")).to_be_visible(timeout=PATIENCE_MS)
        assert wait_for(lambda: COOKIE not in {one["name"] for one in context.cookies()}, within_s=20.0)


def _look(http: "httpx.Client", token: str) -> None:
    """Draw what is drawn before the login; Streamlit runs this function's text, so it imports what it needs."""
    from ui.console.desk import seated, sit_down_again

    sit_down_again(http, token)
    assert seated() is None


@pytest.mark.parametrize(("address", "asked"), [("", 1), ("http://127.0.0.1:9", 3)])
def test_a_dead_login_is_asked_about_once_and_one_without_an_answer_again(
    live_api: LiveApi, address: str, asked: int
) -> None:
    seen: list[str] = []
    with httpx.Client(base_url=address or live_api.url, trust_env=False) as http:
        http.event_hooks["request"].append(lambda request: seen.append(request.url.path))
        test = AppTest.from_function(_look, args=(http, "cw_over"), default_timeout=30)
        for _ in range(3):
            assert not test.run().exception
    assert seen == ["/v1/me"] * asked


def _browser_of(api_url: str) -> TestClient:
    app = Starlette(routes=sign_in_routes({API_URL: api_url}))
    return TestClient(app, base_url="https://console.example", follow_redirects=False)


def test_the_way_there_carries_the_challenge_of_a_verifier_that_only_this_browser_keeps(three: Three) -> None:
    with _browser_of(three.api.url) as client:
        led = client.get("/sign-in").headers["Location"]
        verifier = client.cookies[VERIFIER]
    assert led.startswith(f"{three.api.url}/v1/oidc/start?")
    assert parse_qs(urlsplit(led).query) == {"challenge": [challenge_of(verifier)]}


def test_a_way_back_that_leads_nowhere_says_so_on_the_login_page(three: Three) -> None:
    with _browser_of(three.api.url) as client:
        answer = client.get("/signed-in", params={"code": "invented"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "./?sign_in=failed")
        assert COOKIE not in client.cookies
    with _browser_of("http://127.0.0.1:9") as client:
        assert client.get("/sign-in").headers["Location"] == "./?sign_in=failed"


def test_a_way_back_without_the_verifier_asks_the_api_nothing() -> None:
    # Any page may lead a browser here; it must not use up the logins that this console's address has.
    with socket.create_server(("127.0.0.1", 0)) as api:
        api.settimeout(0.0)
        with _browser_of(f"http://127.0.0.1:{api.getsockname()[1]}") as client:
            answer = client.get("/signed-in", params={"code": "invented"})
        assert answer.headers["Location"] == "./?sign_in=failed"
        with pytest.raises(BlockingIOError):
            api.accept()


def test_where_no_provider_is_set_up_there_is_no_way_there(live_api: LiveApi) -> None:
    with _browser_of(live_api.url) as client:
        assert client.get("/sign-in").headers["Location"] == "./?sign_in=failed"
