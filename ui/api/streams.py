"""Server-sent events: one line format, a heartbeat, an end when the credentials end or the server closes."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from fastapi.responses import StreamingResponse
from psycopg_pool import PoolTimeout

from ui.api.roles import Principal
from ui.api.services import Services

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = b": alive\n\n"
RETRY = b"retry: 2000\n\n"
AWAY = (psycopg.OperationalError, PoolTimeout)
_AGAIN_S = 0.5


def sse(kind: str, body: Any, number: int | None = None) -> bytes:
    """Return one event; its body is JSON on one line."""
    head = b"" if number is None else b"id: %d\n" % number
    return head + b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


def stream(events: AsyncIterator[bytes], services: Services) -> StreamingResponse:
    """Return a streaming answer that is counted while it is open."""
    return StreamingResponse(
        _counted(events, services),
        HTTPStatus.OK,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _counted(events: AsyncIterator[bytes], services: Services) -> AsyncIterator[bytes]:
    services.metrics.streams += 1
    try:
        yield RETRY
        async for event in events:
            yield event
    finally:
        services.metrics.streams -= 1


async def still_in(services: Services, caller: Principal) -> bool:
    """Return whether a stream may go on: the server is up and the credentials are still good.

    While the database is away nobody's credentials can be looked up; who was let in stays until they expire.
    """
    if services.hub.closing.is_set() or services.wall() >= caller.expires_at:
        return False
    try:
        return await services.gatekeeper.holder(caller.token_hash) is not None
    except AWAY:
        return True


async def later() -> bytes:
    """Wait a little for a database that is away, and return a sign of life."""
    await asyncio.sleep(_AGAIN_S)
    return HEARTBEAT


async def woken_within(woken: asyncio.Event, seconds: float) -> bool:
    """Return whether an event came within the time."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    return True
