"""What language models used, as the API's role may read it."""

from datetime import datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ui.api.model_use import ModelUse

_USE = (
    "SELECT model, count(*), sum(prompt_tokens), sum(answer_tokens), max(at) FROM model_use WHERE at >= %s"
    " GROUP BY model ORDER BY max(at) DESC, model"
)
_LAST = (
    "SELECT body->>'planner' FROM thread_event WHERE kind = 'message' AND body->>'planner' <> ''"
    " ORDER BY event_no DESC LIMIT 1"
)


class ModelUseStore:
    """Reads what models used and who answered last."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def since(self, at: datetime) -> list[ModelUse]:
        """Return each model's use since an instant, who was asked last first."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_USE, [at])).fetchall()
        return [
            ModelUse(
                model=row[0],
                answers=row[1],
                prompt_tokens=int(row[2]),
                answer_tokens=int(row[3]),
                last_at=row[4],
            )
            for row in rows
        ]

    async def answered_last(self) -> str:
        """Return the label of the planner that gave the newest answer; empty before the first."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_LAST)).fetchone()
        return "" if row is None else str(row[0])
