"""What sites and ingest told of by themselves."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from ui.api.access import ServicesHere, may
from ui.api.roles import Role
from ui.api.schemas import Name, Schema

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
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[SiteEventOut]:
    """List the newest events: mains lost and back, loads shed, locks, faults; of ingest, a full spill or lost readings."""
    found = await services.events.recent(limit, site_id=site_id, kind=kind)
    return [SiteEventOut(site_id=one.site_id, at=one.at, kind=one.kind, detail=one.detail) for one in found]
