"""The embedded model beside a running installation: fetched in the background, then served by a process with no rights."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ui.ops.llm import QWEN, Weights, held, models_folder
from ui.ops.privilege import unprivileged_user
from ui.ops.process import ProcessSpec, log_tail, spawn
from ui.ops.supervisor import Supervisor

URL = "CELLWATT_LLM_URL"
USERS = ("cellwatt-llm", "games")  # who the server becomes when we are root; a user that owns nothing of ours
_LOOK_EVERY_S = 2.0
_SERVER = Path(__file__).with_name("llm_server.py")
# All that its environment holds: no path, no home, no address, no password.
SERVER_ENV = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "PYTHONUNBUFFERED": "1"}


def wanted(env: Mapping[str, str]) -> bool:
    """Whether the embedded model has a place here: not with an endpoint of one's own, and not with `LLM=none`."""
    return env.get("LLM", "").lower() != "none" and not env.get("OPENAI_BASE_URL")


def url_of(port: int) -> str:
    """Return the address that the loop is given."""
    return f"http://127.0.0.1:{port}/v1"


def server_spec(folder: Path, port: int, log_path: Path | None, weights: Weights = QWEN) -> ProcessSpec:
    """Return how the server starts. It drops its rights itself, after its libraries are loaded and before the weights are."""
    user = unprivileged_user(USERS)
    uid, gid = ("-", "-") if user is None else (str(user.uid), str(user.gid))
    return ProcessSpec(
        name="llm",
        argv=(
            sys.executable, "-I", str(_SERVER), str(folder), weights.file, str(port), uid, gid, str(os.getpid()),
        ),
        env=SERVER_ENV,
        cwd=Path("/"),
        log_path=log_path,
    )  # fmt: skip


def answers(port: int) -> bool:
    """Whether the server has loaded its weights and answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=0.5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class ModelState(StrEnum):
    """How far the embedded model is."""

    OFF = "off"
    FETCHING = "fetching"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


Serve = Callable[[Path, int, Path | None, Weights], ProcessSpec]
"""How the server of a folder's weights starts on a port, with its log."""


@dataclass(slots=True, kw_only=True)
class ModelKeeper:
    """Fetches and serves the model while a supervisor runs; belongs to the main thread. `say` tells people, once each.

    `fetch` is the command that brings the weights and can be repeated, `serve` how their server starts.
    """

    env: Mapping[str, str]
    port: int
    logs: Path
    supervisor: Supervisor
    say: Callable[[str], None]
    weights: Weights = QWEN
    fetch: tuple[str, ...] = (sys.executable, "-m", "ui.cli", "llm", "install")
    serve: Serve = server_spec
    state: ModelState = ModelState.OFF
    _fetch: subprocess.Popen[bytes] | None = None
    _looked_s: float = field(default=0.0)

    def begin(self) -> None:
        """Serve the weights that are here, or begin to fetch them."""
        if not wanted(self.env):
            return
        if held(models_folder(self.env), self.weights).ready:
            self._serve()
            return
        self.state = ModelState.FETCHING
        self.say(
            f"fetching the embedded language model in the background ({self.weights.name}, {self.weights.bytes / 1e9:.1f} GB, licence"
            f" {self.weights.licence}; publisher {self.weights.publisher}); until then the policy planner answers. LLM=none leaves it out."
        )
        self._fetch = spawn(
            ProcessSpec(
                name="llm-fetch",
                argv=self.fetch,
                env=dict(self.env),
                log_path=self.logs / "llm-fetch.log",
            )
        )

    def tick(self) -> None:
        """Take note of what has come about; cheap."""
        if self.state is ModelState.FETCHING and self._fetch is not None:
            status = self._fetch.poll()
            if status == 0:
                self._serve()
            elif status is not None:
                self.state = ModelState.FAILED
                tail = log_tail(self.logs / "llm-fetch.log", lines=1)
                self.say(f"the embedded language model was not fetched; the policy planner goes on ({tail})")
        elif self.state is ModelState.LOADING and time.monotonic() - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            if answers(self.port):
                self.state = ModelState.READY
                self.say(
                    f"the embedded language model is ready ({self.weights.name}): as soon as it has read its instructions it answers, and"
                    " decides in the automated loop; the policy planner takes over whenever it fails or is slow"
                )

    def stop(self) -> None:
        """End a fetch that runs; it goes on from there next time."""
        if self._fetch is not None and self._fetch.poll() is None:
            self._fetch.terminate()
            self._fetch.wait(timeout=10.0)

    def _serve(self) -> None:
        spec = self.serve(models_folder(self.env), self.port, self.logs / "llm.log", self.weights)
        self.supervisor.add(spec)
        self.state = ModelState.LOADING
