import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tests.ui.ops.waiting import gone, wait_for
from ui.ops.process import ProcessSpec, log_tail, spawn, stop

STUBBORN = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_output_goes_to_the_log_and_the_status_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    process = spawn(ProcessSpec(name="child", argv=("sh", "-c", "echo said; exit 3"), log_path=log))
    assert process.wait(timeout=10) == 3
    assert log.read_text() == "said\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_child_stops_at_the_first_signal() -> None:
    spec = ProcessSpec(name="child", argv=("sleep", "60"))
    assert stop(spawn(spec), spec) == -signal.SIGTERM


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = ProcessSpec(
        name="stubborn",
        argv=(sys.executable, "-c", STUBBORN),
        log_path=log,
        stop_timeout=timedelta(seconds=0.2),
    )
    process = spawn(spec)
    assert wait_for(lambda: "up" in log_tail(log))
    assert stop(process, spec) == -signal.SIGKILL


def test_stopping_a_child_that_has_ended_returns_its_status() -> None:
    spec = ProcessSpec(name="child", argv=("sh", "-c", "exit 4"))
    process = spawn(spec)
    assert wait_for(lambda: process.poll() is not None)
    assert stop(process, spec) == 4


def test_only_the_main_thread_starts_children() -> None:
    refused: list[str] = []

    def attempt() -> None:
        try:
            spawn(ProcessSpec(name="child", argv=("true",)))
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(refused) == 1
    assert "main thread" in refused[0]


def test_a_program_that_does_not_exist_raises() -> None:
    with pytest.raises(FileNotFoundError):
        spawn(ProcessSpec(name="child", argv=("/no/such/program",)))


def test_kill_9_of_the_supervisor_leaves_no_child_and_no_grandchild(tmp_path: Path) -> None:
    noted = tmp_path / "grandchild"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ui.ops.doomed", "supervisor", str(tmp_path)]
    ) as supervisor:
        assert wait_for(lambda: noted.exists() and noted.read_text().isdigit())
        grandchild = int(noted.read_text())
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
        assert len(children) == 1
        assert not gone(grandchild)
        supervisor.kill()
    assert wait_for(lambda: gone(int(children[0])))
    assert wait_for(lambda: gone(grandchild))


def test_an_old_log_that_grew_large_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_bytes(b"x" * 10_000_001)
    spawn(ProcessSpec(name="child", argv=("echo", "new"), log_path=log)).wait(timeout=10)
    assert log.read_text() == "new\n"
    assert (tmp_path / "child.log.1").stat().st_size == 10_000_001
