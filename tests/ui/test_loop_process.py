"""What settings make of the loop's model and budgets."""

from datetime import timedelta

import pytest

from agents.model_client import EndpointModel, WithFallback
from agents.model_use import Budget, Budgets, Price, WhenReady
from agents.policy import PolicyPlanner
from ui.ops.llm_run import URL
from ui.processes.loop import budgets_from, chat_model, embedded_model
from ui.settings import SettingsError

ADDRESS = {URL: "http://127.0.0.1:4711/v1"}
ENDPOINT = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_MODEL": "m"}


def test_the_embedded_model_stands_before_the_policy_planner() -> None:
    embedded = embedded_model(ADDRESS)
    model = chat_model(ADDRESS, embedded)
    assert isinstance(model, WithFallback)
    assert isinstance(model.primary, WhenReady)
    assert not model.primary.is_ready
    assert isinstance(model.fallback, PolicyPlanner)
    assert model.timeout == timedelta(seconds=120)


@pytest.mark.parametrize("env", [{}, {**ADDRESS, "LLM": "none"}, {**ADDRESS, **ENDPOINT}])
def test_where_it_has_no_place_it_is_not_made(env: dict[str, str]) -> None:
    assert embedded_model(env) is None


async def test_an_endpoint_of_ones_own_comes_first() -> None:
    model = chat_model(
        {**ENDPOINT, **ADDRESS, "CELLWATT_ENDPOINT_TIMEOUT_S": "12"}, embedded_model({**ENDPOINT, **ADDRESS})
    )
    assert isinstance(model, WithFallback)
    assert isinstance(model.primary, EndpointModel)
    assert model.timeout == timedelta(seconds=12)
    await model.primary.close()


def test_without_any_model_the_policy_planner_decides() -> None:
    assert isinstance(chat_model({}), PolicyPlanner)


def test_budgets_and_prices_come_from_the_environment() -> None:
    assert budgets_from({}) == Budgets()
    assert budgets_from(
        {
            "CELLWATT_TOKENS_PER_THREAD": "5000",
            "CELLWATT_MONEY_PER_DAY": "2.5",
            "OPENAI_PRICE_PER_MILLION_ANSWER": "8",
        }
    ) == Budgets(thread=Budget(tokens=5000), day=Budget(money=2.5), price=Price(answer_per_million=8.0))
    for wrong in ("-1", "many", "inf"):
        with pytest.raises(SettingsError, match="CELLWATT_TOKENS_PER_DAY"):
            budgets_from({"CELLWATT_TOKENS_PER_DAY": wrong})
