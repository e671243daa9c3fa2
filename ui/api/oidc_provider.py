"""The provider over HTTP: its discovery document, its keys, and the exchange of a code for an ID token."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from ui.api.oidc import Identity, OidcSettings, SignInRefusedError, UnknownKeyError, identity_of, is_safe

_TIMEOUT_S = 10.0
_MOST_BYTES = 1_000_000
_REMEMBER_S = 3600.0
_KEYS_AGAIN_AFTER_S = 10.0  # so that tokens with invented key ids do not become requests to the provider
_LEAST_RSA_BITS = 2048
_SCOPE = "openid profile"


class ProviderAwayError(Exception):
    """The provider does not answer, or not as a provider must; the message says how, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the provider says of itself (OpenID Connect Discovery 1.0, section 3)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    secret_in_body: bool
    names_itself: bool


class Provider:
    """Asks one provider and remembers what it publishes.

    Args:
        settings: Which one.
        monotonic_s: A clock that only goes forward, s.
        timeout_s: A whole answer may take this long, s.
    """

    def __init__(
        self,
        settings: OidcSettings,
        monotonic_s: Callable[[], float] = time.monotonic,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.settings = settings
        self._monotonic_s = monotonic_s
        self._timeout_s = timeout_s
        # Proxies of the environment are for the world outside, not for a provider on this machine.
        self._http = httpx.AsyncClient(timeout=timeout_s, trust_env=settings.issuer.startswith("https:"))
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself.

        Raises:
            ProviderAwayError: It says nothing that can be used.
        """
        if self._metadata is None or self._monotonic_s() - self._metadata[0] > _REMEMBER_S:
            url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            self._metadata = (
                self._monotonic_s(),
                metadata_of(await self._ask("GET", url), self.settings.issuer),
            )
        return self._metadata[1]

    async def sign_in_url(self, *, state: str, nonce: str, challenge: str) -> str:
        """Return where a browser goes to sign in."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_uri,
            "scope": _SCOPE,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = (await self.metadata()).authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def identity(self, code: str, verifier: str, *, nonce: str, wall: datetime) -> Identity:
        """Exchange a code for an ID token and return who it is about.

        Raises:
            ProviderAwayError: The provider does not answer.
            SignInRefusedError: It refuses the code, or its token is not to be believed.
        """
        id_token = await self._redeem(code, verifier)
        keys = await self.keys()
        try:
            return identity_of(id_token, keys, self.settings, nonce=nonce, wall=wall)
        except UnknownKeyError:
            # The provider may have changed its keys since we looked.
            fresh = await self.keys(again=True)
            return identity_of(id_token, fresh, self.settings, nonce=nonce, wall=wall)

    async def keys(self, *, again: bool = False) -> KeySet:
        """Return the keys that the provider signs with; `again`: unless they were fetched a moment ago."""
        age_s = float("inf") if self._keys is None else self._monotonic_s() - self._keys[0]
        if self._keys is None or age_s > (_KEYS_AGAIN_AFTER_S if again else _REMEMBER_S):
            found = await self._ask("GET", (await self.metadata()).jwks_uri)
            self._keys = (self._monotonic_s(), signing_keys(found))
        return self._keys[1]

    async def _redeem(self, code: str, verifier: str) -> str:
        metadata, settings = await self.metadata(), self.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_uri,
            "code_verifier": verifier,
        }
        if metadata.secret_in_body:
            form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
            found = await self._ask("POST", metadata.token_endpoint, data=form)
        else:
            # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            pair = (quote(settings.client_id, safe=""), quote(settings.client_secret, safe=""))
            found = await self._ask("POST", metadata.token_endpoint, data=form, auth=pair)
        id_token = found.get("id_token")
        if not isinstance(id_token, str):
            raise SignInRefusedError("the provider sent no ID token")
        return id_token

    async def _ask(self, method: str, url: str, **options: Any) -> Mapping[str, Any]:
        body = b""
        try:
            # The client's own limit is for each piece; a provider that drips would be waited for without an end.
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(method, url, headers={"Accept": "application/json"}, **options) as answer,
            ):
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ProviderAwayError("the sign-in provider answers with too much")
            found = httpx.Response(answer.status_code, content=body).json()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ProviderAwayError(
                "the sign-in provider does not answer; try again in a few minutes"
            ) from error
        except ValueError as error:
            raise ProviderAwayError("the sign-in provider answers with something unreadable") from error
        if answer.status_code == HTTPStatus.BAD_REQUEST and method == "POST":
            raise SignInRefusedError("the provider refuses the code of this sign-in; begin again")
        if answer.status_code != HTTPStatus.OK or not isinstance(found, dict):
            raise ProviderAwayError(f"the sign-in provider answers with status {answer.status_code}")
        return found


def metadata_of(found: Mapping[str, Any], issuer: str) -> Metadata:
    """Return a provider's metadata.

    Raises:
        ProviderAwayError: It is another provider's, or cannot be used.
    """
    if found.get("issuer") != issuer:
        raise ProviderAwayError(f"the sign-in provider calls itself {found.get('issuer')!r}, not {issuer!r}")
    urls = {name: found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    # A provider elsewhere has no business on this machine: nobody's secret is posted to a port of ours.
    here = issuer.startswith("http:")
    safe = {
        name: url
        for name, url in urls.items()
        if isinstance(url, str) and is_safe(url) and (here or url.startswith("https:"))
    }
    if len(safe) < len(urls):
        raise ProviderAwayError(
            f"the sign-in provider's {min(urls.keys() - safe.keys())} is no https address"
        )
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if not isinstance(methods, list) or not {"client_secret_basic", "client_secret_post"} & {
        one for one in methods if isinstance(one, str)
    }:
        raise ProviderAwayError(
            "the sign-in provider takes no client secret that we could show ourselves with"
        )
    return Metadata(
        **safe,
        secret_in_body="client_secret_basic" not in methods,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _number(text: str) -> int:
    """Return a number as key sets spell it (RFC 7518, section 2)."""
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def signing_keys(found: Mapping[str, Any]) -> KeySet:
    """Return the public keys of a key set that may sign: RSA of 2048 bits or more and elliptic curves.

    Raises:
        ProviderAwayError: There are none.
    """
    keys: list[RSAKey | ECKey] = []
    listed = found.get("keys")
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        try:
            if one.get("kty") == "RSA" and _number(one["n"]).bit_length() >= _LEAST_RSA_BITS:
                keys.append(RSAKey.import_key(one))
            elif one.get("kty") == "EC":
                keys.append(ECKey.import_key(one))
        except (JoseError, KeyError, ValueError, TypeError):
            continue  # a key that cannot be read signs nothing for us; the others may
    if not keys:
        raise ProviderAwayError("the sign-in provider publishes no key that we could check with")
    return KeySet(list(keys))
