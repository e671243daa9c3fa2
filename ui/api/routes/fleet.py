"""The fleet now, and live."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from ui.api.access import Caller, IfNoneMatch, ServicesHere, may, tagged_bytes
from ui.api.fleet_feed import Snapshot
from ui.api.roles import Principal, Role
from ui.api.schemas import Fleet
from ui.api.services import Services
from ui.api.streams import HEARTBEAT, MEDIA_TYPE, sse, still_in, stream

router = APIRouter(prefix="/v1", tags=["fleet"])
_STREAM: dict[str, Any] = {
    "description": "Server-sent events: `fleet` (the first has every site, then only those that changed, with the totals),"
    " `notice` (channel and key of what changed: approval, acknowledgement, dispatch_outcome, control_request, thread_event).",
    "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
}


@router.get("/fleet", response_model=Fleet, **may(Role.VIEWER))
async def fleet(
    services: ServicesHere,
    if_none_match: IfNoneMatch = None,
    accept_encoding: Annotated[str, Header(alias="Accept-Encoding", max_length=400)] = "",
) -> Response:
    """Show the whole fleet in one document, at most about a second old."""
    snapshot = await services.feed.current()
    if "gzip" in accept_encoding:
        headers = {"Content-Encoding": "gzip"}
        return tagged_bytes(snapshot.packed, snapshot.etag, if_none_match, headers=headers)
    return tagged_bytes(snapshot.plain, snapshot.etag, if_none_match)


_live = may(Role.VIEWER)


@router.get(
    "/live",
    response_class=Response,
    dependencies=_live["dependencies"],
    openapi_extra=_live["openapi_extra"],
    responses={**_live["responses"], 200: _STREAM},
)
async def live(services: ServicesHere, caller: Caller) -> Response:
    """Stream what changes in the fleet, once a second at most."""
    return stream(_events(services, caller, await services.feed.current()), services)


async def _events(services: Services, caller: Principal, snapshot: Snapshot | None) -> AsyncIterator[bytes]:
    version, quiet_s = 0, 0.0
    every_s = services.settings.fleet_every.total_seconds()
    async with services.hub.everything() as notices:
        while await still_in(services, caller):
            if snapshot is not None:
                yield sse("fleet", _told(snapshot, whole=version != snapshot.version - 1), snapshot.version)
                version, quiet_s = snapshot.version, 0.0
            elif (quiet_s := quiet_s + every_s) >= services.settings.heartbeat.total_seconds():
                yield HEARTBEAT
                quiet_s = 0.0
            try:
                snapshot = await services.feed.after(version)
            except TimeoutError:
                snapshot = None
            while not notices.empty():
                channel, key = notices.get_nowait()
                yield sse("notice", {"channel": channel, "key": key})
            await asyncio.sleep(0)


def _told(snapshot: Snapshot, *, whole: bool) -> dict[str, Any]:
    sites = snapshot.document["sites"] if whole else snapshot.changed
    return {**snapshot.document, "sites": sites, "whole": whole}
