"""The library of what people wrote down, as the API uses it; its embedding model is loaded when somebody first needs it."""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from knowledge.document_store import DocumentStore
from knowledge.documents import Document, ReaderRole
from knowledge.embed import Chosen
from knowledge.files import read_file
from knowledge.findings import Answer, Scope
from knowledge.imports import ImportReport, import_documents
from knowledge.passage_store import PassageStore


class Library:
    """Searches, and takes documents in."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection], choose: Callable[[], Chosen]) -> None:
        self._pool = pool
        self._choose = choose
        self._chosen: Chosen | None = None
        self._loading = asyncio.Lock()

    async def search(self, query: str, scope: Scope, limit: int) -> Answer:
        """Return the passages that answer best."""
        chosen = await self._model()
        store = PassageStore(self._pool, chosen.embedder, why_no_embedder=chosen.note)
        return await store.search(query, scope, limit=limit)

    async def take_in(self, name: str, content: bytes, *, at: datetime) -> tuple[Document, ImportReport]:
        """Read a file and keep it under its name.

        Raises:
            DocumentError: It cannot be read; the message says why.
            EmbeddingError: It is kept, and found by words; its meaning was not.
        """
        document = await asyncio.to_thread(_read, name, content)
        chosen = await self._model()
        report = await import_documents(DocumentStore(self._pool), [document], chosen.embedder, at=at)
        return document, report

    async def remove(self, document_id: str) -> bool:
        """Remove a document; whether there was one."""
        store = DocumentStore(self._pool)
        removed = await store.remove(document_id)
        if removed:
            await store.count_words()
        return removed

    async def _model(self) -> Chosen:
        async with self._loading:
            if self._chosen is None:
                self._chosen = await asyncio.to_thread(self._choose)
        return self._chosen


def _read(name: str, content: bytes) -> Document:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return read_file(path, name)


def readable_by(role: str) -> list[str]:
    """Return the roles whose documents a role may read."""
    return [one.value for one in ReaderRole(role).readable]
