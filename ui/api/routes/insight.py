"""Forecasts, data quality and the audit trail."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from edge.audit_chain import ChainCheck
from edge.safety.limits import Policy
from telemetry.model.series import QUANTILES, Quantity
from ui.api.access import (
    Cursor,
    IfNoneMatch,
    Limit,
    ServicesHere,
    from_cursor,
    may,
    number_part,
    page_of,
    tagged,
    text_part,
    to_cursor,
)
from ui.api.problems import not_found
from ui.api.roles import Role
from ui.api.schemas import (
    AuditCheck,
    AuditFaultOut,
    AuditLine,
    ForecastLine,
    ForecastOut,
    Name,
    Page,
    QualitySummary,
    QuarantineCount,
    SiteQualityOut,
)

router = APIRouter(prefix="/v1")
_WORST = 50
_FAULTS_SHOWN = 100
QuantityQuery = Annotated[Quantity, Query(description="of what")]


@router.get("/forecasts", tags=["forecasts"], **may(Role.VIEWER))
async def forecasts(
    services: ServicesHere,
    quantity: QuantityQuery = Quantity.LOAD_W,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> Page[ForecastLine]:
    """List each subject's newest forecast: which model made it, when, and why that one."""
    after = from_cursor(cursor, text_part)
    found = await services.views.forecast_lines(quantity.value, limit + 1, after=after[0] if after else "")
    items, last = page_of(found, limit)
    names = ("subject_id", "quantity", "made_at", "start", "steps", "model", "version", "reason")
    return Page[ForecastLine](
        items=[ForecastLine.model_validate(dict(zip(names, row, strict=True))) for row in items],
        next_cursor=None if last is None else to_cursor(last[0]),
    )


@router.get(
    "/forecasts/{subject_id}", response_model=ForecastOut, tags=["forecasts"], **may(Role.VIEWER, 404)
)
async def forecast(
    subject_id: Annotated[Name, Path(description="a site_id, or a feeder_id for background_w")],
    services: ServicesHere,
    quantity: QuantityQuery = Quantity.LOAD_W,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Show a subject's newest forecast with its bands."""
    found = await services.forecasts.history(subject_id, quantity, limit=1)
    if not found:
        raise not_found(f"{quantity.value} forecast of", subject_id)
    one = found[0]
    out = ForecastOut(
        subject_id=one.subject_id,
        quantity=one.quantity.value,
        made_at=one.made_at,
        start=one.start,
        model=one.model,
        version=one.version,
        reason=one.reason,
        quantiles=list(QUANTILES),
        values_w=[list(row) for row in one.values_w],
        cumulative_wh=[list(row) for row in one.cumulative_wh],
    )
    return tagged(out, if_none_match)


@router.get("/quality", tags=["quality"], **may(Role.VIEWER))
async def quality(services: ServicesHere) -> QualitySummary:
    """Show how far the data can be believed: the worst sites, and what was set aside in the last day."""
    found = await services.views.quality()
    needed = Policy().min_quality_score
    day = services.clock.now() - timedelta(days=1)
    return QualitySummary(
        sites=len(found),
        mean_score=sum(row[2] for row in found) / len(found) if found else None,
        below_dispatch=sum(row[2] < needed for row in found),
        needed_for_dispatch=needed,
        worst=[
            SiteQualityOut(site_id=row[0], at=row[1], score=row[2], reasons=row[3]) for row in found[:_WORST]
        ],
        quarantined=[
            QuarantineCount(reason=row[0], count=row[1], last_at=row[2])
            for row in await services.views.quarantined(day)
        ],
    )


@router.get("/audit", tags=["audit"], **may(Role.OPERATOR))
async def audit(
    services: ServicesHere,
    cursor: Cursor = None,
    limit: Limit = 100,
    subject: Annotated[Name | None, Query(description="a plan_id, site_id, user ...")] = None,
) -> Page[AuditLine]:
    """List the audit trail, the newest first; of a plan, its commands' entries too."""
    before = from_cursor(cursor, number_part)
    found = await services.views.audit_page(limit + 1, before=before[0] if before else None, subject=subject)
    items, last = page_of(found, limit)
    names = ("seq", "at", "role", "who", "action", "subject", "before", "after")
    return Page[AuditLine](
        items=[AuditLine.model_validate(dict(zip(names, row, strict=True))) for row in items],
        next_cursor=None if last is None else to_cursor(last[0]),
    )


@router.get("/audit/verify", tags=["audit"], **may(Role.OPERATOR))
async def audit_verify(services: ServicesHere) -> AuditCheck:
    """Follow the hash chain of the whole trail; `cellwatt audit verify` checks the signed heads besides."""
    check = ChainCheck()
    async for entry in services.audit.entries():
        check.add(entry)
    faults = check.faults
    return AuditCheck(
        entries=len(check.hashes),
        sound=not faults,
        faults=[
            AuditFaultOut(kind=one.kind, seq=one.seq, detail=one.detail) for one in faults[:_FAULTS_SHOWN]
        ],
    )
