"""The policy planner's rules: which tool for which words, which window, which goal, which plan."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.intents import choose_tool
from agents.policy import choose_goal, pick_plan
from agents.questions import FinalAnswer, NoAction, PickPlan
from tools.goal import PlanGoal

EARLIEST = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "now": "2026-03-10T15:50:00+00:00",
    "earliest_start": EARLIEST.isoformat(),
    "time_zone": "Europe/Rome",
    "feeder_ids": ["feeder-1", "feeder-2"],
    "site_ids": ["cbs-0001", "cbs-0002", "cbs-0010"],
    "done": [],
}
OPTIONS = {
    "fleet_state", "site_state", "site_autonomy", "telemetry_window", "data_quality", "incidents", "forecast", "plan",
    "compare_plans", "explain_rejection", "dispatch_request", "knowledge_search", "health_battery", "health_replacements",
    "pv", "outage_risk", "picture",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("Is the fleet all right?", "fleet_state"),
        ("status", "fleet_state"),
        ("How long does cbs-0001 last without mains?", "site_autonomy"),
        ("backup of CBS-0010", "site_autonomy"),
        ("what is cbs-0002 doing", "site_state"),
        ("load of cbs-0001 over the last 12 hours", "telemetry_window"),
        ("can I trust the data of cbs-0001? quality?", "data_quality"),
        ("any incidents?", "incidents"),
        ("what is wrong with cbs-0002", "incidents"),
        ("forecast for feeder-2", "forecast"),
        ("how high is the peak expected on feeder-1 tomorrow", "forecast"),
        ("expected load of cbs-0001", "forecast"),
        ("make a plan for feeder-1 this evening", "plan"),
        ("shave the peak on feeder-2", "final_answer"),
        ("I need 4 kW off feeder-2 tonight", "plan"),
        ("how many kW does feeder-2 draw", "fleet_state"),
        ("compare the alternatives", "compare_plans"),
        ("why was plan-run1-1-deep rejected?", "explain_rejection"),
        ("dispatch plan-run1-1-deep", "dispatch_request"),
        ("show me plan-run1-1-deep", "compare_plans"),
        ("write me a poem", "final_answer"),
        ("how healthy is the battery of cbs-0001", "health_battery"),
        ("state of health of cbs-0002", "health_battery"),
        ("which batteries need replacing, and when?", "health_replacements"),
        ("how do we replace a battery", "knowledge_search"),
        ("how much sun do we get tomorrow", "pv"),
        ("PV of feeder-2", "pv"),
        ("pv of cbs-0001 over the last 6 hours", "telemetry_window"),
        ("where is an outage likely tomorrow?", "outage_risk"),
        ("risk of a blackout at cbs-0002", "outage_risk"),
        ("shave feeder-1 this evening, an outage is likely", "plan"),
        ("draw the voltage of cbs-0001 over the last 12 hours", "picture"),
        ("a chart of the expected import of feeder-1", "picture"),
        ("a picture of the fleet", "fleet_state"),
    ],
)
def test_words_lead_to_a_tool(text: str, tool: str) -> None:
    assert choose_tool({**FACTS, "request": text}, OPTIONS)[0] == tool


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (
            "draw the voltage of cbs-0001 over the last 12 hours",
            {"subject_id": "cbs-0001", "what": "metric", "metric": "bus_v", "hours": 12.0},
        ),
        ("plot the expected pv of cbs-0001", {"subject_id": "cbs-0001", "what": "pv", "hours": 24.0}),
        ("chart of feeder-2", {"subject_id": "feeder-2", "what": "forecast", "hours": 24.0}),
    ],
)
def test_what_is_to_be_drawn_is_read_from_the_words(text: str, drawn: dict[str, object]) -> None:
    _, option = choose_tool({**FACTS, "request": text}, OPTIONS)
    assert drawn.items() <= option.model_dump().items()


def test_a_longer_id_is_not_taken_for_a_shorter_one() -> None:
    name, option = choose_tool({**FACTS, "request": "state of cbs-00010"}, OPTIONS)
    assert name == "fleet_state"
    assert "site_id" not in option.model_dump()


def a_feeder(**changes: Any) -> dict[str, Any]:
    return {
        "feeder_id": "feeder-1", "import_limit_kw": 114.0, "peak_kw": 121.2, "over_limit_kw": 7.2,
        "over_from": "2026-03-10T17:00:00+00:00", "over_until": "2026-03-10T18:30:00+00:00", "sites": 4,
        "dispatchable_sites": 4, "covered_by_plans": [], **changes,
    }  # fmt: skip


def goal_of(*feeders: dict[str, Any], mode: str = "normal") -> Any:
    facts = {"feeders": list(feeders), "operating_mode": mode, "earliest_start": EARLIEST.isoformat()}
    return choose_goal(facts)[1]


def test_the_window_begins_a_quarter_before_the_excess() -> None:
    goal = goal_of(a_feeder())
    assert isinstance(goal, PlanGoal)
    assert (goal.start, goal.end) == (
        EARLIEST + timedelta(minutes=45),
        EARLIEST + timedelta(hours=2, minutes=30),
    )
    assert goal.relief_kw is None


def test_feeders_whose_excess_overlaps_are_planned_together() -> None:
    late = a_feeder(
        feeder_id="feeder-2", over_from="2026-03-10T18:00:00+00:00", over_until="2026-03-10T20:00:00+00:00"
    )
    apart = a_feeder(
        feeder_id="feeder-3", over_from="2026-03-10T22:00:00+00:00", over_until="2026-03-10T23:00:00+00:00"
    )
    goal = goal_of(a_feeder(), late, apart)
    assert isinstance(goal, PlanGoal)
    assert goal.feeder_ids == ("feeder-1", "feeder-2")
    assert goal.end == datetime(2026, 3, 10, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "mode", "words"),
    [
        ({"over_limit_kw": 0.0}, "normal", "comes nearest with 121.2 kW of 114.0 kW"),
        ({"covered_by_plans": ["plan-1"]}, "normal", "excess of 7.2 kW is covered by plan-1"),
        ({"dispatchable_sites": 0}, "normal", "None of the 4 sites of feeder-1 may be dispatched now"),
        (
            {},
            "storm",
            "in which no peak is shaved; feeder-1 is expected to reach 121.2 kW at its import limit of 114.0 kW, 7.2 kW above it.",
        ),
        (
            {"peak_kw": None, "over_limit_kw": 0.0},
            "normal",
            "There is no forecast for 1 of 1 feeders (feeder-1), so nothing may be planned there.",
        ),
    ],
)
def test_doing_nothing_is_explained(changes: dict[str, Any], mode: str, words: str) -> None:
    option = goal_of(a_feeder(**changes), mode=mode)
    assert isinstance(option, NoAction)
    assert words in option.why


def a_card(name: str, relief_kw: float, cycles: float, margin_h: float) -> dict[str, Any]:
    return {
        "plan_id": f"plan-{name}", "alternative": name, "relief_kw": relief_kw, "discharge_kwh": 10.0, "cycles": cycles,
        "reserve_margin_h": margin_h,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cards", "taken"),
    [
        ([a_card("deep", 8.0, 0.08, 4.0), a_card("gentle", 5.6, 0.05, 5.0)], "plan-deep"),
        (
            [a_card("deep", 8.0, 0.08, 4.0), a_card("gentle", 7.9, 0.05, 5.0)],
            "plan-gentle",
        ),  # 98.75 % for fewer cycles
        (
            [a_card("deep", 8.0, 0.08, 0.1), a_card("reserve", 4.0, 0.04, 2.0)],
            "plan-reserve",
        ),  # deep keeps too little
        ([a_card("deep", 8.0, 0.08, 0.1)], "plan-deep"),
    ],
)
def test_most_relief_wins_unless_it_eats_the_margin(cards: list[dict[str, Any]], taken: str) -> None:
    option = pick_plan({"plans": cards})[1]
    assert isinstance(option, PickPlan)
    assert option.plan_id == taken


def test_an_error_is_told_and_not_glossed_over() -> None:
    done = [
        {
            "tool": "forecast",
            "error": {"kind": "unavailable", "message": "there is no load forecast of cbs-0001"},
        }
    ]
    option = choose_tool({**FACTS, "request": "x", "done": done}, OPTIONS)[1]
    assert option == FinalAnswer(text="I cannot answer that: there is no load forecast of cbs-0001.")
