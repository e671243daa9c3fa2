import pytest

from ui.ops.demo import BUSY_SPEED, RUN_SPEED, Stages, busy_frac, speed_for
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
