"""A login that outlives a reload: the browser keeps the session in a cookie that no script can read.

The page cannot set such a cookie itself. It hands the sealed token to a route of the same server, which sets it. The seal's
key lives as long as the console's process; a sealed token is good for a minute and for this server only. It has to come as a
type that a form of another site cannot send: anybody who logs in has a sealed token, and could seat somebody else with it.
"""

from collections.abc import Mapping
from http import HTTPStatus

from cryptography.fernet import Fernet, InvalidToken
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEY = "CELLWATT_CONSOLE_KEY"
COOKIE = "cellwatt_console"
PATH = "/keep-login"
SEALED = "application/octet-stream"
_GOOD_FOR_S = 60
_MOST_BYTES = 4096


def fresh_key() -> str:
    """Return a new key for one life of the console."""
    return Fernet.generate_key().decode()


def seal(token: str, env: Mapping[str, str]) -> str:
    """Return a session's token as only this console can read it, in letters that need no escaping; empty without a key."""
    key = env.get(KEY, "")
    return Fernet(key).encrypt(token.encode()).decode() if key else ""


def unsealed(sealed: bytes, env: Mapping[str, str]) -> str | None:
    """Return the token; None where the seal is not ours or too old, or this console has no key."""
    key = env.get(KEY, "")
    if not key:
        return None
    try:
        return Fernet(key).decrypt(sealed, ttl=_GOOD_FOR_S).decode()
    except (InvalidToken, UnicodeDecodeError):
        return None


def keeping_script(sealed: str, base_path: str) -> str:
    """Return the page's part: hand the sealed token over."""
    options = f'{{method: "POST", headers: {{"Content-Type": "{SEALED}"}}, body: "{sealed}"}}'
    return f'<script>fetch("{_address(base_path)}", {options})</script>'


def forgetting_script(base_path: str) -> str:
    """Return the page's part at a log-out: let the cookie go."""
    return f'<script>fetch("{_address(base_path)}", {{method: "DELETE"}})</script>'


def _address(base_path: str) -> str:
    return address_of(PATH, base_path)


def address_of(path: str, base_path: str) -> str:
    """Return where one of the console's own routes is for a browser."""
    inner = base_path.strip("/")
    return f"/{inner}{path}" if inner else path


def kept_login_route(env: Mapping[str, str]) -> Route:
    """Return the route that sets the cookie, and takes it away again."""

    async def keep(request: Request) -> Response:
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        if request.method == "DELETE":
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
            return answer
        if request.headers.get("content-type", "") != SEALED:
            return Response(status_code=HTTPStatus.FORBIDDEN)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        token = unsealed(body, env)
        if token is None:
            return Response(status_code=HTTPStatus.FORBIDDEN)
        keep_in(answer, token, request)
        return answer

    return Route(PATH, keep, methods=["POST", "DELETE"])


def keep_in(answer: Response, token: str, request: Request) -> None:
    """Let the browser keep a session's token where no script and no other site gets at it."""
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=behind_tls(request))


def behind_tls(request: Request) -> bool:
    """Return whether the browser came over HTTPS, here or at a proxy before us."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "")}
