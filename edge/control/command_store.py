"""The outbox: what is signed and not answered yet, and what is read back after a restart.

Bytes and sequence are committed before anything is published. A row in `pending` or `sent` is sent again, the same
bytes, until the site answers or `accept_by` passes.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from edge.control.transaction_store import ControlTransaction
from edge.plan import CommandId, PlanId, PlanStatus
from telemetry.model.site import FeederId, SiteId

Pool = AsyncConnectionPool[psycopg.AsyncConnection]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCommand:
    """A command that no site has answered yet; `attempts` counts what the broker confirmed."""

    command_id: CommandId
    site_id: SiteId
    feeder_id: FeederId | None
    kind: str
    state: str
    attempts: int
    accept_by: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOrderRow:
    """The newest stop or clear."""

    command_id: CommandId
    kind: str
    envelope: bytes
    key_id: str
    state: str


class CommandStore:
    """The outbox, opened with control's own role."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ControlTransaction]:
        """Open a transaction; it commits when the block ends without an exception."""
        async with self._pool.connection() as connection, connection.transaction():
            yield ControlTransaction(connection)

    async def open_commands(self) -> tuple[OpenCommand, ...]:
        """Return every site command that waits for an answer, oldest first."""
        rows = await self._all(
            "SELECT c.command_id, c.site_id, s.feeder_id, c.kind, c.state, c.attempts, c.accept_by FROM command c"
            " LEFT JOIN site s USING (site_id) WHERE c.state IN ('pending', 'sent') AND c.site_id IS NOT NULL"
            " ORDER BY c.created_at, c.site_id, c.sequence",
            [],
        )
        return tuple(
            OpenCommand(
                command_id=row[0],
                site_id=row[1],
                feeder_id=row[2],
                kind=row[3],
                state=row[4],
                attempts=row[5],
                accept_by=row[6],
            )
            for row in rows
        )

    async def envelope(self, command_id: CommandId) -> bytes | None:
        """Return the bytes to send, None if the command is no longer open."""
        rows = await self._all(
            "SELECT envelope FROM command WHERE command_id = %s AND state IN ('pending', 'sent')",
            [command_id],
        )
        return bytes(rows[0][0]) if rows else None

    async def mark_sent(self, command_id: CommandId, at: datetime) -> None:
        """Note that the broker has confirmed a sending; an answer that was quicker stays."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE command SET attempts = attempts + 1, sent_at = coalesce(sent_at, %s),"
                " state = CASE state WHEN 'pending' THEN 'sent' ELSE state END WHERE command_id = %s",
                [at, command_id],
            )

    async def mark_missing(self, command: OpenCommand, at: datetime) -> None:
        """Give up on a command that no site answered in time: told to the trail and to whoever listens."""
        async with self.transaction() as transaction:
            row = await transaction.one(
                "UPDATE command SET state = 'missing' WHERE command_id = %s AND state IN ('pending', 'sent') RETURNING plan_id",
                [command.command_id],
            )
            if row is None:
                return
            await transaction.audit(
                at=at,
                who="control",
                action="command.missing",
                subject=command.command_id,
                before={"state": command.state},
                after={
                    "state": "missing",
                    "plan_id": row[0],
                    "site_id": command.site_id,
                    "attempts": command.attempts,
                    "accept_by": command.accept_by.isoformat(),
                },
            )
            await transaction.connection.execute(
                "SELECT pg_notify('command_missing', %s)", [command.command_id]
            )

    async def newest_fleet_order(self) -> FleetOrderRow | None:
        """Return the stop or clear that is in force."""
        rows = await self._all(
            "SELECT command_id, kind, envelope, key_id, state FROM command WHERE site_id IS NULL"
            " ORDER BY sequence DESC LIMIT 1",
            [],
        )
        if not rows:
            return None
        row = rows[0]
        return FleetOrderRow(
            command_id=row[0], kind=row[1], envelope=bytes(row[2]), key_id=row[3], state=row[4]
        )

    async def audit_head(self) -> tuple[int, bytes]:
        """Return the trail's length and its last hash."""
        rows = await self._all("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [])
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else (0, b"")

    async def audit_hash(self, seq: int) -> bytes | None:
        """Return the hash of one entry of the trail."""
        rows = await self._all("SELECT hash FROM audit WHERE seq = %s", [seq])
        return bytes(rows[0][0]) if rows else None

    async def complete_plans(self, at: datetime, overdue_since: datetime) -> tuple[PlanId, ...]:
        """Complete the plans whose window has ended and whose answers are final, or overdue since an instant."""
        async with self.transaction() as transaction:
            cursor = await transaction.connection.execute(
                "SELECT plan_id FROM plan p WHERE status = 'dispatched' AND window_end <= %s AND (window_end <= %s"
                " OR NOT EXISTS (SELECT 1 FROM command c WHERE c.plan_id = p.plan_id"
                " AND c.state IN ('pending', 'sent', 'acknowledged'))) ORDER BY 1 FOR UPDATE",
                [at, overdue_since],
            )
            plan_ids = tuple(row[0] for row in await cursor.fetchall())
            for plan_id in plan_ids:
                await transaction.move_plan(
                    plan_id,
                    [PlanStatus.COMPLETED],
                    at=at,
                    who="control",
                    after={"reason": "its window has ended"},
                )
        return plan_ids

    async def _all(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.encode(), parameters)
            rows: list[tuple[Any, ...]] = await cursor.fetchall()
        return rows
