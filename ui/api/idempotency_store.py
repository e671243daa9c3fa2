"""Answers kept by idempotency key, so that an act that is sent twice happens once."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act of one caller: `digest` is of what was asked, so that a key cannot mean two things."""

    key: str
    who: str
    route: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Nobody has done it yet: do it, then `finish` or `forget`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It was done: this was the answer."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """It is being done right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The key was used for something else."""


class IdempotencyStore:
    """A row with status 0 marks an act that has begun and not ended; its wall instant tells a crash from a slow act."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def begin(
        self, act: Act, *, at: datetime, wall: datetime, in_progress: timedelta
    ) -> Begun | Done | Busy | Mismatch:
        """Claim a key, or return what is known of it."""
        claim = Jsonb({"digest": act.digest, "wall": wall.isoformat()})
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO idempotency (key, who, route, at, status, body) VALUES (%s, %s, %s, %s, 0, %s)"
                " ON CONFLICT DO NOTHING",
                [act.key, act.who, act.route, at, claim],
            )
            if cursor.rowcount:
                return Begun()
            cursor = await connection.execute(
                "SELECT status, body FROM idempotency WHERE key = %s AND who = %s AND route = %s FOR UPDATE",
                [act.key, act.who, act.route],
            )
            row = await cursor.fetchone()
            if row is None:
                return Busy()
            status, body = row
            if body["digest"] != act.digest:
                return Mismatch()
            if status:
                return Done(status=status, body=json.loads(body["answer"]))
            if wall - datetime.fromisoformat(body["wall"]) < in_progress:
                return Busy()
            await connection.execute(
                "UPDATE idempotency SET body = %s, at = %s WHERE key = %s AND who = %s AND route = %s",
                [claim, at, act.key, act.who, act.route],
            )
        return Begun()

    async def finish(self, act: Act, *, status: int, body: Any) -> None:
        """Keep the answer; as text, so that it comes back byte for byte."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE idempotency SET status = %s, body = %s WHERE key = %s AND who = %s AND route = %s",
                [
                    status,
                    Jsonb({"digest": act.digest, "answer": json.dumps(body)}),
                    act.key,
                    act.who,
                    act.route,
                ],
            )

    async def forget(self, act: Act) -> None:
        """Give a key back: the act did not happen."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "DELETE FROM idempotency WHERE key = %s AND who = %s AND route = %s AND status = 0",
                [act.key, act.who, act.route],
            )

    async def purge(self, before: datetime) -> int:
        """Forget what is older than an instant and return how many that were."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("DELETE FROM idempotency WHERE at < %s", [before])
            return cursor.rowcount
