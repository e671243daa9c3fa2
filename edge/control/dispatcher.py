"""From a dispatch request to an outbox: the plan and its approvals are read anew, judged on fresh state, then minted.

Nothing that the agent says is believed beyond the plan's id. What cannot be judged is refused.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from edge.approvals import ApprovalCount, count_approvals
from edge.control.command_store import CommandStore
from edge.control.minting import digest_of_all, plan_drafts, release_drafts
from edge.control.ports import (
    ControlSettings,
    FetchedPlan,
    FleetStateSource,
    Gate,
    Hold,
    LimitsSource,
    PlanSource,
    Send,
    domain_time,
)
from edge.control.request_store import (
    DispatchRequest,
    RequestStore,
    put_dispatch_outcome,
    put_policy_approval,
    put_verdict,
)
from edge.control.signer import Signer
from edge.control.transaction_store import ControlTransaction
from edge.plan import Approval, ApprovalTier, Plan, PlanStatus
from edge.plan_codec import PlanDocError
from edge.safety.approval import PERSONS_NEEDED, POLICY_APPROVER, person_key
from telemetry.model.clock import Clock

_log = logging.getLogger(__name__)
_MAY_BE_REJECTED = {PlanStatus.PROPOSED, PlanStatus.VALIDATED, PlanStatus.APPROVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a dispatcher works with."""

    plans: PlanSource
    commands: CommandStore
    requests: RequestStore
    gate: Gate
    fleet_state: FleetStateSource
    limits: LimitsSource
    signer: Signer
    clock: Clock
    new_id: Callable[[], str]
    settings: ControlSettings


class Dispatcher:
    """Answers dispatch requests, one after the other."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._held: dict[str, Any] | None = None
        self._told: dict[int, str] = {}  # what a waiting request was last told, so that it is not told again

    def hold(self, name: str, message: str) -> None:
        """Refuse every request from now on, for the reason given."""
        self._held = _reason(name, message)

    async def answer(self, request: DispatchRequest) -> bool:
        """Decide on one request; whether there is something new to send.

        Raises:
            psycopg.Error: The database failed; the request stays open.
        """
        try:
            return await self._decide(request)
        except psycopg.Error:
            raise
        except PlanDocError as error:
            await self._refuse(request, [_reason("unreadable_plan", str(error))])
        except Exception as error:  # noqa: BLE001 (what cannot be judged is refused; it must not stop a stop)
            _log.exception("a dispatch request could not be judged", extra={"plan_id": request.plan_id})
            await self._refuse(request, [_reason("not_judged", f"{type(error).__name__}: {error}")])
        return False

    async def _decide(self, request: DispatchRequest) -> bool:
        parts = self._parts
        stored = await parts.plans.fetch(request.plan_id)
        if stored is None or (objection := await self._objection(stored)) is not None:
            objection = None if stored is None else objection
            await self._refuse(request, [objection or _reason("unknown_plan", "there is no such plan")])
            return False
        plan, state, limits = stored.plan, await parts.fleet_state(), await parts.limits()
        tier = parts.gate.tier(plan, state, limits)
        if tier is None:
            verdict = parts.gate.decide(plan, (), state, limits, parts.clock.now())
            told = verdict.broken if isinstance(verdict, Hold) else []
            await self._refuse(request, [_reason("policy", "nobody may approve this"), *told])
            return False
        tier = max(tier, await self._tier_replaced(stored), key=PERSONS_NEEDED.__getitem__)
        count = await self._count(stored, tier)
        verdict = parts.gate.decide(plan, count.approvals, state, limits, parts.clock.now())
        # What is unsafe when it is asked for is refused at once; what turns so while people think is judged when they
        # have said yes.
        unsafe = isinstance(verdict, Hold) and not verdict.wait
        if count.missing and not (unsafe and not request.waiting):
            await self._wait(request, plan, tier, count)
        elif isinstance(verdict, Send):
            return await self._mint(request, plan, count.approvals, verdict)
        elif verdict.wait:
            await self._wait(request, plan, tier, count, verdict.broken)
        else:
            await self._refuse(request, verdict.broken)
        return False

    async def _tier_replaced(self, stored: FetchedPlan) -> ApprovalTier:
        """Return what it takes to replace the superseded plan: as many persons as approved it.

        A re-plan inside the same envelope has their yes already; another envelope must not undo theirs for less.
        """
        if stored.plan.supersedes is None:
            return ApprovalTier.AUTOMATIC
        rows = await self._parts.requests.approvals(stored.plan.supersedes)
        persons = {person_key(row.approver) for row in rows} - {POLICY_APPROVER}
        enough = [tier for tier, needed in PERSONS_NEEDED.items() if needed >= min(len(persons), 2)]
        return min(enough, key=PERSONS_NEEDED.__getitem__)

    async def _objection(self, stored: FetchedPlan) -> dict[str, Any] | None:
        """Return what stands in the way before anything is judged."""
        if self._held is not None:
            return self._held
        if stored.plan.status not in {PlanStatus.VALIDATED, PlanStatus.APPROVED}:
            return _reason("status", f"a plan that is {stored.plan.status} is not dispatched")
        order = await self._parts.commands.newest_fleet_order()
        if order is not None and order.kind == "stop":
            return _reason("fleet_stopped", "the fleet is stopped until a clear")
        return None

    async def _count(self, stored: FetchedPlan, tier: ApprovalTier) -> ApprovalCount:
        """Return the approval as the rows add up; at the automatic tier the policy says its yes here."""
        plan, now = stored.plan, self._parts.clock.now()
        if tier is ApprovalTier.AUTOMATIC:
            async with self._parts.commands.transaction() as transaction:
                await put_policy_approval(
                    transaction, plan.plan_id, stored.envelope_digest, now, plan.envelope.valid_until
                )
        return count_approvals(
            await self._parts.requests.approvals(plan.plan_id),
            envelope_digest=stored.envelope_digest,
            tier=tier,
            now=now,
        )

    async def _wait(
        self,
        request: DispatchRequest,
        plan: Plan,
        tier: ApprovalTier,
        count: ApprovalCount,
        broken: list[dict[str, Any]] | None = None,
    ) -> None:
        """Keep the request open for a person's yes, as long as one could still matter."""
        at = self._parts.clock.now()
        if at >= min(plan.window_start, plan.envelope.valid_until):
            await self._refuse(request, [_reason("too_late", "its time came before its approval")])
            return
        doc = {
            "tier": tier.value,
            "missing": count.missing,
            "not_counted": list(count.not_counted),
            "broken": broken or [],
        }
        if self._told.get(request.request_id) == repr(doc):
            return
        self._told[request.request_id] = repr(doc)
        async with self._parts.commands.transaction() as transaction:
            await put_dispatch_outcome(transaction, request.request_id, "needs_approval", at, doc)
            await transaction.audit(
                at=at, who="control", action="dispatch.needs_approval", subject=plan.plan_id, after=doc
            )

    async def _refuse(self, request: DispatchRequest, broken: list[dict[str, Any]]) -> None:
        at = self._parts.clock.now()
        doc = {"broken": broken}
        self._told.pop(request.request_id, None)
        async with self._parts.commands.transaction() as transaction:
            status = await transaction.lock_plan(request.plan_id)
            await put_dispatch_outcome(transaction, request.request_id, "refused", at, doc)
            await put_verdict(transaction, request.plan_id, at, approved=False, doc=doc)
            if status in _MAY_BE_REJECTED:
                await transaction.move_plan(
                    request.plan_id, [PlanStatus.REJECTED], at=at, who="control", after=doc
                )
            else:
                await transaction.audit(
                    at=at, who="control", action="dispatch.refused", subject=request.plan_id, after=doc
                )
        _log.info("dispatch refused", extra={"plan_id": request.plan_id, "broken": broken})

    async def _mint(
        self, request: DispatchRequest, plan: Plan, approvals: Sequence[Approval], verdict: Send
    ) -> bool:
        """Number, sign and store every command, and move the plan, in one transaction."""
        parts = self._parts
        at = parts.clock.now()
        accept_by = min(at + self._accept_for(len(verdict.sites)), plan.window_end)
        if not verdict.sites or at >= plan.window_end:
            await self._refuse(request, [_reason("nothing_to_send", "no site is left, or no time")])
            return False
        async with parts.commands.transaction() as transaction:
            status = await transaction.lock_plan(plan.plan_id)
            if status is not plan.status:  # declined, aborted or sent while we judged: look again
                return False
            released = await self._replace(transaction, plan, verdict, at)
            drafts = plan_drafts(plan, set(verdict.sites), accept_by, parts.new_id)
            minted = await transaction.mint(drafts, parts.signer, at)
            doc = {
                "commands": len(minted),
                "commands_digest": digest_of_all(minted),
                "key_id": parts.signer.key_id,
                "accept_by": accept_by.isoformat(),
                "approvers": [name for approval in approvals for name in approval.approvers],
                "withheld": {str(site): reasons for site, reasons in verdict.withheld.items()},
                "released": list(released),
            }
            await put_verdict(transaction, plan.plan_id, at, approved=True, doc=verdict.record)
            await put_dispatch_outcome(transaction, request.request_id, "authorised", at, doc)
            steps = [PlanStatus.APPROVED, PlanStatus.DISPATCHED]
            await transaction.move_plan(
                plan.plan_id,
                steps[1:] if status is PlanStatus.APPROVED else steps,
                at=at,
                who="control",
                after=doc,
            )
        self._told.pop(request.request_id, None)
        _log.info("dispatch authorised", extra={"plan_id": plan.plan_id, "commands": len(minted)})
        return True

    async def _replace(
        self, transaction: ControlTransaction, plan: Plan, verdict: Send, at: datetime
    ) -> tuple[str, ...]:
        """End the superseded plan: its sites that get nothing new are released, its unsent commands stay unsent."""
        if plan.supersedes is None:
            return ()
        before = await transaction.lock_plan(plan.supersedes)
        if before is not PlanStatus.DISPATCHED:
            raise PlanDocError(f"plan {plan.supersedes}, which this one supersedes, is {before}")
        kept = set(verdict.sites)
        left = [site for site in await transaction.commanded_sites(plan.supersedes) if site not in kept]
        await transaction.end_open_commands(plan.supersedes)
        accept_by = at + self._parts.settings.release_for
        drafts = release_drafts(plan.supersedes, left, now=at, accept_by=accept_by, new_id=self._parts.new_id)
        await transaction.mint(drafts, self._parts.signer, at)
        await transaction.move_plan(
            plan.supersedes,
            [PlanStatus.COMPLETED],
            at=at,
            who="control",
            after={"reason": f"superseded by {plan.plan_id}", "released": left},
        )
        return tuple(left)

    def _accept_for(self, sites: int) -> timedelta:
        """Return how long sites have to answer, domain time: longer for many sites and on a fast clock."""
        clock, settings = self._parts.clock, self._parts.settings
        sending = timedelta(seconds=2.0 * sites / settings.sends_per_s)  # paced, and as long again
        least = max(settings.accept_for, domain_time(clock, settings.accept_wall))
        return least + domain_time(clock, sending)


def _reason(name: str, message: str) -> dict[str, Any]:
    return {"rule": "control", "name": name, "message": message}
