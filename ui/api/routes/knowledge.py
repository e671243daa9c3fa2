"""What people wrote down: search it, read it, add to it."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from knowledge.documents import DocumentError, DocumentKind, ReaderRole
from knowledge.embed import EmbeddingError
from knowledge.findings import Scope
from ui.api.access import (
    Caller,
    Cursor,
    Limit,
    OnceHere,
    ServicesHere,
    from_cursor,
    may,
    page_of,
    text_part,
    to_cursor,
)
from ui.api.library import readable_by
from ui.api.problems import ApiError, not_found
from ui.api.roles import Principal, Role
from ui.api.schemas import (
    DocumentLine,
    DocumentOut,
    DocumentTaken,
    KnowledgeAnswer,
    Name,
    Page,
    PassageOut,
    storable,
)
from ui.api.services import Services

router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])
FileName = Annotated[
    str,
    Query(min_length=3, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ()_.-]*\.(md|txt|pdf|docx|csv)$"),
]
DocumentIdQuery = Annotated[str, Query(min_length=1, max_length=300), AfterValidator(storable)]
_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


@router.get("/search", **may(Role.VIEWER))
async def search(
    q: Annotated[
        str, Query(min_length=2, max_length=400, description="in your own words"), AfterValidator(storable)
    ],
    services: ServicesHere,
    caller: Caller,
    kind: Annotated[DocumentKind | None, Query()] = None,
    site_id: Annotated[Name | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=20)] = 5,
) -> KnowledgeAnswer:
    """Find the passages that answer best, by meaning and by words, among what the one who asks may read."""
    scope = Scope(role=ReaderRole(caller.role.value), site_id=site_id, kinds=() if kind is None else (kind,))
    answer = await services.library.search(q, scope, limit)
    return KnowledgeAnswer(
        method=answer.method.value,
        note=answer.note,
        found=[
            PassageOut(
                document_id=one.document_id,
                passage_id=one.passage_id,
                title=one.title,
                kind=one.kind.value,
                section=one.section,
                text=one.text,
                simulated=one.simulated,
                score=one.score,
            )
            for one in answer.found
        ],
    )


@router.get("/documents", **may(Role.VIEWER))
async def documents(
    services: ServicesHere, caller: Caller, cursor: Cursor = None, limit: Limit = 100
) -> Page[DocumentLine]:
    """List the documents that the one who asks may read."""
    after = from_cursor(cursor, text_part)
    found = await services.views.documents_page(
        readable_by(caller.role.value), limit + 1, after=after[0] if after else ""
    )
    items, last = page_of(found, limit)
    return Page[DocumentLine](
        items=[DocumentLine.model_validate(one) for one in items],
        next_cursor=None if last is None else to_cursor(last["document_id"]),
    )


@router.get("/document", **may(Role.VIEWER, 404))
async def document(document_id: DocumentIdQuery, services: ServicesHere, caller: Caller) -> DocumentOut:
    """Show a document whole; what a role may not read is not there for it."""
    found = await services.views.document(document_id)
    if found is None or found["role"] not in readable_by(caller.role.value):
        raise not_found("document", document_id)
    return DocumentOut.model_validate(found)


_upload = may(Role.OPERATOR, 409, 413)


@router.post(
    "/documents",
    response_model=DocumentTaken,
    dependencies=_upload["dependencies"],
    responses=_upload["responses"],
    openapi_extra={**_upload["openapi_extra"], "requestBody": _BODY},
)
async def add_document(name: FileName, request: Request, once: OnceHere) -> Response:
    """Take a file in under its name (Markdown, text, PDF, Word, CSV; at most 20 MB); one of that name is replaced."""
    content = await request.body()
    return await once((name.encode(), content), lambda: _take_in(name, content, once.services, once.caller))


async def _take_in(name: str, content: bytes, services: Services, caller: Principal) -> DocumentTaken:
    before = await services.views.document(name)
    if before is not None and before["role"] not in readable_by(caller.role.value):
        raise ApiError(HTTPStatus.CONFLICT, f"the name {name} is taken; choose another", field="name")
    now = services.clock.now()
    async with services.uploads:
        try:
            taken, report = await services.library.take_in(name, content, at=now)
        except DocumentError as error:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), field="body") from error
        except EmbeddingError as error:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, f"kept, but not embedded: {error}") from error
    out = DocumentTaken(
        document_id=taken.document_id,
        title=taken.title,
        outcome="added"
        if report.added
        else "replaced"
        if report.replaced
        else "twin"
        if report.twins
        else "unchanged",
        passages=report.passages,
        embedded=report.embedded,
    )
    await services.audit.append(
        at=now,
        who=caller.name,
        action="document.taken",
        subject=name,
        after={"outcome": out.outcome, "role": taken.role.value},
    )
    return out


@router.delete("/document", status_code=HTTPStatus.NO_CONTENT, **may(Role.ADMIN, 404))
async def remove_document(document_id: DocumentIdQuery, services: ServicesHere, caller: Caller) -> Response:
    """Remove a document with its passages."""
    if not await services.library.remove(document_id):
        raise not_found("document", document_id)
    now = services.clock.now()
    await services.audit.append(at=now, who=caller.name, action="document.removed", subject=document_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
