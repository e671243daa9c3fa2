from datetime import UTC, datetime, timedelta

import pytest

from ui.ops.demo import (
    BUSY_SPEED,
    CHANGE_SPEED,
    RUN_SPEED,
    Stages,
    busy_frac,
    changes_of,
    speed_at,
    speed_for,
)
from ui.ops.demo_report import figures_of


def test_a_busy_machine_runs_the_plan_more_slowly() -> None:
    assert speed_for(0.4) == RUN_SPEED
    assert speed_for(0.84) == RUN_SPEED
    assert speed_for(0.85) == BUSY_SPEED
    assert 0.0 <= busy_frac(0.05) <= 1.0


def test_a_stage_that_fails_is_named_and_leaves_the_figures_empty() -> None:
    stages = Stages()
    with stages.stage("start"):
        pass
    with pytest.raises(TimeoutError), stages.stage("assess"):
        raise TimeoutError
    assert [(stage["name"], stage["ok"]) for stage in stages.passed] == [("start", True), ("assess", False)]
    figures = figures_of(None, stages.passed)
    assert figures["simulated"] is True
    assert figures["deviation_frac"] is None
    assert figures["stages"] == stages.passed


def test_the_clock_runs_slower_around_a_change_of_setpoint() -> None:
    record = {
        "window_start": "2026-01-15T17:00:00+00:00",
        "sites": [{"schedule_w": [0.0, -2000.0, -2100.0]}, {"schedule_w": [-100.0, -200.0, -900.0]}],
    }
    begins, grows, ends = (datetime(2026, 1, 15, 17, minute, tzinfo=UTC) for minute in (15, 30, 45))
    changes = changes_of(record)
    assert changes == [begins, grows, ends]
    assert speed_at(begins - timedelta(seconds=31), changes, RUN_SPEED) == RUN_SPEED
    assert speed_at(begins - timedelta(seconds=30), changes, RUN_SPEED) == CHANGE_SPEED
    assert speed_at(ends + timedelta(seconds=60), changes, RUN_SPEED) == CHANGE_SPEED
    assert speed_at(ends + timedelta(seconds=61), changes, RUN_SPEED) == RUN_SPEED
    assert speed_at(ends, changes, 10.0) == 10.0, "never faster than asked"
