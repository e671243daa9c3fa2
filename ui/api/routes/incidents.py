"""Incidents: triage, acknowledge, assign, close."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from ui.api.access import (
    Caller,
    Cursor,
    IfNoneMatch,
    Limit,
    Once,
    OnceHere,
    ServicesHere,
    from_cursor,
    instant_part,
    may,
    page_of,
    tagged,
    text_part,
    to_cursor,
)
from ui.api.incident_store import IncidentRow
from ui.api.problems import ApiError, not_found
from ui.api.roles import Role
from ui.api.schemas import Assign, IncidentOut, IncidentWord, Name, Page
from ui.api.services import Services

router = APIRouter(prefix="/v1/incidents", tags=["incidents"])
IncidentIdPath = Annotated[Name, Path(description="an incident_id")]
StateName = Literal["open", "acknowledged", "closed"]
_NOT_CLOSED: tuple[StateName, ...] = ("open", "acknowledged")


def incident_out(one: IncidentRow) -> IncidentOut:
    """Return an incident as it is shown."""
    return IncidentOut.model_validate(
        {
            "incident_id": one.incident_id,
            "site_id": one.site_id,
            "kind": one.kind,
            "since": one.since,
            "until": one.until,
            "score": one.score,
            "severity": one.severity,
            "state": one.state,
            "assignee": one.assignee,
            "evidence": one.evidence,
            "history": one.history,
        }
    )


@router.get("", response_model=Page[IncidentOut], **may(Role.VIEWER))
async def incidents(
    services: ServicesHere,
    cursor: Cursor = None,
    limit: Limit = 50,
    state: Annotated[
        list[StateName] | None, Query(max_length=3, description="by default those not closed")
    ] = None,
    site_id: Annotated[Name | None, Query()] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List incidents, the newest first."""
    before = from_cursor(cursor, instant_part, text_part)
    found = await services.incidents.page(
        limit + 1,
        before=(before[0], before[1]) if before else None,
        states=state or _NOT_CLOSED,
        site_id=site_id,
    )
    items, last = page_of(found, limit)
    page = Page[IncidentOut](
        items=[incident_out(one) for one in items],
        next_cursor=None if last is None else to_cursor(last.since, last.incident_id),
    )
    return tagged(page, if_none_match)


async def _existing(services: Services, incident_id: str) -> IncidentRow:
    found = await services.incidents.fetch(incident_id)
    if found is None:
        raise not_found("incident", incident_id)
    return found


@router.get("/{incident_id}", response_model=IncidentOut, **may(Role.VIEWER, 404))
async def incident(
    incident_id: IncidentIdPath, services: ServicesHere, if_none_match: IfNoneMatch = None
) -> Response:
    """Show one incident with its evidence and history."""
    return tagged(incident_out(await _existing(services, incident_id)), if_none_match)


async def _moved(
    once: Once,
    incident_id: str,
    asked: IncidentWord | Assign,
    *,
    action: str,
    state: StateName | None,
    why: str,
    assignee: str | None = None,
) -> Response:
    services = once.services

    async def act() -> IncidentOut:
        before = await _existing(services, incident_id)
        changed = await services.incidents.change(
            incident_id,
            state=state or ("acknowledged" if before.state == "open" else before.state),
            assignee=assignee,
            who=once.caller.name,
            why=why,
            at=services.clock.now(),
            action=action,
        )
        if not changed:
            raise ApiError(HTTPStatus.CONFLICT, f"incident {incident_id} is closed")
        return incident_out(await _existing(services, incident_id))

    return await once(asked, act)


@router.post("/{incident_id}/acknowledge", response_model=IncidentOut, **may(Role.OPERATOR, 404, 409))
async def acknowledge(incident_id: IncidentIdPath, asked: IncidentWord, once: OnceHere) -> Response:
    """Say that somebody looks after it."""
    return await _moved(once, incident_id, asked, action="acknowledged", state="acknowledged", why=asked.why)


@router.post("/{incident_id}/close", response_model=IncidentOut, **may(Role.OPERATOR, 404, 409))
async def close(incident_id: IncidentIdPath, asked: IncidentWord, once: OnceHere) -> Response:
    """Say that it is over, and why."""
    return await _moved(once, incident_id, asked, action="closed", state="closed", why=asked.why)


@router.post("/{incident_id}/assign", response_model=IncidentOut, **may(Role.OPERATOR, 404, 409))
async def assign(
    incident_id: IncidentIdPath, asked: Assign, services: ServicesHere, once: OnceHere, _: Caller
) -> Response:
    """Say whose it is; an open incident is acknowledged by that."""
    user = await services.accounts.user(asked.assignee)
    if user is None or not user.active:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"there is no active user {asked.assignee}", field="assignee"
        )
    return await _moved(
        once,
        incident_id,
        asked,
        action="assigned",
        state=None,
        why=f"assigned to {asked.assignee}",
        assignee=asked.assignee,
    )
