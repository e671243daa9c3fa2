"""May these commands be minted now? The second gate: the rules again on fresh state, and the approver's rules (S14)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from unicodedata import normalize

from edge.plan import Approval, ApprovalTier, Plan, PlanStatus
from edge.safety.case import Power, lineage_of, power_of
from edge.safety.eligibility import WITHHOLDABLE, ineligible_reasons, is_young
from edge.safety.limits import FleetState, Limits
from edge.safety.plan_rules import number_breaches, window_breaches
from edge.safety.policy import ApprovalPolicy, required_tier
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Broken, Rejected, at_plan, over, unmet
from telemetry.model.site import SiteId

POLICY_APPROVER = "policy"  # who approves in the automatic tier
PERSONS_NEEDED = {ApprovalTier.AUTOMATIC: 0, ApprovalTier.ONE_PERSON: 1, ApprovalTier.TWO_PERSONS: 2}
_OVER = frozenset({PlanStatus.REJECTED, PlanStatus.DECLINED, PlanStatus.COMPLETED, PlanStatus.ABORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A site that may no longer be sent its part of the plan, and why."""

    site_id: SiteId
    reasons: tuple[Broken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorised:
    """Commands may be minted for `site_ids`, and for nobody else; `approved` says why the rest is safe."""

    plan: Plan
    site_ids: tuple[SiteId, ...]
    withheld: tuple[Withheld, ...]
    tier: ApprovalTier
    approved: Approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No command may be minted; names every broken rule. `withheld` tells the sites that had dropped out."""

    plan: Plan
    broken: tuple[Broken, ...]
    withheld: tuple[Withheld, ...] = ()


def authorise(
    plan: Plan,
    approvals: Sequence[Approval],
    state: FleetState,
    limits: Limits,
    policy: ApprovalPolicy,
    now: datetime,
) -> Authorised | Refused:
    """Return which sites may be sent their part of an approved plan, on fresh state.

    Sites that turned ineligible since validation are withheld; the rest is validated anew. If what is left moves the
    plan's power by more than the policy's drift, approval is asked again.
    """
    insane = [*window_breaches(plan, limits, now)]
    if not any(breach.name in {"aware", "grid", "empty_window"} for breach in insane):
        insane += number_breaches(plan, plan.steps)
    if insane:
        return Refused(plan=plan, broken=tuple(insane))
    withheld = _withheld(plan, state, limits, now)
    gone = {site.site_id for site in withheld}
    rest = replace(plan, sites=tuple(site for site in plan.sites if site.site_id not in gone))
    tier = required_tier(plan, state, limits, policy)
    broken = approval_breaches(plan, approvals, state, policy, tier, now)
    if not rest.sites:
        broken.append(unmet("S14", "nobody_left", at_plan(plan), "no site is left that may be sent anything"))
        return Refused(plan=plan, broken=tuple(broken), withheld=withheld)
    broken += drift_breaches(plan, gone, limits.policy.max_target_drift_frac)
    verdict = validate(rest, state, limits, now)
    if isinstance(verdict, Rejected):
        return Refused(plan=plan, broken=(*broken, *verdict.broken), withheld=withheld)
    if broken or tier is None:
        return Refused(plan=plan, broken=tuple(broken), withheld=withheld)
    site_ids = tuple(site.site_id for site in rest.sites)
    return Authorised(plan=plan, site_ids=site_ids, withheld=withheld, tier=tier, approved=verdict)


def _withheld(plan: Plan, state: FleetState, limits: Limits, now: datetime) -> tuple[Withheld, ...]:
    """Return the sites whose every reason is one that can come and go; any other reason refuses the whole plan."""
    out: list[Withheld] = []
    for site in plan.sites:
        charge_only = not power_of(site, plan.steps).discharges
        reasons = ineligible_reasons(site.site_id, state, limits, now, charge_only=charge_only)
        if reasons and not {reason.rule for reason in reasons} - WITHHOLDABLE:
            out.append(Withheld(site_id=site.site_id, reasons=reasons))
    return tuple(out)


def approval_breaches(
    plan: Plan,
    approvals: Sequence[Approval],
    state: FleetState,
    policy: ApprovalPolicy,
    tier: ApprovalTier | None,
    now: datetime,
) -> list[Broken]:
    """S14: enough different persons said yes to exactly this envelope, in time, and the plan is still to be done."""
    place = at_plan(plan)
    broken: list[Broken] = []
    if plan.status in _OVER:
        broken.append(unmet("S14", "status", place, f"is {plan.status}"))
    if tier is None:
        return [
            *broken,
            unmet("S14", "tier", place, policy.why or "no tier of the approval policy reaches so far"),
        ]
    valid = [
        approval for approval in approvals if not _approval_gaps(plan, approval, state, policy, tier, now)
    ]
    if not valid:
        gaps = [
            gap for approval in approvals for gap in _approval_gaps(plan, approval, state, policy, tier, now)
        ]
        return [*broken, unmet("S14", "approval", place, "; ".join(gaps) or "nobody has approved it")]
    people = {person_key(name) for approval in valid for name in approval.approvers} - {"", POLICY_APPROVER}
    if (short := PERSONS_NEEDED[tier] - len(people)) > 0:
        broken.append(
            over("S14", "persons", place, float(short), "persons", "too few different persons approved it")
        )
    return broken


def person_key(name: str) -> str:
    """Return one spelling of a person's name, so that nobody counts twice for a capital letter or a space."""
    return " ".join(normalize("NFKC", name).casefold().split())


def _approval_gaps(
    plan: Plan,
    approval: Approval,
    state: FleetState,
    policy: ApprovalPolicy,
    tier: ApprovalTier,
    now: datetime,
) -> list[str]:
    """Return what is wrong with one approval of a plan that needs `tier`."""
    who = ", ".join(approval.approvers) or "nobody"
    line = {plan.plan_id, *(other.plan_id for other in lineage_of(plan, state))}
    gaps: list[str] = []
    if not approval.approvers:
        gaps.append("an approval names nobody")
    if approval.envelope_digest != plan.envelope.digest():
        gaps.append(f"the approval of {who} is for another envelope")
    if approval.plan_id not in line:
        gaps.append(f"the approval of {who} is for plan {approval.plan_id}")
    if PERSONS_NEEDED.get(approval.tier, -1) < min(PERSONS_NEEDED[tier], 1):
        gaps.append(f"the approval of {who} is of tier {approval.tier}, needed is {tier}")
    if not is_young(approval.approved_at, now, policy.tiers[tier].max_validity):
        gaps.append(f"the approval of {who} is too old or of the future")
    if approval.expires_at.utcoffset() is None or not now < approval.expires_at:
        gaps.append(f"the approval of {who} has expired")
    return gaps


def drift_breaches(plan: Plan, gone: set[SiteId], max_frac: float) -> list[Broken]:
    """S14: what the withheld sites take away is within the allowed share of the plan's power, at every step."""
    powers = {site.site_id: power_of(site, plan.steps) for site in plan.sites}
    worst = 0.0
    for rows in (_rows(powers, "low_w"), _rows(powers, "high_w")):
        for column in zip(*rows.values(), strict=True):
            whole = sum(column)
            lost = sum(w for site_id, w in zip(rows, column, strict=True) if site_id in gone)
            worst = max(worst, abs(lost) - max_frac * abs(whole))
    if worst <= 0.0:
        return []
    words = "withheld sites move the target too far: approval is asked again"
    return [over("S14", "target_drift", at_plan(plan), worst, "W", words)]


def _rows(powers: dict[SiteId, Power], name: str) -> dict[SiteId, Sequence[float]]:
    return {site_id: getattr(power, name) for site_id, power in powers.items()}
