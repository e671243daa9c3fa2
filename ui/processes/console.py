"""`cellwatt console`: the operators' console on this machine; a proxy in front adds TLS.

Streamlit runs as a child, because it has no word for "I serve now": this process asks it until it does, then says so.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import FrameType

import httpx

import ui.console
from telemetry.model.errors import ControlError
from ui.console.kept_login import KEY, fresh_key
from ui.ops.process import ProcessSpec, spawn, stop
from ui.settings import API_URL, CONSOLE_PORT, READY_FILE, TRUSTED_PROXIES, ProcessSettings, need, need_port

_HOST = "127.0.0.1"
_READY_WITHIN = timedelta(seconds=60)
_LOOK_EVERY_S = 0.1
_PROXIES = (
    "FORWARDED_ALLOW_IPS"  # what Streamlit's server calls them; by default it believes all of this machine
)
# Okabe and Ito's blue; on black the lightest one that still carries white letters (4.7 to 1; WCAG 2.2 asks for 4.5).
_OPTIONS = {
    "server.headless": "true",
    "server.address": _HOST,
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.maxUploadSize": "64",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showSidebarNavigation": "true",
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#2478B6",
}


class ConsoleStartError(ControlError):
    """The console did not come up."""


class _StopAskedError(Exception):
    """SIGTERM or SIGINT came."""


def run_console(env: Mapping[str, str]) -> int:
    """Serve until told to stop; return the exit status.

    Raises:
        SettingsError: A setting is missing.
        ConsoleStartError: The port is taken, or Streamlit ended or did not answer in time.
    """
    need(env, API_URL)
    port, settings = need_port(env, CONSOLE_PORT), ProcessSettings.from_env(env)
    check_free(port)
    spec = ProcessSpec(
        name="streamlit",
        argv=command(port),
        env=child_env(env),
        stop_timeout=timedelta(seconds=5),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    child: subprocess.Popen[bytes] | None = None
    try:
        child = spawn(spec)
        wait_until_it_serves(child, port)
        settings.say_ready()
        return child.wait()
    except _StopAskedError:
        return 0
    finally:
        if child is not None:
            stop(child, spec)


def child_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return what Streamlit is told: ours, a fresh key for its cookies, and whose word for a browser's address to take."""
    kept = {name: value for name, value in env.items() if name != READY_FILE}
    return {**kept, KEY: fresh_key(), _PROXIES: env.get(TRUSTED_PROXIES, "")}


def check_free(port: int) -> None:
    """Say at once that a port is taken; Streamlit takes seconds to find out.

    Raises:
        ConsoleStartError: It is.
    """
    try:
        socket.create_server((_HOST, port)).close()
    except OSError as error:
        raise ConsoleStartError(f"the console cannot listen on {_HOST}:{port}: {error}") from error


def command(port: int) -> tuple[str, ...]:
    """Return how Streamlit is started: no browser, no statistics, this machine only."""
    app = Path(ui.console.__path__[0]) / "serve.py"
    options = {**_OPTIONS, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    return (sys.executable, "-m", "streamlit", "run", str(app), *flags)


def wait_until_it_serves(child: subprocess.Popen[bytes], port: int) -> None:
    """Return once the console answers.

    Raises:
        ConsoleStartError: It ended or did not answer in time.
    """
    deadline_s = time.monotonic() + _READY_WITHIN.total_seconds()
    with httpx.Client(base_url=f"http://{_HOST}:{port}", timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline_s:
            if child.poll() is not None:
                raise ConsoleStartError(f"streamlit ended with status {child.returncode}; its log says why")
            try:
                if client.get("/_stcore/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_LOOK_EVERY_S)
    raise ConsoleStartError(f"the console did not answer on port {port} in time")


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _StopAskedError
