"""Passages in PostgreSQL, searched by meaning and by words at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pgvector import Vector
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from knowledge.documents import DocumentKind
from knowledge.embed import Embedder, EmbeddingError
from knowledge.findings import Answer, Found, Method, Scope, Weights, fuse, spread
from knowledge.rarity import looked_up_by, rarity, term_of, weighed
from knowledge.wording import Phrasing, Worded, read_phrasing

EXACT_UP_TO = 5_000  # passages; above, the nearest come from the HNSW index
_CANDIDATES = 500  # passages, about, that words alone put up: each of them is weighed word by word
_MOST_CANDIDATES = 600  # passages that are weighed, however many there are
_EF_SEARCH = 100
HNSW_SETTINGS = f"SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = {_EF_SEARCH}"
_LEAST_COSINE = 0.2  # less is chance: unrelated English sentences reach about 0.1 with the embedded model
_NAMED_IN = 2  # passages: a name that is asked for as it is counts as rare
_NAME_COUNTS = 4.0  # times more counts the ranking by words when a name is asked for
_ALIKE = 0.2  # trigram likeness from which a word is looked at as the right spelling; two swapped letters cost much

_IN_SCOPE = """
    p.role = ANY(%(roles)s)
    AND (%(site)s::text IS NULL OR p.site_ids @> ARRAY[%(site)s::text] OR (NOT %(site_only)s AND p.site_ids = '{}'))
    AND (%(equipment)s::text[] IS NULL OR p.equipment && %(equipment)s::text[])
    AND (%(kinds)s::text[] IS NULL OR p.kind = ANY(%(kinds)s::text[]))
    AND (%(since)s::date IS NULL OR p.written_on >= %(since)s::date)
    AND (%(until)s::date IS NULL OR p.written_on <= %(until)s::date)
"""
# Adding zero keeps the planner from the approximate index: a small library is compared whole.
_NEAREST = """
    SELECT p.passage_id, p.document_id, 1 - (p.embedding <=> %(vector)s::vector) AS value FROM passage p
    WHERE p.model_id = %(model)s AND {scope} ORDER BY (p.embedding <=> %(vector)s::vector){exactly} LIMIT %(depth)s
"""
_COSINES = """
    SELECT p.passage_id, 1 - (p.embedding <=> %(vector)s::vector) FROM passage p
    WHERE p.passage_id = ANY(%(ids)s) AND p.model_id = %(model)s
"""
_WORDS_OF = """
    SELECT w.word, w.passages, max(q.share) AS share FROM (
        SELECT lexeme, 1.0::float8 AS share FROM unnest(to_tsvector('english', %(asked)s))
        UNION ALL SELECT lexeme, %(share)s::float8 FROM unnest(to_tsvector('english', %(added)s))
    ) q JOIN passage_word w ON w.form = 'stem' AND w.word = q.lexeme GROUP BY w.word, w.passages
"""
_LOOK_ALIKE = """
    SELECT q.word, near.word, near.passages FROM unnest(%(words)s::text[]) AS q (word), LATERAL (
        SELECT k.word, k.passages FROM passage_word k WHERE k.form = 'plain' AND k.word %% q.word
        ORDER BY similarity(k.word, q.word) DESC, k.passages DESC LIMIT 30
    ) near
"""
_BY_WORDS = """
    SELECT found.passage_id, found.document_id, {value} AS value FROM (
        SELECT p.passage_id, p.document_id, p.words FROM passage p WHERE p.words @@ %(any)s::tsquery AND {scope}
        LIMIT %(most)s
    ) found ORDER BY value DESC, found.passage_id LIMIT %(depth)s
"""
# One addend a word, written out: a subquery over an array of them took four times as long. ts_rank's weights are for D, C, B, A:
# body, section and title.
_ADDEND = (
    "%(weight{0})s::float8 * ts_rank('{{0.1, 0.3, 0.6, 1.0}}'::real[], found.words, %(term{0})s::tsquery, 1)"
)
_NAMED = "CASE WHEN found.words @@ %(term{0})s::tsquery THEN " + _ADDEND + " ELSE 0.0 END"
# Counted while few; of many the estimate of the last ANALYZE will do, for a count would read them all.
_HOW_MANY = """
    SELECT CASE WHEN c.reltuples > %(few)s THEN c.reltuples::bigint
        ELSE (SELECT count(*) FROM (SELECT 1 FROM passage LIMIT 2 * %(few)s) counted) END
    FROM pg_class c WHERE c.oid = 'passage'::regclass
"""
_NAMES = """
    SELECT q::text FROM (SELECT phraseto_tsquery('english', name) AS q FROM unnest(%(names)s::text[]) AS n (name)) each
    WHERE numnode(q) > 0
"""
_DESCRIBED = """
    SELECT p.passage_id, p.document_id, p.title, p.kind, p.section, p.body, p.starts_at, p.ends_at, d.simulated
    FROM passage p JOIN document d USING (document_id) WHERE p.passage_id = ANY(%(ids)s)
"""


class PassageStore:
    """The library, to be searched. `embedder` None: by words alone, which every answer says."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection],
        embedder: Embedder | None,
        *,
        weights: Weights | None = None,
        exact_up_to: int = EXACT_UP_TO,
        phrasing: Phrasing | None = None,
        why_no_embedder: str = "",
    ) -> None:
        """Args are kept as they are; `exact_up_to` is in passages, `why_no_embedder` is shown with each answer."""
        self._pool = pool
        self._embedder = embedder
        self._weights = weights or Weights()
        self._exact_up_to = exact_up_to
        self._phrasing = phrasing or read_phrasing()
        self._why = why_no_embedder or "no embedding model: searched by words alone"

    async def search(
        self,
        query: str,
        scope: Scope,
        *,
        limit: int = 5,
        per_document: int = 1,
        method: Method = Method.HYBRID,
    ) -> Answer:
        """Return the passages that answer best.

        Args:
            query: In anybody's words; never obeyed, only compared.
            scope: What the reader may see and wants to.
            limit: Passages at most.
            per_document: Passages of one document at most.
            method: How; vectors that cannot be had are said in the answer's note.
        """
        worded = await self._worded(query)
        # The question is embedded on another thread while the database looks its words up.
        embedding = asyncio.create_task(self._vector(worded, wanted=method is not Method.WORDS))
        parameters = scope_parameters(scope) | {"depth": self._weights.depth * max(1, per_document)}
        try:
            async with self._pool.connection() as connection, connection.transaction():
                total = await self._size(connection)
                by_words = (
                    []
                    if method is Method.VECTORS
                    else await self._by_words(connection, worded, parameters, total)
                )
                vector, note = await embedding
                by_meaning = (
                    [] if vector is None else await self._nearest(connection, vector, parameters, total)
                )
                meaning, words = _scores(by_meaning), _scores(by_words)
                if vector is not None and method is Method.HYBRID:
                    meaning |= await self._cosines(
                        connection, vector, [each for each in words if each not in meaning]
                    )
                ranked = fuse(meaning, words, self._weighing(worded))
                documents = {row[0]: row[1] for row in (*by_meaning, *by_words)}
                taken = spread(
                    [each for each, _ in ranked], documents, limit=limit, per_document=per_document
                )
                found = await self._described(connection, taken, dict(ranked), meaning, words)
        finally:
            embedding.cancel()
        return Answer(found=found, method=method if vector is not None else Method.WORDS, note=note)

    def _weighing(self, worded: Worded) -> Weights:
        """Return the weights of the two rankings for a question: that of words counts more where a name is asked for."""
        weights = self._weights
        return replace(weights, words=weights.words * _NAME_COUNTS) if worded.names else weights

    async def _worded(self, query: str) -> Worded:
        """Mend what is misspelt and add the field's words."""
        doubtful = self._phrasing.doubtful(query)
        alike: dict[str, list[tuple[str, int]]] = {}
        if doubtful:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL pg_trgm.similarity_threshold = {_ALIKE}".encode())
                rows = await connection.execute(_LOOK_ALIKE, {"words": list(doubtful)})
                for asked, word, passages in await rows.fetchall():
                    alike.setdefault(asked, []).append((word, passages))
        return self._phrasing.worded(query, alike)

    async def _vector(self, worded: Worded, *, wanted: bool) -> tuple[str | None, str]:
        if not wanted:
            return None, ""
        if self._embedder is None:
            return None, self._why
        try:
            found = await asyncio.to_thread(self._embedder.embed, [worded.whole])
        except EmbeddingError as error:
            return None, f"searched by words alone: {error}"
        return Vector(found[0]).to_text(), ""

    async def _size(self, connection: AsyncConnection) -> int:
        """Return how many passages there are: counted while few, estimated when many."""
        rows = await connection.execute(_HOW_MANY, {"few": self._exact_up_to})
        return _number(await rows.fetchone())

    async def _nearest(
        self, connection: AsyncConnection, vector: str, parameters: Mapping[str, Any], total: int
    ) -> list[Any]:
        assert self._embedder is not None
        large = total > self._exact_up_to
        if large:
            await connection.execute(HNSW_SETTINGS.encode())
        statement = nearest_statement(large=large)
        rows = await connection.execute(
            statement, {**parameters, "vector": vector, "model": self._embedder.model_id}
        )
        return [row for row in await rows.fetchall() if row[2] >= _LEAST_COSINE]

    async def _cosines(
        self, connection: AsyncConnection, vector: str, ids: Sequence[str]
    ) -> dict[str, float]:
        """Return how alike in meaning the passages are that words alone put up."""
        assert self._embedder is not None
        parameters = {"vector": vector, "ids": list(ids), "model": self._embedder.model_id}
        rows = await connection.execute(_COSINES, parameters)
        return dict(await rows.fetchall())

    async def _by_words(
        self, connection: AsyncConnection, worded: Worded, parameters: Mapping[str, Any], total: int
    ) -> list[Any]:
        asked = {"asked": worded.asked, "added": " ".join(worded.added), "share": self._weights.added_words}
        rows = await connection.execute(_WORDS_OF, asked)
        words = weighed(await rows.fetchall(), total)
        names = await self._names(connection, worded.names)
        if not words and not names:
            return []
        terms = [(term_of(word.word), word.weight, _ADDEND) for word in words]
        terms += [(name, rarity(_NAMED_IN, total), _NAMED) for name in names]
        value = " + ".join(form.format(number) for number, (_, _, form) in enumerate(terms))
        found_by = [*looked_up_by(words, total, _CANDIDATES), *(f"({name})" for name in names)]
        given: dict[str, object] = {f"term{number}": term for number, (term, _, _) in enumerate(terms)}
        given |= {f"weight{number}": weight for number, (_, weight, _) in enumerate(terms)}
        rows = await connection.execute(
            sql.SQL(_BY_WORDS).format(scope=sql.SQL(_IN_SCOPE), value=sql.SQL(value)),
            {**parameters, **given, "any": " | ".join(found_by), "most": _MOST_CANDIDATES},
        )
        return [row for row in await rows.fetchall() if row[2] > 0.0]

    async def _names(self, connection: AsyncConnection, names: Sequence[str]) -> list[str]:
        """Return a phrase query for each name, as far as it has words at all."""
        if not names:
            return []
        rows = await connection.execute(_NAMES, {"names": list(names)})
        return [row[0] for row in await rows.fetchall()]

    async def _described(
        self,
        connection: AsyncConnection,
        taken: Sequence[str],
        scores: Mapping[str, float],
        meaning: Mapping[str, float],
        words: Mapping[str, float],
    ) -> tuple[Found, ...]:
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_DESCRIBED, {"ids": list(taken)})
            rows = {row["passage_id"]: row for row in await cursor.fetchall()}
        places, word_places = _places(meaning), _places(words)
        return tuple(
            _found(rows[each], scores[each], places.get(each), word_places.get(each))
            for each in taken
            if each in rows
        )


def nearest_statement(*, large: bool) -> sql.Composed:
    """Return the query for the nearest by meaning; of a large library in a form that the HNSW index answers."""
    return sql.SQL(_NEAREST).format(scope=sql.SQL(_IN_SCOPE), exactly=sql.SQL("" if large else " + 0"))


def _scores(rows: Sequence[Any]) -> dict[str, float]:
    return {row[0]: float(row[2]) for row in rows}


def _places(scores: Mapping[str, float]) -> dict[str, tuple[int, float]]:
    """Return the place, from 1, and the score of each id."""
    ordered = sorted(scores.items(), key=lambda each: (-each[1], each[0]))
    return {each: (rank, value) for rank, (each, value) in enumerate(ordered, start=1)}


def scope_parameters(scope: Scope) -> dict[str, Any]:
    """Return what the queries' scope is filled with."""
    return {
        "roles": [role.value for role in scope.role.readable],
        "site": scope.site_id,
        "site_only": scope.about_site_only,
        "equipment": list(scope.equipment) or None,
        "kinds": [kind.value for kind in scope.kinds] or None,
        "since": scope.since,
        "until": scope.until,
    }


def _found(
    row: Mapping[str, Any], score: float, meaning: tuple[int, float] | None, words: tuple[int, float] | None
) -> Found:
    return Found(
        document_id=row["document_id"],
        passage_id=row["passage_id"],
        title=row["title"],
        kind=DocumentKind(row["kind"]),
        section=row["section"],
        text=row["body"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        simulated=row["simulated"],
        score=score,
        cosine=None if meaning is None else float(meaning[1]),
        vector_rank=None if meaning is None else meaning[0],
        word_score=None if words is None else float(words[1]),
        word_rank=None if words is None else words[0],
    )


def _number(row: Any) -> int:
    assert row is not None
    return int(row[0])
