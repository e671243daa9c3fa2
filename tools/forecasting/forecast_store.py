"""Forecasts in the database: written by the loop, the newest of each subject read by all."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.model.series import Forecast, Quantity

_COLUMNS = "subject_id, quantity, made_at, start, model, version, reason, values_w, cumulative_wh"


class ForecastStore:
    """Keeps every served forecast, so that it can be scored against what happened."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def put(self, forecasts: Iterable[Forecast]) -> int:
        """Keep forecasts and return how many; all or none."""
        rows = [_row(one) for one in forecasts]
        if not rows:
            return 0
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO forecast (subject_id, quantity, made_at, start, steps, model, version, reason, values_w,"
                " cumulative_wh) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                rows,
            )
        return len(rows)

    async def latest(self, quantity: Quantity) -> dict[str, Forecast]:
        """Return the newest forecast of each subject."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT DISTINCT ON (subject_id) {_COLUMNS} FROM forecast WHERE quantity = %s"  # noqa: S608 (a constant)
                " ORDER BY subject_id, made_at DESC, forecast_id DESC",
                [quantity.value],
            )
            return {row[0]: _forecast(row) for row in await cursor.fetchall()}

    async def history(self, subject_id: str, quantity: Quantity, limit: int = 100) -> list[Forecast]:
        """Return a subject's forecasts, newest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {_COLUMNS} FROM forecast WHERE subject_id = %s AND quantity = %s"  # noqa: S608 (a constant)
                " ORDER BY made_at DESC, forecast_id DESC LIMIT %s",
                [subject_id, quantity.value, limit],
            )
            return [_forecast(row) for row in await cursor.fetchall()]


def _row(one: Forecast) -> list[object]:
    return [
        one.subject_id, one.quantity.value, one.made_at, one.start, one.steps, one.model, one.version, one.reason,
        [list(row) for row in one.values_w], [list(row) for row in one.cumulative_wh],
    ]  # fmt: skip


def _forecast(row: Sequence[Any]) -> Forecast:
    return Forecast(
        subject_id=row[0],
        quantity=Quantity(row[1]),
        made_at=row[2],
        start=row[3],
        model=row[4],
        version=row[5],
        reason=row[6],
        values_w=tuple(tuple(values) for values in row[7]),
        cumulative_wh=tuple(tuple(values) for values in row[8]),
    )
