"""Documents and their passages in PostgreSQL: kept, replaced, removed, embedded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pgvector import Vector
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from knowledge.chunks import Passage, embedded_text
from knowledge.documents import Document
from knowledge.embed import Vectors

_KEEP_DOCUMENT = """
    INSERT INTO document (document_id, title, kind, role, body, content_hash, written_on, simulated, metadata, imported_at)
    VALUES (%(document_id)s, %(title)s, %(kind)s, %(role)s, %(body)s, %(content_hash)s, %(written_on)s, %(simulated)s,
            %(metadata)s, %(imported_at)s)
    ON CONFLICT (document_id) DO UPDATE SET title = excluded.title, kind = excluded.kind, role = excluded.role,
        body = excluded.body, content_hash = excluded.content_hash, written_on = excluded.written_on,
        simulated = excluded.simulated, metadata = excluded.metadata, imported_at = excluded.imported_at
"""
# A passage whose text stayed keeps its vector: its id is its content.
_KEEP_PASSAGE = """
    INSERT INTO passage (passage_id, document_id, number, title, section, body, starts_at, ends_at, kind, role, written_on,
                         equipment, site_ids, metadata)
    VALUES (%(passage_id)s, %(document_id)s, %(number)s, %(title)s, %(section)s, %(body)s, %(starts_at)s, %(ends_at)s,
            %(kind)s, %(role)s, %(written_on)s, %(equipment)s, %(site_ids)s, %(metadata)s)
    ON CONFLICT (passage_id) DO UPDATE SET number = excluded.number, starts_at = excluded.starts_at,
        ends_at = excluded.ends_at, kind = excluded.kind, role = excluded.role, written_on = excluded.written_on,
        equipment = excluded.equipment, site_ids = excluded.site_ids, metadata = excluded.metadata
"""
# Stems say how rare a word is, plain words how it is spelt.
_COUNT_WORDS = """
    INSERT INTO passage_word (form, word, passages)
    SELECT 'stem', word, ndoc FROM ts_stat('SELECT words FROM passage')
    UNION ALL
    SELECT 'plain', word, ndoc FROM ts_stat('SELECT to_tsvector(''simple'', title || '' '' || body) FROM passage')
    WHERE word ~ '^[[:alpha:]]+$'
    ON CONFLICT (form, word) DO UPDATE SET passages = excluded.passages
"""


class DocumentStore:
    """Writes the library. After the last of several documents call `count_words`."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def hashes(self) -> dict[str, str]:
        """Return the content hash of every document by id."""
        async with self._pool.connection() as connection:
            rows = await connection.execute("SELECT document_id, content_hash FROM document")
            return dict(await rows.fetchall())

    async def text_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every document's text by id."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT document_id, encode(sha256(convert_to(body, 'UTF8')), 'hex') FROM document"
            )
            return dict(await rows.fetchall())

    async def keep(self, document: Document, passages: Sequence[Passage], *, at: datetime) -> None:
        """Add or replace a document; passages whose text stayed keep their vectors."""
        metadata = _metadata(document)
        rows = [_passage_row(document, passage, metadata) for passage in passages]
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_KEEP_DOCUMENT, _document_row(document, metadata, at))
            await connection.execute(
                "DELETE FROM passage WHERE document_id = %s AND passage_id <> ALL(%s)",
                [document.document_id, [passage.passage_id for passage in passages]],
            )
            async with connection.cursor() as cursor:
                await cursor.executemany(_KEEP_PASSAGE, rows)

    async def remove(self, document_id: str) -> bool:
        """Remove a document with its passages; return whether there was one."""
        async with self._pool.connection() as connection:
            done = await connection.execute("DELETE FROM document WHERE document_id = %s", [document_id])
            return done.rowcount == 1

    async def count_words(self) -> int:
        """Count anew in how many passages each word occurs, as a stem and as it is spelt; return how many were counted."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute("DELETE FROM passage_word")
            done = await connection.execute(_COUNT_WORDS)
            return done.rowcount

    async def without_vector(self, model_id: str, limit: int) -> list[tuple[str, str]]:
        """Return passages that a model has not embedded yet: id and the text to embed."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT passage_id, title, section, body FROM passage WHERE model_id IS DISTINCT FROM %s"
                " ORDER BY document_id, number LIMIT %s",
                [model_id, limit],
            )
            return [
                (row[0], embedded_text(row[1], (row[2],) if row[2] else (), row[3]))
                for row in await rows.fetchall()
            ]

    async def count_without_vector(self, model_id: str) -> int:
        """Return how many passages a model has not embedded yet."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT count(*) FROM passage WHERE model_id IS DISTINCT FROM %s", [model_id]
            )
            return _number(await rows.fetchone())

    async def keep_vectors(self, passage_ids: Sequence[str], vectors: Vectors, model_id: str) -> None:
        """Keep the vectors of one model; a passage that is gone meanwhile is passed over."""
        rows = [
            (Vector(vector).to_text(), model_id, each)
            for each, vector in zip(passage_ids, vectors, strict=True)
        ]
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(
                "UPDATE passage SET embedding = %s::vector, model_id = %s WHERE passage_id = %s", rows
            )


def _metadata(document: Document) -> Jsonb:
    return Jsonb(
        {
            "equipment": document.equipment,
            "jurisdiction": document.jurisdiction,
            "sources": document.sources,
            "site_ids": document.site_ids,
        }
    )


def _document_row(document: Document, metadata: Jsonb, at: datetime) -> dict[str, Any]:
    return {
        "document_id": document.document_id,
        "title": document.title,
        "kind": document.kind.value,
        "role": document.role.value,
        "body": document.text,
        "content_hash": document.content_hash,
        "written_on": document.written_on,
        "simulated": document.simulated,
        "metadata": metadata,
        "imported_at": at,
    }


def _passage_row(document: Document, passage: Passage, metadata: Jsonb) -> dict[str, Any]:
    return {
        "passage_id": passage.passage_id,
        "document_id": document.document_id,
        "number": passage.number,
        "title": document.title,
        "section": " > ".join(passage.section),
        "body": passage.text,
        "starts_at": passage.start,
        "ends_at": passage.end,
        "kind": document.kind.value,
        "role": document.role.value,
        "written_on": document.written_on,
        "equipment": list(document.equipment),
        "site_ids": list(document.site_ids),
        "metadata": metadata,
    }


def _number(row: Any) -> int:
    assert row is not None
    return int(row[0])
