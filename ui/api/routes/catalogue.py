"""What sites are put together from: autonomy profiles by jurisdiction, battery types, tariffs; and an entry's history."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path

from telemetry.model.catalogue import AutonomyRule, BatteryType, Tariff
from ui.api.access import Caller, Cursor, Limit, ServicesHere, may
from ui.api.registry_input import check_zone, read_entry
from ui.api.roles import Role
from ui.api.routes.registry import EntryBody, IfMatch, entries_of, put_entry
from ui.api.schemas import Name, Page, Schema
from ui.api.services import Services

router = APIRouter(prefix="/v1", tags=["registry"])
Kind = Literal["sites", "feeders", "critical-sites", "autonomy-profiles", "battery-types", "tariffs"]
_TABLES: Mapping[Kind, str] = {
    "sites": "site",
    "feeders": "feeder",
    "critical-sites": "critical_site",
    "autonomy-profiles": "autonomy_profile",
    "battery-types": "battery_type",
    "tariffs": "tariff",
}


class CatalogueEntry(Schema):
    """One entry as stored, and its version (the ETag of a change is `"TABLE-VERSION"`, such as `"tariff-1"`)."""

    subject_id: str
    version: int
    entry: dict[str, Any]


class RegistryChange(Schema):
    """One change of an entry: who, when, what it was and what it became."""

    version: int
    at: datetime
    who: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


async def _listed(services: Services, table: str, limit: int, cursor: str | None) -> Page[CatalogueEntry]:
    found, following = await entries_of(services, table, limit, cursor)
    items = [CatalogueEntry(subject_id=one.subject_id, version=one.version, entry=one.doc) for one in found]
    return Page[CatalogueEntry](items=items, next_cursor=following)


async def _written(
    services: Services,
    caller: Caller,
    table: str,
    subject_id: str,
    asked: dict[str, Any],
    if_match: str | None,
    read: Callable[[dict[str, Any]], dict[str, Any]],
) -> CatalogueEntry:
    entry, done = await put_entry(
        services, caller, table, subject_id, asked, if_match, read, lambda new, _: new
    )
    return CatalogueEntry(subject_id=subject_id, version=done.version, entry=entry)


@router.get("/autonomy-profiles", **may(Role.VIEWER))
async def autonomy_profiles(
    services: ServicesHere, cursor: Cursor = None, limit: Limit = 100
) -> Page[CatalogueEntry]:
    """List what jurisdictions ask of sites."""
    return await _listed(services, "autonomy_profile", limit, cursor)


@router.put("/autonomy-profiles/{profile_id}", **may(Role.ADMIN, 409, 412))
async def put_autonomy_profile(
    profile_id: Annotated[Name, Path()],
    asked: EntryBody,
    services: ServicesHere,
    caller: Caller,
    if_match: IfMatch = None,
) -> CatalogueEntry:
    """Add or replace a profile. Sites hold a copy: each keeps its floor until it is written anew."""
    return await _written(
        services, caller, "autonomy_profile", profile_id, asked, if_match,
        lambda doc: read_entry(doc, AutonomyRule),
    )  # fmt: skip


@router.get("/battery-types", **may(Role.VIEWER))
async def battery_types(
    services: ServicesHere, cursor: Cursor = None, limit: Limit = 100
) -> Page[CatalogueEntry]:
    """List battery types with their limits by temperature."""
    return await _listed(services, "battery_type", limit, cursor)


@router.put("/battery-types/{battery_type_id}", **may(Role.ADMIN, 409, 412))
async def put_battery_type(
    battery_type_id: Annotated[Name, Path()],
    asked: EntryBody,
    services: ServicesHere,
    caller: Caller,
    if_match: IfMatch = None,
) -> CatalogueEntry:
    """Add or replace a battery type. Sites hold a copy: each keeps its limits until it is written anew."""
    return await _written(
        services, caller, "battery_type", battery_type_id, asked, if_match,
        lambda doc: read_entry(doc, BatteryType),
    )  # fmt: skip


def _read_tariff(doc: dict[str, Any]) -> dict[str, Any]:
    entry = read_entry(doc, Tariff)
    check_zone(entry)
    return entry


@router.get("/tariffs", **may(Role.VIEWER))
async def tariffs(services: ServicesHere, cursor: Cursor = None, limit: Limit = 100) -> Page[CatalogueEntry]:
    """List tariffs."""
    return await _listed(services, "tariff", limit, cursor)


@router.put("/tariffs/{tariff_id}", **may(Role.ADMIN, 409, 412))
async def put_tariff(
    tariff_id: Annotated[Name, Path()],
    asked: EntryBody,
    services: ServicesHere,
    caller: Caller,
    if_match: IfMatch = None,
) -> CatalogueEntry:
    """Add or replace a tariff: one price for every hour of every day, in the tariff's own time zone."""
    return await _written(services, caller, "tariff", tariff_id, asked, if_match, _read_tariff)


@router.get("/registry/{kind}/{subject_id}/changes", **may(Role.OPERATOR))
async def changes(
    kind: Annotated[Kind, Path()],
    subject_id: Annotated[Name, Path()],
    services: ServicesHere,
    limit: Limit = 100,
) -> list[RegistryChange]:
    """List the changes of an entry, the newest first."""
    found = await services.registry_desk.history(_TABLES[kind], subject_id, limit)
    return [RegistryChange.model_validate(one) for one in found]
