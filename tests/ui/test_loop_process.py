"""What settings make of the loop's model and budgets."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.model_client import Endpoint, EndpointModel, WithFallback
from agents.model_use import Budget, Budgets, Price, WhenReady
from agents.policy import PolicyPlanner
from knowledge.document_store import DocumentStore
from knowledge.documents import Document, DocumentKind
from telemetry.db import open_async_pool
from tests.services import Database
from ui.ops.llm_run import URL
from ui.ops.secrets import DatabaseRole
from ui.processes.loop import Memory, budgets_from, chat_model, embedded_model
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


async def test_an_endpoint_has_thirty_seconds_unless_it_is_given_others() -> None:
    model = chat_model(ENDPOINT)
    assert isinstance(model, WithFallback)
    assert isinstance(model.primary, EndpointModel)
    assert model.timeout == timedelta(seconds=30)
    assert Endpoint(base_url="u", api_key="k", model="m").timeout == timedelta(seconds=30)
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


async def test_what_happened_is_kept_although_the_embedder_does_not_answer(database: Database) -> None:
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    memory = Memory(pool, {"EMBEDDINGS_BASE_URL": "http://127.0.0.1:9/v1", "EMBEDDINGS_MODEL": "m"})
    at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    page = Document(
        document_id="decision/plan-1", title="Peak shaving", kind=DocumentKind.DECISION, text="It was declined.", sources=("s",)
    )  # fmt: skip
    await memory.remember([page], at)
    assert set(await DocumentStore(pool).hashes()) == {"decision/plan-1"}
    await pool.close()
