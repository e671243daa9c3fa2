"""LangGraph's checkpoints in the same database; the tables come from migration 0004, so the loop's role makes nothing."""

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
            "options": "-c timezone=UTC",
        },
        min_size=1,
        max_size=max_size,
        open=False,
        name="cellwatt-checkpoints",
    )
    await pool.open()
    return AsyncPostgresSaver(pool), pool
