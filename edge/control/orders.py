"""Carries out what people ask of control: abort a plan, stop the fleet, clear the stop, change a site's mode."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from edge.control.command_store import CommandStore
from edge.control.minting import fleet_draft, mode_draft, release_drafts
from edge.control.ports import ControlSettings, LimitsSource
from edge.control.request_store import ControlRequest, put_control_outcome
from edge.control.signer import Signer
from edge.control.transaction_store import ControlTransaction
from edge.plan import CommandKind, PlanId, PlanStatus
from telemetry.model.clock import Clock
from telemetry.model.site import SiteMode

_log = logging.getLogger(__name__)
Outcome = tuple[str, dict[str, Any]]


class Orders:
    """Answers control requests. A stop needs nothing but the database and the key."""

    def __init__(
        self,
        *,
        store: CommandStore,
        limits: LimitsSource,
        signer: Signer,
        epoch: int,
        clock: Clock,
        new_id: Callable[[], str],
        settings: ControlSettings,
    ) -> None:
        self._store = store
        self._limits = limits
        self._signer = signer
        self._epoch = epoch
        self._clock = clock
        self._new_id = new_id
        self._settings = settings

    async def carry_out(self, request: ControlRequest) -> str:
        """Do what is asked and store what became of it; returns `done` or `refused`."""
        handlers: dict[str, Callable[[ControlTransaction, ControlRequest, datetime], Awaitable[Outcome]]] = {
            "abort": self._abort,
            "stop": self._stop,
            "clear": self._clear,
            "mode": self._mode,
        }
        at = self._clock.now()
        async with self._store.transaction() as transaction:
            outcome, doc = await handlers[request.kind](transaction, request, at)
            await put_control_outcome(transaction, request.request_id, outcome, at, doc)
            await transaction.audit(
                at=at,
                who=request.who,
                action=f"control.{request.kind}",
                subject=request.plan_id or request.site_id or "fleet",
                after={"outcome": outcome, "reason": request.reason, "plan_id": request.plan_id, **doc},
            )
        _log.info("control request", extra={"kind": request.kind, "outcome": outcome, "who": request.who})
        return outcome

    async def renew_stop(self) -> bool:
        """Sign a stop that is in force anew if another key signed it: a site that returns after a rotation obeys too."""
        order = await self._store.newest_fleet_order()
        if order is None or order.kind != "stop" or order.key_id == self._signer.key_id:
            return False
        at = self._clock.now()
        async with self._store.transaction() as transaction:
            doc = await self._fleet(transaction, CommandKind.STOP, at)
            await transaction.audit(
                at=at,
                who="control",
                action="control.stop",
                subject="fleet",
                after={"reason": "signed with the new key", **doc},
            )
        return True

    async def _abort(self, transaction: ControlTransaction, request: ControlRequest, at: datetime) -> Outcome:
        if request.plan_id is None:
            return "refused", {"why": "an abort names a plan"}
        status = await transaction.lock_plan(request.plan_id)
        match status:
            case PlanStatus.DISPATCHED | PlanStatus.APPROVED:
                sites = await self._release(transaction, request.plan_id, at, request.who, request.reason)
                return "done", {"released": sites}
            case PlanStatus.PROPOSED | PlanStatus.VALIDATED:
                reason = {"reason": f"aborted before it was sent: {request.reason}"}
                await transaction.move_plan(
                    request.plan_id, [PlanStatus.REJECTED], at=at, who=request.who, after=reason
                )
                return "done", {"released": []}
            case _:
                return "refused", {"why": f"plan {request.plan_id} is {status or 'unknown'}"}

    async def _stop(self, transaction: ControlTransaction, request: ControlRequest, at: datetime) -> Outcome:
        """Stop the fleet. Every plan under way is over: a site that obeys a stop does not take it up again."""
        doc = await self._fleet(transaction, CommandKind.STOP, at)
        plans = await transaction.dispatched_plans()
        for plan_id in plans:
            await transaction.end_open_commands(plan_id)
            await transaction.move_plan(
                plan_id,
                [PlanStatus.ABORTED],
                at=at,
                who=request.who,
                after={"reason": f"fleet stop: {request.reason}"},
            )
        return "done", {**doc, "aborted": list(plans)}

    async def _clear(
        self, transaction: ControlTransaction, _request: ControlRequest, at: datetime
    ) -> Outcome:
        order = await self._store.newest_fleet_order()
        if order is None or order.kind != "stop":
            return "refused", {"why": "the fleet is not stopped"}
        return "done", await self._fleet(transaction, CommandKind.CLEAR, at)

    async def _mode(self, transaction: ControlTransaction, request: ControlRequest, at: datetime) -> Outcome:
        """Change a site's mode: a lower one at once, `remote` only after a recorded commissioning test."""
        try:
            mode = SiteMode(request.mode or "")
        except ValueError:
            return "refused", {"why": f"there is no site mode {request.mode!r}"}
        sites = (await self._limits()).sites
        site = next((one for name, one in sites.items() if name == request.site_id), None)
        if site is None:
            return "refused", {"why": f"there is no site {request.site_id!r}"}
        if mode is SiteMode.REMOTE and site.commissioned_at is None:
            return "refused", {"why": "no commissioning test is on record"}
        draft = mode_draft(site.site_id, mode, at, at + self._settings.release_for, self._new_id)
        (minted,) = await transaction.mint([draft], self._signer, at)
        await transaction.change_site_mode(site.site_id, mode, who=request.who, at=at)
        return "done", {
            "mode": mode.value,
            "mode_before": site.mode.value,
            "command_id": minted.command.command_id,
        }

    async def _release(
        self, transaction: ControlTransaction, plan_id: PlanId, at: datetime, who: str, reason: str
    ) -> list[str]:
        sites = await transaction.commanded_sites(plan_id)
        await transaction.end_open_commands(plan_id)
        accept_by = at + self._settings.release_for
        drafts = release_drafts(plan_id, sites, now=at, accept_by=accept_by, new_id=self._new_id)
        await transaction.mint(drafts, self._signer, at)
        await transaction.move_plan(
            plan_id, [PlanStatus.ABORTED], at=at, who=who, after={"reason": reason, "released": list(sites)}
        )
        return list(sites)

    async def _fleet(
        self, transaction: ControlTransaction, kind: CommandKind, at: datetime
    ) -> dict[str, Any]:
        draft = fleet_draft(kind, at, at + self._settings.stop_for, self._new_id)
        minted = await transaction.mint_fleet(draft, self._epoch, self._signer, at)
        return {"command_id": minted.command.command_id, "sequence": minted.command.sequence}
