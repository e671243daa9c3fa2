"""Users and tokens: an admin's work."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from telemetry.model.site import SiteId
from ui.api.access import (
    Caller,
    Cursor,
    Limit,
    OnceHere,
    ServicesHere,
    from_cursor,
    may,
    page_after,
    person,
    text_part,
)
from ui.api.account_store import LastAdminError, Token, User
from ui.api.passwords import make_token, token_hash
from ui.api.problems import ApiError, not_found
from ui.api.roles import PrincipalKind, Role
from ui.api.schemas import NewToken, NewUser, Page, TokenMade, TokenOut, UserChange, UserName, UserOut
from ui.api.services import Services

router = APIRouter(prefix="/v1", tags=["accounts"])
UserPath = Annotated[UserName, Path(description="a user's name")]
TokenIdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="a token_id")]
# Names that stand in the trail for something that is no person.
_RESERVED = frozenset(
    {"policy", "loop", "control", "provisioning", "ingest", "api", "agent", "system", "nobody", "oidc"}
)


def user_out(user: User, wall: datetime, subject: str | None) -> UserOut:
    """Return a user as it is shown."""
    locked = user.locked_until is not None and user.locked_until > wall
    return UserOut.model_validate(
        {
            "name": user.name,
            "role": user.role.value,
            "active": user.active,
            "locked_until": user.locked_until if locked else None,
            "created_at": user.created_at,
            "oidc_subject": subject,
        }
    )


def token_out(token: Token) -> TokenOut:
    """Return a token as it is shown."""
    return TokenOut.model_validate(
        {
            "token_id": token.token_id,
            "label": token.label,
            "kind": token.kind.value,
            "site_id": token.subject,
            "role": token.role.value,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        }
    )


@router.get("/users", **may(Role.ADMIN))
async def users(services: ServicesHere, cursor: Cursor = None, limit: Limit = 1000) -> Page[UserOut]:
    """List users by name."""
    subjects = await subjects_of(services)
    after = from_cursor(cursor, text_part)
    items, following = page_after(await services.accounts.users(), lambda one: (one.name,), after, limit)
    return Page[UserOut](
        items=[user_out(one, services.wall(), subjects.get(one.name)) for one in items], next_cursor=following
    )


@router.post("/users", status_code=HTTPStatus.CREATED, response_model=UserOut, **may(Role.ADMIN, 409))
async def add_user(asked: NewUser, services: ServicesHere, caller: Caller, once: OnceHere) -> Response:
    """Add a user."""
    who = person(caller)

    async def act() -> UserOut:
        if asked.name in _RESERVED:
            raise ApiError(HTTPStatus.CONFLICT, f"{asked.name} is no name for a person", field="name")
        # Without a password there is one that nobody knows.
        hashed = await services.passwords.hash(asked.password or make_token())
        added = await services.accounts.add_user(
            asked.name, hashed, Role(asked.role), who=who, at=services.clock.now()
        )
        if not added:
            raise ApiError(HTTPStatus.CONFLICT, f"there is a user {asked.name} already", field="name")
        return await shown(services, asked.name)

    return await once(asked, act, status=HTTPStatus.CREATED)


async def subjects_of(services: Services) -> dict[str, str]:
    """Return who is whom at the sign-in provider; nobody where there is none."""
    provider = services.provider
    return {} if provider is None else await services.sign_ins.subjects(provider.settings.issuer)


async def shown(services: Services, name: str) -> UserOut:
    """Return a user as it is shown.

    Raises:
        ApiError: There is none.
    """
    user = await services.accounts.user(name)
    if user is None:
        raise not_found("user", name)
    return user_out(user, services.wall(), (await subjects_of(services)).get(name))


@router.patch("/users/{name}", **may(Role.ADMIN, 404, 409))
async def change_user(name: UserPath, asked: UserChange, services: ServicesHere, caller: Caller) -> UserOut:
    """Change a user's role or password, close or open the account; it is unlocked, and its sessions end."""
    who = person(caller)
    hashed = None if asked.password is None else await services.passwords.hash(asked.password)
    try:
        changed = await services.accounts.change_user(
            name,
            role=None if asked.role is None else Role(asked.role),
            active=asked.active,
            password_hash=hashed,
            who=who,
            at=services.clock.now(),
        )
    except LastAdminError as error:
        raise ApiError(HTTPStatus.CONFLICT, "that would leave nobody who can administer") from error
    if changed is None:
        raise not_found("user", name)
    services.gatekeeper.forget()
    return user_out(changed, services.wall(), (await subjects_of(services)).get(name))


@router.get("/tokens", **may(Role.ADMIN))
async def tokens(services: ServicesHere, cursor: Cursor = None, limit: Limit = 1000) -> Page[TokenOut]:
    """List tokens without their secrets, by label."""
    after = from_cursor(cursor, text_part, text_part)
    items, following = page_after(
        await services.accounts.tokens(), lambda one: (one.label, one.token_id), after, limit
    )
    return Page[TokenOut](items=[token_out(one) for one in items], next_cursor=following)


@router.post("/tokens", status_code=HTTPStatus.CREATED, response_model=TokenMade, **may(Role.ADMIN, 409))
async def add_token(asked: NewToken, services: ServicesHere, caller: Caller, once: OnceHere) -> Response:
    """Make a token; its secret is shown this once."""
    who = person(caller)

    async def act() -> TokenMade:
        subject, role = await _scope(services, asked)
        secret = make_token()
        hashed = token_hash(secret)
        token = Token(
            token_id=hashed.hex()[:16],
            label=asked.label,
            kind=PrincipalKind(asked.kind),
            subject=subject,
            role=role,
            expires_at=services.wall() + timedelta(days=asked.expires_in_days),
            revoked_at=None,
        )
        await services.accounts.add_token(hashed, token, who=who, at=services.clock.now())
        return TokenMade(token=secret, about=token_out(token))

    return await once(asked, act, status=HTTPStatus.CREATED, keep=_without_secret)


async def _scope(services: Services, asked: NewToken) -> tuple[str, Role]:
    """Return what a token speaks for and its role.

    Raises:
        ApiError: Site and role do not fit the kind.
    """
    unfit = HTTPStatus.UNPROCESSABLE_ENTITY
    if asked.kind == "service":
        if asked.site_id is not None:
            raise ApiError(unfit, "a service token is not one site's", field="site_id")
        return "", Role(asked.role or "viewer")
    if asked.role is not None:
        raise ApiError(unfit, "a site's token has no role: it uploads its own telemetry", field="role")
    if asked.site_id is None:
        raise ApiError(unfit, "a site's token names its site", field="site_id")
    if SiteId(asked.site_id) not in await services.registry.sites():
        raise ApiError(unfit, f"there is no site {asked.site_id}", field="site_id")
    return asked.site_id, Role.SITE


def _without_secret(answer: Any) -> Any:
    return {**answer, "token": None}


@router.delete("/tokens/{token_id}", status_code=HTTPStatus.NO_CONTENT, **may(Role.ADMIN, 404))
async def revoke_token(token_id: TokenIdPath, services: ServicesHere, caller: Caller) -> Response:
    """Withdraw a token at once."""
    if not await services.accounts.revoke_token(token_id, who=person(caller), at=services.wall()):
        raise not_found("token in force", token_id)
    services.gatekeeper.forget()
    return Response(status_code=HTTPStatus.NO_CONTENT)
