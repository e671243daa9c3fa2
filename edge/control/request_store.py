"""What control is asked: dispatch requests, control requests, approvals; and the wake-ups that announce them.

A notification is a hint to look, never an order: what counts is read from the tables.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from edge.approvals import ApprovalRow
from edge.control.command_store import Pool
from edge.control.transaction_store import ControlTransaction
from edge.plan import Acknowledgement, ApprovalTier, PlanId
from telemetry.model.errors import ControlError
from telemetry.model.site import SiteId

CHANNELS = ("dispatch_request", "control_request", "approval")
_ONE_CONTROL = 0x0CE1_1C01  # the lock that the one control process holds


class AnotherControlError(ControlError):
    """A control process is running already; there must be one counter of sequences and one sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRequest:
    """A plan that the agent asks to have dispatched; `waiting` where it waits for approvals."""

    request_id: int
    plan_id: PlanId
    waiting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """What a person, or a process of ours, asks of control: `abort`, `stop`, `clear` or `mode`."""

    request_id: int
    kind: str
    plan_id: PlanId | None
    site_id: SiteId | None
    mode: str | None
    who: str
    reason: str


class RequestStore:
    """Requests and their outcomes, opened with control's own role."""

    def __init__(self, pool: Pool, dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """Hold the lock of the one control process on a connection that hears every channel.

        Raises:
            AnotherControlError: Another process holds it.
        """
        async with await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, application_name="cellwatt-control-listen"
        ) as connection:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [_ONE_CONTROL])
            row = await cursor.fetchone()
            if row is None or not row[0]:
                raise AnotherControlError("another control process works on this database")
            for channel in CHANNELS:
                await connection.execute(f"LISTEN {channel}".encode())
            yield connection

    async def dispatch_requests(self) -> tuple[DispatchRequest, ...]:
        """Return the requests that have no final outcome, oldest first."""
        rows = await self._all(
            "SELECT r.request_id, r.plan_id, o.outcome IS NOT NULL FROM dispatch_request r"
            " LEFT JOIN dispatch_outcome o USING (request_id)"
            " WHERE o.outcome IS NULL OR o.outcome = 'needs_approval' ORDER BY r.request_id",
            [],
        )
        return tuple(DispatchRequest(request_id=row[0], plan_id=row[1], waiting=row[2]) for row in rows)

    async def control_requests(self) -> tuple[ControlRequest, ...]:
        """Return the requests that have no outcome: stops first, then oldest first."""
        rows = await self._all(
            "SELECT r.request_id, r.kind, r.plan_id, r.site_id, r.mode, r.who, r.reason FROM control_request r"
            " LEFT JOIN control_outcome o USING (request_id) WHERE o.request_id IS NULL"
            " ORDER BY r.kind <> 'stop', r.request_id",
            [],
        )
        return tuple(
            ControlRequest(
                request_id=row[0],
                kind=row[1],
                plan_id=row[2],
                site_id=row[3],
                mode=row[4],
                who=row[5],
                reason=row[6],
            )
            for row in rows
        )

    async def approvals(self, plan_id: PlanId) -> tuple[ApprovalRow, ...]:
        """Return the yeses that may speak for a plan: its own, and those of the plans that it supersedes in turn.

        An ancestor's count only while the chain keeps the same envelope and every link of it was really dispatched.
        """
        rows = await self._all(
            "WITH RECURSIVE line AS (SELECT plan_id, supersedes, envelope_digest FROM plan WHERE plan_id = %s"
            " UNION SELECT p.plan_id, p.supersedes, p.envelope_digest FROM plan p JOIN line l"
            " ON p.plan_id = l.supersedes AND p.envelope_digest = l.envelope_digest"
            " WHERE p.status IN ('dispatched', 'completed'))"
            " SELECT a.plan_id, a.envelope_digest, a.tier, a.approver, a.approved_at, a.expires_at, a.written_by"
            " FROM approval a JOIN line USING (plan_id) ORDER BY a.approval_id",
            [plan_id],
        )
        return tuple(
            ApprovalRow(
                plan_id=row[0],
                envelope_digest=row[1],
                tier=ApprovalTier(row[2]),
                approver=row[3],
                approved_at=row[4],
                expires_at=row[5],
                written_by=row[6],
            )
            for row in rows
        )

    async def request_control(
        self, kind: str, *, who: str, reason: str, at: datetime, plan_id: PlanId | None = None
    ) -> int:
        """Ask the running control process for a stop, a clear or an abort: needs neither agent nor API."""
        rows = await self._all(
            "INSERT INTO control_request (kind, plan_id, who, reason, at) VALUES (%s, %s, %s, %s, %s)"
            " RETURNING request_id",
            [kind, plan_id, who, reason, at],
        )
        return int(rows[0][0])

    async def control_outcome(self, request_id: int) -> tuple[str, dict[str, Any]] | None:
        """Return what became of a request: `done` or `refused`, and why."""
        rows = await self._all("SELECT outcome, doc FROM control_outcome WHERE request_id = %s", [request_id])
        return (rows[0][0], rows[0][1]) if rows else None

    async def _all(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.encode(), parameters)
            rows: list[tuple[Any, ...]] = await cursor.fetchall()
        return rows


async def put_dispatch_outcome(
    transaction: ControlTransaction, request_id: int, outcome: str, at: datetime, doc: Mapping[str, Any]
) -> None:
    """Say what became of a dispatch request; only `needs_approval` is ever replaced."""
    await transaction.connection.execute(
        "INSERT INTO dispatch_outcome AS o (request_id, at, outcome, doc) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (request_id) DO UPDATE SET at = excluded.at, outcome = excluded.outcome, doc = excluded.doc"
        " WHERE o.outcome = 'needs_approval' AND (o.outcome, o.doc) IS DISTINCT FROM (excluded.outcome, excluded.doc)",
        [request_id, at, outcome, Jsonb(doc)],
    )


async def put_control_outcome(
    transaction: ControlTransaction, request_id: int, outcome: str, at: datetime, doc: Mapping[str, Any]
) -> None:
    """Say what became of a control request."""
    await transaction.connection.execute(
        "INSERT INTO control_outcome (request_id, at, outcome, doc) VALUES (%s, %s, %s, %s)",
        [request_id, at, outcome, Jsonb(doc)],
    )


async def put_verdict(
    transaction: ControlTransaction, plan_id: PlanId, at: datetime, *, approved: bool, doc: Mapping[str, Any]
) -> None:
    """Store what the second gate said."""
    await transaction.connection.execute(
        "INSERT INTO plan_verdict (plan_id, at, gate, approved, doc) VALUES (%s, %s, 'authorise', %s, %s)",
        [plan_id, at, approved, Jsonb(doc)],
    )


async def put_policy_approval(
    transaction: ControlTransaction, plan_id: PlanId, envelope_digest: str, at: datetime, expires_at: datetime
) -> None:
    """Write the policy's own yes, once."""
    cursor = await transaction.connection.execute(
        "INSERT INTO approval (plan_id, envelope_digest, tier, approver, approved_at, expires_at)"
        " VALUES (%s, %s, 'automatic', 'policy', %s, %s) ON CONFLICT (plan_id, approver) DO NOTHING",
        [plan_id, envelope_digest, at, expires_at],
    )
    if cursor.rowcount:
        await transaction.audit(
            at=at,
            who="policy",
            action="approval.given",
            subject=plan_id,
            after={
                "tier": "automatic",
                "envelope_digest": envelope_digest,
                "expires_at": expires_at.isoformat(),
            },
        )


async def put_acknowledgement(
    transaction: ControlTransaction, ack: Acknowledgement, received_at: datetime
) -> bool:
    """Store a site's answer; False where it is stored already."""
    cursor = await transaction.connection.execute(
        "INSERT INTO acknowledgement (command_id, site_id, digest, verdict, reason, at, received_at, read_back_v,"
        " limited_wh) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [
            ack.command_id,
            ack.site_id,
            ack.digest,
            ack.verdict.value,
            ack.reason,
            ack.at,
            received_at,
            ack.read_back_v,
            ack.limited_wh,
        ],
    )
    return cursor.rowcount > 0
