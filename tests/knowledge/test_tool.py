"""The agent's tool over the real library."""

from datetime import UTC, date, datetime

import psycopg
import pytest
from pydantic import ValidationError

from knowledge.document_store import DocumentStore
from knowledge.documents import Document, DocumentKind, ReaderRole
from knowledge.imports import import_documents
from knowledge.passage_store import PassageStore
from tests.knowledge.conftest import Library, Pool
from tools.errors import ToolInputError, ToolUnavailableError
from tools.knowledge_search import KnowledgeArguments, KnowledgeDeps, knowledge_search


async def test_the_tool_gives_passages_to_cite(library: Library, library_pool: Pool) -> None:
    deps = KnowledgeDeps(library=PassageStore(library_pool, library.embedder))
    asked = KnowledgeArguments(question="the diesel generator does not start", limit=2)
    answer = await knowledge_search(asked, deps)
    passages = answer["passages"]
    assert isinstance(passages, list)
    assert (answer["method"], len(passages)) == ("hybrid", 2)
    assert passages[0]["cite"].startswith("genset-no-start#")
    assert all(len(one["text"]) <= 904 for one in passages)


async def test_an_example_is_marked_as_simulated(library: Library, library_pool: Pool) -> None:
    deps = KnowledgeDeps(library=PassageStore(library_pool, library.embedder))
    answer = await knowledge_search(
        KnowledgeArguments(question="theft of electricity", kind="incident"), deps
    )
    assert {one["simulated"] for one in answer["passages"]} == {True}  # type: ignore[attr-defined]


async def test_nothing_found_says_to_make_no_claim(library: Library, library_pool: Pool) -> None:
    deps = KnowledgeDeps(library=PassageStore(library_pool, library.embedder), reader=ReaderRole.ADMIN)
    answer = await knowledge_search(KnowledgeArguments(question="pancakes with raspberries"), deps)
    assert answer == {
        "method": "hybrid",
        "passages": [],
        "note": "nothing in the library answers this: make no claim",
    }


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ({}, {"incident/inc-1", "incident/inc-2", "incident/inc-3"}),
        ({"since": "2026-03-02"}, {"incident/inc-2", "incident/inc-3"}),
        ({"until": "2026-03-02"}, {"incident/inc-1", "incident/inc-2"}),  # the last day counts
        ({"since": "2026-03-02", "until": "2026-03-02"}, {"incident/inc-2"}),
    ],
)
async def test_days_bound_what_is_found(pool: Pool, days: dict[str, str], found: set[str]) -> None:
    pages = [
        Document(
            document_id=f"incident/inc-{day}", title="Theft", kind=DocumentKind.INCIDENT, sources=("s",),
            text=f"Theft of electricity on day {day}.", written_on=date(2026, 3, day),
        )
        for day in (1, 2, 3)
    ]  # fmt: skip
    await import_documents(DocumentStore(pool), pages, None, at=datetime(2026, 3, 4, tzinfo=UTC))
    deps = KnowledgeDeps(library=PassageStore(pool, None))
    asked = KnowledgeArguments.model_validate({"question": "theft of electricity", "limit": 5, **days})
    passages = (await knowledge_search(asked, deps))["passages"]
    assert isinstance(passages, list)
    assert {one["cite"].partition("#")[0] for one in passages} == found


async def test_days_the_wrong_way_round_are_an_error_to_mend(pool: Pool) -> None:
    asked = KnowledgeArguments(question="theft", since=date(2026, 3, 3), until=date(2026, 3, 2))
    with pytest.raises(ToolInputError, match="until 2026-03-02 lies before since 2026-03-03"):
        await knowledge_search(asked, KnowledgeDeps(library=PassageStore(pool, None)))


async def test_a_library_out_of_reach_is_unavailable(pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")
    await pool.close()
    with pytest.raises(ToolUnavailableError):
        await knowledge_search(
            KnowledgeArguments(question="anything at all"), KnowledgeDeps(library=PassageStore(pool, None))
        )
    assert issubclass(psycopg.OperationalError, psycopg.Error)


def test_arguments_that_cannot_be_meant_are_refused() -> None:
    for wrong in (
        {"question": "x"},
        {"question": "ok then", "kind": "poem"},
        {"question": "ok then", "role": "admin"},
    ):
        with pytest.raises(ValidationError):
            KnowledgeArguments(**wrong)  # type: ignore[arg-type]
