"""A small OpenID Connect provider over HTTP: discovery, keys, authorize and token, with a key of its own.

It signs in whoever `claims` describes without asking, and can be told to do one thing wrong.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

CLIENT, SECRET = "cellwatt", "a secret with a : and a %"


def _segment(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _signed(header: dict[str, Any], claims: Mapping[str, Any], key: RSAKey) -> str:
    # As pure ASCII, so that a test can send what no UTF-8 holds.
    return jws.serialize_compact(header, json.dumps(claims), key, algorithms=[header["alg"]])


@dataclass(slots=True, kw_only=True)
class TestProvider:
    """What it says and does; a test changes it.

    Attributes:
        change: Changes the claims of the next ID tokens.
        sign: Signs the claims.
        asked: How often each path was asked for.
    """

    __test__ = False

    issuer: str
    wall: Callable[[], datetime]
    redirect_uri: str
    claims: dict[str, Any] = field(default_factory=dict)
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    sign: str = "RS256"
    extra: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def reset(self) -> None:
        """Do everything right again."""
        self.claims = {"sub": "subject-olga", "groups": ["site-crew", "cw-operators"]}
        self.change, self.sign, self.extra = lambda claims: claims, "RS256", {}

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            **self.extra,
        }

    def authorize(self, query: Mapping[str, str]) -> str:
        """Return where the browser is sent back to."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["redirect_uri"] == self.redirect_uri
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = dict(query)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def token(self, form: Mapping[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Return the answer to a code, which works once."""
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        query = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if [unquote(one) for one in pair] != [CLIENT, SECRET]:
            return 401, {"error": "invalid_client"}
        if query is None or query["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        wall = self.wall()
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": int(wall.timestamp()),
            "exp": int((wall + timedelta(minutes=5)).timestamp()),
            "nonce": query["nonce"],
            **self.claims,
        }
        return 200, {
            "access_token": "x",
            "token_type": "Bearer",
            "id_token": self.signed(self.change(claims)),
        }

    def signed(self, claims: dict[str, Any]) -> str:
        match self.sign:
            case "none":
                return f"{_segment({'alg': 'none'})}.{_segment(claims)}."
            case "HS256":  # with what everybody knows, the public key, as the secret
                told = f"{_segment({'alg': 'HS256', 'kid': self.key.kid})}.{_segment(claims)}"
                mac = hmac.new(self.key.as_pem(private=False), told.encode(), hashlib.sha256).digest()
                return f"{told}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
            case "forged":
                other = RSAKey.generate_key(2048)
                return _signed({"alg": "RS256", "kid": self.key.kid}, claims, other)
            case "unknown":
                other = RSAKey.generate_key(2048)
                return _signed({"alg": "RS256", "kid": "elsewhere"}, claims, other)
            case _:
                return _signed({"alg": self.sign, "kid": self.key.kid}, claims, self.key)


def _handler(provider: TestProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Stay quiet."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            provider.asked[parts.path] = provider.asked.get(parts.path, 0) + 1
            if parts.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(303)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
            elif parts.path == "/jwks":
                self._json(200, {"keys": [provider.key.as_dict(private=False, use="sig")]})
            else:
                self._json(200, provider.discovery())

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            self._json(*provider.token(form, self.headers.get("Authorization", "")))

        def _json(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def running_provider(
    wall: Callable[[], datetime], redirect_uri: str, host: str = "127.0.0.1"
) -> Iterator[TestProvider]:
    """Serve a provider on a free port; `host` is what it calls this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    provider = TestProvider(
        issuer=f"http://{host}:{server.server_address[1]}", wall=wall, redirect_uri=redirect_uri
    )
    server.RequestHandlerClass = _handler(provider)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        provider.reset()
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
