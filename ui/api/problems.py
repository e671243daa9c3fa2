"""Errors as `application/problem+json` (RFC 9457): what happened, which field, and what to do about it."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout, TooManyRequests
from starlette.exceptions import HTTPException

from ui.api.schemas import Problem

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)
_SHOWN = 20  # field errors in one answer


class ApiError(Exception):
    """A request that cannot be granted.

    Args:
        status: HTTP status.
        detail: What happened and what to do, for a person.
        field: The field at fault, where there is one.
        headers: Further response headers.
    """

    def __init__(
        self, status: int, detail: str, *, field: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})


def not_found(what: str, name: str) -> ApiError:
    """Return the error for something that is not there."""
    return ApiError(HTTPStatus.NOT_FOUND, f"there is no {what} {name}")


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a problem document."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": list(errors),
    }
    return JSONResponse(content, status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers that a route may give beside its good one, for the OpenAPI document."""
    body = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": body} for status in sorted(statuses)
    }


def documented_text(*statuses: int) -> dict[str, dict[str, Any]]:
    """Return the same for a finished OpenAPI document, whose statuses are texts."""
    return {str(status): answer for status, answer in documented(*statuses).items()}


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""

    @app.exception_handler(ApiError)
    async def _ours(_: Request, error: ApiError) -> JSONResponse:
        errors = [{"field": error.field, "message": error.detail}] if error.field else []
        return problem(error.status, error.detail, errors=errors, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [_field_error(each) for each in error.errors()[:_SHOWN]]
        first = errors[0] if errors else {"field": "", "message": "the request is malformed"}
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['field']}: {first['message']}", errors=errors
        )

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # The framework's word for a body that is no JSON at all; malformed is malformed.
            errors = [{"field": "body", "message": str(error.detail)}]
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the body cannot be read", errors=errors)
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(PoolTimeout)
    @app.exception_handler(TooManyRequests)
    async def _away(_: Request, error: Exception) -> JSONResponse:
        _log.warning("the database does not answer", extra={"error": str(error)[:200]})
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the database does not answer; try again in a few seconds",
            headers={"Retry-After": "3"},
        )

    @app.exception_handler(Exception)
    async def _broken(request: Request, error: Exception) -> JSONResponse:
        _log.error("a request failed", exc_info=error, extra={"path": request.url.path})
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed here; the log of the API says why"
        )


def add_schema(document: dict[str, Any]) -> None:
    """Put the problem's schema into an OpenAPI document."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    inner = schema.pop("$defs", {})
    document.setdefault("components", {}).setdefault("schemas", {}).update({"Problem": schema, **inner})


def _field_error(error: Mapping[str, Any]) -> dict[str, str]:
    place = error.get("loc", ())
    where = [str(part) for part in (place[1:] if len(place) > 1 else place)]
    return {"field": ".".join(where), "message": str(error.get("msg", "is wrong"))}
