"""`cellwatt api`: the REST API over HTTP on this machine; a proxy in front adds TLS."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import uvicorn

from knowledge.embed import choose_embedder
from telemetry.model.errors import ControlError
from ui.api.app import create_app
from ui.api.model_use import model_settings
from ui.api.oidc import oidc_settings
from ui.api.services import Services, open_services
from ui.browser_address import KEY_FILE
from ui.ops.secret_files import read_seed
from ui.settings import (
    API_PORT,
    DATABASE_URL,
    NOTIFY_FILE,
    POLICY_FILE,
    SESSION_SECRET_FILE,
    TRUSTED_PROXIES,
    ProcessSettings,
    need,
    need_file,
    need_port,
)

_HOST = "127.0.0.1"
_LATE_LOOKS = 3
_LOOK_EVERY_S = 0.02
_LAST_REQUESTS_S = 5
_BACKLOG = 512


class ApiStartError(ControlError):
    """The API cannot serve; the message says why."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_api(env: Mapping[str, str]) -> None:
    """Serve until cancelled; requests under way are finished, streams are ended.

    Raises:
        SettingsError: A setting is missing.
        ApiStartError: The port is taken.
    """
    settings = ProcessSettings.from_env(env)
    port = need_port(env, API_PORT)
    secret = base64.b64decode(need_file(env, SESSION_SECRET_FILE).read_text().strip(), validate=True)
    async with open_services(
        need(env, DATABASE_URL),
        clock=settings.clock,
        policy_file=need_file(env, POLICY_FILE),
        secret=secret,
        choose_embedder=lambda: choose_embedder(env),
        notify_file=Path(env[NOTIFY_FILE]) if env.get(NOTIFY_FILE) else None,
        model=model_settings(env),
        oidc=oidc_settings(env),
        browser_key=read_seed(need_file(env, KEY_FILE)) if env.get(KEY_FILE) else None,
    ) as services:
        with listening(port) as listener:
            proxies = env.get(TRUSTED_PROXIES, "")
            await serve(services, listener, settings.say_ready, trusted_proxies=proxies)


async def serve(
    services: Services,
    listener: socket.socket,
    say_ready: Callable[[], None],
    *,
    trusted_proxies: str = "",
) -> None:
    """Serve on a socket until cancelled; calls `say_ready` once requests are accepted.

    Args:
        services: What the application works with.
        listener: Where it listens.
        say_ready: Called once.
        trusted_proxies: Whose `X-Forwarded-For` is believed, comma-separated; nobody's by default, since the server's own
            default would let every process of this machine choose the address that its logins are counted by.
    """
    server = _Server(
        uvicorn.Config(
            create_app(services),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=trusted_proxies,
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn tells by an attribute)
            await asyncio.sleep(_LOOK_EVERY_S)
        if server.started:
            say_ready()
        await asyncio.shield(serving)
    finally:
        services.hub.close()
        server.should_exit = True
        await serving
        for _ in range(_LATE_LOOKS):  # a connection that was accepted while the last ones were closed
            await asyncio.sleep(0.01)
            for late in tuple(server.server_state.connections):
                late.shutdown()


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Give a socket that listens on this machine alone.

    Raises:
        ApiStartError: The port is taken.
    """
    # The protocol is named, because asyncio switches Nagle's delay off only where it is: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ApiStartError(f"the API cannot listen on {_HOST}:{port}: {error}") from error
    with listener:
        yield listener
