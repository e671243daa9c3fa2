import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.services import PASSWORDS, QUICK
from tests.ui.ops.waiting import gone, wait_for
from ui.ops.postgres import EmbeddedPostgres
from ui.ops.process import ProcessSpec
from ui.ops.supervisor import (
    ProcessState,
    RestartPolicy,
    Supervisor,
    read_status,
    restart_delay,
    write_status,
)

POLICY = RestartPolicy()
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class HandClock:
    seconds: float = 0.0

    def monotonic_s(self) -> float:
        return self.seconds

    def wall_now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


def supervisor(folder: Path, clock: HandClock) -> Supervisor:
    return Supervisor(
        status_path=folder / "status.json",
        wall_now=clock.wall_now,
        monotonic_s=clock.monotonic_s,
        random=Random(1),
        policy=RestartPolicy(jitter_frac=0.0),
    )


@pytest.mark.parametrize(
    ("failures", "unit_random", "seconds"),
    [
        (1, 0.5, 0.5),
        (2, 0.5, 1.0),
        (4, 0.5, 4.0),
        (7, 0.5, 30.0),
        (10_000, 0.5, 30.0),
        (1, 0.0, 0.4),
        (1, 1.0, 0.6),
    ],
)
def test_the_delay_doubles_to_its_cap_and_is_jittered(
    failures: int, unit_random: float, seconds: float
) -> None:
    assert restart_delay(POLICY, failures, unit_random).total_seconds() == pytest.approx(seconds, abs=1e-6)


def test_a_failing_process_waits_longer_each_time_and_a_stable_run_forgives(tmp_path: Path) -> None:
    clock = HandClock()
    watched = supervisor(tmp_path, clock)
    watched.add(ProcessSpec(name="failing", argv=("sh", "-c", "exit 7")))

    def state() -> ProcessState:
        watched.tick()
        return watched.status()[0].state

    assert wait_for(lambda: state() is ProcessState.BACKING_OFF)
    assert watched.status()[0].exit_status == 7
    clock.seconds = 0.49
    assert state() is ProcessState.BACKING_OFF
    clock.seconds = 0.5
    assert state() is ProcessState.RUNNING
    assert wait_for(lambda: state() is ProcessState.BACKING_OFF)
    clock.seconds = 1.49  # the second failure waits a whole second
    assert state() is ProcessState.BACKING_OFF
    clock.seconds = 1.5
    assert state() is ProcessState.RUNNING
    clock.seconds = 61.5  # this run has lasted a minute
    assert wait_for(lambda: state() is ProcessState.BACKING_OFF)
    clock.seconds = 62.0
    assert state() is ProcessState.RUNNING
    assert watched.status()[0].restarts == 3
    watched.stop()


def test_a_killed_process_comes_back_with_a_new_id_and_stop_ends_it(tmp_path: Path) -> None:
    clock = HandClock()
    watched = supervisor(tmp_path, clock)
    watched.add(ProcessSpec(name="sleeper", argv=("sleep", "60")))
    first = watched.status()[0].pid
    assert first is not None
    os.kill(first, 9)

    def back() -> bool:
        clock.seconds += 0.5
        watched.tick()
        return watched.status()[0].pid not in {first, None}

    assert wait_for(back)
    second = watched.status()[0].pid
    watched.stop()
    assert second is not None
    assert gone(second)
    assert watched.status()[0].state is ProcessState.STOPPED


def test_the_status_file_says_what_runs_and_that_its_writer_lives(tmp_path: Path) -> None:
    watched = supervisor(tmp_path, HandClock())
    watched.add(ProcessSpec(name="sleeper", argv=("sleep", "60")))
    status = read_status(tmp_path / "status.json")
    watched.stop()
    assert status is not None
    assert status.alive
    assert status.pid == os.getpid()
    assert [(each.name, each.state, each.since) for each in status.processes] == [
        ("sleeper", ProcessState.RUNNING, START)
    ]


def test_a_file_whose_writer_is_gone_is_recognised_though_its_number_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, ())
    ticks = path.read_text()
    path.write_text(ticks.replace('"started_ticks": ', '"started_ticks": 1'))
    status = read_status(path)
    assert status is not None
    assert not status.alive


def test_no_file_means_no_supervisor(tmp_path: Path) -> None:
    assert read_status(tmp_path / "status.json") is None


def test_run_ends_when_asked_and_stops_everything(tmp_path: Path) -> None:
    watched = supervisor(tmp_path, HandClock())
    watched.add(ProcessSpec(name="sleeper", argv=("sleep", "60")))
    asked = threading.Event()
    asked.set()
    watched.run(asked)
    assert watched.status()[0].state is ProcessState.STOPPED


@pytest.mark.database
def test_an_adopted_server_that_crashed_is_started_again_on_its_port(tmp_path: Path) -> None:
    clock = HandClock()
    watched = supervisor(tmp_path, clock)
    with EmbeddedPostgres(tmp_path, PASSWORDS, settings=QUICK) as server:
        watched.add(server.spec, server.process)
        server.process.kill()
        server.process.wait()

        def answers() -> bool:
            clock.seconds += 0.1
            watched.tick()
            try:
                psycopg.connect(server.dsn()).close()
            except psycopg.OperationalError:
                return False
            return True

        assert wait_for(answers)
        assert [(each.name, each.restarts, each.exit_status) for each in watched.status()] == [
            ("postgres", 1, -9)
        ]
        second = watched.status()[0].pid
        watched.stop()
    assert second is not None
    assert gone(second)
