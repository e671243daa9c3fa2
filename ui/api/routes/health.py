"""How batteries age: state of health with its interval, wear, remaining life, and by which month to replace them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query

from telemetry.model.site import Site, SiteId
from tools.health.estimate import NotJudged, SohEstimate
from tools.health.remaining import LONGEST, RemainingLife
from tools.health.resistance import Resistance
from tools.health.site_health import NOTE, SiteHealth
from tools.health_look import HealthLook
from ui.api.access import Cursor, ServicesHere, may
from ui.api.health_schemas import (
    BatteryHealth,
    BatteryHealthPage,
    RemainingOut,
    SiteHealthOut,
    SohObservation,
    SohOut,
)
from ui.api.problems import ApiError, not_found
from ui.api.roles import Role
from ui.api.routes.registry import entries_of
from ui.api.schemas import Name
from ui.api.services import Services

router = APIRouter(prefix="/v1", tags=["health"])
# A page reads four weeks of quarter hours of each of its sites, so it is shorter than other pages.
_MOST = 500
# Load steps are two windows of raw readings for each battery.
_MOST_WITH_RESISTANCE, _AT_ONCE = 50, 4


@router.get("/health/batteries", **may(Role.VIEWER))
async def batteries(
    services: ServicesHere,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="how many at most")] = 200,
    resistance: Annotated[
        bool, Query(description=f"with resistance, for pages of at most {_MOST_WITH_RESISTANCE}")
    ] = False,
) -> BatteryHealthPage:
    """List batteries with state of health, wear, remaining life and the month to replace them by, or why it is not known."""
    if resistance and limit > _MOST_WITH_RESISTANCE:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"with resistance a page holds at most {_MOST_WITH_RESISTANCE}",
            field="limit",
        )
    entries, following = await entries_of(services, "site", limit, cursor)
    sites = {SiteId(one.subject_id): msgspec.convert(one.doc, Site) for one in entries}
    now, look = services.clock.now(), look_of(services, sites)
    async with services.checks:
        found = await look(now, list(sites)) if sites else {}
        measured = await _resistances(look, list(sites), now) if resistance else {}
    return BatteryHealthPage(
        at=now,
        days=look.past.total_seconds() / 86_400.0,
        note=NOTE,
        items=[health_out(found[name], site, now, measured.get(name)) for name, site in sites.items()],
        next_cursor=following,
    )


@router.get("/sites/{site_id}/health", **may(Role.VIEWER, 404))
async def site_health(site_id: Annotated[Name, Path()], services: ServicesHere) -> SiteHealthOut:
    """Show one battery's health, its resistance, and what the figures rest on."""
    entry = await services.views.registry_entry("site", site_id)
    if entry is None:
        raise not_found("site", site_id)
    name, site = SiteId(site_id), msgspec.convert(entry.doc, Site)
    now, look = services.clock.now(), look_of(services, {SiteId(site_id): site})
    found = (await look(now, [name]))[name]
    resistance = await look.resistance(name, now)
    ohm, why = _ohm(resistance)
    return SiteHealthOut(
        at=now,
        days=look.past.total_seconds() / 86_400.0,
        note=found.note,
        battery=health_out(found, site, now, resistance),
        resistance_ohm=ohm,
        resistance_why=why,
        observations=[SohObservation.model_validate(one, from_attributes=True) for one in found.observations],
        not_counted=list(found.refused),
    )


async def _resistances(
    look: HealthLook, names: Sequence[SiteId], now: datetime
) -> dict[SiteId, Resistance | NotJudged]:
    """Return each battery's resistance, a few at a time so that other requests get their connections."""
    few = asyncio.Semaphore(_AT_ONCE)

    async def one(name: SiteId) -> Resistance | NotJudged:
        async with few:
            return await look.resistance(name, now)

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def _ohm(resistance: Resistance | NotJudged | None) -> tuple[float | None, str]:
    match resistance:
        case None:
            return None, "not looked at; ask with resistance=true"
        case NotJudged(reason=reason):
            return None, reason
        case Resistance(ohm=ohm, steps=steps):
            return ohm, f"{steps} load steps"


@dataclass(frozen=True, slots=True)
class _These:
    """The sites that are looked at; reading all 5,000 for one page would cost more than the look itself."""

    chosen: Mapping[SiteId, Site]

    async def sites(self) -> dict[SiteId, Site]:
        """Return them."""
        return dict(self.chosen)


def look_of(services: Services, sites: Mapping[SiteId, Site]) -> HealthLook:
    """Return what looks at the batteries of some sites, with the API's rights."""
    return HealthLook(readings=services.readings, registry=_These(sites))


def health_out(
    found: SiteHealth, site: Site, now: datetime, resistance: Resistance | NotJudged | None = None
) -> BatteryHealth:
    """Return a battery's health as the API tells it; no `resistance`: it was not looked at."""
    soh, life = found.soh, found.remaining
    ohm, ohm_why = _ohm(resistance)
    return BatteryHealth(
        site_id=found.site_id,
        simulated=site.simulated,
        soh=_soh(soh) if isinstance(soh, SohEstimate) else None,
        soh_why=soh.evidence if isinstance(soh, SohEstimate) else soh.reason,
        remaining=RemainingOut.model_validate(life, from_attributes=True)
        if isinstance(life, RemainingLife)
        else None,
        remaining_why=life.reason if isinstance(life, NotJudged) else _life_words(life),
        replace_month=f"{life.early:%Y-%m}"
        if isinstance(life, RemainingLife) and life.early < now + LONGEST
        else None,
        replace_at_frac=found.replace_at_frac,
        wear_frac_per_year=found.wear_frac_per_year,
        full_cycles=found.cycles,
        mean_battery_c=found.mean_c,
        resistance_ohm=ohm,
        resistance_why=ohm_why,
    )


def _soh(soh: SohEstimate) -> SohOut:
    return SohOut(
        soh_frac=soh.soh_frac, low_frac=soh.low_frac, high_frac=soh.high_frac, evidence=soh.evidence
    )


def _life_words(life: RemainingLife) -> str:
    return f"losing {life.loss_frac_per_year:.1%} a year over {life.observations} observations"
