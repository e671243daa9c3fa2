"""Scores of served forecasts in the database: what is due, what became of it, and how each model does live."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.model.series import Quantity
from tools.forecasting.live_score import (
    SCORED_STEPS,
    LiveScore,
    ModelAccuracy,
    Served,
    SubjectDrift,
    accuracy_of,
    drifts_of,
)

_COLUMNS = (
    "forecast_id, subject_id, quantity, model, start, steps, mae_w, promised_mae_w, naive_mae_w, mean_w, pinball_w,"
    " covered_80_frac, covered_95_frac"
)
_OLDEST = timedelta(days=8)
_WINDOW = timedelta(days=7)


class ScoreStore:
    """Keeps what became of served forecasts; the typed query of whoever shows it."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def due(self, quantity: Quantity, before: datetime, limit: int = 2_000) -> list[Served]:
        """Return forecasts whose first day ended before an instant and that are not scored yet, oldest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT f.forecast_id, f.subject_id, f.model, f.start, f.values_w[:][1:%(steps)s] FROM forecast f"
                " WHERE f.quantity = %(quantity)s AND f.start <= %(last)s AND f.start > %(first)s"
                " AND f.steps >= %(steps)s"
                " AND NOT EXISTS (SELECT FROM forecast_score s WHERE s.forecast_id = f.forecast_id)"
                " ORDER BY f.start, f.forecast_id LIMIT %(limit)s",
                {
                    "steps": SCORED_STEPS,
                    "quantity": quantity.value,
                    "last": before - timedelta(days=1),
                    "first": before - _OLDEST,
                    "limit": limit,
                },
            )
            return [
                Served(
                    forecast_id=row[0],
                    subject_id=row[1],
                    quantity=quantity,
                    model=row[2],
                    start=row[3],
                    values_w=np.array(row[4], dtype=np.float64),
                )
                for row in await cursor.fetchall()
            ]

    async def put(self, scores: Iterable[LiveScore]) -> int:
        """Keep scores and return how many; a forecast is scored once."""
        rows = [_row(one) for one in scores]
        if not rows:
            return 0
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(
                f"INSERT INTO forecast_score ({_COLUMNS})"  # noqa: S608 (a constant)
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (forecast_id) DO NOTHING",
                rows,
            )
        return len(rows)

    async def scores(
        self, quantity: Quantity, now: datetime, *, window: timedelta = _WINDOW, subject_id: str | None = None
    ) -> list[LiveScore]:
        """Return the scores of forecasts that began within `window` before `now`, newest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {_COLUMNS} FROM forecast_score WHERE quantity = %(quantity)s"  # noqa: S608 (a constant)
                " AND start > %(first)s AND start <= %(now)s"
                " AND (%(subject)s::text IS NULL OR subject_id = %(subject)s) ORDER BY start DESC, forecast_id DESC",
                {"quantity": quantity.value, "first": now - window, "now": now, "subject": subject_id},
            )
            return [_score(row) for row in await cursor.fetchall()]

    async def accuracy(
        self, quantity: Quantity, now: datetime, *, window: timedelta = _WINDOW
    ) -> tuple[ModelAccuracy, ...]:
        """Return the live accuracy of each model of a quantity."""
        return accuracy_of(await self.scores(quantity, now, window=window))

    async def drifts(
        self, quantity: Quantity, now: datetime, *, window: timedelta = _WINDOW
    ) -> tuple[SubjectDrift, ...]:
        """Return how each subject's live errors stand to what was promised, worst first."""
        return drifts_of(await self.scores(quantity, now, window=window), now)


def _row(one: LiveScore) -> list[object]:
    return [
        one.forecast_id, one.subject_id, one.quantity.value, one.model, one.start, one.steps, one.mae_w,
        one.promised_mae_w, one.naive_mae_w, one.mean_w, one.pinball_w, one.covered_80_frac, one.covered_95_frac,
    ]  # fmt: skip


def _score(row: Sequence[Any]) -> LiveScore:
    return LiveScore(
        forecast_id=row[0],
        subject_id=row[1],
        quantity=Quantity(row[2]),
        model=row[3],
        start=row[4],
        steps=row[5],
        mae_w=row[6],
        promised_mae_w=row[7],
        naive_mae_w=row[8],
        mean_w=row[9],
        pinball_w=row[10],
        covered_80_frac=row[11],
        covered_95_frac=row[12],
    )
