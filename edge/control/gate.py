"""The second gate as control sees it: `edge.safety.approval` under the approval policy in force."""

from collections.abc import Sequence
from datetime import datetime

from edge.control.ports import Hold, Send
from edge.plan import Approval, ApprovalTier, Plan
from edge.plan_codec import record_of
from edge.safety.approval import Refused, authorise
from edge.safety.limits import FleetState, Limits
from edge.safety.policy import ApprovalPolicy, required_tier

_AWAITED = frozenset({"approval", "persons"})  # the rules that a person's yes can still satisfy


class SafetyGate:
    """Judges by one policy; read once, at the start of the process."""

    def __init__(self, policy: ApprovalPolicy) -> None:
        self._policy = policy

    def tier(self, plan: Plan, state: FleetState, limits: Limits) -> ApprovalTier | None:
        """Return who must say yes, None where nobody may."""
        return required_tier(plan, state, limits, self._policy)

    def decide(
        self, plan: Plan, approvals: Sequence[Approval], state: FleetState, limits: Limits, now: datetime
    ) -> Send | Hold:
        """Return the verdict on fresh state."""
        verdict = authorise(plan, approvals, state, limits, self._policy, now)
        if isinstance(verdict, Refused):
            waits = all(broken.rule == "S14" and broken.name in _AWAITED for broken in verdict.broken)
            gone = [reason for site in verdict.withheld for reason in site.reasons]
            return Hold(broken=record_of([*verdict.broken, *gone]), wait=waits)
        return Send(
            sites=verdict.site_ids,
            withheld={site.site_id: [reason.message for reason in site.reasons] for site in verdict.withheld},
            record={
                "tier": verdict.tier.value,
                "margins": record_of(verdict.approved.margins),
                "passed": record_of(verdict.approved.passed),
            },
        )
