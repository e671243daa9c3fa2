"""What routes have in common: the services, who asks, what role it takes, doing an act once, pages and ETags.

Dependencies are coroutines throughout: the framework would run plain functions in threads, a millisecond each.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ui.api.idempotency_store import Act, Begun, Busy, Done, Mismatch
from ui.api.problems import ApiError, documented
from ui.api.roles import Principal, PrincipalKind, Role
from ui.api.schemas import Name
from ui.api.services import Services

T = TypeVar("T")
REPLAYED = "Idempotent-Replayed"
_ALWAYS = (401, 403, 422, 429, 500, 503)


async def services_of(request: Request) -> Services:
    """Return what the application was made with."""
    services: Services = request.app.state.services
    return services


async def caller_of(request: Request) -> Principal:
    """Return who asks; the gate has let nobody else through.

    Raises:
        ApiError: Nobody known asks.
    """
    principal: Principal | None = request.scope["state"]["principal"]
    if principal is None:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "log in first", headers={"WWW-Authenticate": "Bearer"})
    return principal


ServicesHere = Annotated[Services, Depends(services_of)]
Caller = Annotated[Principal, Depends(caller_of)]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before")]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=1000)]


def may(role: Role, *further: int, except_for: Sequence[Role] = ()) -> dict[str, Any]:
    """Return what a route is declared with so that only this role and those above it get in.

    Args:
        role: The least role.
        further: Error statuses that the route gives beside the usual ones.
        except_for: Roles above it that it is not for.
    """
    roles = [one for one in Role if one.reaches(role) and one not in except_for]

    async def check(caller: Caller) -> None:
        if caller.role not in roles:
            raise ApiError(HTTPStatus.FORBIDDEN, f"this takes the role {role}; yours is {caller.role}")

    return {
        "dependencies": [Depends(check)],
        "responses": documented(*_ALWAYS, *further),
        "openapi_extra": {"x-roles": [one.value for one in roles], "security": [{"bearer": []}]},
    }


def person(caller: Principal) -> str:
    """Return the name of the person who asks.

    Raises:
        ApiError: A token asks.
    """
    if caller.kind is not PrincipalKind.USER:
        raise ApiError(HTTPStatus.FORBIDDEN, "a person decides this, logged in by name; a token cannot")
    return caller.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Does an act once for an `Idempotency-Key`; the same key again gets the first answer again."""

    services: Services
    caller: Principal
    key: str | None
    path: str

    async def __call__(
        self,
        asked: BaseModel | Sequence[bytes] | None,
        act: Callable[[], Awaitable[BaseModel | Sequence[BaseModel]]],
        *,
        status: int = HTTPStatus.OK,
        keep: Callable[[Any], Any] = lambda answer: answer,
    ) -> Response:
        """Do the act and return its answer.

        Args:
            asked: The request's body, which the key is bound to; of an upload, what else says what it is and the bytes.
            act: Does it; what it raises is not remembered.
            status: Of the answer.
            keep: Takes out of the answer what must not be kept.

        Raises:
            ApiError: The key was used for something else, or the same act is under way.
        """
        if self.key is None:
            return JSONResponse(_plain(await act()), status)
        services = self.services
        one = Act(
            key=self.key,
            who=self.caller.identity,
            route=self.path,
            digest=await asyncio.to_thread(digest_of, services.secret, *_parts(asked)),
        )
        found = await services.idempotency.begin(
            one, at=services.clock.now(), wall=services.wall(), in_progress=services.settings.in_progress
        )
        match found:
            case Begun():
                pass
            case Done(status=kept, body=body):
                return JSONResponse(body, kept, headers={REPLAYED: "true"})
            case Busy():
                raise ApiError(HTTPStatus.CONFLICT, "the same act is under way; ask again in a moment")
            case Mismatch():
                raise ApiError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "this key was used for another request; take a new one",
                    field="Idempotency-Key",
                )
        try:
            answer = _plain(await act())
        except BaseException:
            await services.idempotency.forget(one)
            raise
        await services.idempotency.finish(one, status=status, body=keep(answer))
        return JSONResponse(answer, status)


async def once_for(
    request: Request,
    services: ServicesHere,
    caller: Caller,
    key: Annotated[
        Name | None,
        Header(
            alias="Idempotency-Key", description="the same key and body again act once and answer the same"
        ),
    ] = None,
) -> Once:
    """Return what makes this request's act happen once."""
    return Once(services=services, caller=caller, key=key, path=f"{request.method} {request.url.path}")


def _plain(answer: BaseModel | Sequence[BaseModel]) -> Any:
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json")
    return [one.model_dump(mode="json") for one in answer]


def _parts(asked: BaseModel | Sequence[bytes] | None) -> Sequence[bytes]:
    if isinstance(asked, BaseModel):
        return (asked.model_dump_json().encode(),)
    return () if asked is None else asked


def digest_of(secret: bytes, *asked: bytes) -> str:
    """Return what is kept of a request's body: keyed, because a body may hold a password, and a plain hash of one is guessed fast."""
    digest = hmac.new(secret, b"idempotency ", hashlib.sha256)
    for number, part in enumerate(asked):
        if number:
            digest.update(b"\0%d\0" % len(part))
        digest.update(part)
    return digest.hexdigest()


OnceHere = Annotated[Once, Depends(once_for)]


def to_cursor(*parts: str | int | datetime) -> str:
    """Return an opaque cursor."""
    plain = [part.isoformat() if isinstance(part, datetime) else part for part in parts]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def from_cursor(cursor: str | None, *kinds: Callable[[Any], Any]) -> tuple[Any, ...] | None:
    """Return the parts of a cursor, None without one.

    Raises:
        ApiError: It is not one of ours.
    """
    if cursor is None:
        return None
    try:
        raw = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        parts = tuple(kind(part) for kind, part in zip(kinds, raw, strict=True))
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "this is no cursor; take next_cursor of a page", field="cursor"
        ) from error
    return parts


def text_part(value: Any) -> str:
    """Return a cursor's text part.

    Raises:
        ValueError: It is none that we write.
    """
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise ValueError("no text")
    return value


def instant_part(value: Any) -> datetime:
    """Return a cursor's instant.

    Raises:
        ValueError: It is none.
    """
    at = datetime.fromisoformat(text_part(value))
    if at.tzinfo is None or not 1990 <= at.year <= 2200:
        raise ValueError("no instant")
    return at


def number_part(value: Any) -> int:
    """Return a cursor's number.

    Raises:
        ValueError: It is none that the database can hold.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("no number")
    return value


def page_of(found: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Return the page out of `limit + 1` found items, and its last item where there are more."""
    return (found[:limit], found[limit - 1]) if len(found) > limit else (found, None)


def page_after(
    found: Iterable[T], place: Callable[[T], tuple[Any, ...]], after: tuple[Any, ...] | None, limit: int
) -> tuple[Sequence[T], str | None]:
    """Return a page out of a list that is short enough to be read whole, and the cursor of the next one.

    Args:
        found: The list, in any order.
        place: Where an item stands, different for each.
        after: The place of the last item of the page before.
        limit: How many at most.
    """
    items, last = page_of(
        [one for one in sorted(found, key=place) if after is None or place(one) > after][: limit + 1], limit
    )
    return items, None if last is None else to_cursor(*place(last))


def tagged(model: BaseModel, if_none_match: str | None, etag: str | None = None) -> Response:
    """Return a model with an ETag (of its content by default), or 304 where the caller has it already."""
    body = model.model_dump_json().encode()
    tag = etag or f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    return tagged_bytes(body, tag, if_none_match)


def tagged_bytes(
    body: bytes, tag: str, if_none_match: str | None, *, headers: dict[str, str] | None = None
) -> Response:
    """Return JSON bytes with an ETag, or 304 where the caller has them already."""
    known = {one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")}
    always = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Accept-Encoding"}
    if tag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=always)
    return Response(body, media_type="application/json", headers={**always, **(headers or {})})
