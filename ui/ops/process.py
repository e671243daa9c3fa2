"""Child processes that die with their parent, whatever kills it.

Ctrl-C and SIGTERM can be handled; SIGKILL and the out-of-memory killer cannot. Linux can send a signal to a child
when its parent dies (PR_SET_PDEATHSIG). Three traps, and what is done about each:

- The kernel forgets the request when the child changes user, so the user is dropped first and the request made after
  it (`subprocess` drops before it calls the hook), and no program may change user itself after that. Executing an
  ordinary program keeps the request.
- The parent may be gone before the request is made. The hook compares the parent's process id afterwards and gives up.
- "Parent" is the *thread* that forked, and a pool's thread ends early. `spawn` refuses any thread but the main one.

A grandchild gets the same treatment because every process of ours starts its children through `spawn`. The signal is
SIGKILL by default, which no hung child survives: our services must stand kill -9 in any case.

A hook between fork and exec is not safe in general when other threads run. This one calls two system calls and
allocates nothing that a lock guards; the alternative, a second interpreter that sets the signal and then executes the
program, costs 20 ms a child and cannot run at all where the dropped user may not reach the interpreter.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_EXIT_NO_DEATH_SIGNAL = 126
_EXIT_PARENT_GONE = 125
_LOG_ROTATE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The unprivileged user that a child becomes."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How to start and stop one child."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None  # None: the parent's environment
    cwd: Path | None = None  # entered before the user is dropped
    log_path: Path | None = None  # None: the parent's standard error
    run_as: RunAs | None = None
    pass_fds: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: timedelta = timedelta(seconds=10)
    death_signal: signal.Signals = signal.SIGKILL


def spawn(spec: ProcessSpec, *, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own that is signalled when this process dies.

    Args:
        spec: What to start.
        stdout: A `subprocess` constant such as PIPE; by default output goes to the log.

    Raises:
        RuntimeError: Called outside the main thread.
        OSError: The program cannot be started.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "children start from the main thread: the kernel ends them when the starting thread ends"
        )
    log = _open_log(spec.log_path) if spec.log_path else os.dup(sys.stderr.fileno())
    try:
        return subprocess.Popen(  # noqa: S603 the argument vector is ours, no shell reads it
            spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout if stdout is not None else log,
            stderr=subprocess.STDOUT if stdout is not None else log,
            cwd=spec.cwd,
            env=spec.env,
            process_group=0,
            pass_fds=spec.pass_fds,
            umask=0o077,
            user=spec.run_as.uid if spec.run_as else None,
            group=spec.run_as.gid if spec.run_as else None,
            extra_groups=() if spec.run_as else None,
            preexec_fn=death_hook(spec.death_signal),  # noqa: PLW1509 the module's docstring says why
        )
    finally:
        os.close(log)


def stop(process: subprocess.Popen[bytes], spec: ProcessSpec) -> int:
    """Ask the child to stop, wait, then kill its whole group; return its exit status."""
    if process.poll() is None:
        process.send_signal(spec.stop_signal)
        try:
            return process.wait(timeout=spec.stop_timeout.total_seconds())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still this group's
    return process.wait()


def death_hook(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what the child runs before it becomes the program; None where the kernel has no such request."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
    parent = os.getpid()
    number = int(death_signal)

    def request() -> None:
        if prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            os._exit(_EXIT_NO_DEATH_SIGNAL)
        if os.getppid() != parent:
            os._exit(_EXIT_PARENT_GONE)

    return request


def log_tail(path: Path, *, lines: int = 15) -> str:
    """Return the end of a log for an error message; empty where there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > _LOG_ROTATE_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
