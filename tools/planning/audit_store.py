"""The audit trail in the database: appended to by one function that stamps the role, read in order."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from edge.audit_chain import AuditEntry

_COLUMNS = "seq, at, role, who, action, subject, before::text, after::text, previous_hash, hash"


async def append_audit(
    connection: psycopg.AsyncConnection[Any],
    *,
    at: datetime,
    who: str,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> int:
    """Append one entry in the connection's transaction and return its number; one writer at a time."""
    cursor = await connection.execute(
        "SELECT append_audit(%s, %s, %s, %s, %s, %s)",
        [
            at,
            who,
            action,
            subject,
            None if before is None else Jsonb(before),
            None if after is None else Jsonb(after),
        ],
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


class AuditStore:
    """Reads the trail, and appends what has no transaction of its own."""

    def __init__(self, pool: AsyncConnectionPool[psycopg.AsyncConnection]) -> None:
        self._pool = pool

    async def append(
        self,
        *,
        at: datetime,
        who: str,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> int:
        """Append one entry and return its number."""
        async with self._pool.connection() as connection:
            return await append_audit(
                connection, at=at, who=who, action=action, subject=subject, before=before, after=after
            )

    async def entries(self, subject: str | None = None) -> AsyncIterator[AuditEntry]:
        """Yield the entries in order, of one subject or all, without holding them all in memory."""
        async with self._pool.connection() as connection, connection.cursor(name="audit_entries") as cursor:
            await cursor.execute(
                f"SELECT {_COLUMNS} FROM audit WHERE %s::text IS NULL OR subject = %s ORDER BY seq",  # noqa: S608 (a constant)
                [subject, subject],
            )
            async for row in cursor:
                yield to_entry(row)

    async def about_plan(self, plan_id: str) -> tuple[AuditEntry, ...]:
        """Return what concerns a plan: the plan itself and its commands, in order."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {_COLUMNS} FROM audit WHERE subject = %s OR after ->> 'plan_id' = %s ORDER BY seq",  # noqa: S608 (a constant)
                [plan_id, plan_id],
            )
            rows = await cursor.fetchall()
        return tuple(to_entry(row) for row in rows)


def to_entry(row: Sequence[Any]) -> AuditEntry:
    """Return the entry of a row."""
    return AuditEntry(
        seq=row[0],
        at=row[1],
        role=row[2],
        who=row[3],
        action=row[4],
        subject=row[5],
        before=row[6],
        after=row[7],
        previous_hash=bytes(row[8]),
        hash=bytes(row[9]),
    )


def readable(entry: AuditEntry) -> str:
    """Return an entry for people: a line that says what happened, then what changed from what to what."""
    what = f"{entry.seq:>6}  {entry.at.isoformat(timespec='seconds')}  {entry.action}  {entry.subject}"
    lines = [_one_line(f"{what}  by {entry.who} ({entry.role})")]
    before: dict[str, Any] = json.loads(entry.before) if entry.before else {}
    after: dict[str, Any] = json.loads(entry.after) if entry.after else {}
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        if key in before and key in after:
            lines.append(f"          {key}: {_short(old)} -> {_short(new)}")
        elif key in after:
            lines.append(f"          {key}: {_short(new)}")
        else:
            lines.append(f"          {key}: was {_short(old)}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = _one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 160 else f"{text[:157]}..."


def _one_line(text: str) -> str:
    """Show what does not print as an escape: no text in the trail can pass for a line of it."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
