"""Is it alive, can it serve, how is it doing."""

from http import HTTPStatus

import psycopg
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from psycopg_pool import PoolTimeout

from ui.api.access import ServicesHere, may
from ui.api.roles import Role
from ui.api.schemas import Health

router = APIRouter(tags=["operations"])
_OPEN = {"x-roles": ["nobody"], "security": []}


@router.get("/healthz", openapi_extra=_OPEN)
async def healthz() -> Health:
    """Say that the process lives."""
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Health,
    responses={503: {"model": Health, "description": "It cannot serve now."}},
    openapi_extra=_OPEN,
)
async def readyz(services: ServicesHere) -> Response:
    """Say whether it can serve: the database answers and nobody is closing it."""
    if services.hub.closing.is_set():
        return _not_ready("it is being stopped")
    try:
        await services.views.ping()
    except (psycopg.OperationalError, PoolTimeout):
        return _not_ready("the database does not answer")
    return JSONResponse(Health(status="ready").model_dump())


def _not_ready(why: str) -> Response:
    return JSONResponse(Health(status="not ready", detail=why).model_dump(), HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/metrics", response_class=PlainTextResponse, **may(Role.VIEWER))
async def metrics(services: ServicesHere) -> Response:
    """Give figures in Prometheus' text format; scrape with a service token."""
    fleet = (await services.feed.current()).document
    pool = services.pool.get_stats()
    text = services.metrics.text(
        [
            ("cellwatt_sites", "Sites in the registry.", fleet["counts"]["sites"]),
            ("cellwatt_sites_online", "Sites online.", fleet["counts"]["online"]),
            (
                "cellwatt_sites_below_reserve",
                "Sites with less backup than they must keep.",
                fleet["counts"]["below_reserve"],
            ),
            ("cellwatt_load_watts", "Load of all sites.", fleet["totals"]["load_w"]),
            ("cellwatt_spare_watt_hours", "Energy above the reserve.", fleet["totals"]["spare_wh"]),
            ("cellwatt_fleet_stopped", "Whether a stop is in force.", float(fleet["stopped"])),
            ("cellwatt_open_incidents", "Open incidents.", sum(fleet["counts"]["open_incidents"].values())),
            (
                "cellwatt_api_pool_waiting",
                "Requests that wait for a database connection.",
                pool.get("requests_waiting", 0),
            ),
        ]
    )
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")
