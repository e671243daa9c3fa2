"""Standing objectives: said in words, kept as data, kept by the automated loop until they are ended."""

import secrets
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, Field

from agents.objectives import NotUnderstoodError, read_objective
from ui.api.access import (
    Caller,
    Cursor,
    Limit,
    OnceHere,
    ServicesHere,
    from_cursor,
    instant_part,
    may,
    page_after,
    text_part,
)
from ui.api.objective_store import ObjectiveRow, ObjectiveStore
from ui.api.problems import ApiError, not_found
from ui.api.roles import Role
from ui.api.schemas import Name, Page, Schema, storable, with_example

router = APIRouter(prefix="/v1/objectives", tags=["objectives"])
ObjectiveIdPath = Annotated[Name, Path(description="an objective_id")]


class NewObjective(Schema):
    """An objective in an operator's words, in English."""

    model_config = with_example({"text": "Never use cbs-0001 until friday"})
    text: Annotated[str, Field(min_length=1, max_length=300), AfterValidator(storable)]


class ObjectiveOut(Schema):
    """An objective with what was read out of its words: sites left out, or everything paused, until when."""

    objective_id: str
    who: str
    at: datetime
    text: str
    exclude_site_ids: list[str]
    pause: bool
    until: datetime | None


def _out(one: ObjectiveRow) -> ObjectiveOut:
    return ObjectiveOut.model_validate(
        {
            "objective_id": one.objective_id,
            "who": one.who,
            "at": one.at,
            "text": str(one.doc.get("text", "")),
            "exclude_site_ids": list(one.doc.get("exclude_site_ids", ())),
            "pause": bool(one.doc.get("pause", False)),
            "until": one.doc.get("until"),
        }
    )


@router.get("", **may(Role.VIEWER))
async def objectives(
    services: ServicesHere, cursor: Cursor = None, limit: Limit = 1000
) -> Page[ObjectiveOut]:
    """List what is kept, oldest first."""
    items, following = page_after(
        await ObjectiveStore(services.pool).kept(),
        lambda one: (one.at, one.objective_id),
        from_cursor(cursor, instant_part, text_part),
        limit,
    )
    return Page[ObjectiveOut](items=[_out(one) for one in items], next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED, response_model=ObjectiveOut, **may(Role.OPERATOR, 409))
async def keep(asked: NewObjective, services: ServicesHere, once: OnceHere) -> Response:
    """Keep what the words say from now on; what was read is shown, and binds."""
    store, at = ObjectiveStore(services.pool), services.clock.now()

    async def act() -> ObjectiveOut:
        sites = await store.sites()
        zone = sites[0][1] if sites else "UTC"
        try:
            found = read_objective(asked.text, [site_id for site_id, _ in sites], at, zone)
        except NotUnderstoodError as error:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), field="text") from error
        objective_id = f"objective-{secrets.token_hex(4)}"
        await store.keep(objective_id, found.doc(), who=once.caller.name, at=at)
        return _out(ObjectiveRow(objective_id=objective_id, who=once.caller.name, at=at, doc=found.doc()))

    return await once(asked, act, status=HTTPStatus.CREATED)


@router.delete("/{objective_id}", status_code=HTTPStatus.NO_CONTENT, **may(Role.OPERATOR, 404))
async def end(objective_id: ObjectiveIdPath, services: ServicesHere, caller: Caller) -> Response:
    """End an objective."""
    ended = await ObjectiveStore(services.pool).end(objective_id, who=caller.name, at=services.clock.now())
    if not ended:
        raise not_found("objective", objective_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
