"""Before any route runs: who is asking, is it too much, is the body too large. Without credentials there is only what is named here."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

import psycopg
from psycopg_pool import PoolTimeout
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.api.account_store import AccountStore
from ui.api.metrics import Metrics
from ui.api.passwords import token_hash
from ui.api.problems import problem
from ui.api.roles import Principal
from ui.api.settings import ApiSettings
from ui.api.throttle import Throttle

COOKIE = "cellwatt_session"
OPEN = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("POST", "/v1/session"),
        ("GET", "/m/login"),
        ("POST", "/m/login"),
        ("GET", "/v1/oidc"),
        ("GET", "/v1/oidc/start"),
        ("GET", "/v1/oidc/callback"),
        ("POST", "/v1/oidc/session"),
    }
)
# the look of the login page, no data
OPEN_FILES = (
    "/m/style.css",
    "/m/manifest.webmanifest",
    "/m/icon.svg",
    "/m/icon-192.png",
    "/m/icon-512.png",
)
UPLOAD = "/v1/telemetry"
LIBRARY = "/v1/knowledge/documents"
_MOST_REMEMBERED = 5_000


class Gatekeeper:
    """Looks credentials up, and remembers them for a few seconds."""

    def __init__(self, accounts: AccountStore, wall: Callable[[], datetime], settings: ApiSettings) -> None:
        self._accounts = accounts
        self._wall = wall
        self._remember_s = settings.remember_for.total_seconds()
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def principal(self, token: str) -> Principal | None:
        """Return whose token this is, None where it is nobody's."""
        return await self.holder(token_hash(token))

    async def holder(self, hashed: bytes) -> Principal | None:
        """Return whose token has this hash, None where it is nobody's any more."""
        known = self._known.get(hashed)
        if known is not None and time.monotonic() < known[0]:
            return known[1] if self._wall() < known[1].expires_at else None
        found = await self._accounts.principal(hashed, self._wall())
        if found is None:
            self._known.pop(hashed, None)
            return None
        self._known[hashed] = (time.monotonic() + self._remember_s, found)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return found

    def forget(self) -> None:
        """Look everybody up anew: an account or a token has changed."""
        self._known.clear()


class Gate:
    """ASGI middleware: authenticates, throttles, bounds bodies, counts; puts the principal into the request's state."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper, settings: ApiSettings, metrics: Metrics) -> None:
        self._app = app
        self._gatekeeper = gatekeeper
        self._settings = settings
        self._metrics = metrics
        self._throttle = Throttle(settings.rate_per_s, settings.burst, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.monotonic()
        status = 500
        streamed = False

        async def watched(message: Message) -> None:
            nonlocal status, streamed
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = Headers(raw=message["headers"])
                streamed = headers.get("content-type", "").startswith("text/event-stream")
                message = {**message, "headers": [*message["headers"], *_SAFE]}
            await send(message)

        try:
            await self._enter(scope, receive, watched)
        finally:
            took_s = 0.0 if streamed else time.monotonic() - began_s
            self._metrics.count(scope["method"], status, took_s)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["principal"] = None
        token, by_cookie = _credentials(headers, path)
        try:
            principal = await self._gatekeeper.principal(token) if token else None
        except (psycopg.OperationalError, PoolTimeout):
            answer = problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the database does not answer; try again in a few seconds",
                headers={"Retry-After": "3"},
            )
            await answer(scope, receive, send)
            return
        if principal is None and not is_open(method, path):
            await _unknown(path, by_cookie=by_cookie)(scope, receive, send)
            return
        if principal is not None:
            state["principal"] = principal
            if wait_s := self._throttle.wait_s(principal.identity):
                self._metrics.throttled += 1
                answer = problem(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"too many requests; wait {wait_s:.1f} s",
                    headers={"Retry-After": str(max(1, round(wait_s)))},
                )
                await answer(scope, receive, send)
                return
        larger = {UPLOAD: self._settings.max_upload_bytes, LIBRARY: self._settings.max_document_bytes}
        most = larger.get(path, self._settings.max_body_bytes) if principal else self._settings.max_body_bytes
        await self._bounded(scope, receive, send, most)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            await _too_large(most)(scope, receive, send)
            return
        seen, answered = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    raise BodyTooLargeError(most)
            return message

        async def instead(message: Message) -> None:
            # Whatever the framework made of the error: the body was too large, and that is what is said.
            nonlocal answered
            if seen <= most:
                await send(message)
            elif not answered:
                answered = True
                await _too_large(most)(scope, receive, send)

        await self._app(scope, counted, instead)


class BodyTooLargeError(Exception):
    """A body without a declared length went past what is allowed; reading it ends here."""


def is_open(method: str, path: str) -> bool:
    """Return whether a request needs no credentials."""
    method = "GET" if method == "HEAD" else method
    return (method, path) in OPEN or (method == "GET" and path in OPEN_FILES)


_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    # With no referrer at all a browser calls the origin of our own forms "null".
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def _credentials(headers: Headers, path: str) -> tuple[str, bool]:
    """Return the token and whether it came in a cookie, which counts for pages only, never for `/v1`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip(), False
    if path.startswith("/v1"):
        return "", False
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return "", True
    return ("" if morsel is None else morsel.value), True


def _unknown(path: str, *, by_cookie: bool) -> ASGIApp:
    if by_cookie and (path in {"/m", "/docs"} or path.startswith("/m/")):
        then = "?next=/docs" if path == "/docs" else ""
        return RedirectResponse(f"/m/login{then}", HTTPStatus.SEE_OTHER)
    return problem(
        HTTPStatus.UNAUTHORIZED,
        "log in with POST /v1/session and send the token as Authorization: Bearer",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _too_large(most: int) -> ASGIApp:
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may hold {most} bytes")
