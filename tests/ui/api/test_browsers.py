"""Logins are counted by browser: the console says whose it asks for, and a stranger's word for it is worth nothing."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.edge.safety.examples import a_policy_table
from tests.ui.api.world import PASSWORD, QUICK, World, world_over, write_policy
from ui.browser_address import HEADER, KEY_FILE, browser_header, signed
from ui.console.api_client import RefusedError, log_in, open_http
from ui.ops.ports import free_port
from ui.ops.secrets import DatabaseRole
from ui.processes.api import listening, run_api, serve
from ui.settings import API_PORT, DATABASE_URL, POLICY_FILE, READY_FILE, SESSION_SECRET_FILE

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
KEY = bytes(range(32))
# Two tries at once, and the next one in ten seconds.
SLOW = replace(QUICK, login_rate_per_s=0.1, login_burst=2)
LOGIN = {"name": "nobody", "password": "x"}
SOON = 30.0


async def tries(world: World, *headers: dict[str, str]) -> list[int]:
    """Log in wrongly once with each of these headers."""
    return [(await world.ask("", "POST", "/v1/session", LOGIN, headers=one)).status_code for one in headers]


async def test_two_browsers_of_one_console_have_two_allowances(world: World, tmp_path: Path) -> None:
    one, two = ({HEADER: signed(address, KEY)} for address in ("203.0.113.7", "203.0.113.8"))
    async with world_over(world.database, tmp_path, settings=SLOW, browser_key=KEY) as other:
        assert await tries(other, one, one, one) == [401, 401, 429]
        assert await tries(other, two, two, two) == [401, 401, 429]
        change = {"old_password": "guess", "new_password": "another long one"}
        assert (await other.ask("bo", "PUT", "/v1/me/password", change, headers=two)).status_code == 429
        assert (await other.ask("bo", "PUT", "/v1/me/password", change)).status_code == 409
    told = world.audit("session.refused")[-4:]
    assert [entry[3]["address"] for entry in told] == ["203.0.113.7"] * 2 + ["203.0.113.8"] * 2


async def test_a_stranger_gets_no_new_allowance_by_naming_another_address(
    world: World, tmp_path: Path
) -> None:
    forged = [
        {HEADER: "203.0.113.7"},
        {HEADER: signed("203.0.113.8", bytes(32))},
        {HEADER: signed("203.0.113.7", KEY).replace("113.7", "113.9")},
        {"X-Forwarded-For": "203.0.113.10"},
    ]
    async with world_over(world.database, tmp_path, settings=SLOW, browser_key=KEY) as other:
        assert await tries(other, *forged) == [401, 401, 429, 429]
        # Even a signature that was seen somewhere is worth nothing from outside this machine.
        transport = httpx.ASGITransport(app=other.app, client=("198.51.100.4", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as outside:
            seen = [{HEADER: signed(f"203.0.113.{number}", KEY)} for number in (7, 8, 9)]
            answers = [await outside.post("/v1/session", json=LOGIN, headers=one) for one in seen]
        assert [one.status_code for one in answers] == [401, 401, 429]


async def test_without_a_key_nobody_is_believed(world: World, tmp_path: Path) -> None:
    seen = [{HEADER: signed(f"203.0.113.{number}", KEY)} for number in (7, 8, 9)]
    async with world_over(world.database, tmp_path, settings=SLOW) as other:
        assert await tries(other, *seen) == [401, 401, 429]


@asynccontextmanager
async def served(world: World, *, trusted_proxies: str = "") -> AsyncIterator[str]:
    """Serve over a real socket; return where."""
    ready = asyncio.Event()
    with listening(0) as listener:
        serving = asyncio.create_task(
            serve(world.services, listener, ready.set, trusted_proxies=trusted_proxies)
        )
        await asyncio.wait_for(ready.wait(), SOON)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


@pytest.mark.parametrize(("trusted", "last"), [("", 429), ("127.0.0.1", 401)])
async def test_a_forwarded_address_counts_from_a_named_proxy_only(
    world: World, tmp_path: Path, trusted: str, last: int
) -> None:
    async with (
        world_over(world.database, tmp_path, settings=SLOW) as other,
        served(other, trusted_proxies=trusted) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        found = [
            await http.post(
                "/v1/session", json=LOGIN, headers={"X-Forwarded-For": f"8.8.8.8, 203.0.113.{number}"}
            )
            for number in (7, 8, 9)
        ]
        assert [one.status_code for one in found] == [401, 401, last]


async def test_the_process_takes_its_key_from_the_file_that_it_is_given(world: World, tmp_path: Path) -> None:
    write_policy(tmp_path / "policy.toml", a_policy_table())
    for name, content in (("session", bytes(32)), ("browser", KEY)):
        (tmp_path / name).write_bytes(base64.b64encode(content))
        (tmp_path / name).chmod(0o600)
    port = free_port()
    env = {
        DATABASE_URL: world.database.dsn(DatabaseRole.API),
        API_PORT: str(port),
        POLICY_FILE: str(tmp_path / "policy.toml"),
        SESSION_SECRET_FILE: str(tmp_path / "session"),
        KEY_FILE: str(tmp_path / "browser"),
        READY_FILE: str(tmp_path / "ready"),
    }
    serving = asyncio.create_task(run_api(env))
    try:
        async with asyncio.timeout(SOON):
            while not (tmp_path / "ready").exists():
                await asyncio.sleep(0.02)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                signed_ = {HEADER: signed("203.0.113.77", KEY)}
                assert (await http.post("/v1/session", json=LOGIN, headers=signed_)).status_code == 401
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
    assert world.audit("session.refused")[-1][3]["address"] == "203.0.113.77"


async def test_the_consoles_own_client_sends_it(world: World, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(base64.b64encode(KEY))

    def from_browser(url: str, address: str) -> int:
        with open_http(url) as http:
            try:
                log_in(http, "vic", PASSWORD, browser_header(address, {KEY_FILE: str(path)}))
            except RefusedError as error:
                return error.status
            return 201

    async with (
        world_over(world.database, tmp_path, settings=SLOW, browser_key=KEY) as other,
        served(other) as url,
    ):
        addresses = ["203.0.113.7", "203.0.113.7", "203.0.113.7", "203.0.113.8"]
        statuses = [await asyncio.to_thread(from_browser, url, address) for address in addresses]
    assert statuses == [201, 201, 429, 201]
