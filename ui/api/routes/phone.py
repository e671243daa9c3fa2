"""`/m`: decide on a plan, or stop the fleet, from a phone. Pages and forms without a script; a cookie holds the session."""

import hashlib
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from edge.plan import PlanStatus
from tools.anomaly.incident_store import IncidentStore
from tools.notify.occasion import evidence_lines, in_words
from ui.api.access import ServicesHere, person
from ui.api.gatekeeper import COOKIE
from ui.api.phone_pages import (
    ICON,
    MANIFEST,
    STYLE,
    Visitor,
    html,
    incident_page,
    list_page,
    login_page,
    page,
    plan_page,
    told,
)
from ui.api.plan_view import line_of
from ui.api.problems import ApiError
from ui.api.roles import Principal, PrincipalKind, Role
from ui.api.routes.control import ordered
from ui.api.routes.plans import give_approval, give_decline, plan_out
from ui.api.routes.session import address_of, open_session
from ui.api.schemas import Approve, Decline, Name, Order, Schema
from ui.api.services import Services

router = APIRouter(prefix="/m", include_in_schema=False)
PlanIdPath = Annotated[Name, Path()]
SchemaT = TypeVar("SchemaT", bound=Schema)
_SHOWN = 50
AFTER_LOGIN = frozenset({"/docs"})  # where else a login may lead: nothing that a link could choose
_FOR_EVER = {"Cache-Control": "public, max-age=86400"}


async def user_of(request: Request) -> Principal:
    """Return the person who looks.

    Raises:
        ApiError: It is a token, or a site.
    """
    caller: Principal | None = request.scope["state"]["principal"]
    if caller is None or caller.kind is not PrincipalKind.USER:
        raise ApiError(HTTPStatus.FORBIDDEN, "this page is for people")
    return caller


Here = Annotated[Principal, Depends(user_of)]


async def form_of(request: Request, services: ServicesHere) -> Mapping[str, str]:
    """Return a form that this session's own page has sent.

    Raises:
        ApiError: It came from elsewhere.
    """
    form = await plain_form(request)
    caller = await user_of(request)
    if not hmac.compare_digest(form.get("csrf", ""), csrf_of(services, caller)):
        raise ApiError(HTTPStatus.FORBIDDEN, "the form is not this session's; go back and try again")
    return form


async def plain_form(request: Request) -> Mapping[str, str]:
    """Return a form's fields.

    Raises:
        ApiError: A page of another origin sent it, or it is too odd to read.
    """
    origin = request.headers.get("origin", "")
    if origin and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise ApiError(HTTPStatus.FORBIDDEN, "the form came from another page")
    try:
        return dict(parse_qsl((await request.body()).decode(), max_num_fields=20, keep_blank_values=True))
    except ValueError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "the form cannot be read") from error


Form = Annotated[Mapping[str, str], Depends(form_of)]


def csrf_of(services: Services, caller: Principal) -> str:
    """Return the key that this session's forms carry."""
    return hmac.new(services.secret, b"form " + caller.token_hash, hashlib.sha256).hexdigest()


def visitor_of(services: Services, caller: Principal) -> Visitor:
    """Return who looks, for the pages."""
    return Visitor(
        name=caller.name, csrf=csrf_of(services, caller), may_stop=caller.role.reaches(Role.OPERATOR)
    )


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
    return Response(ICON, media_type="image/svg+xml", headers=_FOR_EVER)


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
            page("CellWatt", told(error.detail, bad=True), visitor_of(services, caller)), error.status
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
        return html(page("CellWatt", told("no such incident", bad=True), visitor), HTTPStatus.NOT_FOUND)
    content = incident_page(
        title=f"{found.severity.value}: {in_words(found.kind)} at {found.site_id}",
        lines=[f"{found.state.value}.", *evidence_lines(found)],
        history=[(one.at, one.who, one.why) for one in found.history],
        visitor=visitor,
        zone=await zone_of(services),
    )
    return html(content)


def _read(kind: type[SchemaT], form: Mapping[str, str], *names: str) -> SchemaT:
    """Return a form as the same schema that the API takes.

    Raises:
        ApiError: A field is missing or wrong.
    """
    try:
        return kind.model_validate({name: form[name] for name in names if name in form})
    except ValidationError as error:
        first = error.errors()[0]
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['loc'][0]}: {first['msg']}") from error


def _ticked(form: Mapping[str, str]) -> None:
    if form.get("seen") != "yes":
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "tick the box first")


def _need(caller: Principal, role: Role) -> None:
    if not caller.role.reaches(role):
        raise ApiError(
            HTTPStatus.FORBIDDEN, f"this takes the role {role.value}; yours is {caller.role.value}"
        )


@router.post("/plans/{plan_id}/approve")
async def approve(plan_id: PlanIdPath, services: ServicesHere, caller: Here, form: Form) -> Response:
    """Say yes to exactly what the page showed, once its box is ticked."""
    try:
        _need(caller, Role.APPROVER)
        _ticked(form)
        asked = _read(Approve, form, "envelope_digest")
        await give_approval(services, plan_id, asked.envelope_digest, person(caller))
    except ApiError as error:
        return await _card(services, caller, plan_id, error.detail, error.status)
    return await _card(services, caller, plan_id, "Your yes is recorded.")


@router.post("/plans/{plan_id}/decline")
async def decline(plan_id: PlanIdPath, services: ServicesHere, caller: Here, form: Form) -> Response:
    """Say no, and why."""
    try:
        _need(caller, Role.APPROVER)
        asked = _read(Decline, form, "reason")
        await give_decline(services, plan_id, asked.reason, person(caller))
    except ApiError as error:
        return await _card(services, caller, plan_id, error.detail, error.status)
    return await _card(services, caller, plan_id, "Your no is recorded.")


@router.post("/stop")
async def stop(services: ServicesHere, caller: Here, form: Form) -> Response:
    """Stop for all."""
    try:
        _need(caller, Role.OPERATOR)
        asked = _read(Order, form, "reason")
        order = await ordered(services, "stop", who=person(caller), reason=asked.reason)
    except ApiError as error:
        return html(
            page("CellWatt", told(error.detail, bad=True), visitor_of(services, caller)), error.status
        )
    words = {
        "done": "The stop is sent to every site.",
        "refused": "The control process refused the stop.",
        "pending": "The stop is ordered; the control process has not answered yet.",
    }
    return await _list(services, caller, words[order.outcome])
