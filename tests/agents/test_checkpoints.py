"""Migration 0004 makes exactly what the checkpoint library would make."""

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.postgres.base import BasePostgresSaver

from agents.checkpoints import open_checkpoints
from tests.agents.harness import bench_over
from tests.agents.worlds import NOW
from tests.services import Database
from ui.ops.secrets import DatabaseRole

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


async def test_checkpoints_do_not_wait_for_the_disk_and_no_connection_of_the_others_keeps_that(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        await bench.threads.open_thread("t", kind="chat", title="t", who="alice", at=NOW)
        for kind in ("step", "token", "done"):
            await bench.threads.emit("t", at=NOW, kind=kind, body={"run_id": "r"})
        async with bench.pool.connection() as connection:
            found = await (await connection.execute("SHOW synchronous_commit")).fetchone()
            assert found == ("on",)  # said for one statement at a time
        assert bench.sql("SELECT kind FROM thread_event WHERE thread_id = 't' ORDER BY event_no") == [
            ("step",),
            ("token",),
            ("done",),
        ]
    _, pool = await open_checkpoints(database.dsn(DatabaseRole.LOOP))
    async with pool.connection() as checkpoints:
        mode = await (await checkpoints.execute("SHOW synchronous_commit")).fetchone()
    await pool.close()
    assert mode == {"synchronous_commit": "off"}
