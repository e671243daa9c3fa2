"""From single yeses to one approval: who counts, and when there are enough."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from edge.plan import Approval, ApprovalTier, PlanId
from edge.safety.approval import PERSONS_NEEDED, POLICY_APPROVER, person_key

_CONTROL_ROLE = "cellwatt_control"
_API_ROLE = "cellwatt_api"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """One yes as the database holds it; `written_by` is the role that the database stamped, not a claim."""

    plan_id: PlanId
    envelope_digest: str
    tier: ApprovalTier
    approver: str
    approved_at: datetime
    expires_at: datetime
    written_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalCount:
    """The yeses that count, how many more are needed, and why others do not count."""

    approvals: tuple[Approval, ...]
    missing: int
    not_counted: tuple[str, ...]


def count_approvals(
    rows: Iterable[ApprovalRow], *, envelope_digest: str, tier: ApprovalTier, now: datetime
) -> ApprovalCount:
    """Return which rows count for an envelope at the tier that it needs.

    A row counts if it is for exactly this envelope, in force now and written by the role that may: persons through the
    API, the policy through control. One person counts once, however the name is spelt. `edge.safety.approval` judges
    what is left once more.
    """
    counted: dict[str, Approval] = {}
    not_counted: list[str] = []
    for row in rows:
        person = person_key(row.approver)
        objection = _objection(row, person, envelope_digest, tier, now)
        if objection is None and person in counted:
            objection = "the same person again"
        if objection is not None:
            not_counted.append(f"{row.approver}: {objection}")
            continue
        counted[person] = Approval(
            plan_id=row.plan_id,
            envelope_digest=row.envelope_digest,
            tier=row.tier,
            approvers=(row.approver,),
            approved_at=row.approved_at,
            expires_at=row.expires_at,
        )
    return ApprovalCount(
        approvals=tuple(counted.values()),
        missing=max(0, max(1, PERSONS_NEEDED[tier]) - len(counted)),
        not_counted=tuple(not_counted),
    )


def _objection(
    row: ApprovalRow, person: str, envelope_digest: str, tier: ApprovalTier, now: datetime
) -> str | None:
    by_policy = person == POLICY_APPROVER
    objections = (
        (row.envelope_digest != envelope_digest, "another envelope"),
        (not row.approved_at <= now < row.expires_at, "not in force now"),
        (not person, "no name"),
        (row.written_by != (_CONTROL_ROLE if by_policy else _API_ROLE), f"written by {row.written_by}"),
        (by_policy and tier is not ApprovalTier.AUTOMATIC, "the policy is not a person"),
    )
    return next((text for holds, text in objections if holds), None)
