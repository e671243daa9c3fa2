"""The console as a process: it says when it serves, and ends without leaving a child."""

import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.ui.console.running import start
from tests.ui.ops.waiting import gone, wait_for
from ui.ops.ports import free_port
from ui.processes.console import command
from ui.settings import API_URL, CONSOLE_PORT


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_it_says_ready_once_it_serves_and_ends_with_its_child(tmp_path: Path) -> None:
    port = free_port()
    process = start(tmp_path, port)
    try:
        assert wait_for((tmp_path / "ready").exists, within_s=40.0), process.poll()
        assert (tmp_path / "ready").read_text() == "ready"
        assert httpx.get(f"http://127.0.0.1:{port}/_stcore/health", trust_env=False).text == "ok"
        (child,) = children_of(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        assert wait_for(lambda: gone(child))
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_an_error_that_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path, taken.getsockname()[1])
        _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"ConsoleStartError: the console cannot listen on 127.0.0.1:" in error
    assert not (tmp_path / "ready").exists()


def test_it_serves_this_machine_alone_without_statistics() -> None:
    flags = command(8501)
    assert "--server.address=127.0.0.1" in flags
    assert "--browser.gatherUsageStats=false" in flags
    assert "--server.port=8501" in flags
    assert flags[:4] == (sys.executable, "-m", "streamlit", "run")


@pytest.mark.parametrize("name", [API_URL, CONSOLE_PORT])
def test_a_missing_setting_is_named(tmp_path: Path, name: str) -> None:
    process = start(tmp_path, 18601, **{name: ""})
    _, error = process.communicate(timeout=60)
    assert name.encode() in error
