"""Threads as the API's role sees them: opened, asked through `thread_command`, read back from `thread_event`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from tools.planning.audit_store import append_audit

_THREAD = (
    "SELECT t.thread_id, t.kind, t.title, t.who, t.created_at, coalesce(e.event_no, 0), coalesce(e.kind, ''), e.at"
    " FROM thread t LEFT JOIN LATERAL (SELECT event_no, kind, at FROM thread_event v"
    " WHERE v.thread_id = t.thread_id ORDER BY event_no DESC LIMIT 1) e ON true"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRow:
    """A thread and its last event (0, empty and None before the first)."""

    thread_id: str
    kind: str
    title: str
    who: str
    created_at: datetime
    last_event_no: int
    last_kind: str
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """What somebody asked of a thread; `outcome` is None while it is being worked on."""

    command_no: int
    kind: str
    body: dict[str, Any]
    who: str
    at: datetime
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event of a thread."""

    event_no: int
    at: datetime
    kind: str
    body: dict[str, Any]


class ThreadViewStore:
    """Reads threads and asks for work on them."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def open(self, thread_id: str, *, title: str, who: str, at: datetime) -> None:
        """Open a conversation."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO thread (thread_id, kind, title, who, created_at) VALUES (%s, 'chat', %s, %s, %s)",
                [thread_id, title, who, at],
            )
            await append_audit(
                connection, at=at, who=who, action="thread.opened", subject=thread_id, after={"title": title}
            )

    async def fetch(self, thread_id: str) -> ThreadRow | None:
        """Return one thread."""
        rows = await self._all(f"{_THREAD} WHERE t.thread_id = %s", [thread_id])
        return _thread(rows[0]) if rows else None

    async def page(
        self, limit: int, *, before: tuple[datetime, str] | None = None, kind: str | None = None
    ) -> list[ThreadRow]:
        """Return threads, the newest first, from just before a (created_at, thread_id) on."""
        at, thread_id = before or (None, None)
        rows = await self._all(
            f"{_THREAD} WHERE (%s::timestamptz IS NULL OR (t.created_at, t.thread_id) < (%s, %s))"
            " AND (%s::text IS NULL OR t.kind = %s) ORDER BY t.created_at DESC, t.thread_id DESC LIMIT %s",
            [at, at, thread_id, kind, kind, limit],
        )
        return [_thread(row) for row in rows]

    async def ask(
        self,
        thread_id: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        who: str,
        key: str,
        at: datetime,
    ) -> int:
        """Ask for work and return the command's number; the same key asks once."""
        async with self._pool.connection() as connection:
            return await put_command(connection, thread_id, kind, body, who=who, key=key, at=at)

    async def commands(self, thread_id: str, limit: int = 500) -> list[CommandRow]:
        """Return the newest commands of a thread, oldest first."""
        rows = await self._all(
            "SELECT c.command_no, c.kind, c.body, c.who, c.at, d.outcome FROM thread_command c"
            " LEFT JOIN thread_command_done d USING (command_no) WHERE c.thread_id = %s"
            " ORDER BY c.command_no DESC LIMIT %s",
            [thread_id, limit],
        )
        return [
            CommandRow(command_no=row[0], kind=row[1], body=row[2], who=row[3], at=row[4], outcome=row[5])
            for row in reversed(rows)
        ]

    async def events(self, thread_id: str, after: int, limit: int = 500) -> list[EventRow]:
        """Return the events after a number, oldest first."""
        rows = await self._all(
            "SELECT event_no, at, kind, body FROM thread_event WHERE thread_id = %s AND event_no > %s"
            " ORDER BY event_no LIMIT %s",
            [thread_id, after, limit],
        )
        return [EventRow(event_no=row[0], at=row[1], kind=row[2], body=row[3]) for row in rows]

    async def _all(self, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.encode(), arguments)
            return await cursor.fetchall()


async def put_command(
    connection: AsyncConnection,
    thread_id: str,
    kind: str,
    body: Mapping[str, Any],
    *,
    who: str,
    key: str,
    at: datetime,
) -> int:
    """Write a command and its audit entry in the connection's transaction; the same key writes once."""
    cursor = await connection.execute(
        "INSERT INTO thread_command (thread_id, kind, body, who, idempotency_key, at)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (idempotency_key) DO NOTHING RETURNING command_no",
        [thread_id, kind, Jsonb(body), who, key, at],
    )
    row = await cursor.fetchone()
    if row is not None:
        await append_audit(
            connection,
            at=at,
            who=who,
            action=f"thread.{kind}",
            subject=thread_id,
            after={"command_no": row[0]},
        )
        return int(row[0])
    cursor = await connection.execute(
        "SELECT command_no FROM thread_command WHERE idempotency_key = %s", [key]
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


def _thread(row: Sequence[Any]) -> ThreadRow:
    return ThreadRow(
        thread_id=row[0],
        kind=row[1],
        title=row[2],
        who=row[3],
        created_at=row[4],
        last_event_no=row[5],
        last_kind=row[6],
        last_at=row[7],
    )
