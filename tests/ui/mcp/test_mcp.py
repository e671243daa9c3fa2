"""The MCP server, spoken to by the SDK's client and by one that knows nothing of the SDK, over stdio and over HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from mcp import ClientSession, StdioServerParameters, stdio_client

from tests.services import Database
from tests.ui.api.world import World, world_over
from tests.ui.mcp.peers import HttpPeer, Peer, PeerError, over_stdio
from ui.mcp.server import OFFERED
from ui.ops.ports import free_port
from ui.ops.secrets import DatabaseRole

TOOLS = {
    "fleet_state", "site_state", "site_autonomy", "telemetry_window", "data_quality", "incidents", "forecast",
    "knowledge_search", "health_battery", "health_replacements", "compare_plans", "explain_rejection", "plan",
    "pv", "outage_risk", "picture",
}  # fmt: skip
RAW_VERSIONS = ("2025-06-18", "2025-03-26")  # of the protocol, as clients in use speak it
GOAL = {
    "objective": "peak_shaving", "feeder_ids": ["feeder-1"], "start": "2026-03-10T17:00:00Z", "duration_min": 60, "why": "over MCP",
}  # fmt: skip


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an application on a free port of its own."""
    port = free_port(None)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(30.0):
        while not server.started:
            await asyncio.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def installation(database: Database, tmp_path: Path) -> AsyncIterator[tuple[World, dict[str, str]]]:
    """An API on a real port, and the environment that the MCP process needs."""
    async with world_over(database, tmp_path) as world, served(world.app) as api_url:
        yield (
            world,
            {
                "CELLWATT_DATABASE_URL": database.dsn(DatabaseRole.LOOP),
                "CELLWATT_API_URL": api_url,
                "CELLWATT_APPROVAL_POLICY": str(tmp_path / "policy.toml"),
                "PATH": "/usr/bin:/bin",
            },
        )


@asynccontextmanager
async def over_http(env: dict[str, str]) -> AsyncIterator[str]:
    """Run `cellwatt mcp --http` as people do."""
    port = free_port(None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ui.cli", "mcp", "--http", str(port), env=env
    )
    try:
        async with httpx.AsyncClient() as http, asyncio.timeout(90.0):
            while True:
                try:
                    await http.get(f"http://127.0.0.1:{port}/mcp")
                    break
                except httpx.TransportError:
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        await process.wait()


async def rpc(url: str, token: str, method: str, params: dict[str, Any]) -> httpx.Response:
    """Send one JSON-RPC request outside any session."""
    async with httpx.AsyncClient(timeout=60.0) as http:
        return await http.post(
            url,
            json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
            headers={
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2025-06-18",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
        )


def test_no_tool_that_dispatches_is_offered() -> None:
    assert set(OFFERED) == TOOLS


async def test_the_sdks_client_reads_over_stdio(database: Database, tmp_path: Path) -> None:
    async with installation(database, tmp_path) as (world, env):
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "ui.cli", "mcp"],
            env={**env, "CELLWATT_TOKEN": world.tokens["vic"]},
        )
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            listed = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(listed) == TOOLS
            assert listed["site_state"].annotations is not None
            assert listed["site_state"].annotations.read_only_hint is True
            assert listed["plan"].annotations is not None
            assert listed["plan"].annotations.read_only_hint is False
            found = await session.call_tool("fleet_state", {})
            assert not found.is_error
            assert found.structured_content is not None
            assert found.structured_content["sites"] == 2
            wrong = await session.call_tool("site_state", {"site_id": "site-99"})
            assert wrong.is_error
            assert wrong.structured_content is not None
            assert "there is no site 'site-99'" in wrong.structured_content["message"]
            refused = await session.call_tool("dispatch_request", {"plan_id": "plan-1"})
            assert refused.is_error
            # A viewer may not ask for plans.
            viewer = await session.call_tool("plan", GOAL)
            assert viewer.structured_content == {
                "error": "unavailable",
                "message": "vic (viewer) may not ask for plans",
            }
        assert world.sql("SELECT count(*) FROM thread_command") == [(0,)]


async def test_a_raw_client_over_http_needs_a_token_of_the_api(database: Database, tmp_path: Path) -> None:
    async with installation(database, tmp_path) as (world, env), over_http(env) as url:
        for nobody in ("", "not-a-token", world.tokens["site"]):
            assert (await rpc(url, nobody, "tools/list", {})).status_code == 401
        listed = await rpc(url, world.tokens["vic"], "tools/list", {})
        assert {tool["name"] for tool in listed.json()["result"]["tools"]} == TOOLS
        found = await rpc(
            url, world.tokens["vic"], "tools/call", {"name": "site_state", "arguments": {"site_id": "site-1"}}
        )
        result = found.json()["result"]
        assert result["isError"] is False
        assert result["structuredContent"]["site_id"] == "site-1"
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        strange = await rpc(
            url,
            world.tokens["vic"],
            "tools/call",
            {"name": "site_state", "arguments": {"site_id": "site-1", "setpoint_w": 5}},
        )
        assert (
            "setpoint_w: Extra inputs are not permitted"
            in strange.json()["result"]["structuredContent"]["message"]
        )
        # A session that ends ends here too.
        assert (await world.ask("vic", "DELETE", "/v1/session")).status_code == 204
        async with asyncio.timeout(30.0):
            while (await rpc(url, world.tokens["vic"], "tools/list", {})).status_code != 401:
                await asyncio.sleep(0.2)


async def test_a_client_without_the_sdk_shakes_hands_over_http(database: Database, tmp_path: Path) -> None:
    async with (
        installation(database, tmp_path) as (world, env),
        over_http(env) as url,
        httpx.AsyncClient(timeout=60.0) as http,
    ):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            await HttpPeer(http=http, url=url, token="nobody").shake_hands(RAW_VERSIONS[0])
        for version in RAW_VERSIONS:
            peer = HttpPeer(http=http, url=url, token=world.tokens["vic"])
            greeted = await peer.shake_hands(version)
            await conversation(peer, greeted, version)


async def test_a_client_without_the_sdk_shakes_hands_over_stdio(database: Database, tmp_path: Path) -> None:
    async with (
        installation(database, tmp_path) as (world, env),
        over_stdio({**env, "CELLWATT_TOKEN": world.tokens["vic"]}) as peer,
    ):
        greeted = await peer.shake_hands(RAW_VERSIONS[0])
        await conversation(peer, greeted, RAW_VERSIONS[0])


async def conversation(peer: Peer, greeted: dict[str, Any], version: str) -> None:
    """Check what a server must say to a client of the protocol, by the protocol's own words."""
    assert greeted["protocolVersion"] == version
    assert greeted["serverInfo"]["name"] == "cellwatt"
    assert "tools" in greeted["capabilities"]
    assert "people approve and a separate process dispatches" in greeted["instructions"]
    assert await peer.ask("ping", {}) == {}
    listed = {tool["name"]: tool for tool in (await peer.ask("tools/list", {}))["tools"]}
    assert set(listed) == TOOLS
    assert listed["site_state"]["inputSchema"]["required"] == ["site_id"]
    assert listed["site_state"]["annotations"]["readOnlyHint"] is True
    found = await peer.ask("tools/call", {"name": "site_state", "arguments": {"site_id": "site-1"}})
    assert found.get("isError", False) is False
    [text] = found["content"]
    assert text["type"] == "text"
    assert json.loads(text["text"])["site_id"] == "site-1"
    wrong = await peer.ask("tools/call", {"name": "site_state", "arguments": {"site_id": "site-99"}})
    assert wrong["isError"] is True
    with pytest.raises(PeerError, match="-32601"):
        await peer.ask("tools/dispatch", {})


async def test_an_operators_plan_goes_through_the_api_as_that_person(
    database: Database, tmp_path: Path
) -> None:
    async with installation(database, tmp_path) as (world, env), over_http(env) as url:
        asking = asyncio.create_task(
            rpc(url, world.tokens["olga"], "tools/call", {"name": "plan", "arguments": GOAL})
        )
        async with asyncio.timeout(60.0):
            while not (rows := world.sql("SELECT thread_id, who, body FROM thread_command")):
                await asyncio.sleep(0.1)
        [(thread_id, who, body)] = rows
        assert who == "olga"
        assert body["goal"]["feeder_ids"] == ["feeder-1"]
        for kind, event in (
            ("plan", {"plans": [{"plan_id": "plan-1"}], "chosen": "plan-1", "why": "It fits."}),
            ("interrupt", {"kind": "approval", "plan_id": "plan-1", "tier": "one_person"}),
        ):
            world.sql(
                "INSERT INTO thread_event (thread_id, at, kind, body) VALUES (%s, now(), %s, %s)",
                thread_id, kind, json.dumps(event), role=DatabaseRole.LOOP,
            )  # fmt: skip
        result = (await asking).json()["result"]["structuredContent"]
        assert result == {
            "thread_id": thread_id, "status": "waits for approval", "tier": "one_person", "plans": [{"plan_id": "plan-1"}],
            "chosen": "plan-1", "why": "It fits.",
        }  # fmt: skip
        assert world.sql("SELECT count(*) FROM dispatch_request") == [(0,)]
        assert world.sql("SELECT count(*) FROM approval") == [(0,)]


def test_without_a_token_stdio_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from ui.cli import main

    for name in ("CELLWATT_API_URL", "CELLWATT_DATABASE_URL", "CELLWATT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main(["mcp"]) == 2
