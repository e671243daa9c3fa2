"""Telemetry in, and time series out."""

import asyncio
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Query, Request, Response

from telemetry.model.series import STEP
from telemetry.model.site import FeederId, SiteId
from telemetry.points import MAX_POINTS, RAW_METRICS
from telemetry.series_store import ROLLUP_METRICS, SeriesStore, Source, source_for_rollups, unit_of
from tools.outlook import floor_step
from ui.api.access import IfNoneMatch, OnceHere, ServicesHere, may, tagged
from ui.api.feeder_band import band_of
from ui.api.problems import ApiError, not_found
from ui.api.roles import Principal, Role
from ui.api.routes.registry import FeederIdPath, SiteIdPath
from ui.api.schemas import FeederSeries, Instant, RowProblem, Series, Uploaded
from ui.api.services import Services
from ui.api.upload import Sender, Sorted, UploadError, shown, sort_rows, unpacked
from ui.api.upload_store import store_upload

router = APIRouter(prefix="/v1", tags=["telemetry"])
MetricName = Literal[
    "load_w", "grid_w", "aux_ac_w", "pv_w", "rectifier_w", "battery_w", "meter_battery_w", "charge_wh", "discharge_wh",
    "load_wh", "grid_wh", "pv_wh", "soc_frac", "bus_v", "battery_a", "battery_c", "ambient_c", "genset_w",
]  # fmt: skip
SourceName = Literal["auto", "readings", "rollup"]
_RAW_UP_TO = timedelta(days=2)
_LONGEST = timedelta(days=400)
_LONGEST_FEEDER = timedelta(days=31)
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["rows"],
                "additionalProperties": False,
                "properties": {"rows": {"type": "array", "items": {"type": "object"}, "maxItems": 100_000}},
            },
            "example": {
                "rows": [
                    {
                        "site_id": "cbs-0001",
                        "at": "2026-01-15T17:00:00Z",
                        "load_w": 2000.0,
                        "soc_frac": 0.98,
                        "bus_v": 54.4,
                    }
                ]
            },
        },
        "application/x-ndjson": {"schema": {"type": "string"}},
        "text/csv": {
            "schema": {"type": "string"},
            "example": "site_id,at,load_w\ncbs-0001,2026-01-15T17:00:00Z,2000",
        },
    },
}
_upload = may(Role.SITE, 413, 415, except_for=(Role.VIEWER,))


@router.post(
    "/telemetry",
    response_model=Uploaded,
    dependencies=_upload["dependencies"],
    responses=_upload["responses"],
    openapi_extra={**_upload["openapi_extra"], "requestBody": _BODY},
)
async def upload(request: Request, once: OnceHere) -> Response:
    """Store up to 100,000 rows: good ones are stored, bad ones named with field and reason; sending again changes nothing.

    JSON (`{"rows": [...]}` or a list), NDJSON or CSV with a header, gzipped or not. A row has the fields of a reading
    (`site_id`, `at`, `load_w` and so on; `boot_id` and `sequence` if the site counts them), or `feeder_id`, `at` and
    `background_w`. A site's token writes that site only.
    """
    body, kind = await request.body(), request.headers.get("content-type", "")
    return await once((kind.encode(), body), lambda: _store(body, kind, once.services, once.caller))


async def _store(body: bytes, kind: str, services: Services, caller: Principal) -> Uploaded:
    sites, feeders = await services.registry.sites(), await services.registry.feeders()
    sender = Sender(site_id=caller.site_id, sites=frozenset(sites), feeders=frozenset(feeders))
    now, most = services.clock.now(), services.settings

    def work() -> tuple[Sorted, int]:
        plain = unpacked(body, most.max_upload_bytes)
        found = sort_rows(plain, kind, sender, now, most.max_upload_rows)
        return found, store_upload(services.dsn, found, now, connect=psycopg.connect)

    async with services.uploads:
        try:
            found, stored = await asyncio.to_thread(work)
        except UploadError as error:
            raise ApiError(error.status, str(error), field="body") from error
    errors, left_out = shown(found.bad)
    await services.audit.append(
        at=now,
        who=caller.name,
        action="telemetry.uploaded",
        subject=caller.site_id or "fleet",
        after={"rows": found.rows, "stored": stored, "refused": len(found.bad)},
    )
    return Uploaded(
        rows=found.rows,
        stored=stored,
        refused=len(found.bad),
        errors=[RowProblem(row=one.row, field=one.field, why=one.why) for one in errors],
        errors_left_out=left_out,
    )


def _span(
    now: datetime, start: datetime | None, end: datetime | None, longest: timedelta
) -> tuple[datetime, datetime]:
    """Return the window asked for: by default the last 24 hours.

    Raises:
        ApiError: It is empty or too long.
    """
    last = end or now
    first = start or last - timedelta(hours=24)
    if not first < last:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the window is empty: start comes before end", field="start"
        )
    if last - first > longest:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the window is longer than {longest.days} days", field="start"
        )
    return first, last


StartQuery = Annotated[Instant | None, Query(description="by default 24 h before the end")]
EndQuery = Annotated[Instant | None, Query(description="by default now")]


@router.get("/sites/{site_id}/series", response_model=Series, **may(Role.VIEWER, 404))
async def site_series(
    site_id: SiteIdPath,
    metric: Annotated[MetricName, Query()],
    services: ServicesHere,
    start: StartQuery = None,
    end: EndQuery = None,
    points: Annotated[int, Query(ge=1, le=MAX_POINTS)] = 500,
    source: Annotated[
        SourceName,
        Query(
            description="auto: readings up to 48 h, else quarter-hour roll-ups, beyond 31 days hourly ones"
        ),
    ] = "auto",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Show one metric of one site over time, thinned to at most `points`, extremes kept."""
    first, last = _span(services.clock.now(), start, end, _LONGEST)
    raw = source == "readings" or (source == "auto" and metric in RAW_METRICS and last - first <= _RAW_UP_TO)
    if metric not in (RAW_METRICS if raw else ROLLUP_METRICS):
        where = "readings" if raw else "the roll-ups"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{metric} is not in {where}", field="metric")
    store, key = SeriesStore(services.pool), SiteId(site_id)
    chosen = Source.READINGS if raw else source_for_rollups(first, last, points)
    found = (await store.series(metric, [key], first, last, points=points, source=chosen))[key]
    if not found and raw and source == "auto" and metric in ROLLUP_METRICS:  # past the readings' retention
        chosen = Source.ROLLUP
        found = (await store.series(metric, [key], first, last, points=points, source=chosen))[key]
    if not found and await services.views.registry_entry("site", site_id) is None:
        raise not_found("site", site_id)
    out = Series(
        subject_id=site_id,
        metric=metric,
        unit=unit_of(metric),
        source=chosen.value,
        start=first,
        end=last,
        at=[one.at for one in found],
        mean=[one.mean for one in found],
        low=[one.low for one in found],
        high=[one.high for one in found],
    )
    return tagged(out, if_none_match)


@router.get("/feeders/{feeder_id}/series", response_model=FeederSeries, **may(Role.VIEWER, 404))
async def feeder_series(
    feeder_id: FeederIdPath,
    services: ServicesHere,
    start: StartQuery = None,
    end: EndQuery = None,
    forecast_h: Annotated[int, Query(ge=0, le=96, description="hours of forecast from now on")] = 24,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Show a feeder's background load, its sites' import and both together by quarter hour, and what is expected."""
    feeder = (await services.registry.feeders()).get(FeederId(feeder_id))
    if feeder is None:
        raise not_found("feeder", feeder_id)
    now = services.clock.now()
    first, last = _span(now, start, end, _LONGEST_FEEDER)
    first = floor_step(first)
    sites = [one for one in (await services.registry.sites()).values() if one.feeder_id == feeder_id]
    site_ids = [one.site_id for one in sites]
    background = dict(
        (await services.readings.background([FeederId(feeder_id)], first, last))[FeederId(feeder_id)]
    )
    imports = dict(await services.readings.feeder_import(site_ids, first, last))
    at = [first + step * STEP for step in range(-(-(last - first) // STEP))]
    both = [(background.get(one), imports.get(one, None if sites else 0.0)) for one in at]
    bands = await services.feed.store.bands_of(feeder_id, site_ids)
    aux = {
        site_id: reading.aux_ac_w or 0.0
        for site_id, reading in (await services.readings.latest(site_ids)).items()
    }
    out = FeederSeries(
        feeder_id=feeder_id,
        import_limit_w=feeder.import_limit_w,
        at=at,
        background_w=[one for one, _ in both],
        sites_w=[one for _, one in both],
        import_w=[None if one is None or other is None else one + other for one, other in both],
        forecast=band_of(bands, sites, aux, now, forecast_h),
    )
    return tagged(out, if_none_match)
