"""What people decide, each in one transaction with its audit entry and the word that lets the waiting run go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool

from edge.plan import ApprovalTier, PlanId, PlanStatus
from edge.safety.approval import person_key
from edge.safety.limits import OperatingMode
from tools.planning.approval_store import put_approval, put_decline
from tools.planning.audit_store import append_audit
from ui.api.thread_view_store import put_command

OrderKind = Literal["abort", "stop", "clear", "mode"]
# A dispatched plan, other than the one that is superseded, that binds sites of a plan within its window.
_TAKEN = (
    "SELECT other.plan_id, count(*) FROM plan mine JOIN plan other ON other.status = 'dispatched'"
    " AND other.window_start < mine.window_end AND mine.window_start < other.window_end"
    " AND other.plan_id <> mine.plan_id AND other.plan_id IS DISTINCT FROM mine.supersedes"
    " CROSS JOIN LATERAL (SELECT jsonb_array_elements(mine.doc->'sites')->>'site_id' AS site_id) ours"
    " JOIN LATERAL (SELECT jsonb_array_elements(other.doc->'sites')->>'site_id' AS site_id) theirs USING (site_id)"
    " WHERE mine.plan_id = %s GROUP BY 1 ORDER BY 2 DESC LIMIT 1"
)
OPEN_FOR_APPROVAL = (PlanStatus.VALIDATED, PlanStatus.APPROVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDecided:
    """Why a decision was not taken: `field` names what was wrong with the request, where it was the request."""

    why: str
    field: str = ""


class DecisionStore:
    """Writes approvals, declines and the operating mode as the API's role may."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def approve(
        self,
        plan_id: PlanId,
        *,
        envelope_digest: str,
        tier: ApprovalTier,
        approver: str,
        at: datetime,
        expires_at: datetime,
    ) -> NotDecided | None:
        """Write one person's yes to the envelope that the person saw, and wake the run that waits for it."""
        try:
            async with self._pool.connection() as connection:
                refusal = await self._objection(connection, plan_id, envelope_digest, approver, at)
                if refusal is not None:
                    return refusal
                await put_approval(
                    connection,
                    plan_id,
                    envelope_digest=envelope_digest,
                    tier=tier,
                    approver=approver,
                    at=at,
                    expires_at=expires_at,
                )
                await wake_run(connection, plan_id, who=approver, key=f"approve/{approver}/{plan_id}", at=at)
        except UniqueViolation:
            return NotDecided(why="you have approved this plan already; it needs somebody else")
        return None

    async def _objection(
        self, connection: AsyncConnection, plan_id: PlanId, digest: str, approver: str, at: datetime
    ) -> NotDecided | None:
        plan = await _one(
            connection,
            "SELECT status, envelope_digest, window_start FROM plan WHERE plan_id = %s FOR UPDATE",
            [plan_id],
        )
        if plan is None:
            return NotDecided(why=f"there is no plan {plan_id}")
        status, stored_digest, window_start = plan
        if stored_digest != digest:
            return NotDecided(
                why="the plan's envelope is not the one you saw; look at the plan again",
                field="envelope_digest",
            )
        if PlanStatus(status) not in OPEN_FOR_APPROVAL:
            return NotDecided(why=f"the plan is {status}; only a validated plan is approved")
        if at >= window_start:
            return NotDecided(why=f"the plan's window began at {window_start.isoformat()}; it is too late")
        cursor = await connection.execute("SELECT approver FROM approval WHERE plan_id = %s", [plan_id])
        if person_key(approver) in {person_key(row[0]) for row in await cursor.fetchall()}:
            return NotDecided(why="you have approved this plan already; it needs somebody else")
        return await _taken(connection, plan_id)

    async def decline(self, plan_id: PlanId, *, who: str, reason: str, at: datetime) -> NotDecided | None:
        """Write one person's no; the plan is declined and the run that waits for it is told."""
        async with self._pool.connection() as connection:
            row = await _one(connection, "SELECT status FROM plan WHERE plan_id = %s FOR UPDATE", [plan_id])
            if row is None:
                return NotDecided(why=f"there is no plan {plan_id}")
            if PlanStatus(row[0]) not in OPEN_FOR_APPROVAL:
                return NotDecided(why=f"the plan is {row[0]}; only a validated or approved plan is declined")
            await put_decline(connection, plan_id, before=row[0], who=who, reason=reason, at=at)
            await wake_run(connection, plan_id, who=who, key=f"decline/{who}/{plan_id}", at=at)
        return None

    async def order(
        self,
        kind: str,
        *,
        who: str,
        reason: str,
        at: datetime,
        plan_id: str | None = None,
        site_id: str | None = None,
        mode: str | None = None,
    ) -> int:
        """Ask control to `abort` a plan, `stop` the fleet, `clear` the stop or change a site's `mode`; return the number."""
        async with self._pool.connection() as connection:
            row = await _one(
                connection,
                "INSERT INTO control_request (kind, plan_id, site_id, mode, who, reason, at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING request_id",
                [kind, plan_id, site_id, mode, who, reason, at],
            )
            number = 0 if row is None else int(row[0])
            await append_audit(
                connection,
                at=at,
                who=who,
                action=f"control.{kind}_requested",
                subject=plan_id or site_id or "fleet",
                after={"request_id": number, "reason": reason, "mode": mode},
            )
        return number

    async def order_kind(self, request_id: int) -> OrderKind | None:
        """Return what an order asks for, None where there is none of that number."""
        async with self._pool.connection() as connection:
            row = await _one(
                connection, "SELECT kind FROM control_request WHERE request_id = %s", [request_id]
            )
        return None if row is None else row[0]

    async def wake(self, plan_id: str, *, who: str, key: str, at: datetime) -> None:
        """Let the run that waits for a plan look again."""
        async with self._pool.connection() as connection:
            await wake_run(connection, plan_id, who=who, key=key, at=at)

    async def set_mode(self, mode: OperatingMode, *, who: str, reason: str, at: datetime) -> None:
        """Put an operating mode in force."""
        async with self._pool.connection() as connection:
            row = await _one(connection, "SELECT mode FROM fleet_mode FOR UPDATE", [])
            await connection.execute(
                "INSERT INTO fleet_mode (mode, who, since) VALUES (%s, %s, %s) ON CONFLICT (only_row)"
                " DO UPDATE SET mode = excluded.mode, who = excluded.who, since = excluded.since",
                [mode.value, who, at],
            )
            await append_audit(
                connection,
                at=at,
                who=who,
                action="mode.changed",
                subject="fleet",
                before={"mode": None if row is None else row[0]},
                after={"mode": mode.value, "reason": reason},
            )

    async def operating_mode(self) -> tuple[str, str, datetime] | None:
        """Return the mode in force, who set it and since when."""
        async with self._pool.connection() as connection:
            row = await _one(connection, "SELECT mode, who, since FROM fleet_mode", [])
        return None if row is None else (row[0], row[1], row[2])


async def _taken(connection: AsyncConnection, plan_id: PlanId) -> NotDecided | None:
    """Return that another plan runs at that time with sites of this one, so that nothing would come of a yes."""
    taken = await _one(connection, _TAKEN, [plan_id])
    if taken is None:
        return None
    return NotDecided(
        why=f"plan {taken[0]} runs at that time with {taken[1]} of its sites, so it cannot be sent any more:"
        f" decline it and ask for a new plan, or abort {taken[0]} first"
    )


async def wake_run(connection: AsyncConnection, plan_id: str, *, who: str, key: str, at: datetime) -> None:
    """Write a `resume` for the thread that proposed a plan, if a thread did; once per key."""
    row = await _one(connection, "SELECT thread_id FROM plan WHERE plan_id = %s", [plan_id])
    thread = None if row is None else row[0]
    if thread is not None and await _one(connection, "SELECT 1 FROM thread WHERE thread_id = %s", [thread]):
        await put_command(connection, thread, "resume", {"plan_id": plan_id}, who=who, key=key, at=at)


async def _one(connection: AsyncConnection, query: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    cursor = await connection.execute(query.encode(), parameters)
    row: tuple[Any, ...] | None = await cursor.fetchone()
    return row
