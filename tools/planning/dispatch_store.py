"""Approvals, dispatch requests, what control made of them, and reports: the loop's and the API's view.

The loop reads here and may request a dispatch and write a report; the API may approve, decline and ask control to
abort, stop, clear or change a mode. The database holds each to it (migration 0002).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from edge.approvals import ApprovalRow
from edge.plan import ApprovalTier, CommandId, PlanId
from edge.plan_codec import PlanDocError
from telemetry.model.site import SiteId, SiteMode
from tools.planning.approval_store import put_approval, put_decline


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOutcome:
    """What control made of a dispatch request: `authorised`, `needs_approval` or `refused`; `doc` says why."""

    outcome: str
    at: datetime
    doc: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """A person's no, and why."""

    who: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Sites of a plan that did not answer; `since` is when the first of them should have."""

    plan_id: PlanId
    site_ids: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandState:
    """Where a command of a plan is, with the site's last word on it (empty before there is one)."""

    command_id: CommandId
    site_id: SiteId | None
    kind: str
    state: str
    sequence: int
    attempts: int
    sent_at: datetime | None
    verdict: str
    reason: str
    acknowledged_at: datetime | None
    read_back_v: float | None
    limited_wh: float


class DispatchStore:
    """Reads and writes what surrounds the dispatch of a plan."""

    def __init__(self, pool: AsyncConnectionPool[psycopg.AsyncConnection]) -> None:
        self._pool = pool

    async def request_dispatch(self, plan_id: PlanId, *, at: datetime) -> int:
        """Ask control to dispatch a plan and return the request's number; asking again changes nothing."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO dispatch_request (plan_id, requested_at) VALUES (%s, %s) ON CONFLICT (plan_id) DO NOTHING",
                [plan_id, at],
            )
            row = await _one(
                connection, "SELECT request_id FROM dispatch_request WHERE plan_id = %s", [plan_id]
            )
        return 0 if row is None else int(row[0])

    async def outcome(self, plan_id: PlanId) -> DispatchOutcome | None:
        """Return what control made of the request for a plan, None before it looked."""
        async with self._pool.connection() as connection:
            row = await _one(
                connection,
                "SELECT o.outcome, o.at, o.doc FROM dispatch_outcome o JOIN dispatch_request USING (request_id)"
                " WHERE plan_id = %s",
                [plan_id],
            )
        return None if row is None else DispatchOutcome(outcome=row[0], at=row[1], doc=row[2])

    async def approvals(self, plan_id: PlanId) -> tuple[ApprovalRow, ...]:
        """Return the single yeses to a plan, oldest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT plan_id, envelope_digest, tier, approver, approved_at, expires_at, written_by FROM approval"
                " WHERE plan_id = %s ORDER BY approval_id",
                [plan_id],
            )
            rows = await cursor.fetchall()
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

    async def approve(
        self,
        plan_id: PlanId,
        *,
        envelope_digest: str,
        tier: ApprovalTier,
        approver: str,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Write one person's yes (the API's role alone).

        Raises:
            psycopg.errors.UniqueViolation: This person has approved this plan already.
        """
        async with self._pool.connection() as connection:
            await put_approval(
                connection,
                plan_id,
                envelope_digest=envelope_digest,
                tier=tier,
                approver=approver,
                at=at,
                expires_at=expires_at,
            )

    async def decline(self, plan_id: PlanId, *, who: str, reason: str, at: datetime) -> None:
        """Write one person's no (the API's role alone); the plan is declined."""
        async with self._pool.connection() as connection:
            row = await _one(connection, "SELECT status FROM plan WHERE plan_id = %s FOR UPDATE", [plan_id])
            if row is None:
                raise PlanDocError(f"there is no plan {plan_id}")
            await put_decline(connection, plan_id, before=row[0], who=who, reason=reason, at=at)

    async def declines(self, plan_id: PlanId) -> tuple[Decline, ...]:
        """Return the noes to a plan, oldest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT who, reason, at FROM plan_decline WHERE plan_id = %s ORDER BY decline_id", [plan_id]
            )
            rows = await cursor.fetchall()
        return tuple(Decline(who=row[0], reason=row[1], at=row[2]) for row in rows)

    async def missing(self, now: datetime) -> tuple[Missing, ...]:
        """Return the plans with commands that no site answered and that would still be in force."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT plan_id, array_agg(DISTINCT site_id ORDER BY site_id), min(accept_by) FROM command"
                " WHERE state = 'missing' AND valid_until > %s AND plan_id IS NOT NULL AND site_id IS NOT NULL"
                " GROUP BY plan_id ORDER BY plan_id",
                [now],
            )
            return tuple(
                Missing(plan_id=PlanId(row[0]), site_ids=tuple(row[1]), since=row[2])
                for row in await cursor.fetchall()
            )

    async def commands(self, plan_id: PlanId) -> tuple[CommandState, ...]:
        """Return the commands of a plan with the last acknowledgement of each, in order of site and sequence."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT c.command_id, c.site_id, c.kind, c.state, c.sequence, c.attempts, c.sent_at,"
                " coalesce(a.verdict, ''), coalesce(a.reason, ''), a.at, a.read_back_v, coalesce(a.limited_wh, 0)"
                " FROM command c LEFT JOIN LATERAL (SELECT * FROM acknowledgement k"
                " WHERE k.command_id = c.command_id ORDER BY k.acknowledgement_id DESC LIMIT 1) a ON true"
                " WHERE c.plan_id = %s ORDER BY c.site_id, c.sequence",
                [plan_id],
            )
            rows = await cursor.fetchall()
        return tuple(
            CommandState(
                command_id=row[0],
                site_id=row[1],
                kind=row[2],
                state=row[3],
                sequence=row[4],
                attempts=row[5],
                sent_at=row[6],
                verdict=row[7],
                reason=row[8],
                acknowledged_at=row[9],
                read_back_v=row[10],
                limited_wh=row[11],
            )
            for row in rows
        )

    async def put_report(self, plan_id: PlanId, *, at: datetime, doc: Mapping[str, Any]) -> None:
        """Write, or write anew, what a dispatch delivered (the loop's role alone)."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO dispatch_report (plan_id, at, doc) VALUES (%s, %s, %s)"
                " ON CONFLICT (plan_id) DO UPDATE SET at = excluded.at, doc = excluded.doc",
                [plan_id, at, Jsonb(doc)],
            )

    async def report(self, plan_id: PlanId) -> tuple[datetime, dict[str, Any]] | None:
        """Return when a report was written and what it says."""
        async with self._pool.connection() as connection:
            row = await _one(connection, "SELECT at, doc FROM dispatch_report WHERE plan_id = %s", [plan_id])
        return None if row is None else (row[0], row[1])

    async def request_control(
        self,
        kind: str,
        *,
        who: str,
        reason: str,
        at: datetime,
        plan_id: PlanId | None = None,
        site_id: SiteId | None = None,
        mode: SiteMode | None = None,
    ) -> int:
        """Ask control to `abort` a plan, `stop` the fleet, `clear` the stop or change a site's `mode`."""
        async with self._pool.connection() as connection:
            row = await _one(
                connection,
                "INSERT INTO control_request (kind, plan_id, site_id, mode, who, reason, at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING request_id",
                [kind, plan_id, site_id, None if mode is None else mode.value, who, reason, at],
            )
        return 0 if row is None else int(row[0])

    async def control_outcome(self, request_id: int) -> DispatchOutcome | None:
        """Return what control did about a request: `done` or `refused`, None before it looked."""
        async with self._pool.connection() as connection:
            row = await _one(
                connection, "SELECT outcome, at, doc FROM control_outcome WHERE request_id = %s", [request_id]
            )
        return None if row is None else DispatchOutcome(outcome=row[0], at=row[1], doc=row[2])


async def _one(
    connection: psycopg.AsyncConnection[Any], query: str, parameters: Sequence[Any]
) -> tuple[Any, ...] | None:
    cursor = await connection.execute(query.encode(), parameters)
    row: tuple[Any, ...] | None = await cursor.fetchone()
    return row
