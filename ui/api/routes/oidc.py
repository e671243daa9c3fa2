"""Signing in through a provider: there and back again with the browser, and who is known by which subject.

The browser that begins gets a cookie; state, nonce and verifiers are used once. The console begins with a challenge of its
own and gets a one-time code, which is worth nothing without the verifier that only its server and that browser have.
"""

import hmac
import secrets
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import URL

from ui.api.access import Caller, ServicesHere, may, person
from ui.api.account_store import LastAdminError, User
from ui.api.gatekeeper import COOKIE
from ui.api.oidc import Identity, SignInRefusedError, challenge_of
from ui.api.oidc_provider import Provider, ProviderAwayError
from ui.api.oidc_store import SignIn, TakenError
from ui.api.passwords import token_hash
from ui.api.phone_pages import html, refused_page
from ui.api.problems import ApiError, documented, not_found
from ui.api.roles import Role
from ui.api.routes.accounts import UserPath, shown
from ui.api.routes.session import address_of, new_session, wait_for_turn
from ui.api.schemas import Challenge, OneTimeCode, Session, SignInOffer, Subject, UserOut
from ui.api.services import Services

router = APIRouter(prefix="/v1", tags=["session"])
BROWSER = "cellwatt_sign_in"
_NOBODY = "nobody"
_PAGE: dict[str, Any] = {
    "description": "a page that says why",
    "content": {"text/html": {"schema": {"type": "string"}}},
}
_OPEN = {"x-roles": ["nobody"], "security": []}
_Given = Annotated[str, Query(max_length=4000)]


def _provider(services: Services) -> Provider:
    if services.provider is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "no sign-in provider is set up; log in with name and password")
    return services.provider


@router.get("/oidc", responses=documented(422, 429, 500, 503), openapi_extra=_OPEN)
async def offer(services: ServicesHere) -> SignInOffer:
    """Say whether people may sign in through a provider, and where that begins."""
    if services.provider is None:
        return SignInOffer(offered=False, label="", start="", console=False)
    settings = services.provider.settings
    return SignInOffer(
        offered=True,
        label=settings.label,
        start=f"{settings.redirect_base}/v1/oidc/start",
        console=bool(settings.console_url),
    )


@router.get(
    "/oidc/start",
    status_code=HTTPStatus.SEE_OTHER,
    response_class=RedirectResponse,
    responses={303: {"description": "to the provider"}, **documented(404, 422, 429, 500, 503)},
    openapi_extra=_OPEN,
)
async def start(
    request: Request,
    services: ServicesHere,
    challenge: Annotated[
        Challenge | None, Query(description="S256 of the console's verifier; without it, the phone's pages")
    ] = None,
) -> Response:
    """Lead a browser to the provider."""
    provider = _provider(services)
    if challenge and not provider.settings.console_url:
        raise ApiError(HTTPStatus.NOT_FOUND, "the console's address is not set", field="challenge")
    wait_for_turn(services, address_of(request, services))
    state, browser, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
    try:
        url = await provider.sign_in_url(state=state, nonce=nonce, challenge=challenge_of(verifier))
    except ProviderAwayError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
    wall, within = services.wall(), services.settings.sign_in_within
    sign_in = SignIn(
        browser_hash=token_hash(browser),
        nonce=nonce,
        verifier=verifier,
        challenge=challenge or "",
        expires_at=wall + within,
    )
    await services.sign_ins.begin(token_hash(state), sign_in, wall=wall)
    answer = RedirectResponse(url, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        BROWSER,
        browser,
        max_age=int(within.total_seconds()),
        path="/v1/oidc",
        httponly=True,
        samesite="lax",  # the provider leads back here
        secure=_is_secure(provider),
    )
    return answer


@router.get(
    "/oidc/callback",
    status_code=HTTPStatus.SEE_OTHER,
    response_class=HTMLResponse,
    responses={
        303: {"description": "signed in: to the console or the phone's pages"},
        403: _PAGE,
        **documented(404, 422, 429, 500),
        503: {**_PAGE, "content": {**_PAGE["content"], **documented(503)[503]["content"]}},
    },
    openapi_extra=_OPEN,
)
async def callback(
    services: ServicesHere,
    state: _Given = "",
    code: _Given = "",
    error: _Given = "",
    iss: _Given = "",
    browser: Annotated[str, Cookie(alias=BROWSER, max_length=200)] = "",
) -> Response:
    """Take up what the provider sends a browser back with; a refusal is told on a page and stands in the trail."""
    provider, wall = _provider(services), services.wall()
    sign_in = await services.sign_ins.take(token_hash(state), token_hash(browser), wall=wall)
    if sign_in is None:
        services.metrics.refused_logins += 1
        return _refused(
            provider, "this sign-in is over, was used already, or was not begun in this browser; begin again"
        )
    try:
        await _check_answer(provider, code, error, iss)
        identity = await provider.identity(code, sign_in.verifier, nonce=sign_in.nonce, wall=wall)
        user = await _user_of(services, provider, identity)
    except ProviderAwayError as away:
        return _refused(provider, str(away), HTTPStatus.SERVICE_UNAVAILABLE)
    except _NotOurUserError as refusal:
        await _tell_refusal(services, provider, str(refusal), refusal.subject, ending=refusal.ending)
        return _refused(provider, str(refusal))
    except SignInRefusedError as refusal:
        await _tell_refusal(services, provider, str(refusal), "")
        return _refused(provider, str(refusal))
    return await _let_in(services, provider, sign_in, user)


class _NotOurUserError(SignInRefusedError):
    """The provider knows somebody who may not come in here."""

    def __init__(self, why: str, *, subject: str, ending: str = "") -> None:
        super().__init__(why)
        self.subject = subject
        self.ending = ending


async def _check_answer(provider: Provider, code: str, error: str, iss: str) -> None:
    """See that it is this provider that sent the browser back, with a code (RFC 9207 names the issuer)."""
    issuer = provider.settings.issuer
    if (iss or (await provider.metadata()).names_itself) and not hmac.compare_digest(
        iss.encode(), issuer.encode()
    ):
        raise SignInRefusedError("the answer came from another provider; begin again")
    if error or not code:
        # The word comes with the browser's address: letters alone, since it is kept.
        word = error[:60] if error.isascii() and error.isprintable() else "unreadable"
        raise SignInRefusedError(f"the provider let nobody in ({word or 'no code'})")


async def _user_of(services: Services, provider: Provider, identity: Identity) -> User:
    """Return the user that an identity is, with the role that the provider gives now."""
    subject, issuer = identity.subject, provider.settings.issuer
    name = await services.sign_ins.name_of(issuer, subject)
    if name is None:
        raise _NotOurUserError(
            f"nobody here is known by this sign-in; an administrator can enter it with a user: {subject}",
            subject=subject,
        )
    if identity.role is None:
        raise _NotOurUserError(
            "your account at the provider has no role here; ask whoever manages its groups",
            subject=subject,
            ending=name,
        )
    user = await services.accounts.user(name)
    if user is None or not user.active:
        raise _NotOurUserError("this account is closed", subject=subject)
    if user.role is identity.role:
        return user
    try:
        changed = await services.accounts.change_user(
            name, role=identity.role, active=None, password_hash=None, who="oidc", at=services.clock.now()
        )
    except LastAdminError as error:
        raise _NotOurUserError(
            f"the provider gives you the role {identity.role}, and nobody else here can administer: log in by password"
            " and make somebody else an admin first",
            subject=subject,
        ) from error
    services.gatekeeper.forget()
    if changed is None:
        raise _NotOurUserError("this account is closed", subject=subject)
    return changed


async def _let_in(services: Services, provider: Provider, sign_in: SignIn, user: User) -> Response:
    settings, wall = provider.settings, services.wall()
    await services.sign_ins.tell(
        "oidc.signed_in",
        who=user.name,
        subject=user.name,
        after={"issuer": settings.issuer, "role": user.role.value},
        at=services.clock.now(),
    )
    if sign_in.challenge:
        code = secrets.token_urlsafe(32)
        until = wall + services.settings.code_for
        await services.sign_ins.give_code(
            token_hash(code), user.name, sign_in.challenge, expires_at=until, wall=wall
        )
        answer = _led(str(URL(f"{settings.console_url}/signed-in").include_query_params(code=code)))
    else:
        session = await new_session(services, user.name, user.role)
        answer = _led("/m")
        answer.set_cookie(
            COOKIE,
            session.token,
            max_age=int(services.settings.session_for.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=_is_secure(provider),
        )
    answer.delete_cookie(BROWSER, path="/v1/oidc", httponly=True, samesite="lax")
    return answer


@router.post(
    "/oidc/session",
    status_code=HTTPStatus.CREATED,
    responses=documented(401, 404, 422, 429, 500, 503),
    openapi_extra=_OPEN,
)
async def session_for_code(asked: OneTimeCode, request: Request, services: ServicesHere) -> Session:
    """Return a session for a one-time code, once."""
    _provider(services)
    wait_for_turn(services, address_of(request, services))
    name = await services.sign_ins.take_code(
        token_hash(asked.code), challenge_of(asked.verifier), wall=services.wall()
    )
    user = None if name is None else await services.accounts.user(name)
    if user is None or not user.active:
        services.metrics.refused_logins += 1
        raise ApiError(HTTPStatus.UNAUTHORIZED, "this code is over or was used already; sign in again")
    return await new_session(services, user.name, user.role)


@router.put("/users/{name}/oidc", tags=["accounts"], **may(Role.ADMIN, 404, 409))
async def link(name: UserPath, asked: Subject, services: ServicesHere, caller: Caller) -> UserOut:
    """Say by which subject the sign-in provider knows a user."""
    who, provider = person(caller), _provider(services)
    try:
        found = await services.sign_ins.link(
            name, provider.settings.issuer, asked.subject, who=who, at=services.clock.now()
        )
    except TakenError as error:
        raise ApiError(
            HTTPStatus.CONFLICT, "this subject is another user's already", field="subject"
        ) from error
    if not found:
        raise not_found("user", name)
    services.gatekeeper.forget()
    return await shown(services, name)


@router.delete(
    "/users/{name}/oidc", tags=["accounts"], status_code=HTTPStatus.NO_CONTENT, **may(Role.ADMIN, 404)
)
async def unlink(name: UserPath, services: ServicesHere, caller: Caller) -> Response:
    """Let a user sign in through the provider no longer; their sessions end."""
    who, provider = person(caller), _provider(services)
    if not await services.sign_ins.unlink(name, provider.settings.issuer, who=who, at=services.clock.now()):
        raise not_found("user with a subject", name)
    services.gatekeeper.forget()
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _tell_refusal(
    services: Services, provider: Provider, why: str, subject: str, *, ending: str = ""
) -> None:
    services.metrics.refused_logins += 1
    await services.sign_ins.tell(
        "oidc.refused",
        who=_NOBODY,
        subject=ending or subject or _NOBODY,
        after={"issuer": provider.settings.issuer, "subject": subject, "why": why},
        at=services.clock.now(),
        ending=ending,
    )
    if ending:
        services.gatekeeper.forget()


def _is_secure(provider: Provider) -> bool:
    return provider.settings.redirect_base.startswith("https:")


def _led(url: str) -> RedirectResponse:
    return RedirectResponse(
        url, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )


def _refused(provider: Provider, why: str, status: int = HTTPStatus.FORBIDDEN) -> HTMLResponse:
    return html(refused_page(why, back=provider.settings.console_url), status)
