"""A whole installation as a person starts it, and a person at its API."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from ui.ops.runtime import Runtime
from ui.ops.secrets import StateDirectory

_READY_WITHIN_S = 60.0


class Up:
    """`cellwatt up` as a person starts it."""

    def __init__(self, state_dir: Path, **env: str) -> None:
        self.state_dir = state_dir
        self.output = state_dir.parent / "up.out"
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ui.cli", "up", "--state-dir", str(state_dir)],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "CELLWATT_CYCLE_MINUTES": "1440", "LLM": "none", **env},
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


class Operator:
    """A person at the API."""

    def __init__(self, state_dir: Path, name: str = "admin", password: str = "") -> None:
        state = StateDirectory(state_dir)
        self.http = httpx.Client(base_url=Runtime.load(state).api_url, timeout=30.0)
        login = {"name": name, "password": password or state.secrets.admin_password()}
        token = self.http.post("/v1/session", json=login).json()["token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        answer = self.http.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, path: str) -> dict[str, Any]:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(
        self, path: str, done: Callable[[dict[str, Any]], bool], within_s: float = 60.0
    ) -> dict[str, Any]:
        """Ask until the answer is so."""
        deadline_s = time.monotonic() + within_s
        while not done(answer := self.get(path)):
            assert time.monotonic() < deadline_s, answer
            time.sleep(0.3)
        return answer
