"""`cellwatt up` on the scenario's state: it serves an operator, restarts what dies, and its end leaves nothing."""

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
from tests.e2e.running import Operator, Up
from ui.ops.runtime import Runtime
from ui.ops.secrets import StateDirectory
from ui.ops.supervisor import ProcessState, ProcessStatus, read_status

pytestmark = pytest.mark.e2e


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
    for name in ("postgres", "mosquitto", "ingest", "control", "api", "console", "simulate", "loop"):
        assert re.search(rf"^{name} +running", said, re.MULTILINE), said


@pytest.fixture
def operator(up: Up) -> Iterator[Operator]:
    person = Operator(up.state_dir)
    yield person
    person.http.close()


def test_an_operators_request_is_planned_approved_by_a_person_and_taken_by_the_sites(
    operator: Operator,
) -> None:
    thread = operator.post("/v1/threads", {"title": "tonight"})["thread_id"]
    # Feeder 4 had no part in the evening's plan; demand response needs one person's yes by the demo's policy.
    text = "Demand response: relieve feeder-4 by 4 kW from 22:00 to 23:00"
    operator.post(f"/v1/threads/{thread}/messages", {"text": text})
    events = operator.until(
        f"/v1/threads/{thread}/events",
        lambda found: any(one["kind"] in {"interrupt", "done"} for one in found["events"]),
    )
    asked = [one["body"] for one in events["events"] if one["kind"] == "interrupt"]
    assert asked, events["events"][-1]
    assert (asked[0]["kind"], asked[0]["tier"]) == ("approval", "one_person")
    plan_id = asked[0]["plan_id"]
    before = operator.get(f"/v1/plans/{plan_id}")
    assert (before["status"], before["direction"], before["commands"]) == ("validated", "discharge", [])
    operator.post(f"/v1/plans/{plan_id}/approve", {"envelope_digest": before["envelope_digest"]})
    after = operator.until(
        f"/v1/plans/{plan_id}",
        lambda plan: (
            bool(plan["commands"]) and all(one["state"] == "acknowledged" for one in plan["commands"])
        ),
    )
    assert after["status"] == "dispatched"
    assert {one["verdict"] for one in after["commands"]} == {"accepted"}
    assert len(after["commands"]) == after["sites"] >= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_parent_ends_nothing_is_left(scenario: Scenario, up: Up, number: signal.Signals) -> None:
    ended = up if up.process.poll() is None else Up(scenario.state_dir)
    ended.wait_ready()
    if number is signal.SIGINT:
        os.killpg(ended.process.pid, number)  # as a terminal does: all that are in the foreground
    else:
        ended.process.send_signal(number)
    assert ended.process.wait(timeout=30) in {0, -number}
    ended.wait_gone()


def _processes(path: Path) -> tuple[ProcessStatus, ...]:
    status = read_status(path)
    assert status is not None
    return status.processes
