"""`cellwatt up`: a second start reuses the state, and however the parent ends, nothing of it is left."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Scenario
from ui.ops.runtime import Runtime
from ui.ops.secrets import StateDirectory
from ui.ops.supervisor import ProcessState, ProcessStatus, read_status

pytestmark = pytest.mark.e2e
_READY_WITHIN_S = 60.0


class Up:
    """`cellwatt up` as a person starts it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.output = state_dir.parent / "up.out"
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ui.cli", "up", "--state-dir", str(state_dir)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CELLWATT_CYCLE_MINUTES": "1440"},
            )
        self.started_s = time.monotonic()

    def wait_ready(self) -> float:
        """Return the seconds until it said where the console and the API are."""
        while "login " not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() - self.started_s < _READY_WITHIN_S, self.output.read_text()
            time.sleep(0.1)
        return time.monotonic() - self.started_s

    def living(self) -> list[int]:
        """Return the process ids that belong to the installation: those that name its folder, or work in it."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) in {os.getpid(), self.process.pid}:
                continue
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                place = str((entry / "cwd").readlink())
                dead = (entry / "stat").read_text().rpartition(") ")[2].startswith("Z")
            except OSError:
                continue
            if not dead and (str(self.state_dir).encode() in words or place.startswith(str(self.state_dir))):
                found.append(int(entry.name))
        return found

    def wait_gone(self) -> None:
        """Wait until nothing lives; what is left after 20 s is a failure."""
        deadline_s = time.monotonic() + 20.0
        while (left := self.living()) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert left == []


@pytest.fixture(scope="module")
def up(scenario: Scenario) -> Iterator[Up]:
    """One installation for the tests of this module, in their order; the last ones end it."""
    started = Up(scenario.state_dir)
    started.wait_ready()
    yield started
    started.process.kill()
    started.process.wait()
    started.wait_gone()


def test_a_second_start_serves_the_api_and_nothing_without_a_login(up: Up) -> None:
    assert len(up.living()) >= 7  # PostgreSQL with its own children, Mosquitto, five processes
    runtime = Runtime.load(StateDirectory(up.state_dir))
    assert httpx.get(f"{runtime.api_url}/healthz").status_code == 200
    assert httpx.get(f"{runtime.api_url}/v1/sites").status_code == 401


def test_a_process_that_dies_is_started_again(up: Up) -> None:
    status_path = StateDirectory(up.state_dir).status_path
    before = {each.name: each for each in _processes(status_path)}
    victim = before["ingest"].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    deadline_s = time.monotonic() + 30.0
    while time.monotonic() < deadline_s:
        after = {each.name: each for each in _processes(status_path)}
        if after["ingest"].state is ProcessState.RUNNING and after["ingest"].restarts == 1:
            break
        time.sleep(0.1)
    assert after["ingest"].restarts == 1
    assert after["ingest"].pid not in {None, victim}
    assert after["control"].pid == before["control"].pid


def test_status_names_each_process(up: Up) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "ui.cli", "status", "--state-dir", str(up.state_dir)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in ("postgres", "mosquitto", "ingest", "control", "api", "simulate", "loop"):
        assert re.search(rf"^{name} +running", said, re.MULTILINE), said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_however_the_parent_ends_nothing_is_left(scenario: Scenario, up: Up, number: signal.Signals) -> None:
    ended = up if up.process.poll() is None else Up(scenario.state_dir)
    ended.wait_ready()
    ended.process.send_signal(number)
    assert ended.process.wait(timeout=30) in {0, -number}
    ended.wait_gone()


def _processes(path: Path) -> tuple[ProcessStatus, ...]:
    status = read_status(path)
    assert status is not None
    return status.processes
