"""The committed pages ranked by BM25 over the stems that PostgreSQL's English dictionary makes: the stronger kind of it."""

from collections.abc import Sequence

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from knowledge.chunks import embedded_text, passages
from knowledge.corpus_files import corpus_documents
from knowledge.questions import Question
from ui.bench.bm25 import Bm25

_STEMS = """
    SELECT n - 1, lexeme, cardinality(positions)
    FROM unnest(%s::text[]) WITH ORDINALITY AS t (text, n), LATERAL unnest(to_tsvector('english', text))
"""


async def stems(pool: AsyncConnectionPool[AsyncConnection], texts: Sequence[str]) -> list[list[str]]:
    """Return each text's stems without stop words, as often as they occur; their order is lost."""
    found: list[list[str]] = [[] for _ in texts]
    async with pool.connection() as connection:
        rows = await (await connection.execute(_STEMS, [list(texts)])).fetchall()
    for number, stem, times in rows:
        found[number].extend([stem] * times)
    return found


async def found_by_bm25(
    pool: AsyncConnectionPool[AsyncConnection], questions: Sequence[Question], *, limit: int = 3
) -> dict[str, list[str]]:
    """Return the pages that BM25 finds for each question, best first, each once.

    It sees the same words as the other methods: each passage with its title and section, the question as it was asked.
    """
    pages, texts = [], []
    for page in corpus_documents():
        for passage in passages(page):
            section = (" > ".join(passage.section),) if passage.section else ()
            pages.append(page.document_id)
            texts.append(embedded_text(page.title, section, passage.text))
    counted = await stems(pool, texts)
    ranking = Bm25({str(number): words for number, words in enumerate(counted)})
    asked = await stems(pool, [question.ask for question in questions])
    return {
        question.ask: list(dict.fromkeys(pages[int(name)] for name in ranking.ranked(words)))[:limit]
        for question, words in zip(questions, asked, strict=True)
    }
