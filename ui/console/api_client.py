"""The API as the console sees it: JSON over HTTP, errors in words that a person can act on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias
from uuid import uuid4

import httpx

# JSON objects as the API's schemas describe them; the OpenAPI document at /docs is the reference.
Doc: TypeAlias = Mapping[str, Any]

_TIMEOUT_S = 15.0
_UPLOAD_TIMEOUT_S = 120.0
_MOST_PAGES = 20
_MOST_KEPT = 64


class ApiError(Exception):
    """A request that brought nothing; the message says why, for a person."""


class ApiAwayError(ApiError):
    """The API does not answer, or cannot now."""


class LoggedOutError(ApiError):
    """The session is over, or there is none."""


class RefusedError(ApiError):
    """The API understood and said no.

    Attributes:
        status: HTTP status.
        fields: The fields at fault with what is wrong with them.
    """

    def __init__(self, status: int, detail: str, fields: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.fields = dict(fields)


def open_http(base_url: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a connection pool that all sessions of one console share; credentials are not part of it."""
    return httpx.Client(base_url=base_url, timeout=_TIMEOUT_S, trust_env=False, transport=transport)


@dataclass(slots=True, kw_only=True)
class ApiClient:
    """One person's way to the API. What carries an ETag is fetched again only where it has changed.

    An act that nobody knows the outcome of keeps its idempotency key for as long as the person sits here: the same act,
    pressed again, is then done once. What was answered, or another act at the same place, lets it go.
    """

    http: httpx.Client
    token: str = ""
    browser: Mapping[str, str] = field(default_factory=dict)  # what says whose browser this is
    _kept: dict[str, tuple[str, Any]] = field(default_factory=dict)
    _open_acts: dict[str, tuple[str, str]] = field(default_factory=dict)  # place -> what was asked, its key

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer to a GET.

        Raises:
            ApiError: There is none.
        """
        asked = {name: value for name, value in query.items() if value is not None}
        key = f"{path}?{sorted(asked.items(), key=str)}"
        etag, body = self._kept.get(key, ("", None))
        headers = {"If-None-Match": etag} if etag else {}
        answer = self._send("GET", path, params=asked, headers=headers)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return body
        found = answer.json()
        if "ETag" in answer.headers and "limit" not in asked and "start" not in asked:
            self._kept[key] = (answer.headers["ETag"], found)
            if len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
        return found

    def items(self, path: str, *, most: int = 1000, **query: Any) -> list[Doc]:
        """Return a list's items, following its pages until there are `most`.

        Raises:
            ApiError: There is no answer.
        """
        found: list[Doc] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = self.get(path, cursor=cursor, limit=min(most, 1000), **query)
            found.extend(page["items"])
            cursor = page["next_cursor"]
            if cursor is None or len(found) >= most:
                break
        return found[:most]

    def act(
        self,
        method: str,
        path: str,
        body: Doc | None = None,
        *,
        key: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Do something; a repeated `key` does it once. Returns the answer, None where it is empty.

        Raises:
            ApiError: It was not done, or it is not known whether it was (`ApiAwayError`).
        """
        asked = json.dumps([body, sorted(dict(query or {}).items())], sort_keys=True, default=str)
        with self._once(f"{method} {path}", asked, key) as once:
            headers = {"Idempotency-Key": once}
            answer = self._send(method, path, json=body, params=dict(query or {}), headers=headers)
        return answer.json() if answer.content else None

    def upload(self, path: str, content: bytes, **query: str) -> Any:
        """Send a file; return what became of it.

        Raises:
            ApiError: It was not taken, or it is not known whether it was (`ApiAwayError`).
        """
        asked = json.dumps([sha256(content).hexdigest(), sorted(query.items())])
        with self._once(f"upload {path}", asked, None) as once:
            headers = {"Idempotency-Key": once, "Content-Type": "application/octet-stream"}
            answer = self._send(
                "POST", path, content=content, params=query, headers=headers, timeout=_UPLOAD_TIMEOUT_S
            )
        return answer.json()

    @contextmanager
    def _once(self, place: str, asked: str, key: str | None) -> Iterator[str]:
        """Give the key of an act: the one it had where it was asked before and not answered."""
        before, kept = self._open_acts.pop(place, ("", ""))
        once = key or (kept if before == asked else "") or uuid4().hex
        try:
            yield once
        except ApiAwayError:
            self._open_acts[place] = (asked, once)
            raise

    def _send(self, method: str, path: str, *, headers: Mapping[str, str], **options: Any) -> httpx.Response:
        sent = {
            **self.browser,
            **headers,
            **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        }
        try:
            answer = self.http.request(method, path, headers=sent, **options)
        except httpx.TransportError as error:
            raise ApiAwayError(str(error) or type(error).__name__) from error
        raise_problem(answer)
        return answer


def raise_problem(answer: httpx.Response) -> None:
    """Turn an error answer into an exception.

    Raises:
        ApiError: It is one.
    """
    if answer.status_code < httpx.codes.BAD_REQUEST:
        return
    detail, fields = _problem(answer)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise LoggedOutError(detail)
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise ApiAwayError(detail)
    raise RefusedError(answer.status_code, detail, fields)


def _problem(answer: httpx.Response) -> tuple[str, dict[str, str]]:
    try:
        doc = answer.json()
        errors: Sequence[Doc] = doc["errors"]
        return str(doc["detail"]), {str(one["field"]): str(one["message"]) for one in errors}
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}", {}


def log_in(
    http: httpx.Client, name: str, password: str, browser: Mapping[str, str] | None = None
) -> tuple[str, Doc]:
    """Return a session's token and who it belongs to; `browser` is the header that says whose browser it is.

    Raises:
        ApiError: The API refuses, or does not answer.
    """
    found = ApiClient(http=http, browser=browser or {}).act(
        "POST", "/v1/session", {"name": name, "password": password}
    )
    return str(found["token"]), found["me"]
