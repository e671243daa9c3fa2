"""A language model behind a real HTTP endpoint: right answers, and every way of being wrong hands over at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from agents.model_client import (
    Choice,
    Endpoint,
    EndpointModel,
    ModelError,
    Question,
    WithFallback,
    prompt,
)
from agents.model_use import Budget, Budgeted, Price, Spent
from agents.policy import PolicyPlanner
from agents.questions import NoAction, PickPlan, ask_pick
from tests.agents.openai_server import (
    Call,
    CutOff,
    Entry,
    OpenAiServer,
    Refuses,
    Says,
    Slow,
    Status,
    openai_server,
)

PLANS = [
    {"plan_id": "plan-1-deep", "alternative": "deep", "relief_kw": 7.9, "discharge_kwh": 11.4, "cycles": 0.08,
     "reserve_margin_h": 4.7},
    {"plan_id": "plan-1-gentle", "alternative": "gentle", "relief_kw": 5.5, "discharge_kwh": 8.0, "cycles": 0.05,
     "reserve_margin_h": 5.1},
]  # fmt: skip
GENTLE = Call("pick_plan", {"plan_id": "plan-1-gentle", "why": "a storm is coming"})


def a_question() -> Question:
    return ask_pick({"request": "spare the batteries", "plans": PLANS}, ["plan-1-deep", "plan-1-gentle"])


@asynccontextmanager
async def served(*script: Entry, timeout_s: float = 5.0) -> AsyncIterator[tuple[WithFallback, OpenAiServer]]:
    async with openai_server(*script) as server:
        model = EndpointModel(
            Endpoint(base_url=server.base_url, api_key="k", model="m", timeout=timedelta(seconds=timeout_s))
        )
        try:
            yield (
                WithFallback(primary=model, fallback=PolicyPlanner(), timeout=timedelta(seconds=timeout_s)),
                server,
            )
        finally:
            await model.close()


async def choose(*script: Entry, timeout_s: float = 5.0) -> Choice:
    async with served(*script, timeout_s=timeout_s) as (model, _):
        return await model.choose(a_question())


async def test_a_valid_call_is_the_choice() -> None:
    choice = await choose(GENTLE)
    assert choice.option == PickPlan(plan_id="plan-1-gentle", why="a storm is coming")
    assert (choice.label, choice.note) == ("language model m", "")
    assert (choice.prompt_tokens, choice.answer_tokens) == (100, 20)


async def test_the_request_requires_exactly_one_of_the_options() -> None:
    async with served(GENTLE) as (model, server):
        await model.choose(a_question())
        [asked] = server.requests
    assert asked["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["pick_plan", "no_action"]
    assert all(tool["function"]["parameters"]["additionalProperties"] is False for tool in asked["tools"])
    assert asked["messages"][0]["content"] == prompt("pick")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Call("pick_plan", '{"plan_id": "plan-1-deep", "why"'), "its choice pick_plan is malformed"),
        (Call("pick_plan", {"plan_id": "plan-1-deep"}), "its choice pick_plan is malformed (why: Field required)"),
        (Call("pick_plan", {"plan_id": "p", "why": "w", "power_w": 9}), "is malformed (power_w: Extra inputs"),
        (Call("open_contactor", {"site": "cbs-0001"}), "it chose 'open_contactor', which is not an option here"),
        (Call("pick_plan", {"plan_id": "plan-of-a-stranger", "why": "w"}), "it chose what does not exist"),
        (Says("I would take the deep plan."), "it did not choose exactly one option"),
        (Refuses(), "it refused to answer"),
        (CutOff(GENTLE), "its answer was cut off"),
        (Status(429), "the endpoint limits the rate (429)"),
        (Status(500), "the endpoint answered 500"),
        (Status(401), "the endpoint answered 401"),
    ],
)  # fmt: skip
async def test_whatever_is_wrong_the_policy_planner_takes_over_and_says_so(entry: Entry, reason: str) -> None:
    choice = await choose(entry)
    assert isinstance(choice.option, PickPlan)
    assert choice.option.plan_id == "plan-1-deep"  # 5.5 kW is less than 98 % of 7.9 kW
    assert choice.label == "policy planner (no language model)"
    assert choice.note.startswith("language model m: ")
    assert reason in choice.note
    assert choice.note.endswith("; the policy planner (no language model) took over")


async def test_a_slow_model_is_not_waited_for() -> None:
    choice = await choose(Slow(3.0, GENTLE), timeout_s=0.2)
    assert (
        choice.note.startswith("language model m: no answer within 0.2 s") or "APITimeoutError" in choice.note
    )


async def test_nobody_at_the_address_is_a_failure_like_any_other() -> None:
    model = EndpointModel(Endpoint(base_url="http://127.0.0.1:9/v1", api_key="k", model="m"))
    with pytest.raises(ModelError, match="the endpoint failed"):
        await model.choose(a_question())
    await model.close()


async def test_after_a_failure_the_endpoint_is_left_alone_for_a_while() -> None:
    async with openai_server(Status(500), GENTLE) as server:
        primary = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="m"))
        times = iter([0.0, 10.0, 61.0, 62.0])
        model = WithFallback(
            primary=primary, fallback=PolicyPlanner(), timeout=timedelta(seconds=5), clock=lambda: next(times)
        )
        assert "answered 500" in (await model.choose(a_question())).note  # fails at 0 s: rests until 60 s
        assert "it failed a moment ago" in (await model.choose(a_question())).note  # at 10 s
        assert (await model.choose(a_question())).note == ""  # at 61 s
        assert len(server.requests) == 2
        await primary.close()


async def test_the_model_may_choose_to_do_nothing() -> None:
    choice = await choose(Call("no_action", {"why": "The relief is too small to be worth the wear."}))
    assert choice.option == NoAction(why="The relief is too small to be worth the wear.")


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(tokens=4000), "its budget of 4000 tokens is used up"),
        (Budget(tokens=4001, money=0.5), "its budget of 0.5 in money is used up"),
    ],
)
async def test_a_model_whose_budget_is_used_up_is_not_asked(budget: Budget, words: str) -> None:
    async def spent() -> Spent:
        return Spent(tokens=4000, money=0.5)

    async with openai_server(GENTLE) as server:
        primary = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="m"))
        model = WithFallback(
            primary=Budgeted(model=primary, spent=spent, budget=budget),
            fallback=PolicyPlanner(),
            timeout=timedelta(seconds=5),
        )
        choice = await model.choose(a_question())
        assert words in choice.note
        assert server.requests == []
        await primary.close()


def test_tokens_have_a_price() -> None:
    price = Price(prompt_per_million=2.0, answer_per_million=8.0)
    assert price.of(500_000, 250_000) == 3.0  # 1.0 + 2.0
