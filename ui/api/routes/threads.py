"""Conversations with the agent and its cycles: asked by command, answered by events, read as JSON or as a stream."""

import secrets
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response

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
    tagged,
    text_part,
    to_cursor,
)
from ui.api.notice_hub import THREAD_EVENT
from ui.api.problems import not_found
from ui.api.roles import Principal, Role
from ui.api.schemas import (
    CommandMade,
    Name,
    NewMessage,
    NewThread,
    Page,
    ThreadCommandOut,
    ThreadDetail,
    ThreadEvent,
    ThreadEvents,
    ThreadOrder,
    ThreadOut,
)
from ui.api.services import Services
from ui.api.streams import AWAY, HEARTBEAT, MEDIA_TYPE, later, sse, still_in, stream, woken_within
from ui.api.thread_view_store import EventRow, ThreadRow

router = APIRouter(prefix="/v1/threads", tags=["threads"])
ThreadIdPath = Annotated[Name, Path(description="a thread_id")]
EventNo = Annotated[int, Query(ge=0, le=2**63 - 1, description="events after this number")]
_AT_ONCE = 500


@router.post("", status_code=HTTPStatus.CREATED, response_model=ThreadOut, **may(Role.OPERATOR, 409))
async def open_thread(asked: NewThread, services: ServicesHere, caller: Caller, once: OnceHere) -> Response:
    """Open a conversation."""

    async def act() -> ThreadOut:
        thread_id, at = f"chat-{secrets.token_hex(6)}", services.clock.now()
        await services.threads.open(thread_id, title=asked.title, who=caller.name, at=at)
        return thread_out(await existing(services, thread_id))

    return await once(asked, act, status=HTTPStatus.CREATED)


@router.get("", response_model=Page[ThreadOut], **may(Role.VIEWER))
async def threads(
    services: ServicesHere,
    cursor: Cursor = None,
    limit: Limit = 50,
    kind: Annotated[Literal["chat", "loop"] | None, Query()] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List threads, the newest first."""
    before = from_cursor(cursor, instant_part, text_part)
    found = await services.threads.page(
        limit + 1, before=(before[0], before[1]) if before else None, kind=kind
    )
    items, last = page_of(found, limit)
    page = Page[ThreadOut](
        items=[thread_out(one) for one in items],
        next_cursor=None if last is None else to_cursor(last.created_at, last.thread_id),
    )
    return tagged(page, if_none_match)


async def existing(services: Services, thread_id: str) -> ThreadRow:
    """Return a thread.

    Raises:
        ApiError: There is none.
    """
    found = await services.threads.fetch(thread_id)
    if found is None:
        raise not_found("thread", thread_id)
    return found


def thread_out(one: ThreadRow) -> ThreadOut:
    """Return a thread as it is shown."""
    return ThreadOut.model_validate(
        {
            "thread_id": one.thread_id,
            "kind": one.kind,
            "title": one.title,
            "who": one.who,
            "created_at": one.created_at,
            "last_event_no": one.last_event_no,
            "last_kind": one.last_kind,
            "last_at": one.last_at,
        }
    )


@router.get("/{thread_id}", response_model=ThreadDetail, **may(Role.VIEWER, 404))
async def thread(
    thread_id: ThreadIdPath, services: ServicesHere, if_none_match: IfNoneMatch = None
) -> Response:
    """Show a thread with what was asked in it; its events are apart."""
    found = await existing(services, thread_id)
    out = ThreadDetail(
        thread=thread_out(found),
        commands=[
            ThreadCommandOut.model_validate(
                {
                    "command_no": one.command_no,
                    "kind": one.kind,
                    "body": one.body,
                    "who": one.who,
                    "at": one.at,
                    "outcome": one.outcome,
                }
            )
            for one in await services.threads.commands(thread_id)
        ],
    )
    return tagged(out, if_none_match)


async def _asked(
    once: OnceHere,
    thread_id: str,
    kind: Literal["message", "resume", "cancel"],
    asked: NewMessage | ThreadOrder,
) -> Response:
    services, caller = once.services, once.caller
    body: dict[str, Any] = asked.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    key = f"{caller.identity}/{thread_id}/{kind}/{once.key or secrets.token_hex(12)}"

    async def act() -> CommandMade:
        await existing(services, thread_id)
        number = await services.threads.ask(
            thread_id, kind, body, who=caller.name, key=key, at=services.clock.now()
        )
        return CommandMade(thread_id=thread_id, command_no=number, kind=kind)

    return await once(asked, act, status=HTTPStatus.ACCEPTED)


_TAKEN: dict[str, Any] = {"status_code": HTTPStatus.ACCEPTED, "response_model": CommandMade}


@router.post("/{thread_id}/messages", **_TAKEN, **may(Role.OPERATOR, 404, 409))
async def message(thread_id: ThreadIdPath, asked: NewMessage, once: OnceHere) -> Response:
    """Say something to the agent; the answer comes as events."""
    return await _asked(once, thread_id, "message", asked)


@router.post("/{thread_id}/resume", **_TAKEN, **may(Role.OPERATOR, 404, 409))
async def resume(thread_id: ThreadIdPath, asked: ThreadOrder, once: OnceHere) -> Response:
    """Let a waiting run look again."""
    return await _asked(once, thread_id, "resume", asked)


@router.post("/{thread_id}/cancel", **_TAKEN, **may(Role.OPERATOR, 404, 409))
async def cancel(thread_id: ThreadIdPath, asked: ThreadOrder, once: OnceHere) -> Response:
    """End a waiting run; what was dispatched is ended by an abort of its plan, not by this."""
    return await _asked(once, thread_id, "cancel", asked)


_events = may(Role.VIEWER, 404)
_EVENTS_OK: dict[str, Any] = {
    "description": "Events as JSON, or with `Accept: text/event-stream` as a stream that stays open.",
    "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
}


@router.get(
    "/{thread_id}/events",
    response_model=ThreadEvents,
    dependencies=_events["dependencies"],
    openapi_extra=_events["openapi_extra"],
    responses={**_events["responses"], 200: _EVENTS_OK},
)
async def events(
    thread_id: ThreadIdPath,
    request: Request,
    services: ServicesHere,
    caller: Caller,
    after: EventNo = 0,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> Response | ThreadEvents:
    """Give the events after a number; as a stream, each event's id is its number, so that a reader may come back."""
    await existing(services, thread_id)
    if MEDIA_TYPE in request.headers.get("accept", ""):
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
        return stream(_stream(services, caller, thread_id, min(seen, 2**63 - 1)), services)
    found = await services.threads.events(thread_id, after, _AT_ONCE)
    return ThreadEvents(
        events=[_event(one) for one in found], last_event_no=found[-1].event_no if found else after
    )


async def _stream(services: Services, caller: Principal, thread_id: str, after: int) -> AsyncIterator[bytes]:
    async with services.hub.waiting(THREAD_EVENT, thread_id) as woken:
        while await still_in(services, caller):
            woken.clear()
            try:
                found = await services.threads.events(thread_id, after, _AT_ONCE)
            except AWAY:
                yield await later()
                continue
            for one in found:
                yield sse(one.kind, {"event_no": one.event_no, "at": one.at, **_plain(one)}, one.event_no)
                after = one.event_no
            if len(found) < _AT_ONCE and not await woken_within(
                woken, services.settings.heartbeat.total_seconds()
            ):
                yield HEARTBEAT


def _plain(one: EventRow) -> dict[str, Any]:
    return {"kind": one.kind, "body": one.body}


def _event(one: EventRow) -> ThreadEvent:
    return ThreadEvent.model_validate(
        {"event_no": one.event_no, "at": one.at, "kind": one.kind, "body": one.body}
    )
