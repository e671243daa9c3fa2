"""The forms of the approval page: sent by this session's own page, read as the API reads its bodies, acted on once."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from pydantic import ValidationError

from ui.api.access import Once, ServicesHere
from ui.api.phone_pages import Visitor
from ui.api.phone_texts import TEXTS, words
from ui.api.problems import ApiError
from ui.api.roles import Principal, PrincipalKind, Role
from ui.api.schemas import Schema
from ui.api.services import Services

SchemaT = TypeVar("SchemaT", bound=Schema)
_KEY = re.compile("[0-9a-f]{32}")


async def user_of(request: Request) -> Principal:
    """Return the person who looks.

    Raises:
        ApiError: It is a token, or a site.
    """
    caller: Principal | None = request.scope["state"]["principal"]
    if caller is None or caller.kind is not PrincipalKind.USER:
        raise ApiError(HTTPStatus.FORBIDDEN, TEXTS["for_people"])
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
        raise ApiError(HTTPStatus.FORBIDDEN, TEXTS["other_session"])
    return form


async def plain_form(request: Request) -> Mapping[str, str]:
    """Return a form's fields.

    Raises:
        ApiError: A page of another origin sent it, or it is too odd to read.
    """
    origin = request.headers.get("origin", "")
    if origin and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise ApiError(HTTPStatus.FORBIDDEN, TEXTS["other_page"])
    try:
        return dict(parse_qsl((await request.body()).decode(), max_num_fields=20, keep_blank_values=True))
    except ValueError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, TEXTS["unreadable"]) from error


Form = Annotated[Mapping[str, str], Depends(form_of)]


def csrf_of(services: Services, caller: Principal) -> str:
    """Return the key that this session's forms carry."""
    return hmac.new(services.secret, b"form " + caller.token_hash, hashlib.sha256).hexdigest()


def visitor_of(services: Services, caller: Principal) -> Visitor:
    """Return who looks, for the pages."""
    return Visitor(
        name=caller.name,
        csrf=csrf_of(services, caller),
        may_stop=caller.role.reaches(Role.OPERATOR),
        once=secrets.token_hex(16),
    )


async def once_of(request: Request, services: ServicesHere, caller: Here, form: Form) -> Once:
    """Return what makes a form that is sent twice act once: each page carries a key of its own.

    Raises:
        ApiError: The form has none.
    """
    key = form.get("once", "")
    if not _KEY.fullmatch(key):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, TEXTS["unreadable"])
    return Once(services=services, caller=caller, key=key, path=f"POST {request.url.path}")


ByForm = Annotated[Once, Depends(once_of)]


def read(kind: type[SchemaT], form: Mapping[str, str], *names: str) -> SchemaT:
    """Return a form as the same schema that the API takes.

    Raises:
        ApiError: A field is missing or wrong.
    """
    try:
        return kind.model_validate({name: form[name] for name in names if name in form})
    except ValidationError as error:
        first = error.errors()[0]
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, words("field_wrong", field=first["loc"][0], why=first["msg"])
        ) from error


class Said(Schema):
    """What an act is answered with."""

    words: str


async def act_once(once: Once, asked: Schema, act: Callable[[], Awaitable[Said]]) -> str:
    """Do an act once for its form and return what to say of it.

    Raises:
        ApiError: It was not done.
    """
    answer = await once(asked, act)
    return Said.model_validate_json(bytes(answer.body)).words
