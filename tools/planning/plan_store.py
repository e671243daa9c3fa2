"""Plans in the database: proposed by the loop, moved forward by whoever may, read by all.

Who may write what is the database's business (migration 0002): each process opens this store with its own role, and
a call that its role may not make fails with `psycopg.errors.InsufficientPrivilege` or `RaiseException`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from edge.plan import Plan, PlanId, PlanStatus
from edge.plan_codec import PlanDocError, plan_from_doc, plan_to_doc, record_of
from edge.safety.verdict import Approved, Rejected
from tools.planning.audit_store import append_audit

_COLUMNS = "plan_id, supersedes, thread_id, status, window_start, window_end, envelope_digest, doc"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """A plan with its present status, the digest of its envelope and the thread that proposed it."""

    plan: Plan
    envelope_digest: str
    thread_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """One line of a list of plans."""

    plan_id: PlanId
    supersedes: PlanId | None
    thread_id: str | None
    status: PlanStatus
    created_at: datetime
    window_start: datetime
    window_end: datetime
    objective: str
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """What a gate said of a plan: `doc` is the verdict field by field, the plan left out."""

    at: datetime
    gate: str
    approved: bool
    doc: dict[str, Any]


def verdict_record(verdict: Approved | Rejected) -> dict[str, Any]:
    """Return a verdict as JSON without its plan."""
    match verdict:
        case Approved(margins=margins, passed=passed):
            return {"margins": record_of(margins), "passed": record_of(passed)}
        case Rejected(broken=broken):
            return {"broken": record_of(broken)}


class PlanStore:
    """Reads and writes plans and their verdicts."""

    def __init__(self, pool: AsyncConnectionPool[psycopg.AsyncConnection]) -> None:
        self._pool = pool

    async def insert(self, plan: Plan, *, thread_id: str | None, who: str, at: datetime) -> None:
        """Store a proposed plan.

        Raises:
            PlanDocError: It holds what cannot be stored, or is not `proposed`.
            psycopg.errors.UniqueViolation: The plan_id is taken.
        """
        if plan.status is not PlanStatus.PROPOSED:
            raise PlanDocError(f"a plan is stored as proposed, not as {plan.status}")
        doc = plan_to_doc(plan)
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO plan (plan_id, supersedes, thread_id, status, created_at, window_start, window_end,"
                " envelope_digest, doc) VALUES (%s, %s, %s, 'proposed', %s, %s, %s, %s, %s)",
                [
                    plan.plan_id,
                    plan.supersedes,
                    thread_id,
                    plan.created_at,
                    plan.window_start,
                    plan.window_end,
                    plan.envelope.digest(),
                    Jsonb(doc),
                ],
            )
            await append_audit(
                connection,
                at=at,
                who=who,
                action="plan.proposed",
                subject=plan.plan_id,
                after={
                    "objective": doc["objective"],
                    "window_start": doc["window_start"],
                    "window_end": doc["window_end"],
                    "sites": len(plan.sites),
                    "supersedes": plan.supersedes,
                    "envelope_digest": plan.envelope.digest(),
                },
            )

    async def record_verdict(self, verdict: Approved | Rejected, *, at: datetime, who: str) -> None:
        """Store what the first gate said, and move the plan to `validated` or `rejected`."""
        approved = isinstance(verdict, Approved)
        status = PlanStatus.VALIDATED if approved else PlanStatus.REJECTED
        plan_id = verdict.plan.plan_id
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO plan_verdict (plan_id, at, gate, approved, doc) VALUES (%s, %s, 'validate', %s, %s)",
                [plan_id, at, approved, Jsonb(verdict_record(verdict))],
            )
            rules = (
                [] if isinstance(verdict, Approved) else sorted({broken.rule for broken in verdict.broken})
            )
            await _move(connection, plan_id, status, at=at, who=who, reason=", ".join(rules))

    async def set_status(
        self, plan_id: PlanId, status: PlanStatus, *, at: datetime, who: str, reason: str
    ) -> bool:
        """Move a plan forward, with an audit entry; False where it is already there.

        Raises:
            PlanDocError: There is no such plan.
            psycopg.errors.RaiseException: The step is not allowed, or not to this role.
        """
        async with self._pool.connection() as connection:
            return await _move(connection, plan_id, status, at=at, who=who, reason=reason)

    async def fetch(self, plan_id: PlanId) -> StoredPlan | None:
        """Return a plan.

        Raises:
            PlanDocError: The row's columns and its document do not say the same.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {_COLUMNS} FROM plan WHERE plan_id = %s",  # noqa: S608 (a constant)
                [plan_id],
            )
            row = await cursor.fetchone()
        return None if row is None else _to_stored(row)

    async def live(self, at: datetime, recharge: timedelta) -> tuple[Plan, ...]:
        """Return the plans that sites may still follow, oldest window first.

        A plan counts until `recharge` after its window, also when it was already called completed, so that calling
        it so early frees nothing; it counts no more once another plan that supersedes it was sent.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {_COLUMNS} FROM plan p WHERE status IN ('dispatched', 'completed')"  # noqa: S608 (a constant)
                " AND window_end + %s > %s AND NOT EXISTS (SELECT 1 FROM plan s JOIN command c USING (plan_id)"
                " WHERE s.supersedes = p.plan_id AND c.kind <> 'release') ORDER BY window_start, plan_id",
                [recharge, at],
            )
            rows = await cursor.fetchall()
        return tuple(_to_stored(row).plan for row in rows)

    async def superseded(self, live: Sequence[Plan]) -> tuple[Plan, ...]:
        """Return the plans that live ones replaced, and those that these replaced in turn, oldest window first.

        What they did under the same envelope still counts against it (`FleetState.superseded_plans`).
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "WITH RECURSIVE line (plan_id) AS (SELECT supersedes FROM plan WHERE plan_id = ANY(%s)"  # noqa: S608 (a constant)
                " UNION SELECT p.supersedes FROM plan p JOIN line USING (plan_id))"
                f" SELECT {_COLUMNS} FROM plan WHERE plan_id IN (SELECT plan_id FROM line)"
                " AND status IN ('dispatched', 'completed') ORDER BY window_start, plan_id",
                [[plan.plan_id for plan in live]],
            )
            rows = await cursor.fetchall()
        return tuple(_to_stored(row).plan for row in rows)

    async def taken_over_at(self, plan_id: PlanId) -> datetime | None:
        """Return when another plan that supersedes this one and was sent takes over; None where there is none."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT min(s.window_start) FROM plan s WHERE s.supersedes = %s"
                " AND s.status IN ('dispatched', 'completed', 'aborted')"
                " AND EXISTS (SELECT 1 FROM command c WHERE c.plan_id = s.plan_id AND c.kind <> 'release')",
                [plan_id],
            )
            row = await cursor.fetchone()
        return None if row is None else row[0]

    async def recent(
        self, limit: int, *, statuses: Sequence[PlanStatus] = tuple(PlanStatus), thread_id: str | None = None
    ) -> tuple[PlanSummary, ...]:
        """Return the newest plans, newest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT plan_id, supersedes, thread_id, status, created_at, window_start, window_end,"
                " doc #>> '{objective,kind}', jsonb_array_length(doc -> 'sites') FROM plan"
                " WHERE status = ANY(%s) AND (%s::text IS NULL OR thread_id = %s)"
                " ORDER BY created_at DESC, plan_id LIMIT %s",
                [[status.value for status in statuses], thread_id, thread_id, limit],
            )
            rows = await cursor.fetchall()
        return tuple(
            PlanSummary(
                plan_id=row[0],
                supersedes=row[1],
                thread_id=row[2],
                status=PlanStatus(row[3]),
                created_at=row[4],
                window_start=row[5],
                window_end=row[6],
                objective=row[7],
                sites=row[8],
            )
            for row in rows
        )

    async def verdicts(self, plan_id: PlanId) -> tuple[StoredVerdict, ...]:
        """Return every verdict on a plan, oldest first."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT at, gate, approved, doc FROM plan_verdict WHERE plan_id = %s ORDER BY verdict_id",
                [plan_id],
            )
            rows = await cursor.fetchall()
        return tuple(StoredVerdict(at=row[0], gate=row[1], approved=row[2], doc=row[3]) for row in rows)


async def _move(
    connection: psycopg.AsyncConnection[Any],
    plan_id: PlanId,
    status: PlanStatus,
    *,
    at: datetime,
    who: str,
    reason: str,
) -> bool:
    cursor = await connection.execute("SELECT status FROM plan WHERE plan_id = %s FOR UPDATE", [plan_id])
    row = await cursor.fetchone()
    if row is None:
        raise PlanDocError(f"there is no plan {plan_id}")
    if row[0] == status.value:
        return False
    await connection.execute("UPDATE plan SET status = %s WHERE plan_id = %s", [status.value, plan_id])
    await append_audit(
        connection,
        at=at,
        who=who,
        action=f"plan.{status.value}",
        subject=plan_id,
        before={"status": row[0]},
        after={"status": status.value, "reason": reason},
    )
    return True


def _to_stored(row: Sequence[Any]) -> StoredPlan:
    """Check that what queries filter by is what the document says: a forged column must not carry a plan along."""
    plan_id, supersedes, thread_id, status, window_start, window_end, digest, doc = row
    plan = plan_from_doc(doc, PlanStatus(status))
    said = (plan.plan_id, plan.supersedes, plan.window_start, plan.window_end, plan.envelope.digest())
    if said != (plan_id, supersedes, window_start, window_end, digest):
        raise PlanDocError(f"plan {plan_id}: the row and its document do not say the same")
    return StoredPlan(plan=plan, envelope_digest=digest, thread_id=thread_id)
