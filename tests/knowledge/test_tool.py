"""The agent's tool over the real library."""

import psycopg
import pytest
from pydantic import ValidationError

from knowledge.documents import ReaderRole
from knowledge.passage_store import PassageStore
from tests.knowledge.conftest import Library, Pool
from tools.errors import ToolUnavailableError
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
