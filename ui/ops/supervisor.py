"""Keeps processes running: restarts with back-off, and says on disk what it does."""

import json
import logging
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random

from ui.ops.files import write_atomic
from ui.ops.process import ProcessSpec, spawn, stop

_log = logging.getLogger(__name__)


class ProcessState(StrEnum):
    """What the supervisor does with a process."""

    RUNNING = "running"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How long to wait before a process is started again."""

    first: timedelta = timedelta(seconds=0.5)
    cap: timedelta = timedelta(seconds=30)
    jitter_frac: float = 0.2  # 0..1, so that processes that fell together do not rise together
    stable_after: timedelta = timedelta(seconds=60)  # a run this long forgives earlier failures


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One line of `cellwatt status`."""

    name: str
    pid: int | None
    state: ProcessState
    restarts: int
    since: datetime  # aware UTC wall time of the last change of state
    exit_status: int | None  # of the run before this one; negative: killed by that signal


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatus:
    """What the status file says, and whether its writer still lives."""

    pid: int
    alive: bool
    processes: tuple[ProcessStatus, ...]


def restart_delay(policy: RestartPolicy, failures: int, unit_random: float) -> timedelta:
    """Return the wait before the next start: doubling, capped, then jittered.

    Args:
        policy: The bounds.
        failures: Consecutive short runs, one or more.
        unit_random: Uniform in 0..1.
    """
    doublings = min(failures - 1, 30)  # beyond this the cap holds and the power would overflow
    waited = min(policy.cap, policy.first * (1 << doublings))
    return waited * (1.0 + policy.jitter_frac * (2.0 * unit_random - 1.0))


@dataclass(slots=True, kw_only=True)
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None
    state: ProcessState
    since: datetime
    started_s: float
    start_again_s: float = 0.0
    failures: int = 0
    restarts: int = 0
    exit_status: int | None = None


class Supervisor:
    """Runs a set of processes in the main thread: `add`, then `run` or `tick` from a loop, then `stop`."""

    def __init__(
        self,
        *,
        status_path: Path,
        wall_now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
        random: Random,
        policy: RestartPolicy = RestartPolicy(),
    ) -> None:
        """Take the clocks and the source of jitter; nothing is started yet."""
        self._status_path = status_path
        self._wall_now = wall_now
        self._monotonic_s = monotonic_s
        self._random = random
        self._policy = policy
        self._children: list[_Child] = []

    def add(self, spec: ProcessSpec, process: subprocess.Popen[bytes] | None = None) -> None:
        """Start a process and keep it running, or adopt one that was started from the same spec."""
        self._children.append(
            _Child(
                spec=spec,
                process=process or spawn(spec),
                state=ProcessState.RUNNING,
                since=self._wall_now(),
                started_s=self._monotonic_s(),
            )
        )
        self._write_status()

    def tick(self) -> None:
        """Reap what ended and start what is due; cheap enough for several times a second."""
        changed = [self._tick_child(child) for child in self._children]
        if any(changed):
            self._write_status()

    def run(self, stop_requested: threading.Event, *, interval: timedelta = timedelta(seconds=0.2)) -> None:
        """Tick until asked to stop, then stop everything."""
        try:
            while not stop_requested.wait(interval.total_seconds()):
                self.tick()
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop all processes, the last started first."""
        for child in reversed(self._children):
            if child.process is not None:
                child.exit_status = stop(child.process, child.spec)
            child.process, child.state, child.since = None, ProcessState.STOPPED, self._wall_now()
        self._write_status()

    def status(self) -> tuple[ProcessStatus, ...]:
        """What each process does now."""
        return tuple(
            ProcessStatus(
                name=child.spec.name,
                pid=child.process.pid if child.process else None,
                state=child.state,
                restarts=child.restarts,
                since=child.since,
                exit_status=child.exit_status,
            )
            for child in self._children
        )

    def _tick_child(self, child: _Child) -> bool:
        if child.state is ProcessState.RUNNING and child.process is not None:
            exit_status = child.process.poll()
            if exit_status is not None:
                self._back_off(child, exit_status)
                return True
        elif child.state is ProcessState.BACKING_OFF and self._monotonic_s() >= child.start_again_s:
            self._start_again(child)
            return True
        return False

    def _back_off(self, child: _Child, exit_status: int | None) -> None:
        ran = timedelta(seconds=self._monotonic_s() - child.started_s)
        child.failures = 1 if ran >= self._policy.stable_after else child.failures + 1
        delay = restart_delay(self._policy, child.failures, self._random.random())
        child.start_again_s = self._monotonic_s() + delay.total_seconds()
        child.process, child.state, child.since = None, ProcessState.BACKING_OFF, self._wall_now()
        child.exit_status = exit_status
        _log.warning(
            "process ended",
            extra={
                "process_name": child.spec.name,
                "exit_status": exit_status,
                "restart_in_s": delay.total_seconds(),
            },
        )

    def _start_again(self, child: _Child) -> None:
        child.restarts += 1
        child.started_s = self._monotonic_s()
        try:
            child.process = spawn(child.spec)
        except OSError:
            _log.exception("process cannot be started", extra={"process_name": child.spec.name})
            self._back_off(child, None)
        else:
            child.state, child.since = ProcessState.RUNNING, self._wall_now()

    def _write_status(self) -> None:
        write_status(self._status_path, self.status())


def write_status(path: Path, processes: Iterable[ProcessStatus]) -> None:
    """Replace the status file; it names its writer by process id and start, so that a stale file is recognised."""
    rows = [asdict(each) | {"since": each.since.isoformat()} for each in processes]
    content = {"v": 1, "supervisor": _identity("self"), "processes": rows}
    write_atomic(path, json.dumps(content, indent=1).encode(), durable=False)


def read_status(path: Path) -> SupervisorStatus | None:
    """Return what the supervisor last wrote, or None if none has run here."""
    if not path.exists():
        return None
    content = json.loads(path.read_bytes())
    writer = content["supervisor"]
    return SupervisorStatus(
        pid=writer["pid"],
        alive=_identity(str(writer["pid"])) == writer,
        processes=tuple(
            ProcessStatus(
                name=row["name"],
                pid=row["pid"],
                state=ProcessState(row["state"]),
                restarts=row["restarts"],
                since=datetime.fromisoformat(row["since"]),
                exit_status=row["exit_status"],
            )
            for row in content["processes"]
        ),
    )


def _identity(pid: str) -> dict[str, int] | None:
    """Process id and start in clock ticks since boot (proc(5), field 22); None where no such process lives."""
    try:
        stat = (Path("/proc") / pid / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = stat.rpartition(")")[2].split()
    return {"pid": int(stat.split(" ", 1)[0]), "started_ticks": int(after_name[19])}
