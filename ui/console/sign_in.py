"""Signing in through the provider, as the console's own server sees it: there with a challenge, back with a one-time code.

The code in the address is worth nothing without the verifier, which lies in a cookie of the browser that began; the
session's token never stands in a page or an address.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ui.browser_address import browser_header
from ui.console.api_client import Doc
from ui.console.kept_login import behind_tls, keep_in

THERE, BACK = "/sign-in", "/signed-in"
FAILED = "sign_in"  # what the address says when it did not work
VERIFIER = "cellwatt_verifier"
_API_URL = "CELLWATT_API_URL"
_GOOD_FOR_S = 600
_TIMEOUT_S = 15.0
# Relative, so that it holds wherever a proxy puts the console.
_HOME = "./"


def sign_in_routes(env: Mapping[str, str]) -> list[Route]:
    """Return the routes that lead to the provider and take up what it sends back."""

    async def there(request: Request) -> Response:
        offer = await _asked(env, "GET", "/v1/oidc")
        if offer is None or not offer["console"]:
            return _home(failed=True)
        verifier = secrets.token_urlsafe(32)
        answer = _led(f"{offer['start']}?{urlencode({'challenge': challenge_of(verifier)})}")
        answer.set_cookie(
            VERIFIER,
            verifier,
            max_age=_GOOD_FOR_S,
            httponly=True,
            samesite="lax",  # the way back begins at the provider
            secure=behind_tls(request),
        )
        return answer

    async def back(request: Request) -> Response:
        code = {
            "code": request.query_params.get("code", ""),
            "verifier": request.cookies.get(VERIFIER, ""),
        }
        address = request.client.host if request.client else ""
        # Without the cookie it is not this browser's: another page led here, and the API need not hear of it.
        session = (
            await _asked(env, "POST", "/v1/oidc/session", code, browser_header(address, env))
            if code["verifier"]
            else None
        )
        answer = _home(failed=session is None)
        answer.delete_cookie(VERIFIER, httponly=True, samesite="lax")
        if session is not None:
            keep_in(answer, str(session["token"]), request)
        return answer

    return [Route(THERE, there, methods=["GET"]), Route(BACK, back, methods=["GET"])]


def challenge_of(verifier: str) -> str:
    """Return a verifier's S256 challenge (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def _asked(
    env: Mapping[str, str],
    method: str,
    path: str,
    body: Doc | None = None,
    headers: Mapping[str, str] | None = None,
) -> Doc | None:
    """Return what the API says, None where it says no or nothing; the person then reads that it did not work."""
    try:
        async with httpx.AsyncClient(
            base_url=env.get(_API_URL, ""), timeout=_TIMEOUT_S, trust_env=False
        ) as http:
            answer = await http.request(method, path, json=body, headers=headers)
            found: Doc = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return found if answer.is_success else None


def _home(*, failed: bool) -> RedirectResponse:
    return _led(f"{_HOME}?{FAILED}=failed" if failed else _HOME)


def _led(url: str) -> RedirectResponse:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, 303, headers=headers)
