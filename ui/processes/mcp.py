"""`cellwatt mcp`: the read and propose tools for other programs, over stdio or streamable HTTP on loopback."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import httpx
import uvicorn
from mcp.server.stdio import stdio_server

from telemetry.db import open_async_pool
from tools.deps import Deps
from tools.errors import ToolUnavailableError
from ui.mcp.desk import Caller, Desk
from ui.mcp.server import build_server, http_app
from ui.processes.loop import Memory, tool_deps
from ui.settings import API_URL, DATABASE_URL, POLICY_FILE, ProcessSettings, SettingsError, need

TOKEN = "CELLWATT_TOKEN"  # noqa: S105 the name of a variable


async def run_mcp(env: Mapping[str, str], http_port: int | None) -> None:
    """Serve until the client goes (stdio) or the process is stopped (HTTP).

    Raises:
        SettingsError: A setting is missing, or over stdio the token is nobody's.
    """
    settings = ProcessSettings.from_env(env)
    api_url = need(env, API_URL)
    pool = await open_async_pool(need(env, DATABASE_URL), application_name="cellwatt-mcp", max_size=4)
    try:
        deps = replace(
            tool_deps(pool, settings, Path(need(env, POLICY_FILE))), library=Memory(pool, env).library
        )
        async with httpx.AsyncClient(base_url=api_url, timeout=30.0) as http:
            desk = Desk(http=http)
            if http_port is None:
                await _stdio(env, desk, deps)
                return
            app = http_app(deps, desk, api_url=api_url, version=version("cellwatt"))
            settings.say_ready()
            config = uvicorn.Config(app, host="127.0.0.1", port=http_port, log_level="warning", lifespan="on")
            await uvicorn.Server(config).serve()
    finally:
        await pool.close()


async def _stdio(env: Mapping[str, str], desk: Desk, deps: Deps) -> None:
    token = need(env, TOKEN)

    async def caller() -> Caller:
        found = await desk.caller(token)  # asked anew each time: a token that is taken back ends here too
        if found is None:
            raise ToolUnavailableError(f"the API does not know the token in {TOKEN}")
        return found

    try:
        await caller()
    except ToolUnavailableError as error:
        raise SettingsError(str(error)) from error
    server = build_server(deps, desk, caller, version=version("cellwatt"))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
