"""Threads in the database: commands from the API, events for it, leases, and which runs wait for what."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from agents.memory import shortened

_ONLY_SEEN = frozenset({"step", "token"})  # events that nothing is decided by


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadCommand:
    """What somebody wants of a thread: a message, a look at a waiting run, or its end."""

    command_no: int
    thread_id: str
    kind: str
    body: Mapping[str, Any]
    who: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run that waits until an instant, or for people: the last `interrupt` event that nothing has ended."""

    thread_id: str
    run_id: str
    kind: str
    until: datetime
    plan_id: str


class ThreadStore:
    """Reads and writes threads as the loop's role may."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def open_thread(self, thread_id: str, *, kind: str, title: str, who: str, at: datetime) -> None:
        """Make a thread; one of that id stays as it is."""
        await self._run(
            "INSERT INTO thread (thread_id, kind, title, who, created_at) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (thread_id) DO NOTHING",
            [thread_id, kind, title, who, at],
        )

    async def take_lease(self, thread_id: str, *, owner: str, wall: datetime, until: datetime) -> bool:
        """Take or renew a thread's lease in wall time; False while another loop process holds it."""
        rows = await self._run(
            "INSERT INTO thread_lease (thread_id, owner, until) VALUES (%s, %s, %s)"
            " ON CONFLICT (thread_id) DO UPDATE SET owner = excluded.owner, until = excluded.until"
            " WHERE thread_lease.owner = excluded.owner OR thread_lease.until <= %s RETURNING owner",
            [thread_id, owner, until, wall],
            wait=False,
        )
        return bool(rows)

    async def drop_lease(self, thread_id: str, *, owner: str) -> None:
        """Give a lease back."""
        await self._run(
            "DELETE FROM thread_lease WHERE thread_id = %s AND owner = %s", [thread_id, owner], wait=False
        )

    async def commands(self, limit: int = 100) -> list[ThreadCommand]:
        """Return the commands that nobody has finished, oldest first."""
        rows = await self._run(
            "SELECT command_no, thread_id, kind, body, who, at FROM thread_command c WHERE NOT EXISTS"
            " (SELECT 1 FROM thread_command_done d WHERE d.command_no = c.command_no) ORDER BY command_no LIMIT %s",
            [limit],
        )
        return [
            ThreadCommand(
                command_no=row[0], thread_id=row[1], kind=row[2], body=row[3], who=row[4], at=row[5]
            )
            for row in rows
        ]

    async def finish(self, command_no: int, *, at: datetime, outcome: str) -> None:
        """Mark a command as done, once."""
        await self._run(
            "INSERT INTO thread_command_done (command_no, at, outcome) VALUES (%s, %s, %s)"
            " ON CONFLICT (command_no) DO NOTHING",
            [command_no, at, outcome],
        )

    async def emit(self, thread_id: str, *, at: datetime, kind: str, body: Mapping[str, Any]) -> None:
        """Append an event for everybody who watches the thread; what is only to be seen does not wait for the disk.

        A run answers once: the message of a run that a crash made report anew is not shown a second time.
        """
        await self._run(
            "INSERT INTO thread_event (thread_id, at, kind, body) SELECT %s, %s, %s, %s WHERE %s <> 'message' OR NOT EXISTS"
            " (SELECT 1 FROM thread_event WHERE thread_id = %s AND kind = 'message' AND body ->> 'run_id' = %s)",
            [thread_id, at, kind, Jsonb(body), kind, thread_id, body.get("run_id", "")],
            wait=kind not in _ONLY_SEEN,
        )

    async def waiting(self, thread_id: str | None = None) -> list[Waiting]:
        """Return the runs whose last word was an interrupt, of one thread or of all, the earliest first."""
        rows = await self._run(
            "SELECT thread_id, body FROM (SELECT DISTINCT ON (thread_id, body ->> 'run_id') thread_id, kind, body"
            " FROM thread_event WHERE kind IN ('interrupt', 'done', 'error') AND (%s::text IS NULL OR thread_id = %s)"
            " ORDER BY thread_id, body ->> 'run_id', event_no DESC) last"
            " WHERE kind = 'interrupt' ORDER BY body ->> 'until'",
            [thread_id, thread_id],
        )
        return [
            Waiting(
                thread_id=row[0],
                run_id=row[1]["run_id"],
                kind=row[1]["kind"],
                until=datetime.fromisoformat(row[1]["until"]),
                plan_id=row[1]["plan_id"],
            )
            for row in rows
        ]

    async def unfinished_cycles(self) -> list[str]:
        """Return the threads of cycles that neither wait nor have ended: a crash left them in the middle."""
        rows = await self._run(
            "SELECT thread_id FROM thread t WHERE kind = 'loop' AND NOT EXISTS (SELECT 1 FROM thread_event e"
            " WHERE e.thread_id = t.thread_id AND e.kind IN ('interrupt', 'done', 'error')) ORDER BY created_at",
            [],
        )
        return [row[0] for row in rows]

    async def history(self, thread_id: str, before: int, most: int = 200) -> list[dict[str, str]]:
        """Return the turns before a command, what was asked and what was answered, oldest first; long ones shortened."""
        asked = await self._run(
            "SELECT at, 'operator', body ->> 'text' FROM thread_command WHERE thread_id = %s AND kind = 'message'"
            " AND command_no < %s ORDER BY command_no DESC LIMIT %s",
            [thread_id, before, most],
        )
        told = await self._run(
            "SELECT at, 'agent', body ->> 'text' FROM thread_event WHERE thread_id = %s AND kind = 'message'"
            " ORDER BY event_no DESC LIMIT %s",
            [thread_id, most],
        )
        rows = sorted([*asked, *told], key=lambda row: row[0])
        return shortened([{"who": row[1], "text": row[2] or ""} for row in rows])

    async def role_of(self, who: str) -> str | None:
        """Return the role of a person who may log in; None: nobody of that name, or no longer."""
        rows = await self._run("SELECT role FROM app_user WHERE name = %s AND active", [who])
        return str(rows[0][0]) if rows else None

    async def record_use(
        self,
        thread_id: str,
        *,
        at: datetime,
        model: str,
        prompt_tokens: int,
        answer_tokens: int,
        seconds: float,
    ) -> None:
        """Keep what a model's answer cost."""
        await self._run(
            "INSERT INTO model_use (thread_id, at, model, prompt_tokens, answer_tokens, seconds)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [thread_id, at, model, prompt_tokens, answer_tokens, seconds],
        )

    async def used_since(self, at: datetime, thread_id: str | None = None) -> tuple[int, int]:
        """Return the prompt and answer tokens that models used since an instant, in one thread or in all."""
        rows = await self._run(
            "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(answer_tokens), 0) FROM model_use"
            " WHERE at >= %s AND (%s::text IS NULL OR thread_id = %s)",
            [at, thread_id, thread_id],
        )
        return int(rows[0][0]), int(rows[0][1])

    async def standing_objectives(self) -> list[Mapping[str, Any]]:
        """Return what operators want kept true, oldest first: id, who set it, and the document."""
        rows = await self._run(
            "SELECT objective_id, who, doc FROM standing_objective WHERE active ORDER BY at, objective_id", []
        )
        return [{"objective_id": row[0], "who": row[1], **row[2]} for row in rows]

    async def notifications(self) -> AsyncIterator[None]:
        """Yield whenever somebody writes a command, on a connection of its own; ends when the connection does."""
        async with self._pool.connection() as connection:
            await connection.set_autocommit(True)
            try:
                await connection.execute("LISTEN thread_command")
                async for _ in connection.notifies():
                    yield
            finally:
                await connection.close()  # never back into the pool with a LISTEN on it

    async def _run(self, query: str, arguments: list[Any], *, wait: bool = True) -> list[tuple[Any, ...]]:
        """Run one statement; without `wait` its commit does not wait for the disk (it is in order all the same)."""
        async with self._pool.connection() as connection:
            if not wait:
                await connection.execute("SET LOCAL synchronous_commit = off")
            cursor = await connection.execute(query.encode(), arguments)
            return await cursor.fetchall() if cursor.description else []
