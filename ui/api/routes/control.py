"""Orders to the control process: stop for all, clear, a site's mode; and the operating mode."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response

from edge.safety.limits import OperatingMode
from ui.api.access import Caller, OnceHere, ServicesHere, may, person
from ui.api.problems import ApiError, not_found
from ui.api.roles import Role
from ui.api.routes.registry import SiteIdPath
from ui.api.schemas import ModeChange, OperatingModeChange, OperatingModeOut, Order, OrderOut
from ui.api.services import Services

router = APIRouter(prefix="/v1", tags=["control"])
Kind = Literal["abort", "stop", "clear", "mode"]
_LOOK_EVERY_S = 0.05


async def ordered(
    services: Services,
    kind: Kind,
    *,
    who: str,
    reason: str,
    plan_id: str | None = None,
    site_id: str | None = None,
    mode: str | None = None,
) -> OrderOut:
    """Write an order and wait a little for the control process's answer."""
    number = await services.decisions.order(
        kind,
        who=who,
        reason=reason,
        at=services.clock.now(),
        plan_id=plan_id,
        site_id=site_id,
        mode=mode,
    )
    give_up_s = time.monotonic() + services.settings.answer_within.total_seconds()
    order = await order_out(services, number, kind)
    while order.outcome == "pending" and time.monotonic() < give_up_s:
        await asyncio.sleep(_LOOK_EVERY_S)
        order = await order_out(services, number, kind)
    return order


async def order_out(services: Services, number: int, kind: Kind) -> OrderOut:
    """Return what has become of an order."""
    found = await services.dispatch.control_outcome(number)
    if found is None:
        return OrderOut(request_id=number, kind=kind, outcome="pending", at=None, doc={})
    outcome: Literal["done", "refused"] = "done" if found.outcome == "done" else "refused"
    return OrderOut(request_id=number, kind=kind, outcome=outcome, at=found.at, doc=found.doc)


@router.post("/control/stop", response_model=OrderOut, **may(Role.OPERATOR, 409))
async def stop(asked: Order, services: ServicesHere, caller: Caller, once: OnceHere) -> Response:
    """Stop for all: every site returns to float, every plan under way is over, until a clear."""
    return await once(asked, lambda: ordered(services, "stop", who=caller.name, reason=asked.reason))


@router.post("/control/clear", response_model=OrderOut, **may(Role.APPROVER, 409))
async def clear(asked: Order, services: ServicesHere, caller: Caller, once: OnceHere) -> Response:
    """End a stop; sites take commands again, no plan is taken up again."""
    who = person(caller)
    return await once(asked, lambda: ordered(services, "clear", who=who, reason=asked.reason))


@router.get("/control/requests/{request_id}", **may(Role.VIEWER, 404))
async def request_outcome(
    request_id: Annotated[int, Path(ge=1, le=2**63 - 1)], services: ServicesHere
) -> OrderOut:
    """Say what has become of an order."""
    kind = await services.decisions.order_kind(request_id)
    if kind is None:
        raise not_found("order", str(request_id))
    return await order_out(services, request_id, kind)


@router.put("/sites/{site_id}/mode", response_model=OrderOut, **may(Role.APPROVER, 404, 409))
async def site_mode(
    site_id: SiteIdPath, asked: ModeChange, services: ServicesHere, caller: Caller, once: OnceHere
) -> Response:
    """Ask the control process to put a site into a mode: `remote` only after a recorded commissioning test."""
    who = person(caller)

    async def act() -> OrderOut:
        if await services.views.registry_entry("site", site_id) is None:
            raise not_found("site", site_id)
        return await ordered(
            services, "mode", who=who, reason=asked.reason, site_id=site_id, mode=asked.mode.value
        )

    return await once(asked, act)


@router.get("/mode", **may(Role.VIEWER, 404))
async def operating_mode(services: ServicesHere) -> OperatingModeOut:
    """Show the operating mode in force."""
    found = await services.decisions.operating_mode()
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "no operating mode is set; nothing may be planned")
    return OperatingModeOut(mode=OperatingMode(found[0]).value, who=found[1], since=found[2])


@router.put("/mode", response_model=OperatingModeOut, **may(Role.APPROVER, 409))
async def change_operating_mode(
    asked: OperatingModeChange, services: ServicesHere, caller: Caller, once: OnceHere
) -> Response:
    """Put an operating mode in force for the whole fleet."""
    who = person(caller)

    async def act() -> OperatingModeOut:
        now = services.clock.now()
        await services.decisions.set_mode(OperatingMode(asked.mode), who=who, reason=asked.reason, at=now)
        return OperatingModeOut(mode=asked.mode, who=who, since=now)

    return await once(asked, act)
