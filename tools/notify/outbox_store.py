"""The outbox: a message is kept, with whom it tells of what, before it is sent, and marked when it was."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.model.incident import Severity
from tools.notify.rules import Message, Told


class Sending(StrEnum):
    """Where a message is. `withdrawn`: its matter was over before it could be sent."""

    DUE = "due"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A message that this process sends now.

    `attempt` counts from 1; `in_doubt` says that an earlier attempt began and nobody knows how it ended.
    """

    message: Message
    attempt: int
    in_doubt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """A message as the outbox shows it."""

    message: Message
    made_at: datetime
    state: Sending
    attempts: int
    settled_at: datetime | None
    outcome: str


_MESSAGE = (
    "n.message_id, n.target, n.reason, n.severity, n.title, n.body, n.link,"
    " ARRAY(SELECT subject_id FROM notification_subject s WHERE s.message_id = n.message_id ORDER BY subject_id)"
)

_CLAIM = (
    "WITH taken AS (SELECT message_id, state FROM notification WHERE not_before <= %s"
    " AND (state = 'due' OR (state = 'sending' AND lease_until <= %s))"
    " ORDER BY made_at, message_id LIMIT %s FOR UPDATE SKIP LOCKED),"
    " moved AS (UPDATE notification n SET state = 'sending', attempts = n.attempts + 1, lease_until = %s"
    " FROM taken WHERE n.message_id = taken.message_id RETURNING @message, n.attempts, taken.state)"
    " SELECT * FROM moved"
).replace("@message", _MESSAGE)


class Outbox:
    """Reads and writes messages with the API's role."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def told(self, subject_ids: Sequence[str]) -> tuple[Told, ...]:
        """Return who was told of these subjects."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT subject_id, target, told_at FROM notification_subject WHERE subject_id = ANY(%s)",
                [list(subject_ids)],
            )
            return tuple(Told(subject_id=row[0], target=row[1], at=row[2]) for row in await cursor.fetchall())

    async def put(self, messages: Iterable[Message], *, at: datetime, wall: datetime) -> int:
        """Keep messages, each whole or not at all, and return how many are new.

        A message of which any subject was told to its target already is left out: another process was faster, and the
        next look makes it again without that subject.

        Args:
            messages: What is due.
            at: Domain instant, aware UTC.
            wall: Wall time from which they may be sent.
        """
        kept = 0
        for one in messages:
            async with self._pool.connection() as connection, connection.transaction() as transaction:
                cursor = await connection.execute(
                    "INSERT INTO notification (message_id, target, reason, severity, title, body, link, made_at, state,"
                    " not_before) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'due', %s) ON CONFLICT DO NOTHING",
                    [one.message_id, one.target, one.reason, one.severity.value, one.title, one.body, one.link, at, wall],
                )  # fmt: skip
                if cursor.rowcount == 0:
                    continue
                new = 0
                for subject in sorted(one.subject_ids):
                    cursor = await connection.execute(
                        "INSERT INTO notification_subject (subject_id, target, message_id, told_at)"
                        " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        [subject, one.target, one.message_id, at],
                    )
                    new += cursor.rowcount
                if new < len(one.subject_ids):
                    transaction.force_rollback = True
                else:
                    kept += 1
        return kept

    async def claim(self, *, wall: datetime, until: datetime, most: int) -> tuple[Claimed, ...]:
        """Take messages to send, committed before anything is sent; nobody else gets them before `until`.

        One whose lease ran out was being sent when its process ended: it is taken again, and said to be in doubt.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_CLAIM.encode(), [wall, wall, most, until])
            return tuple(
                Claimed(message=_message(row), attempt=row[8], in_doubt=row[9] == Sending.SENDING.value)
                for row in await cursor.fetchall()
            )

    async def settle(self, message_id: str, state: Sending, *, wall: datetime, outcome: str) -> None:
        """Say how a message ended (`sent`, `failed`, `withdrawn`)."""
        await self._change(
            "UPDATE notification SET state = %s, settled_at = %s, outcome = %s, lease_until = NULL WHERE message_id = %s",
            [state.value, wall, outcome[:300], message_id],
        )

    async def put_off(self, message_id: str, *, until: datetime, outcome: str) -> None:
        """Say that a message could not be sent now and is tried again from an instant of wall time on."""
        await self._change(
            "UPDATE notification SET state = 'due', not_before = %s, outcome = %s, lease_until = NULL WHERE message_id = %s",
            [until, outcome[:300], message_id],
        )

    async def recent(self, limit: int, *, before: tuple[datetime, str] | None = None) -> list[NoticeRow]:
        """Return messages, the newest first, from just before a (made_at, message_id) on."""
        at, message_id = before or (None, None)
        return await self._rows(
            "WHERE (%s::timestamptz IS NULL OR (n.made_at, n.message_id) < (%s, %s))"
            " ORDER BY n.made_at DESC, n.message_id DESC LIMIT %s",
            [at, at, message_id, limit],
        )

    async def about(self, subject_id: str) -> list[NoticeRow]:
        """Return the messages that told of an incident or plan, the oldest first."""
        return await self._rows(
            "WHERE n.message_id IN (SELECT message_id FROM notification_subject WHERE subject_id = %s)"
            " ORDER BY n.made_at, n.message_id",
            [subject_id],
        )

    async def _rows(self, where: str, arguments: list[object]) -> list[NoticeRow]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {_MESSAGE}, n.made_at, n.state, n.attempts, n.settled_at, n.outcome"  # noqa: S608
                f" FROM notification n {where}".encode(),
                arguments,
            )
            return [
                NoticeRow(
                    message=_message(row),
                    made_at=row[8],
                    state=Sending(row[9]),
                    attempts=row[10],
                    settled_at=row[11],
                    outcome=row[12],
                )
                for row in await cursor.fetchall()
            ]

    async def _change(self, statement: str, arguments: list[object]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement.encode(), arguments)


def _message(row: Sequence[object]) -> Message:
    subjects = row[7]
    assert isinstance(subjects, list)
    return Message(
        message_id=str(row[0]),
        target=str(row[1]),
        reason=str(row[2]),
        severity=Severity(str(row[3])),
        title=str(row[4]),
        body=str(row[5]),
        link=str(row[6]),
        subject_ids=tuple(subjects),
    )
