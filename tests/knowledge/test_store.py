"""The library in a real PostgreSQL: kept, replaced, embedded anew, searched by role and filter, small and large."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import psycopg
import pytest
from pgvector import Vector
from psycopg.sql import SQL

from knowledge.corpus_files import corpus_documents
from knowledge.document_store import DocumentStore
from knowledge.documents import Document, DocumentKind, ReaderRole
from knowledge.embed import EmbeddingError, Vectors
from knowledge.findings import Method, Scope
from knowledge.imports import ImportReport, Step, embed_missing, import_documents
from knowledge.passage_store import HNSW_SETTINGS, PassageStore, nearest_statement, scope_parameters
from telemetry.db import open_async_pool
from tests.knowledge.conftest import IMPORTED_AT, Library, Pool
from tests.knowledge.word_hash import WordHash
from tests.services import Database
from ui.ops.secrets import DatabaseRole

LATER = datetime(2026, 11, 21, tzinfo=UTC)
VIEWER = Scope(role=ReaderRole.VIEWER)
PAGE = Document(
    document_id="pumps.md",
    title="Pump station",
    kind=DocumentKind.NOTE,
    text="The turbine coupling squeals when grease is missing.",
    equipment=("pump",),
    written_on=date(2026, 5, 1),
)
OTHER = replace(PAGE, document_id="doors.md", title="Doors", text="The hinge of the gate squeals in frost.")


async def take_in(pool: Pool, *documents: Document, embedder: WordHash | None = None) -> ImportReport:
    return await import_documents(DocumentStore(pool), documents, embedder, at=IMPORTED_AT)


async def names(store: PassageStore, query: str, scope: Scope = VIEWER) -> list[str]:
    return [one.document_id for one in (await store.search(query, scope)).found]


async def test_the_delivered_pages_come_in_with_progress(library: Library, library_pool: Pool) -> None:
    report = library.report
    assert (len(report.added), report.replaced, report.unchanged, report.failed) == (75, (), (), ())
    assert report.passages == report.embedded
    assert library.steps[0] == Step(stage="keeping", done=1, total=75)
    assert library.steps[-1] == Step(stage="embedding", done=report.passages, total=report.passages)
    again = await import_documents(DocumentStore(library_pool), corpus_documents(), None, at=LATER)
    assert again == ImportReport(unchanged=report.added)


async def test_what_is_unchanged_is_passed_over_and_what_changed_is_replaced(pool: Pool) -> None:
    assert (await take_in(pool, PAGE, OTHER)).added == ("pumps.md", "doors.md")
    changed = replace(PAGE, text="The impeller is cracked.")
    report = await take_in(pool, changed, OTHER)
    assert (report.added, report.replaced, report.unchanged, report.passages) == (
        (),
        ("pumps.md",),
        ("doors.md",),
        1,
    )
    store = PassageStore(pool, None)
    assert await names(store, "impeller") == ["pumps.md"]
    assert await names(store, "turbine") == []


async def test_the_same_text_under_another_name_is_left_out(pool: Pool) -> None:
    report = await take_in(pool, PAGE, replace(PAGE, document_id="copy.md"))
    assert (report.added, report.twins) == (("pumps.md",), ("copy.md",))


async def test_a_passage_whose_text_stayed_is_not_embedded_again(pool: Pool) -> None:
    part = "## {0}\n\n" + "{0} word " * 50
    page = replace(PAGE, text=part.format("first") + "\n\n" + part.format("second"))
    embedder = WordHash()
    assert (await take_in(pool, page, embedder=embedder)).embedded == 2
    page = replace(page, text=part.format("zero") + "\n\n" + part.format("second"))
    assert (await take_in(pool, page, embedder=embedder)).embedded == 1
    assert "zero" in embedder.asked[-1]


async def test_another_model_embeds_everything_anew_and_until_then_words_find_it(pool: Pool) -> None:
    await take_in(pool, PAGE, OTHER, embedder=WordHash("old/384"))
    fresh = WordHash("new/384")
    store = PassageStore(pool, fresh)
    before = (await store.search("squeals", VIEWER)).found
    assert [one.vector_rank for one in before] == [None, None]
    assert await embed_missing(DocumentStore(pool), fresh) == 2
    found = (await store.search("turbine coupling squeals", VIEWER)).found
    assert found[0].vector_rank == 1
    assert await embed_missing(DocumentStore(pool), fresh) == 0


async def test_without_a_model_words_are_searched_and_the_answer_says_so(pool: Pool) -> None:
    await take_in(pool, PAGE)
    answer = await PassageStore(pool, None).search("squealing turbines", VIEWER)
    assert [one.document_id for one in answer.found] == ["pumps.md"]
    assert (answer.method, answer.note) == (Method.WORDS, "no embedding model: searched by words alone")


class Broken(WordHash):
    def embed(self, texts: Sequence[str]) -> Vectors:
        raise EmbeddingError("the endpoint is away")


async def test_a_model_that_fails_leaves_words(pool: Pool) -> None:
    await take_in(pool, PAGE)
    answer = await PassageStore(pool, Broken()).search("turbine", VIEWER)
    assert [one.document_id for one in answer.found] == ["pumps.md"]
    assert answer.note == "searched by words alone: the endpoint is away"


async def test_a_misspelt_word_is_mended_by_the_librarys_own_words(pool: Pool) -> None:
    await take_in(pool, PAGE, OTHER)
    assert await names(PassageStore(pool, None), "turbnie") == ["pumps.md"]


async def test_a_name_with_underscores_is_found_as_it_is(library: Library, library_pool: Pool) -> None:
    store = PassageStore(library_pool, library.embedder)
    [first, *_] = (await store.search("site answered c_rate_by_temperature", VIEWER)).found
    assert first.document_id == "manual-gateway-refusals"


async def test_a_question_about_something_else_finds_nothing(library: Library, library_pool: Pool) -> None:
    answer = await PassageStore(library_pool, library.embedder).search("pancakes with raspberries", VIEWER)
    assert answer.found == ()


async def test_who_may_not_read_a_document_does_not_find_it(pool: Pool) -> None:
    embedder = WordHash()
    await take_in(pool, replace(PAGE, role=ReaderRole.APPROVER), embedder=embedder)
    store = PassageStore(pool, embedder)
    sees = {
        (reader, method): [one.document_id for one in answer.found]
        for reader in ReaderRole
        for method in Method
        for answer in [await store.search(PAGE.text, Scope(role=reader), method=method)]
    }
    allowed = (ReaderRole.APPROVER, ReaderRole.ADMIN)
    assert sees == {(r, m): ["pumps.md"] if r in allowed else [] for r in ReaderRole for m in Method}


FILTERED = (
    (replace(VIEWER, equipment=("pump",)), {"pumps.md", "site.md"}),
    (replace(VIEWER, kinds=(DocumentKind.INCIDENT,)), {"site.md"}),
    (replace(VIEWER, site_id="s-1"), {"pumps.md", "doors.md", "site.md"}),
    (replace(VIEWER, site_id="s-1", about_site_only=True), {"site.md"}),
    (replace(VIEWER, site_id="s-2"), {"pumps.md", "doors.md"}),
    (replace(VIEWER, since=date(2026, 5, 1)), {"pumps.md", "site.md"}),
    (replace(VIEWER, since=date(2026, 5, 2)), {"site.md"}),
    (replace(VIEWER, until=date(2026, 5, 1)), {"pumps.md"}),
)


async def test_filters_narrow_the_search(pool: Pool) -> None:
    site = replace(
        PAGE,
        document_id="site.md",
        text="Something squeals at this site.",
        kind=DocumentKind.INCIDENT,
        site_ids=("s-1",),
        written_on=date(2026, 6, 1),
    )
    embedder = WordHash()
    await take_in(pool, PAGE, replace(OTHER, equipment=("door",), written_on=None), site, embedder=embedder)
    store = PassageStore(pool, embedder)
    for scope, found in FILTERED:
        assert set(await names(store, "squeals", scope)) == found, scope


EXPLAIN = SQL("EXPLAIN (ANALYZE, COSTS OFF) ")
RARE = Scope(role=ReaderRole.VIEWER, site_id="rare", about_site_only=True)
ALIKE = "Page alpha beta gamma delta"


async def many(pool: Pool) -> WordHash:
    """Take in three hundred pages that are nearly alike, every hundredth of a rare site."""
    embedder = WordHash()
    pages = [
        replace(
            PAGE,
            document_id=f"p{n}",
            title=f"Page {n}",
            text=f"alpha beta gamma delta number{n}",
            site_ids=("rare",) if n % 100 == 99 else ("common",),
        )
        for n in range(300)
    ]
    await take_in(pool, *pages, embedder=embedder)
    return embedder


@pytest.fixture
async def index_pool(database: Database, pool: Pool) -> AsyncIterator[Pool]:
    """The same library where reading it row by row is barred: with so few rows PostgreSQL would do nothing else."""

    async def bar(connection: psycopg.AsyncConnection) -> None:
        await connection.execute("SET enable_seqscan = off")
        await connection.execute("SET enable_bitmapscan = off")  # nor by the site alone, which is exact too
        await connection.commit()

    opened = await open_async_pool(
        database.dsn(DatabaseRole.LOOP), application_name="test-index", max_size=2, configure=bar
    )
    yield opened
    await opened.close()


async def test_small_and_large_find_the_same_and_rare_sites_are_still_found(
    pool: Pool, index_pool: Pool
) -> None:
    embedder = await many(pool)
    small, large = PassageStore(pool, embedder), PassageStore(index_pool, embedder, exact_up_to=0)
    for store in (small, large):
        answer = await store.search(ALIKE, RARE, method=Method.VECTORS)
        assert {one.document_id for one in answer.found} == {"p99", "p199", "p299"}
    assert (await names(large, "number123"))[0] == "p123"


async def test_a_large_library_is_answered_by_the_index_which_goes_on_until_a_filtered_search_is_full(
    pool: Pool, index_pool: Pool
) -> None:
    embedder = await many(pool)
    given = {
        **scope_parameters(RARE),
        "vector": Vector(embedder.embed([ALIKE])[0]).to_text(),
        "model": embedder.model_id,
        "depth": 3,
    }
    async with index_pool.connection() as connection, connection.transaction():
        await connection.execute(HNSW_SETTINGS.encode())
        shown = await (await connection.execute(EXPLAIN + nearest_statement(large=True), given)).fetchall()
        plan = "\n".join(row[0] for row in shown)
        assert "Index Scan using passage_by_embedding on passage" in plan
        assert "Seq Scan" not in plan
        assert "Sort" not in plan  # the index itself gives the order
        full = await (await connection.execute(nearest_statement(large=True), given)).fetchall()
        # Ten at a time: without going on, the first ten are all that is looked at, and hardly one is of the rare site.
        await connection.execute("SET LOCAL hnsw.ef_search = 10")
        few = await (await connection.execute(nearest_statement(large=True), given)).fetchall()
        await connection.execute("SET LOCAL hnsw.iterative_scan = off")
        short = await (await connection.execute(nearest_statement(large=True), given)).fetchall()
        exact = await (await connection.execute(EXPLAIN + nearest_statement(large=False), given)).fetchall()
    assert {row[1] for row in full} == {row[1] for row in few} == {"p99", "p199", "p299"}
    assert len(short) < 3
    assert not any("passage_by_embedding" in row[0] for row in exact)


async def test_what_a_citation_names_can_be_looked_up(library: Library, library_pool: Pool) -> None:
    pages = {page.document_id: page for page in corpus_documents()}
    for one in (await PassageStore(library_pool, library.embedder).search("swollen pack", VIEWER)).found:
        assert pages[one.document_id].text[one.starts_at : one.ends_at] == one.text


async def test_a_document_can_be_removed(pool: Pool) -> None:
    await take_in(pool, PAGE)
    store = DocumentStore(pool)
    assert [await store.remove("pumps.md"), await store.remove("pumps.md")] == [True, False]
    assert await names(PassageStore(pool, None), "turbine") == []


def test_ingest_and_control_may_read_the_library_and_not_write_it(database: Database) -> None:
    for role in (DatabaseRole.INGEST, DatabaseRole.CONTROL):
        with psycopg.connect(database.dsn(role)) as connection:
            assert connection.execute("SELECT count(*) FROM passage").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM document")
