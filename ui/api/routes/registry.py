"""Sites, feeders and critical sites."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from ui.api.access import (
    Cursor,
    IfNoneMatch,
    Limit,
    ServicesHere,
    from_cursor,
    may,
    page_of,
    tagged,
    text_part,
    to_cursor,
)
from ui.api.problems import not_found
from ui.api.roles import Role
from ui.api.schemas import CriticalSiteOut, FeederOut, Name, Page, SiteOut
from ui.api.services import Services
from ui.api.view_store import Entry

router = APIRouter(prefix="/v1", tags=["registry"])
SiteIdPath = Annotated[Name, Path(description="a site_id")]
FeederIdPath = Annotated[Name, Path(description="a feeder_id")]


async def _entries(
    services: Services, table: str, limit: int, cursor: str | None, feeder_id: str | None = None
) -> tuple[list[Entry], str | None]:
    after = from_cursor(cursor, text_part)
    found = await services.views.registry_page(
        table, limit + 1, after=after[0] if after else "", feeder_id=feeder_id
    )
    items, last = page_of(found, limit)
    return list(items), None if last is None else to_cursor(last.subject_id)


@router.get("/sites", response_model=Page[SiteOut], **may(Role.VIEWER))
async def sites(
    services: ServicesHere,
    cursor: Cursor = None,
    limit: Limit = 100,
    feeder_id: Annotated[Name | None, Query()] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List sites in order of id."""
    found, following = await _entries(services, "site", limit, cursor, feeder_id)
    items = [SiteOut(site_id=one.subject_id, version=one.version, site=one.doc) for one in found]
    return tagged(Page[SiteOut](items=items, next_cursor=following), if_none_match)


@router.get("/sites/{site_id}", response_model=SiteOut, **may(Role.VIEWER, 404))
async def site(site_id: SiteIdPath, services: ServicesHere, if_none_match: IfNoneMatch = None) -> Response:
    """Show one site."""
    entry = await services.views.registry_entry("site", site_id)
    if entry is None:
        raise not_found("site", site_id)
    out = SiteOut(site_id=site_id, version=entry.version, site=entry.doc)
    return tagged(out, if_none_match, f'"site-{entry.version}"')


@router.get("/feeders", response_model=Page[FeederOut], **may(Role.VIEWER))
async def feeders(
    services: ServicesHere, cursor: Cursor = None, limit: Limit = 100, if_none_match: IfNoneMatch = None
) -> Response:
    """List feeders in order of id."""
    found, following = await _entries(services, "feeder", limit, cursor)
    items = [FeederOut(feeder_id=one.subject_id, version=one.version, feeder=one.doc) for one in found]
    return tagged(Page[FeederOut](items=items, next_cursor=following), if_none_match)


@router.get("/critical-sites", response_model=Page[CriticalSiteOut], **may(Role.VIEWER))
async def critical_sites(
    services: ServicesHere, cursor: Cursor = None, limit: Limit = 100, if_none_match: IfNoneMatch = None
) -> Response:
    """List critical sites in order of id."""
    found, following = await _entries(services, "critical_site", limit, cursor)
    items = [
        CriticalSiteOut(critical_site_id=one.subject_id, version=one.version, critical_site=one.doc)
        for one in found
    ]
    return tagged(Page[CriticalSiteOut](items=items, next_cursor=following), if_none_match)
