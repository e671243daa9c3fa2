"""Very many passages at once, for benchmarks and for a first load of a large archive: as the database's owner."""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from pgvector import Vector

from knowledge.embed import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPassage:
    """A passage that is a document of its own."""

    passage_id: str
    title: str
    body: str
    site_id: str
    vector: Vectors


def load_bulk(connection: psycopg.Connection, passages: Iterable[BulkPassage], model_id: str) -> int:
    """Add passages with their vectors, then build the indexes once; return how many.

    Building an index over all rows costs a fraction of growing it row by row.

    Args:
        connection: As owner; everything happens in one transaction.
        passages: None of them may be there already.
        model_id: Whose vectors these are.
    """
    count = 0
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
        cursor.execute("DROP INDEX passage_by_embedding, passage_by_words")
        cursor.execute(
            "CREATE TEMPORARY TABLE bulk (passage_id text, title text, body text, site_ids text[], embedding vector(384))"
            " ON COMMIT DROP"
        )
        columns = "passage_id, title, body, site_ids, embedding"
        with cursor.copy(f"COPY bulk ({columns}) FROM STDIN".encode()) as copy:
            for count, one in enumerate(passages, start=1):  # noqa: B007 - counted for the caller
                copy.write_row(
                    (one.passage_id, one.title, one.body, [one.site_id], Vector(one.vector).to_text())
                )
        cursor.execute(
            "INSERT INTO document (document_id, title, kind, role, body, content_hash, simulated, metadata, imported_at)"
            " SELECT passage_id, title, 'note', 'viewer', body, passage_id, true, '{}', 'epoch' FROM bulk"
        )
        cursor.execute(
            "INSERT INTO passage (passage_id, document_id, number, title, section, body, starts_at, ends_at, kind, role,"
            " equipment, site_ids, metadata, embedding, model_id)"
            " SELECT passage_id, passage_id, 0, title, '', body, 0, length(body), 'note', 'viewer', '{}', site_ids, '{}',"
            " embedding, %s FROM bulk",
            [model_id],
        )
        cursor.execute(
            "CREATE INDEX passage_by_embedding ON passage USING hnsw (embedding vector_cosine_ops)"
        )
        cursor.execute("CREATE INDEX passage_by_words ON passage USING gin (words) WITH (fastupdate = off)")
    connection.execute("ANALYZE passage")
    return count
