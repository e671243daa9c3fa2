"""The cookie that outlives a reload: set for whoever holds this console's seal, for no script and no other site."""

import httpx
import pytest
from cryptography.fernet import Fernet
from starlette.applications import Starlette

from ui.console.kept_login import (
    COOKIE,
    KEY,
    PATH,
    SEALED,
    fresh_key,
    keeping_script,
    kept_login_route,
    seal,
    unsealed,
)

ENV = {KEY: fresh_key()}
TYPE = {"Content-Type": SEALED}


def browser(env: dict[str, str] = ENV, scheme: str = "http") -> httpx.AsyncClient:
    app = Starlette(routes=[kept_login_route(env)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"{scheme}://console")


async def test_a_sealed_token_becomes_a_cookie_that_no_script_and_no_other_site_gets() -> None:
    async with browser() as client:
        answer = await client.post(PATH, content=seal("token-1", ENV), headers=TYPE)
    assert answer.status_code == 204
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie == f"{COOKIE}=token-1; HttpOnly; Path=/; SameSite=strict"


@pytest.mark.parametrize("proxied", [False, True])
async def test_behind_tls_the_cookie_stays_behind_tls(proxied: bool) -> None:
    async with browser(scheme="http" if proxied else "https") as client:
        headers = {**TYPE, **({"X-Forwarded-Proto": "https"} if proxied else {})}
        answer = await client.post(PATH, content=seal("t", ENV), headers=headers)
    assert answer.headers["set-cookie"].endswith("Secure")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 403),
        (b"token-1", 403),
        (b"\xff\xfe", 403),
        (seal("token-1", {KEY: fresh_key()}).encode(), 403),
        (b"a" * 5000, 413),
    ],
    ids=["empty", "not sealed", "no text", "another console's seal", "too long"],
)
async def test_nothing_else_sets_a_cookie(body: bytes, status: int) -> None:
    async with browser() as client:
        answer = await client.post(PATH, content=body, headers=TYPE)
    assert (answer.status_code, "set-cookie" in answer.headers) == (status, False)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_of_another_site_seats_nobody_in_somebody_elses_login(kind: str) -> None:
    # A form is all that another site can send here unasked; its field `name=` can spell a seal that ends in "=".
    sealed = seal("token-of-another", ENV)
    async with browser() as client:
        for body in (sealed, f"{sealed}\r\n"):
            answer = await client.post(PATH, content=body, headers={"Content-Type": kind})
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_seal_is_good_for_a_minute() -> None:
    old = Fernet(ENV[KEY]).encrypt_at_time(b"token-1", 1_000_000)
    assert unsealed(old, ENV) is None
    assert unsealed(seal("token-1", ENV).encode(), ENV) == "token-1"


async def test_without_a_key_no_login_is_kept() -> None:
    assert seal("token-1", {}) == ""
    async with browser({}) as client:
        answer = await client.post(PATH, content=seal("token-1", ENV), headers=TYPE)
    assert answer.status_code == 403


async def test_a_log_out_takes_the_cookie_away() -> None:
    async with browser() as client:
        answer = await client.delete(PATH)
    assert 'cellwatt_console=""; ' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_the_page_calls_the_route_where_the_console_stands() -> None:
    assert keeping_script("abc=", "/ops/cellwatt/") == (
        '<script>fetch("/ops/cellwatt/keep-login", {method: "POST", headers:'
        ' {"Content-Type": "application/octet-stream"}, body: "abc="})</script>'
    )
    assert '"/keep-login"' in keeping_script("abc=", "")
