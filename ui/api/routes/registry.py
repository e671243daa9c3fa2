"""Sites, feeders and critical sites."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Query, Response

from telemetry.model.site import CriticalSite, Feeder, Site
from ui.api.access import (
    Caller,
    Cursor,
    IfNoneMatch,
    Limit,
    ServicesHere,
    from_cursor,
    may,
    page_of,
    person,
    tagged,
    text_part,
    to_cursor,
)
from ui.api.problems import ApiError, not_found
from ui.api.registry_desk_store import KEYS, Conflict, Put
from ui.api.registry_input import EntryError, check_zone, read_entry, settle_site
from ui.api.roles import Principal, Role
from ui.api.schemas import CriticalSiteOut, FeederOut, Name, Page, SiteOut
from ui.api.services import Services
from ui.api.view_store import Entry

router = APIRouter(prefix="/v1", tags=["registry"])
SiteIdPath = Annotated[Name, Path(description="a site_id")]
FeederIdPath = Annotated[Name, Path(description="a feeder_id")]


async def entries_of(
    services: Services, table: str, limit: int, cursor: str | None, feeder_id: str | None = None
) -> tuple[list[Entry], str | None]:
    """Return a page of a part of the registry, and the cursor of the next one."""
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
    found, following = await entries_of(services, "site", limit, cursor, feeder_id)
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
    found, following = await entries_of(services, "feeder", limit, cursor)
    items = [FeederOut(feeder_id=one.subject_id, version=one.version, feeder=one.doc) for one in found]
    return tagged(Page[FeederOut](items=items, next_cursor=following), if_none_match)


@router.get("/critical-sites", response_model=Page[CriticalSiteOut], **may(Role.VIEWER))
async def critical_sites(
    services: ServicesHere, cursor: Cursor = None, limit: Limit = 100, if_none_match: IfNoneMatch = None
) -> Response:
    """List critical sites in order of id."""
    found, following = await entries_of(services, "critical_site", limit, cursor)
    items = [
        CriticalSiteOut(critical_site_id=one.subject_id, version=one.version, critical_site=one.doc)
        for one in found
    ]
    return tagged(Page[CriticalSiteOut](items=items, next_cursor=following), if_none_match)


IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="the ETag of what was seen, to overwrite no other change",
    ),
]
EntryBody = Annotated[dict[str, Any], Body(description="the whole entry, as GET shows it")]


def _expected(if_match: str | None, table: str) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    match = re.fullmatch(rf'"{table}-([0-9]{{1,9}})"', if_match.strip())
    if match is None:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f'send the ETag, such as "{table}-1"', field="If-Match"
        )
    return int(match[1])


async def put_entry(
    services: Services,
    caller: Principal,
    table: str,
    subject_id: str,
    asked: dict[str, Any],
    if_match: str | None,
    read: Callable[[dict[str, Any]], dict[str, Any]],
    settle: Callable[[dict[str, Any], dict[str, Any] | None], dict[str, Any] | Conflict],
) -> tuple[dict[str, Any], Put]:
    """Write an entry and return it with its version.

    Raises:
        ApiError: It is malformed, names another subject, or somebody else has changed it.
    """
    key = KEYS[table]
    if asked.get(key, subject_id) != subject_id:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the entry is of {asked[key]}", field=key)
    try:
        entry = read(asked)
    except EntryError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), field=error.field) from error
    done = await services.registry_desk.put(
        table,
        subject_id,
        lambda before: settle(entry, before),
        expected_version=_expected(if_match, table),
        who=person(caller),
        at=services.clock.now(),
    )
    if isinstance(done, Conflict):
        stale = done.field == "If-Match"
        raise ApiError(
            HTTPStatus.PRECONDITION_FAILED if stale else HTTPStatus.CONFLICT, done.why, field=done.field
        )
    return entry, done


def _read_site(doc: dict[str, Any]) -> dict[str, Any]:
    entry = read_entry(doc, Site)
    check_zone(entry)
    return entry


@router.put("/sites/{site_id}", **may(Role.ADMIN, 409, 412))
async def put_site(
    site_id: SiteIdPath, asked: EntryBody, services: ServicesHere, caller: Caller, if_match: IfMatch = None
) -> SiteOut:
    """Add a site (in monitor or shadow) or replace its entry; its mode is changed by an order, not here."""
    entry, done = await put_entry(services, caller, "site", site_id, asked, if_match, _read_site, settle_site)
    return SiteOut(site_id=site_id, version=done.version, site=entry)


@router.put("/feeders/{feeder_id}", **may(Role.ADMIN, 409, 412))
async def put_feeder(
    feeder_id: FeederIdPath,
    asked: EntryBody,
    services: ServicesHere,
    caller: Caller,
    if_match: IfMatch = None,
) -> FeederOut:
    """Add a feeder or replace its entry."""
    entry, done = await put_entry(
        services, caller, "feeder", feeder_id, asked, if_match,
        lambda doc: read_entry(doc, Feeder), lambda new, _: new,
    )  # fmt: skip
    return FeederOut(feeder_id=feeder_id, version=done.version, feeder=entry)


@router.put("/critical-sites/{critical_site_id}", **may(Role.ADMIN, 409, 412))
async def put_critical_site(
    critical_site_id: Annotated[Name, Path()],
    asked: EntryBody,
    services: ServicesHere,
    caller: Caller,
    if_match: IfMatch = None,
) -> CriticalSiteOut:
    """Add a critical site or replace its entry."""
    entry, done = await put_entry(
        services, caller, "critical_site", critical_site_id, asked, if_match,
        lambda doc: read_entry(doc, CriticalSite), lambda new, _: new,
    )  # fmt: skip
    return CriticalSiteOut(critical_site_id=critical_site_id, version=done.version, critical_site=entry)
