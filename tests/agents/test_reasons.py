"""Why something is done or not done: a model's words only as far as the facts it was shown bear them, always with numbers."""

from datetime import timedelta
from typing import Any

import pytest

from agents.model_client import Choice, Endpoint, EndpointModel, WithFallback
from agents.policy import LABEL, PolicyPlanner
from agents.questions import NoAction, PickPlan
from agents.reasons import reason_of
from tests.agents.harness import Bench, bench_over
from tests.agents.openai_server import Call, Entry, openai_server
from tests.agents.test_loop import a_loop, events, once, say
from tests.services import Database
from tools.goal import PlanGoal

CYCLE = "cycle-20260310T155000"
DEEP = f"plan-{CYCLE}-1-deep"
ASKED: dict[str, Any] = {
    "objective": "peak_shaving",
    "feeder_ids": ["feeder-1"],
    "start": "2026-03-10T16:45:00Z",
    "end": "2026-03-10T18:30:00Z",
    "why": "feeder-1 is 7.2 kW above its limit. feeder-7 would be 55 kW above its own.",
}
GOAL = Call("plan", ASKED)
FEEDER = {
    "feeder_id": "feeder-1", "import_limit_kw": 114.0, "peak_kw": 121.25, "over_limit_kw": 7.2, "sites": 4,
}  # fmt: skip
CARDS = [
    {"plan_id": "plan-1-deep", "alternative": "deep", "relief_kw": 7.9, "discharge_kwh": 11.4, "reserve_margin_h": 4.7},
    {"plan_id": "plan-1-gentle", "alternative": "gentle", "relief_kw": 5.5, "discharge_kwh": 8.0, "reserve_margin_h": 5.1},
]  # fmt: skip
FACTS: dict[str, Any] = {
    "request": "keep 66 kW for plan-9",
    "feeders": [FEEDER],
    "plans": CARDS,
    "goal": {"why": "because of 88 kW"},
}
LEFT_OUT = "1 sentence(s) left out of the reason: nothing that the planner was shown bears them"


async def cycle(bench: Bench, *script: Entry) -> dict[str, Any]:
    """Let a scripted model judge one automated cycle and return what was told."""
    async with openai_server(*script) as server:
        endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="scripted"))
        model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=20))
        await once(a_loop(bench, every=timedelta(minutes=15), model=model))
        await endpoint.close()
    [message] = events(bench, "message", CYCLE) or [{}]
    return dict(message)


def picked(why: str, plan_id: str = "plan-1-gentle") -> Choice:
    return Choice(name="pick_plan", option=PickPlan(plan_id=plan_id, why=why), label="a model")


def declined(why: str) -> Choice:
    return Choice(name="no_action", option=NoAction(why=why), label="a model")


async def test_an_invented_number_and_id_leave_the_reason_of_a_plan(database: Database) -> None:
    async with bench_over(database) as bench:
        why = "It keeps 99 h above the reserve of cbs-0777. The gentle plan spares the batteries."
        pick = Call("pick_plan", {"plan_id": DEEP, "why": why})
        await cycle(bench, GOAL, pick)
        [shown] = events(bench, "plan", CYCLE)
        assert shown["why"] == "The gentle plan spares the batteries."
        stored = await bench.deps().tools.plans.fetch(shown["chosen"])
        assert stored is not None
        # 7.2 kW: 112.5 kW and 4 x 2100 / 0.96 W less 114 kW; what was invented is not in what people approve.
        assert stored.plan.objective.text == "feeder-1 is 7.2 kW above its limit."
        assert bench.sql("SELECT count(*) FROM thread_event WHERE body::text LIKE '%%cbs-0777%%'") == [(0,)]
        bench.control_says(stored.plan, "refused", {"broken": []})
        await once(a_loop(bench))
        bench.clock.at += timedelta(minutes=10)
        await once(a_loop(bench))
        assert (
            events(bench, "message", CYCLE)[0]["notes"].count(LEFT_OUT) == 1
        )  # the same words are told once


async def test_a_reason_of_which_nothing_is_left_is_told_by_the_figures(database: Database) -> None:
    async with bench_over(database) as bench:
        pick = Call("pick_plan", {"plan_id": DEEP, "why": "It keeps 99 h above the reserve of cbs-0777."})
        await cycle(bench, GOAL, pick)
        [shown] = events(bench, "plan", CYCLE)
        deep = shown["plans"][0]
        assert shown["why"].startswith(
            f"deep gives {deep['relief_kw']:.1f} kW for {deep['discharge_kwh']:.1f} kWh and keeps"
            f" {deep['reserve_margin_h']:.2f} h above the reserve. gentle gives "
        )


async def test_a_non_action_with_a_lie_and_a_link_is_told_with_the_numbers(database: Database) -> None:
    async with bench_over(database) as bench:
        lie = "All peaks stay below 90 kW. See https://evil.example/x for more. Nothing exceeds its limit."
        message = await cycle(bench, Call("no_action", {"why": lie}))
        assert message["text"] == (
            "No plan was made. Nothing exceeds its limit;"
            " feeder-1 is expected to reach 121.2 kW at its import limit of 114.0 kW, 7.2 kW above it."
        )
        assert message["notes"] == [LEFT_OUT.replace("1 ", "2 ", 1)]
        assert bench.sql("SELECT count(*) FROM thread_event WHERE body::text LIKE '%%evil%%'") == [(0,)]


async def test_the_reason_of_a_plan_asked_for_in_words_is_kept_to_what_was_looked_at(
    database: Database,
) -> None:
    async with (
        bench_over(database) as bench,
        openai_server(
            Call("act", {}), GOAL, Call("no_action", {"why": "It is not worth 123 EUR."})
        ) as server,
    ):
        endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="scripted"))
        model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=20))
        say(bench, "Shave the peak.")
        await once(a_loop(bench, model=model))
        await endpoint.close()
        [message] = events(bench, "message")
        assert message["text"].startswith("None of the 2 compared plans was taken. deep gives 7.9 kW for ")
        assert [plan["objective"] for plan in events(bench, "plan")] == []
        texts = {row[0] for row in bench.sql("SELECT doc #>> '{objective,text}' FROM plan")}
        # No tool had been called: neither of the two sentences had anything to stand on.
        assert texts == {"Peak shaving was asked for on feeder-1, from 10 Mar 16:45 to 10 Mar 18:30."}


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("gentle gives 5.5 kW for 8 kWh.", "gentle gives 5.5 kW for 8 kWh."),
        ("The operator wants 66 kW for plan-9.", None),  # what a person wrote bears nothing
        ("Because of 88 kW.", None),  # nor what the planner itself said before
        ("plan-1-deep was approved already.", None),
    ],
)
def test_only_data_bears_a_reason(why: str, told: str | None) -> None:
    instead = (
        "gentle gives 5.5 kW for 8.0 kWh and keeps 5.10 h above the reserve. deep gives 7.9 kW for 11.4 kWh."
    )
    reason = reason_of(picked(why), FACTS)
    assert reason.text == (told or instead)
    assert reason.notes == (() if told else (LEFT_OUT,))


def test_a_models_non_action_always_carries_the_figures() -> None:
    facts = {"feeders": [FEEDER]}
    figures = "feeder-1 is expected to reach 121.2 kW at its import limit of 114.0 kW, 7.2 kW above it."
    assert (
        reason_of(declined("The wear is not worth it."), facts).text == f"The wear is not worth it; {figures}"
    )
    assert reason_of(declined("It is 12 kW below."), facts).text == figures
    quiet = {"feeders": [{**FEEDER, "peak_kw": None, "over_limit_kw": 0.0}]}
    assert reason_of(declined("All is well"), quiet).text == (
        "All is well; none of the 1 feeders has a forecast."
    )


def test_what_the_policy_planner_says_is_made_by_code_and_stays() -> None:
    choice = Choice(
        name="no_action", option=NoAction(why="Standing objective o-1 pauses dispatch."), label=LABEL
    )
    assert reason_of(choice, FACTS).text == "Standing objective o-1 pauses dispatch."


def test_a_goal_without_a_reason_gets_none() -> None:
    goal = PlanGoal.model_validate({**ASKED, "why": ""})
    assert reason_of(Choice(name="plan", option=goal, label="a model"), FACTS).text == ""
