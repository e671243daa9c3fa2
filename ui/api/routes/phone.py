"""`/m`: decide on a plan, or stop the fleet, from a phone. Pages and forms without a script; a cookie holds the session."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from edge.plan import PlanStatus
from tools.anomaly.incident_store import IncidentStore
from tools.notify.occasion import evidence_lines, in_words
from ui.api.access import ServicesHere, person
from ui.api.gatekeeper import COOKIE
from ui.api.phone_forms import ByForm, Form, Here, Said, act_once, plain_form, read, visitor_of
from ui.api.phone_icon import SVG, png
from ui.api.phone_pages import (
    MANIFEST,
    STYLE,
    html,
    incident_page,
    list_page,
    login_page,
    page,
    plan_page,
    told,
)
from ui.api.phone_texts import TEXTS, words
from ui.api.plan_view import line_of
from ui.api.problems import ApiError
from ui.api.roles import Principal, Role
from ui.api.routes.control import ordered
from ui.api.routes.plans import give_approval, give_decline, plan_out
from ui.api.routes.session import address_of, open_session
from ui.api.schemas import Approve, Decline, Name, Order
from ui.api.services import Services

router = APIRouter(prefix="/m", include_in_schema=False)
PlanIdPath = Annotated[Name, Path()]
_SHOWN = 50
AFTER_LOGIN = frozenset({"/docs"})  # where else a login may lead: nothing that a link could choose
_FOR_EVER = {"Cache-Control": "public, max-age=86400"}


async def zone_of(services: Services) -> ZoneInfo:
    """Return the fleet's time zone: that of its first site, UTC where there is none."""
    fleet = await services.views.registry_page("site", 1)
    return ZoneInfo(fleet[0].doc["time_zone"]) if fleet else ZoneInfo("UTC")


@router.get("/style.css")
async def style() -> Response:
    """Give the pages' look."""
    return Response(STYLE, media_type="text/css", headers=_FOR_EVER)


@router.get("/icon.svg")
async def icon() -> Response:
    """Give the icon."""
    return Response(SVG, media_type="image/svg+xml", headers=_FOR_EVER)


@router.get("/icon-{side}.png")
async def icon_png(side: Literal["192", "512"]) -> Response:
    """Give the icon as a home screen takes it."""
    return Response(await asyncio.to_thread(png, int(side)), media_type="image/png", headers=_FOR_EVER)


@router.get("/manifest.webmanifest")
async def manifest() -> Response:
    """Say how the page is installed on a phone."""
    return Response(MANIFEST, media_type="application/manifest+json", headers=_FOR_EVER)


@router.get("/login")
async def login_form(
    services: ServicesHere, following: Annotated[str, Query(alias="next", max_length=100)] = ""
) -> Response:
    """Show the login."""
    provider = "" if services.provider is None else services.provider.settings.label
    return html(login_page(following=following if following in AFTER_LOGIN else "", provider=provider))


@router.post("/login")
async def login(request: Request, services: ServicesHere) -> Response:
    """Log in and keep the session in a cookie that no script and no other page can use."""
    try:
        form = await plain_form(request)
        address = address_of(request, services)
        session = await open_session(services, form.get("name", ""), form.get("password", ""), address)
    except ApiError as error:
        return html(login_page(error.detail), error.status)
    following = form.get("next", "")
    answer = RedirectResponse(following if following in AFTER_LOGIN else "/m", HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        session.token,
        max_age=int(services.settings.session_for.total_seconds()),
        httponly=True,
        samesite="lax",  # a link in a message may lead here; a form from elsewhere may not
        # A proxy that is not trusted with addresses may still say this: it makes the cookie stricter, never laxer.
        secure="https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "")},
    )
    return answer


@router.post("/logout")
async def logout(services: ServicesHere, caller: Here, _: Form) -> Response:
    """Log out."""
    await services.accounts.close_session(person(caller), caller.token_hash, at=services.clock.now())
    services.gatekeeper.forget()
    answer = RedirectResponse("/m/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE)
    return answer


async def _list(services: Services, caller: Principal, said: str = "") -> Response:
    found = await services.views.plans_page(_SHOWN, statuses=[PlanStatus.VALIDATED, PlanStatus.APPROVED])
    now = services.clock.now()
    lines = [line_of(one) for one in found if one.window_start > now]
    stopped = (await services.feed.current()).document["stopped"]
    content = list_page(
        lines, visitor_of(services, caller), await zone_of(services), stopped=stopped, said=said
    )
    return html(content)


@router.get("")
async def waiting(services: ServicesHere, caller: Here) -> Response:
    """Show the plans that wait for a decision."""
    return await _list(services, caller)


async def _card(
    services: Services, caller: Principal, plan_id: str, said: str = "", status: int = HTTPStatus.OK
) -> Response:
    try:
        plan = await plan_out(services, plan_id, caller)
    except ApiError as error:
        return html(
            page(TEXTS["app"], told(error.detail, bad=True), visitor_of(services, caller)), error.status
        )
    bad = status != HTTPStatus.OK
    zone = await zone_of(services)
    return html(plan_page(plan, visitor_of(services, caller), zone, said=said, bad=bad), status)


@router.get("/plans/{plan_id}")
async def card(plan_id: PlanIdPath, services: ServicesHere, caller: Here) -> Response:
    """Show a plan."""
    return await _card(services, caller, plan_id)


@router.get("/incidents/{incident_id}")
async def incident(incident_id: Annotated[Name, Path()], services: ServicesHere, caller: Here) -> Response:
    """Show what a message about an incident leads to."""
    visitor = visitor_of(services, caller)
    found = await IncidentStore(services.pool).fetch(incident_id)
    if found is None:
        return html(page(TEXTS["app"], told(TEXTS["no_incident"], bad=True), visitor), HTTPStatus.NOT_FOUND)
    content = incident_page(
        title=words("incident", severity=found.severity.value, kind=in_words(found.kind), site=found.site_id),
        lines=[words("incident_state", state=found.state.value), *evidence_lines(found)],
        history=[(one.at, one.who, one.why) for one in found.history],
        visitor=visitor,
        zone=await zone_of(services),
    )
    return html(content)


def _ticked(form: Mapping[str, str]) -> None:
    if form.get("seen") != "yes":
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, TEXTS["tick_first"])


def _need(caller: Principal, role: Role) -> None:
    if not caller.role.reaches(role):
        raise ApiError(HTTPStatus.FORBIDDEN, words("needs_role", needed=role.value, own=caller.role.value))


@router.post("/plans/{plan_id}/approve")
async def approve(
    plan_id: PlanIdPath, services: ServicesHere, caller: Here, form: Form, once: ByForm
) -> Response:
    """Say yes to exactly what the page showed, once its box is ticked."""
    try:
        _need(caller, Role.APPROVER)
        _ticked(form)
        asked = read(Approve, form, "envelope_digest")

        async def act() -> Said:
            await give_approval(services, plan_id, asked.envelope_digest, person(caller))
            return Said(words=TEXTS["approved"])

        said = await act_once(once, asked, act)
    except ApiError as error:
        return await _card(services, caller, plan_id, error.detail, error.status)
    return await _card(services, caller, plan_id, said)


@router.post("/plans/{plan_id}/decline")
async def decline(
    plan_id: PlanIdPath, services: ServicesHere, caller: Here, form: Form, once: ByForm
) -> Response:
    """Say no, and why."""
    try:
        _need(caller, Role.APPROVER)
        asked = read(Decline, form, "reason")

        async def act() -> Said:
            await give_decline(services, plan_id, asked.reason, person(caller))
            return Said(words=TEXTS["declined"])

        said = await act_once(once, asked, act)
    except ApiError as error:
        return await _card(services, caller, plan_id, error.detail, error.status)
    return await _card(services, caller, plan_id, said)


@router.post("/stop")
async def stop(services: ServicesHere, caller: Here, form: Form, once: ByForm) -> Response:
    """Stop for all."""
    try:
        _need(caller, Role.OPERATOR)
        asked = read(Order, form, "reason")

        async def act() -> Said:
            order = await ordered(services, "stop", who=person(caller), reason=asked.reason)
            return Said(words=TEXTS[f"stop_{order.outcome}"])

        said = await act_once(once, asked, act)
    except ApiError as error:
        return html(
            page(TEXTS["app"], told(error.detail, bad=True), visitor_of(services, caller)), error.status
        )
    return await _list(services, caller, said)
