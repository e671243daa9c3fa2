"""Logging in and out, and who one is."""

from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from ui.api.access import Caller, ServicesHere, may, person
from ui.api.account_store import Attempt, User
from ui.api.passwords import make_token, token_hash
from ui.api.problems import ApiError, documented
from ui.api.roles import Principal, PrincipalKind, Role
from ui.api.schemas import Login, Me, PasswordChange, Session
from ui.api.services import Services
from ui.browser_address import HEADER, believed

router = APIRouter(prefix="/v1", tags=["session"])
_LOOPBACK = frozenset({"127.0.0.1", "::1"})  # where the console is
_NOBODY = "nobody"  # so far: whoever asks has shown no password
_REFUSED = "the name or the password is wrong, or the account is locked or closed"


@router.post(
    "/session",
    status_code=HTTPStatus.CREATED,
    responses=documented(401, 422, 429, 500, 503),
    openapi_extra={"x-roles": ["nobody"], "security": []},
)
async def log_in(login: Login, request: Request, services: ServicesHere) -> Session:
    """Log in; five wrong passwords in a row lock the account for a quarter of an hour."""
    return await open_session(services, login.name, login.password, address_of(request, services))


async def open_session(services: Services, name: str, password: str, address: str) -> Session:
    """Check a login and return a session.

    Raises:
        ApiError: Wrong, locked, closed (all told alike), or too many tries.
    """
    wait_for_turn(services, address)
    wall = services.wall()
    user = await services.accounts.user(name)
    locked = user is not None and user.locked_until is not None and wall < user.locked_until
    barred = user is None or locked or not user.active
    # A barred account takes as long as a wrong password, and says no more.
    if not await services.passwords.fits(None if user is None or barred else user.password_hash, password):
        await tell_failure(services, user, Attempt(act="session.refused", who=_NOBODY, address=address))
        raise ApiError(HTTPStatus.UNAUTHORIZED, _REFUSED)
    assert user is not None
    return await new_session(services, user.name, user.role)


async def tell_failure(services: Services, user: User | None, attempt: Attempt) -> None:
    """Record a wrong password, and count it against an account that is neither locked nor closed.

    A name that nobody has is not recorded: it may be a password typed into the wrong field.
    """
    services.metrics.refused_logins += 1
    at, wall = services.clock.now(), services.wall()
    if user is None:
        why = "unknown name"
    elif user.locked_until is not None and wall < user.locked_until:
        why = "locked"
    else:
        why = "wrong password" if user.active else "closed"
    await services.accounts.tell_refusal(attempt, "" if user is None else user.name, why, at=at)
    if user is not None and why != "locked":
        await services.accounts.count_failure(
            user.name,
            lock_after=services.settings.lock_after,
            locked_until=wall + services.settings.lock_for,
            at=at,
            wall=wall,
        )


def address_of(request: Request, services: Services) -> str:
    """Return the address that logins are counted by: the peer's, and for the console the browser's that it has signed."""
    peer = request.client.host if request.client else ""
    key, told = services.browser_key, request.headers.get(HEADER, "")
    if key is None or not told or peer not in _LOOPBACK:
        return peer
    return believed(told, key) or peer


def wait_for_turn(services: Services, address: str) -> None:
    """Let few logins a second through from one address.

    Raises:
        ApiError: Too many tries.
    """
    if wait_s := services.logins.wait_s(address):
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"too many logins; wait {wait_s:.0f} s",
            headers={"Retry-After": str(max(1, round(wait_s)))},
        )


async def new_session(services: Services, name: str, role: Role) -> Session:
    """Open a session for a person who has shown who they are."""
    token, wall = make_token(), services.wall()
    expires_at = wall + services.settings.session_for
    await services.accounts.open_session(
        name, token_hash(token), expires_at=expires_at, at=services.clock.now(), wall=wall
    )
    return Session(token=token, me=me_of_user(name, role, expires_at))


@router.delete("/session", status_code=HTTPStatus.NO_CONTENT, **may(Role.VIEWER))
async def log_out(services: ServicesHere, caller: Caller) -> Response:
    """End this session."""
    await services.accounts.close_session(person(caller), caller.token_hash, at=services.clock.now())
    services.gatekeeper.forget()
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get("/me", **may(Role.SITE))
async def me(caller: Caller) -> Me:
    """Say who is asking."""
    return me_of(caller)


@router.put("/me/password", status_code=HTTPStatus.NO_CONTENT, **may(Role.VIEWER, 409))
async def change_password(
    change: PasswordChange, request: Request, services: ServicesHere, caller: Caller
) -> Response:
    """Take a new password; all one's sessions end. A wrong old one counts as a failed login does."""
    name, address = person(caller), address_of(request, services)
    wait_for_turn(services, address)
    user = await services.accounts.user(name)
    locked = user is None or (user.locked_until is not None and services.wall() < user.locked_until)
    # Somebody at an open screen may not try more passwords than somebody at the login.
    if not await services.passwords.fits(
        None if user is None or locked else user.password_hash, change.old_password
    ):
        await tell_failure(services, user, Attempt(act="password.refused", who=name, address=address))
        raise ApiError(
            HTTPStatus.CONFLICT,
            "the old password does not fit, or the account is locked",
            field="old_password",
        )
    await services.accounts.change_user(
        name,
        role=None,
        active=None,
        password_hash=await services.passwords.hash(change.new_password),
        who=name,
        at=services.clock.now(),
    )
    services.gatekeeper.forget()
    return Response(status_code=HTTPStatus.NO_CONTENT)


def me_of(caller: Principal) -> Me:
    """Return a principal as it is shown."""
    return Me(
        name=caller.name,
        kind=caller.kind.value,
        role=caller.role.value,
        site_id=caller.site_id,
        expires_at=caller.expires_at,
    )


def me_of_user(name: str, role: Role, expires_at: datetime) -> Me:
    """Return a user as it is shown."""
    return Me(name=name, kind=PrincipalKind.USER.value, role=role.value, site_id="", expires_at=expires_at)
