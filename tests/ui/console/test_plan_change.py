"""What the change button writes is what the planner without a model understands."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agents.intents import choose_tool
from tools.goal import PlanGoal
from ui.console.plan_change import change_request

OSLO = ZoneInfo("Europe/Oslo")
PLAN = {
    "plan_id": "plan-run1-1-deep", "objective": "peak_shaving", "target_w": None, "feeder_ids": ["feeder-1"],
    "window_start": "2026-03-10T17:00:00Z", "window_end": "2026-03-10T19:30:00Z",
}  # fmt: skip
FACTS = {
    "now": "2026-03-10T12:00:00+00:00", "earliest_start": "2026-03-10T12:15:00+00:00", "time_zone": "Europe/Oslo",
    "feeder_ids": ["feeder-1", "feeder-2"], "site_ids": ["cbs-0001"], "done": [],
}  # fmt: skip


def test_the_request_is_written_on_the_sites_clock() -> None:
    assert change_request(PLAN, OSLO) == (
        "Make a plan to shave the peak for feeder-1 on 2026-03-10 from 18:00 to 20:30"
    )


@pytest.mark.parametrize(
    ("changes", "objective", "relief_kw"),
    [
        ({}, "peak_shaving", None),
        ({"objective": "demand_response", "target_w": 4500.0}, "demand_response", 4.5),
        ({"objective": "recharge"}, "recharge", None),
        ({"feeder_ids": ["feeder-1", "feeder-2"]}, "peak_shaving", None),
    ],
)
def test_sent_as_it_is_it_asks_for_the_same_plan_again(
    changes: dict[str, object], objective: str, relief_kw: float | None
) -> None:
    plan = {**PLAN, **changes}
    name, goal = choose_tool({**FACTS, "request": change_request(plan, OSLO)}, {"plan"})
    assert name == "plan"
    assert isinstance(goal, PlanGoal)
    assert (goal.objective, goal.relief_kw, list(goal.feeder_ids)) == (
        objective,
        relief_kw,
        plan["feeder_ids"],
    )
    assert (goal.start, goal.end) == (
        datetime(2026, 3, 10, 17, 0, tzinfo=UTC),
        datetime(2026, 3, 10, 19, 30, tzinfo=UTC),
    )
