"""LangGraph's checkpoints in the same database; the tables come from migration 0004, so the loop's role makes nothing.

A checkpoint is committed before the next node begins, but its commit does not wait for the disk. PostgreSQL writes commits in
order and whatever has an effect (a request, a verdict, an interrupt) waits for the disk, and so for all that came before it: a
machine that loses power may lose the last moments of steps without an effect, which are then done again, as after any crash.
"""

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool


async def open_checkpoints(
    dsn: str, *, max_size: int = 4
) -> tuple[AsyncPostgresSaver, AsyncConnectionPool[AsyncConnection[DictRow]]]:
    """Return a checkpointer and the pool beneath it, which the caller closes."""
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        dsn,
        kwargs={
            "autocommit": True,
            "prepare_threshold": 0,
            "row_factory": dict_row,
            "application_name": "cellwatt-checkpoints",
            "options": "-c timezone=UTC -c synchronous_commit=off",
        },
        min_size=1,
        max_size=max_size,
        open=False,
        name="cellwatt-checkpoints",
    )
    await pool.open()
    return AsyncPostgresSaver(pool), pool
