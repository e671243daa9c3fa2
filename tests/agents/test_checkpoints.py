"""Migration 0004 makes exactly what the checkpoint library would make."""

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.postgres.base import BasePostgresSaver

from tests.agents.harness import bench_over
from tests.services import Database

COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_name LIKE 'checkpoint%' ORDER BY table_name, column_name"
)
INDEXES = "SELECT tablename, indexname FROM pg_indexes WHERE tablename LIKE 'checkpoint%' ORDER BY 1, 2"


def shape(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return [*connection.execute(COLUMNS).fetchall(), *connection.execute(INDEXES).fetchall()]


async def test_the_tables_are_the_librarys_own(database: Database, empty_database: Database) -> None:
    async with AsyncPostgresSaver.from_conn_string(empty_database.dsn()) as saver:
        await saver.setup()
    assert shape(database.dsn()) == shape(empty_database.dsn())


async def test_the_library_has_nothing_to_add(database: Database) -> None:
    async with bench_over(database) as bench:
        assert bench.sql("SELECT max(v) FROM checkpoint_migrations") == [
            (len(BasePostgresSaver.MIGRATIONS) - 1,)
        ]
