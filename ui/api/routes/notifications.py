"""Messages to people: where they go, what was sent, and the test button."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from tools.notify.settings import NotifySettingsError
from ui.api.access import (
    Cursor,
    Limit,
    OnceHere,
    ServicesHere,
    from_cursor,
    instant_part,
    may,
    page_of,
    text_part,
    to_cursor,
)
from ui.api.notice_schemas import NoticeOut, TargetOut, Targets, TestAsked, TestedOut
from ui.api.problems import ApiError, not_found
from ui.api.roles import Principal, Role
from ui.api.schemas import Page
from ui.api.services import Services

router = APIRouter(prefix="/v1/notifications", tags=["notifications"])


@router.get("/targets", **may(Role.OPERATOR))
async def targets(services: ServicesHere) -> Targets:
    """List where messages go, without addresses or secrets; these stay in the notification file on the server."""
    try:
        found = services.notify.targets()
    except NotifySettingsError as error:
        return Targets(fault=str(error), targets=[])
    return Targets(fault=None, targets=[TargetOut.model_validate(one, from_attributes=True) for one in found])


@router.get("", **may(Role.OPERATOR))
async def notices(services: ServicesHere, cursor: Cursor = None, limit: Limit = 50) -> Page[NoticeOut]:
    """List the newest messages: who was told of what, and whether it arrived at the service."""
    before = from_cursor(cursor, instant_part, text_part)
    found = await services.notify.recent(limit + 1, before=(before[0], before[1]) if before else None)
    items, last = page_of(found, limit)
    shown = [
        NoticeOut(
            message_id=one.message.message_id,
            target=one.message.target,
            subject_ids=list(one.message.subject_ids),
            reason=one.message.reason,
            severity=one.message.severity.value,
            title=one.message.title,
            made_at=one.made_at,
            state=one.state.value,
            attempts=one.attempts,
            settled_at=one.settled_at,
            outcome=one.outcome,
        )
        for one in items
    ]
    return Page[NoticeOut](
        items=shown, next_cursor=None if last is None else to_cursor(last.made_at, last.message.message_id)
    )


@router.post("/test", response_model=list[TestedOut], **may(Role.ADMIN, 404, 409))
async def test(asked: TestAsked, once: OnceHere) -> Response:
    """Send a test message to one target or to all, now, and say how each fared."""
    return await once(asked, lambda: _tested(asked, once.services, once.caller))


async def _tested(asked: TestAsked, services: Services, caller: Principal) -> list[TestedOut]:
    try:
        found = await services.notify.test(asked.target)
    except KeyError as error:
        raise not_found("target", str(asked.target)) from error
    except NotifySettingsError as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error), field="target") from error
    await services.audit.append(
        at=services.clock.now(),
        who=caller.name,
        action="notification.tested",
        subject=asked.target or "all targets",
        after={one.target: one.delivery.ok for one in found},
    )
    return [
        TestedOut(target=one.target, scheme=one.scheme, ok=one.delivery.ok, detail=one.delivery.detail)
        for one in found
    ]
