"""One evening peak from forecast to report, without a screen (simulated): what `make demo` and the end-to-end test run.

History goes through fast, the clock runs at speed 1 from the first look to the last acknowledgement, then faster while
the plan runs.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from telemetry.model.clock import FilePace, PacedClock, change_speed
from telemetry.model.errors import ControlError
from telemetry.model.series import STEP
from ui.ops.demo_report import Outcome, figures_of, gather, print_report
from ui.ops.demo_store import DemoStore
from ui.ops.steps import Step, steps_for
from ui.ops.up import System, UpOptions

# A working day's evening; the loads of that weekday and hour come from the trace whatever the year.
DEMO_START = datetime(2026, 11, 24, 18, 12, tzinfo=ZoneInfo("Europe/Rome")).astimezone(UTC)
PROCESSES = ("ingest", "control", "api", "simulate", "loop")
# Domain seconds per second while the plan runs. At 90 the gateways control every 9 s of domain time; a machine whose
# cores are busy with other work cannot keep that up. Feeling their way to a new setpoint takes them some ten steps,
# which at 90 would be minutes of domain time: there the clock runs slower.
RUN_SPEED, BUSY_SPEED, CHANGE_SPEED = 90.0, 60.0, 30.0
_BEFORE_CHANGE, _AFTER_CHANGE = timedelta(seconds=30), timedelta(seconds=60)
_A_CHANGE_W = 300.0
_BUSY_FRAC = 0.85
_PROC_STAT = Path("/proc/stat")
_LOOK_EVERY_S = 0.2


class StageError(ControlError):
    """A stage of the scenario did not come about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How to run the scenario. `state_dir` None: a temporary one, removed afterwards; `run_speed` None: by load."""

    sites: int = 24
    seed: int = 7
    state_dir: Path | None = None
    json_path: Path | None = None
    run_speed: float | None = None
    history_days: int = 28


@dataclass(slots=True)
class Stages:
    """The stages passed so far, each with its wall seconds."""

    passed: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; one that fails is noted as failed and ends the scenario."""
        start_s = time.monotonic()
        try:
            yield
        except BaseException:
            self.passed.append({"name": name, "ok": False, "seconds": round(time.monotonic() - start_s, 2)})
            raise
        self.passed.append({"name": name, "ok": True, "seconds": round(time.monotonic() - start_s, 2)})


def run_demo(options: DemoOptions) -> int:
    """Run the scenario, print its report, write its figures; return 0, or 1 naming the stage that failed."""
    stages = Stages()
    outcome: Outcome | None = None
    error = ""
    try:
        outcome = run_scenario(options, stages)
    except (ControlError, TimeoutError, psycopg.Error) as failure:
        error = str(failure)
    figures = figures_of(outcome, stages.passed)
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(figures, indent=1) + "\n")
    if outcome is not None:
        print_report(outcome, stages.passed)
    if error:
        failed = stages.passed[-1]["name"] if stages.passed else "start"
        print(f"demo: stage '{failed}' failed: {error}")
        return 1
    return 0


def run_scenario(options: DemoOptions, stages: Stages) -> Outcome:
    """Bring an installation up, let one cycle run to its report, and return what happened.

    Raises:
        StageError: A stage did not come about in time; `stages` names it.
    """
    with ExitStack() as stack:
        folder = options.state_dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="cellwatt-demo-"))
        )
        steps = steps_for()
        stack.callback(steps.close)
        up = UpOptions(
            state_dir=folder,
            sites=options.sites,
            seed=options.seed,
            history_days=options.history_days,
            start=DEMO_START,
            preferred_ports=(None, None),  # nobody looks at it: whoever prefers a port may have it
            processes=PROCESSES,
            env={**os.environ, "CELLWATT_CYCLE_MINUTES": "1440"},
        )
        with stages.stage("start"):
            system = stack.enter_context(System(up, steps))
        owner = stack.enter_context(psycopg.connect(system.installation.runtime.owner_dsn, autocommit=True))
        return _follow(system, DemoStore(owner), stages, options, steps.step)


def _follow(
    system: System,
    store: DemoStore,
    stages: Stages,
    options: DemoOptions,
    step_of: Callable[[str], AbstractContextManager[Step]],
) -> Outcome:
    clock = PacedClock(FilePace(system.installation.clock_file))
    wait = _Waiter(system, store)
    with stages.stage("assess"), step_of("assess"):
        wait.until(lambda: wait.step("refresh_forecasts"), timedelta(seconds=90), "no forecast was made")
    with stages.stage("propose"), step_of("propose"):
        wait.until(lambda: bool(store.events(["plan"])), timedelta(seconds=90), "no plans were compared")
    with stages.stage("validate"), step_of("validate"):
        wait.until(lambda: wait.step("validate"), timedelta(seconds=60), "no plan was validated")
    with stages.stage("approve and dispatch"), step_of("approve and dispatch"):
        wait.until(lambda: store.dispatched() is not None, timedelta(seconds=60), "control did not answer")
        found = store.dispatched()
        if found is None or found["outcome"] != "authorised":
            raise StageError(
                f"control answered {found and found['outcome']}: {found and found['outcome_doc']}"
            )
    plan_id = found["plan_id"]
    with stages.stage("acknowledge"), step_of("acknowledge"):
        wait.until(lambda: _all_answered(store, plan_id), timedelta(seconds=90), "not every site answered")
    with stages.stage("deliver"), step_of("deliver") as step:
        speed = options.run_speed or speed_for(busy_frac())
        changes = changes_of(found["doc"])
        end: datetime = found["window_end"] + timedelta(minutes=3)
        span = end - clock.now()
        slow = len(changes) * (_BEFORE_CHANGE + _AFTER_CHANGE)
        limit = span / speed + slow / CHANGE_SPEED + timedelta(seconds=60)

        def delivered() -> bool:
            now = clock.now()
            wanted = speed_at(now, changes, speed)
            if wanted != clock.speed:
                change_speed(system.installation.clock_file, wanted)
            step.reach(1.0 - (end - now) / span)
            return now >= end

        wait.until(delivered, limit, "the clock stood still")
        change_speed(system.installation.clock_file, 1.0)
    with stages.stage("report"), step_of("report"):
        wait.until(
            lambda: store.late_roll_ups(found["window_end"]) == 0, timedelta(seconds=60), "roll-ups are late"
        )
        wait.until(lambda: store.report(plan_id) is not None, timedelta(seconds=90), "no report was written")
        return gather(store, found, system.installation.runtime)


def changes_of(plan: Mapping[str, Any]) -> list[datetime]:
    """Return the instants at which some site of a plan's record gets another setpoint, or is released."""
    start = datetime.fromisoformat(plan["window_start"])
    schedules = [(0.0, *site["schedule_w"], 0.0) for site in plan["sites"]]
    steps = max(map(len, schedules), default=0)
    return [
        start + (step - 1) * STEP
        for step in range(1, steps)
        if any(abs(one[step] - one[step - 1]) > _A_CHANGE_W for one in schedules if step < len(one))
    ]


def speed_at(now: datetime, changes: Sequence[datetime], speed: float) -> float:
    """Return how fast the clock may run: slower around a change."""
    near = any(at - _BEFORE_CHANGE <= now <= at + _AFTER_CHANGE for at in changes)
    return min(speed, CHANGE_SPEED) if near else speed


def speed_for(busy_frac: float) -> float:
    """Return how fast the plan may run on a machine that is this busy, 0..1 over all cores."""
    return RUN_SPEED if busy_frac < _BUSY_FRAC else BUSY_SPEED


def busy_frac(over_s: float = 1.0) -> float:
    """Return the share of all cores' time that was spent working in the next moment (proc(5), /proc/stat)."""
    before = _PROC_STAT.read_text().split("\n", 1)[0].split()[1:]
    time.sleep(over_s)
    after = _PROC_STAT.read_text().split("\n", 1)[0].split()[1:]
    spent = [int(now) - int(then) for then, now in zip(before, after, strict=True)]
    idle = spent[3] + spent[4]  # idle and waiting for a disk
    return 1.0 - idle / max(sum(spent[:8]), 1)


def _all_answered(store: DemoStore, plan_id: str) -> bool:
    states = store.command_states(plan_id)
    return bool(states) and not states.get("pending") and not states.get("sent")


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Waits for something while the installation is looked after; an error event of the loop ends the wait."""

    system: System
    store: DemoStore

    def step(self, tool: str) -> bool:
        """Return whether the loop has told a step of this tool."""
        return any(event["body"].get("tool") == tool for event in self.store.events(["step"]))

    def until(self, done: Callable[[], bool], within: timedelta, otherwise: str) -> None:
        """Wait until something is so.

        Raises:
            StageError: Not in time, or the cycle ended without it; the loop's own words are added.
        """
        deadline_s = time.monotonic() + within.total_seconds()
        while not done():
            self.system.supervisor.tick()
            if self._over() or time.monotonic() > deadline_s:
                words = [event["body"].get("text", "") for event in self.store.events(["error", "message"])]
                raise StageError(f"{otherwise}; the loop says: {words[-1] if words else 'nothing'}")
            time.sleep(_LOOK_EVERY_S)

    def _over(self) -> bool:
        """Return whether the cycle has ended without a plan that runs: nothing more will come of it."""
        ends = [event["body"].get("stage", "") for event in self.store.events(["error", "done"])]
        return any(stage != "told:verified" for stage in ends)
