"""One person's yes or no to a plan: the rows and the audit entry, in the caller's own transaction.

Everything that writes a decision of a person goes through here, so that no road leaves a row without its trace.
"""

from datetime import datetime
from typing import Any

import psycopg

from edge.plan import ApprovalTier, PlanId, PlanStatus
from tools.planning.audit_store import append_audit


async def put_approval(
    connection: psycopg.AsyncConnection[Any],
    plan_id: PlanId,
    *,
    envelope_digest: str,
    tier: ApprovalTier,
    approver: str,
    at: datetime,
    expires_at: datetime,
) -> None:
    """Write a yes to an envelope (the API's role alone).

    Raises:
        psycopg.errors.UniqueViolation: This person has approved this plan already.
    """
    await connection.execute(
        "INSERT INTO approval (plan_id, envelope_digest, tier, approver, approved_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [plan_id, envelope_digest, tier.value, approver, at, expires_at],
    )
    await append_audit(
        connection,
        at=at,
        who=approver,
        action="approval.given",
        subject=plan_id,
        after={
            "tier": tier.value,
            "envelope_digest": envelope_digest,
            "expires_at": expires_at.isoformat(),
        },
    )


async def put_decline(
    connection: psycopg.AsyncConnection[Any],
    plan_id: PlanId,
    *,
    before: str,
    who: str,
    reason: str,
    at: datetime,
) -> None:
    """Write a no to a plan whose row the caller has locked, `before` its status; the plan is declined."""
    await connection.execute(
        "INSERT INTO plan_decline (plan_id, who, reason, at) VALUES (%s, %s, %s, %s)",
        [plan_id, who, reason, at],
    )
    declined = PlanStatus.DECLINED.value
    await connection.execute("UPDATE plan SET status = %s WHERE plan_id = %s", [declined, plan_id])
    await append_audit(
        connection,
        at=at,
        who=who,
        action="plan.declined",
        subject=plan_id,
        before={"status": before},
        after={"status": declined, "reason": reason},
    )
