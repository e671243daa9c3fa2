"""What sites and ingest told of by themselves."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from ui.api.access import (
    Cursor,
    Limit,
    ServicesHere,
    from_cursor,
    instant_part,
    may,
    number_part,
    page_of,
    to_cursor,
)
from ui.api.roles import Role
from ui.api.schemas import Name, Page, Schema

router = APIRouter(prefix="/v1", tags=["incidents"])


class SiteEventOut(Schema):
    """Something that a site, or an ingest worker (`svc-ingest...`), told of; `detail` is its own words."""

    site_id: str
    at: datetime
    kind: str
    detail: str


@router.get("/events", **may(Role.VIEWER))
async def events(
    services: ServicesHere,
    site_id: Annotated[Name | None, Query()] = None,
    kind: Annotated[Name | None, Query(description="for instance mains_lost, load_shed, spill_full")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[SiteEventOut]:
    """List the newest events: mains lost and back, loads shed, locks, faults; of ingest, a full spill or lost readings."""
    before = from_cursor(cursor, instant_part, number_part)
    found = await services.events.recent(
        limit + 1, before=(before[0], before[1]) if before else None, site_id=site_id, kind=kind
    )
    items, last = page_of(found, limit)
    return Page[SiteEventOut](
        items=[
            SiteEventOut(site_id=one.site_id, at=one.at, kind=one.kind, detail=one.detail) for one in items
        ],
        next_cursor=None if last is None else to_cursor(last.at, last.event_id),
    )
