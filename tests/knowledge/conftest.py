"""The real embedding model, loaded once, and the delivered library in a database of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from knowledge.document_store import DocumentStore
from knowledge.embed import Embedder, MiniLm
from knowledge.imports import ImportReport, Step
from knowledge.shipped import import_corpus
from telemetry.db import open_async_pool
from tests.services import Database, DatabaseServer
from ui.ops.secrets import DatabaseRole

IMPORTED_AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
Pool = AsyncConnectionPool[AsyncConnection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The delivered pages, imported as the loop would."""

    dsn: str
    embedder: Embedder
    report: ImportReport
    steps: tuple[Step, ...]


@pytest.fixture(scope="session")
def mini_lm() -> MiniLm:
    return MiniLm()


@pytest.fixture(scope="session")
def library(postgres_server: DatabaseServer, mini_lm: MiniLm) -> Iterator[Library]:
    steps: list[Step] = []

    async def load(dsn: str) -> ImportReport:
        pool = await open_async_pool(dsn, application_name="test", max_size=1)
        try:
            return await import_corpus(DocumentStore(pool), mini_lm, at=IMPORTED_AT, progress=steps.append)
        finally:
            await pool.close()

    with postgres_server.fresh() as database:
        dsn = database.dsn(DatabaseRole.LOOP)
        report = asyncio.run(load(dsn))
        yield Library(dsn=dsn, embedder=mini_lm, report=report, steps=tuple(steps))


@pytest.fixture
async def library_pool(library: Library) -> AsyncIterator[Pool]:
    """The library, to be read."""
    pool = await open_async_pool(library.dsn, application_name="test", max_size=2)
    yield pool
    await pool.close()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """An empty library, as the loop's role."""
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test", max_size=2)
    yield pool
    await pool.close()
