"""Plans: look, approve, decline, abort, and what became of them."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from edge.plan import ApprovalTier, MoneyEffect, PlanId, PlanStatus
from edge.plan_codec import PlanDocError
from telemetry.model.series import STEP
from tools.planning.plan_store import StoredPlan
from ui.api.access import (
    Caller,
    Cursor,
    IfNoneMatch,
    Limit,
    OnceHere,
    ServicesHere,
    from_cursor,
    instant_part,
    may,
    page_of,
    person,
    tagged,
    text_part,
    to_cursor,
)
from ui.api.decision_store import NotDecided
from ui.api.plan_view import (
    command_of,
    direction_of,
    feeder_curves_of,
    line_of,
    quarter_hours,
    schedules_of,
    standing_of,
    taking_part,
    tier_now,
    totals_of,
)
from ui.api.problems import ApiError, not_found
from ui.api.roles import Principal, Role
from ui.api.routes.control import ordered
from ui.api.schemas import (
    Approve,
    Decline,
    DeclineOut,
    Delivery,
    Name,
    Order,
    OrderOut,
    OutcomeOut,
    Page,
    PlanFeederEffect,
    PlanLine,
    PlanMoney,
    PlanOut,
    PlanSchedule,
    PlanStatusName,
    VerdictOut,
)
from ui.api.services import Services

router = APIRouter(prefix="/v1/plans", tags=["plans"])
PlanIdPath = Annotated[Name, Path(description="a plan_id")]


@router.get("", response_model=Page[PlanLine], **may(Role.VIEWER))
async def plans(
    services: ServicesHere,
    cursor: Cursor = None,
    limit: Limit = 50,
    status: Annotated[list[PlanStatusName] | None, Query(max_length=8)] = None,
    thread_id: Annotated[Name | None, Query()] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List plans, the newest first."""
    before = from_cursor(cursor, instant_part, text_part)
    statuses = [PlanStatus(one) for one in status] if status else list(PlanStatus)
    found = await services.views.plans_page(
        limit + 1, before=(before[0], before[1]) if before else None, statuses=statuses, thread_id=thread_id
    )
    items, last = page_of(found, limit)
    page = Page[PlanLine](
        items=[line_of(one) for one in items],
        next_cursor=None if last is None else to_cursor(last.created_at, last.plan_id),
    )
    return tagged(page, if_none_match)


async def stored_plan(services: Services, plan_id: str) -> StoredPlan:
    """Return a plan.

    Raises:
        ApiError: There is none, or what is stored is no plan.
    """
    try:
        stored = await services.plans.fetch(PlanId(plan_id))
    except PlanDocError as error:
        raise ApiError(HTTPStatus.CONFLICT, f"plan {plan_id} cannot be read: {error}") from error
    if stored is None:
        raise not_found("plan", plan_id)
    return stored


async def plan_out(services: Services, plan_id: str, caller: Principal) -> PlanOut:
    """Return a plan, whole, as the one who asks sees it."""
    stored = await stored_plan(services, plan_id)
    plan, envelope, expected = stored.plan, stored.plan.envelope, stored.plan.expected
    outcome = await services.dispatch.outcome(plan.plan_id)
    policy = services.policy()
    standing = standing_of(
        plan,
        stored.envelope_digest,
        await services.dispatch.approvals(plan.plan_id),
        await tier_now(services, plan, policy),
        caller,
        services.clock.now(),
        why_nobody=policy.why,
        needs_person=outcome is not None and outcome.outcome == "needs_approval",
    )
    report = await services.dispatch.report(plan.plan_id)
    verdicts = await services.plans.verdicts(plan.plan_id)
    totals = totals_of(plan)
    site_ids = [site.site_id for site in plan.sites]
    return PlanOut(
        plan_id=plan.plan_id,
        supersedes=plan.supersedes,
        thread_id=stored.thread_id,
        status=plan.status.value,
        objective=plan.objective.kind.value,
        objective_text=plan.objective.text,
        feeder_ids=list(plan.objective.feeder_ids),
        target_w=plan.objective.target_w,
        direction=direction_of(plan),
        created_at=plan.created_at,
        window_start=plan.window_start,
        window_end=plan.window_end,
        sites=len(plan.sites),
        simulated_sites=await services.views.simulated(site_ids),
        total_w=totals,
        peak_discharge_w=max(0.0, -min(totals, default=0.0)),
        peak_charge_w=max(0.0, *totals, 0.0),
        relief_w=expected.relief_w,
        discharge_wh=expected.discharge_wh,
        charge_wh=expected.charge_wh,
        cycles=expected.throughput_cycles,
        score=expected.score,
        money=_money(expected.money),
        reserve_margin_h=expected.min_autonomy_margin_h,
        reserve_h=envelope.reserve_h,
        bound=plan.bound,
        gap_frac=plan.gap_frac,
        feeders=[
            PlanFeederEffect(
                feeder_id=one.feeder_id,
                peak_without_w=one.peak_without_w,
                peak_with_w=one.peak_with_w,
                limit_w=one.limit_w,
            )
            for one in expected.feeders
        ],
        feeder_curves=feeder_curves_of(plan, await services.views.feeders_of(site_ids)),
        envelope_digest=stored.envelope_digest,
        valid_until=envelope.valid_until,
        provenance=dict(plan.provenance),
        tier=None if standing.tier is None else standing.tier.value,
        approvals=standing.approvals,
        approvals_missing=standing.missing,
        may_approve=standing.may_approve,
        why_not=standing.why_not,
        declines=[
            DeclineOut(who=one.who, reason=one.reason, at=one.at)
            for one in await services.dispatch.declines(plan.plan_id)
        ],
        verdicts=[
            VerdictOut.model_validate(
                {"at": one.at, "gate": one.gate, "approved": one.approved, "doc": one.doc}
            )
            for one in verdicts
        ],
        outcome=None
        if outcome is None
        else OutcomeOut(outcome=outcome.outcome, at=outcome.at, doc=outcome.doc),
        commands=[command_of(one) for one in await services.dispatch.commands(plan.plan_id)],
        report=None if report is None else report[1],
    )


@router.get("/{plan_id}", response_model=PlanOut, **may(Role.VIEWER, 404, 409))
async def plan(
    plan_id: PlanIdPath, services: ServicesHere, caller: Caller, if_none_match: IfNoneMatch = None
) -> Response:
    """Show a plan with its verdicts, approvals, commands and acknowledgements."""
    return tagged(await plan_out(services, plan_id, caller), if_none_match)


@router.get("/{plan_id}/schedule", response_model=PlanSchedule, **may(Role.VIEWER, 404, 409))
async def schedule(
    plan_id: PlanIdPath, services: ServicesHere, if_none_match: IfNoneMatch = None
) -> Response:
    """Show what each site is asked."""
    stored = await stored_plan(services, plan_id)
    out = PlanSchedule(
        plan_id=plan_id,
        window_start=stored.plan.window_start,
        step_s=int(STEP.total_seconds()),
        sites=schedules_of(stored.plan),
    )
    return tagged(out, if_none_match)


@router.get("/{plan_id}/delivery", **may(Role.VIEWER, 404, 409))
async def delivery(plan_id: PlanIdPath, services: ServicesHere) -> Delivery:
    """Set what the meters measured against what was commanded, by quarter hour so far."""
    plan_ = (await stored_plan(services, plan_id)).plan
    now = services.clock.now()
    sent, following = taking_part(await services.dispatch.commands(plan_.plan_id))
    end = min(plan_.window_end, now)
    measured = (
        await services.readings.delivered(sorted(following), plan_.window_start, end)
        if following and end > plan_.window_start
        else []
    )
    return Delivery(
        plan_id=plan_id,
        at=now,
        sites_planned=len(plan_.sites),
        sites_sent=len(sent),
        sites_taking_part=len(following),
        quarter_hours=quarter_hours(plan_, following, measured, now),
    )


def _money(money: MoneyEffect | None) -> PlanMoney | None:
    if money is None:
        return None
    return PlanMoney(
        currency=money.currency,
        total=money.total,
        energy=money.energy,
        refill=money.refill,
        demand=money.demand,
        wear=money.wear,
        source=money.source,
    )


@router.post("/{plan_id}/approve", response_model=PlanOut, **may(Role.APPROVER, 404, 409))
async def approve(
    plan_id: PlanIdPath, asked: Approve, services: ServicesHere, caller: Caller, once: OnceHere
) -> Response:
    """Say yes to exactly the envelope that was seen. Two-person plans need this from two different people."""

    async def act() -> PlanOut:
        await give_approval(services, plan_id, asked.envelope_digest, person(caller))
        return await plan_out(services, plan_id, caller)

    return await once(asked, act)


async def give_approval(services: Services, plan_id: str, digest: str, approver: str) -> None:
    """Write a person's yes.

    Raises:
        ApiError: The policy, the plan's state or the person's earlier yes stands against it.
    """
    stored = await stored_plan(services, plan_id)
    policy = services.policy()
    tier = await tier_now(services, stored.plan, policy)
    if tier is None:
        why = policy.why or "the approval policy lets nobody approve this plan"
        raise ApiError(HTTPStatus.CONFLICT, why)
    now = services.clock.now()
    expires_at = min(stored.plan.envelope.valid_until, now + policy.tiers[tier].max_validity)
    if expires_at <= now:
        raise ApiError(HTTPStatus.CONFLICT, f"the envelope was valid until {expires_at.isoformat()}")
    refused = await services.decisions.approve(
        PlanId(plan_id),
        envelope_digest=digest,
        tier=ApprovalTier.ONE_PERSON if tier is ApprovalTier.AUTOMATIC else tier,
        approver=approver,
        at=now,
        expires_at=expires_at,
    )
    raise_refusal(refused)


async def give_decline(services: Services, plan_id: str, reason: str, who: str) -> None:
    """Write a person's no.

    Raises:
        ApiError: There is no such plan, or it is not open.
    """
    await stored_plan(services, plan_id)
    raise_refusal(
        await services.decisions.decline(PlanId(plan_id), who=who, reason=reason, at=services.clock.now())
    )


def raise_refusal(refused: NotDecided | None) -> None:
    """Turn a refusal into an error.

    Raises:
        ApiError: There is one.
    """
    if refused is not None:
        raise ApiError(HTTPStatus.CONFLICT, refused.why, field=refused.field)


@router.post("/{plan_id}/decline", response_model=PlanOut, **may(Role.APPROVER, 404, 409))
async def decline(
    plan_id: PlanIdPath, asked: Decline, services: ServicesHere, caller: Caller, once: OnceHere
) -> Response:
    """Say no, and why; the agent is told."""

    async def act() -> PlanOut:
        await give_decline(services, plan_id, asked.reason, person(caller))
        return await plan_out(services, plan_id, caller)

    return await once(asked, act)


@router.post("/{plan_id}/abort", response_model=OrderOut, **may(Role.OPERATOR, 404, 409))
async def abort(
    plan_id: PlanIdPath, asked: Order, services: ServicesHere, caller: Caller, once: OnceHere
) -> Response:
    """Ask the control process to release the plan's sites; says what it did if it answers within three seconds."""

    async def act() -> OrderOut:
        await stored_plan(services, plan_id)
        order = await ordered(services, "abort", who=caller.name, reason=asked.reason, plan_id=plan_id)
        if order.outcome == "done":
            key = f"abort/{order.request_id}"
            await services.decisions.wake(plan_id, who=caller.name, key=key, at=services.clock.now())
        return order

    return await once(asked, act)
