"""A plan as people see it: sums and curves from data, who must approve it, and what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from edge.approvals import ApprovalRow, count_approvals
from edge.plan import ApprovalTier, Plan, PlanStatus
from edge.plan_codec import record_of
from edge.safety.approval import person_key
from edge.safety.case import power_of
from edge.safety.limits import FleetState, Limits, OperatingMode
from edge.safety.policy import ApprovalPolicy, required_tier
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import SiteId
from telemetry.reading_store import Delivered
from tools.planning.dispatch_store import CommandState
from tools.planning.plan_store import PlanSummary
from ui.api.decision_store import OPEN_FOR_APPROVAL
from ui.api.roles import Principal, PrincipalKind, Role
from ui.api.schemas import ApprovalOut, CommandOut, PlanFeederCurve, PlanLine, QuarterHour, SiteSchedule
from ui.api.services import Services

Direction = Literal["charge", "discharge", "charge and discharge", "rest"]
_TAKING_PART = frozenset({"accepted", "limited", "completed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a plan's approval stands: the tier that it takes, the yeses, how many are missing, may the caller add one."""

    tier: ApprovalTier | None
    approvals: list[ApprovalOut]
    missing: int
    may_approve: bool
    why_not: str


async def tier_now(services: Services, plan: Plan, policy: ApprovalPolicy) -> ApprovalTier | None:
    """Return who must approve a plan by the policy now; None: nobody may.

    A tier depends on the registry, the mode in force and the batteries' present capacity, and on nothing else.
    """
    mode = await services.decisions.operating_mode()
    if mode is None:
        return None
    site_ids = [site.site_id for site in plan.sites]
    now = services.clock.now()
    state = FleetState(
        at=now,
        mode=OperatingMode(mode[0]),
        readings=await services.readings.latest(site_ids),
        statuses={},
        quality_score={},
        load={},
        pv={},
        background={},
        day_use={},
        live_plans=(),
    )
    limits = Limits(sites=await services.registry.sites(), feeders={})
    return required_tier(plan, state, limits, policy)


def standing_of(
    plan: Plan,
    digest: str,
    rows: Sequence[ApprovalRow],
    tier: ApprovalTier | None,
    caller: Principal,
    now: datetime,
    *,
    why_nobody: str = "",
    needs_person: bool = False,
) -> Standing:
    """Return where the approval stands for the one who asks.

    Args:
        plan: With its present status.
        digest: Of its envelope.
        rows: The yeses.
        tier: Who must approve.
        caller: Who asks.
        now: Domain instant.
        why_nobody: Why the policy lets nobody approve.
        needs_person: Control wants a person's yes although the policy had given its own.
    """
    asked = ApprovalTier.ONE_PERSON if tier is ApprovalTier.AUTOMATIC and needs_person else tier
    counted: set[str] = set()
    missing = 0
    if asked is not None:
        count = count_approvals(rows, envelope_digest=digest, tier=asked, now=now)
        counted = {person_key(one.approvers[0]) for one in count.approvals}
        missing = 0 if asked is ApprovalTier.AUTOMATIC else count.missing
    approvals = [
        ApprovalOut(
            approver=row.approver,
            tier=row.tier.value,
            approved_at=row.approved_at,
            expires_at=row.expires_at,
            counts=person_key(row.approver) in counted,
        )
        for row in rows
    ]
    mine = person_key(caller.name) in {person_key(row.approver) for row in rows}
    why_not = _why_not(plan, tier, caller, now, mine=mine, why_nobody=why_nobody)
    return Standing(tier=tier, approvals=approvals, missing=missing, may_approve=not why_not, why_not=why_not)


def _why_not(
    plan: Plan,
    tier: ApprovalTier | None,
    caller: Principal,
    now: datetime,
    *,
    mine: bool,
    why_nobody: str,
) -> str:
    objections = (
        (plan.status not in OPEN_FOR_APPROVAL, f"the plan is {plan.status.value}"),
        (now >= plan.window_start, "its window has begun"),
        (tier is None, why_nobody or "the approval policy lets nobody approve it"),
        (caller.kind is not PrincipalKind.USER, "a person decides this"),
        (not caller.role.reaches(Role.APPROVER), f"it takes the role approver; yours is {caller.role.value}"),
        (mine, "you have approved it already"),
    )
    return next((words for holds, words in objections if holds), "")


def totals_of(plan: Plan) -> list[float]:
    """Return the setpoints of all scheduled sites together, W by quarter hour."""
    return _together([site.schedule_w for site in plan.sites if site.schedule_w])


def _together(schedules_w: Iterable[Sequence[float]]) -> list[float]:
    return [round(sum(column), 3) for column in zip(*schedules_w, strict=True)]


def feeder_curves_of(plan: Plan, feeder_of: Mapping[str, str]) -> list[PlanFeederCurve]:
    """Return the setpoints of each feeder's scheduled sites together, W by quarter hour, in order of feeder."""
    rows: dict[str, list[Sequence[float]]] = {}
    for site in plan.sites:
        if site.schedule_w and site.site_id in feeder_of:
            rows.setdefault(feeder_of[site.site_id], []).append(site.schedule_w)
    return [
        PlanFeederCurve(
            feeder_id=feeder_id,
            sites=len(found),
            total_w=_together(found),
        )
        for feeder_id, found in sorted(rows.items())
    ]


def direction_of(plan: Plan) -> Direction:
    """Return which way the batteries go."""
    powers = [power_of(site, plan.steps) for site in plan.sites]
    gives = any(min(power.low_w, default=0.0) < 0.0 for power in powers)
    takes = any(max(power.high_w, default=0.0) > 0.0 for power in powers)
    if gives and takes:
        return "charge and discharge"
    return "discharge" if gives else "charge" if takes else "rest"


def line_of(one: PlanSummary) -> PlanLine:
    """Return one line of a list."""
    return PlanLine(
        plan_id=one.plan_id,
        supersedes=one.supersedes,
        thread_id=one.thread_id,
        status=one.status.value,
        objective=one.objective,
        created_at=one.created_at,
        window_start=one.window_start,
        window_end=one.window_end,
        sites=one.sites,
    )


def command_of(one: CommandState) -> CommandOut:
    """Return a command with the site's last word on it."""
    return CommandOut(
        command_id=one.command_id,
        site_id=one.site_id,
        kind=one.kind,
        state=one.state,
        sequence=one.sequence,
        attempts=one.attempts,
        sent_at=one.sent_at,
        verdict=one.verdict,
        reason=one.reason,
        acknowledged_at=one.acknowledged_at,
        read_back_v=one.read_back_v,
        limited_wh=one.limited_wh,
    )


def schedules_of(plan: Plan) -> list[SiteSchedule]:
    """Return what each site is asked."""
    return [
        SiteSchedule(
            site_id=site.site_id,
            schedule_w=list(site.schedule_w),
            grid_reserve=None if site.grid_reserve is None else record_of(site.grid_reserve),
            bounds=None if site.bounds is None else record_of(site.bounds),
        )
        for site in plan.sites
    ]


def taking_part(commands: Sequence[CommandState]) -> tuple[set[SiteId], set[SiteId]]:
    """Return the sites that were sent the plan, and those of them that follow it."""
    sent = {one.site_id: one for one in commands if one.kind != "release" and one.site_id is not None}
    return set(sent), {site_id for site_id, one in sent.items() if one.verdict in _TAKING_PART}


def quarter_hours(
    plan: Plan, following: set[SiteId], delivered: Sequence[Delivered], now: datetime
) -> list[QuarterHour]:
    """Return commanded against delivered energy by quarter hour that is over."""
    got: Mapping[tuple[SiteId, datetime], float] = {
        (one.site_id, one.start): one.energy_wh for one in delivered
    }
    sites = [site for site in plan.sites if site.site_id in following and site.schedule_w]
    out: list[QuarterHour] = []
    for step in range(plan.steps):
        start = plan.window_start + step * STEP
        if start + STEP > now:
            break
        asked = {site.site_id: site.schedule_w[step] * STEP_H for site in sites}
        measured = {site_id: got[site_id, start] for site_id in asked if (site_id, start) in got}
        out.append(
            QuarterHour(
                start=start,
                commanded_wh=round(sum(asked.values()), 3),
                commanded_measured_wh=round(sum(asked[site_id] for site_id in measured), 3),
                delivered_wh=round(sum(measured.values()), 3),
                sites=len(asked),
                measured=len(measured),
            )
        )
    return out


def is_over(status: PlanStatus) -> bool:
    """Return whether nothing more will become of a plan."""
    return status in {PlanStatus.REJECTED, PlanStatus.DECLINED, PlanStatus.COMPLETED, PlanStatus.ABORTED}


Doc = dict[str, Any]
