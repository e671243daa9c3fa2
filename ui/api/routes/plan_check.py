"""A plan judged once more, on the state of this moment: what control would find if it were asked to dispatch it now."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path

from edge.plan_codec import record_of
from edge.safety.validator import validate
from edge.safety.verdict import Approved
from ui.api.access import ServicesHere, may
from ui.api.roles import Role
from ui.api.routes.plans import stored_plan
from ui.api.schemas import Name, VerdictOut
from ui.bootstrap import fleet_view

router = APIRouter(prefix="/v1/plans", tags=["plans"])


@router.post("/{plan_id}/validate", **may(Role.OPERATOR, 404, 409))
async def check(
    plan_id: Annotated[Name, Path(description="a plan_id")], services: ServicesHere
) -> VerdictOut:
    """Judge a plan by every safety rule on the state of this moment. Nothing is written and nothing follows from it."""
    plan = (await stored_plan(services, plan_id)).plan
    view = fleet_view(services.pool, services.clock)
    state, limits = await view.state(), await view.limits()
    async with services.checks:
        verdict = await asyncio.to_thread(validate, plan, state, limits, state.at)
    found = (
        {"margins": record_of(verdict.margins), "passed": record_of(verdict.passed)}
        if isinstance(verdict, Approved)
        else {"broken": record_of(verdict.broken)}
    )
    return VerdictOut(at=state.at, gate="validate", approved=isinstance(verdict, Approved), doc=found)
