"""Sign-in through an OpenID Connect provider: its settings, the check of an ID token, and the role it gives (pure).

OpenID Connect Core 1.0, section 3.1.3.7 says what is checked of an ID token; RFC 7636 is the code challenge.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from ui.api.roles import Role
from ui.settings import SettingsError, need, need_file

ISSUER = "CELLWATT_OIDC_ISSUER"
CLIENT_ID = "CELLWATT_OIDC_CLIENT_ID"
CLIENT_SECRET_FILE = "CELLWATT_OIDC_CLIENT_SECRET_FILE"  # noqa: S105 the name of a file
REDIRECT_BASE = "CELLWATT_OIDC_REDIRECT_BASE"
CONSOLE_URL = "CELLWATT_OIDC_CONSOLE_URL"
ROLE_CLAIM = "CELLWATT_OIDC_ROLE_CLAIM"
ROLES = "CELLWATT_OIDC_ROLES"
NAME = "CELLWATT_OIDC_NAME"
PREFIX = "CELLWATT_OIDC_"

# Asymmetric ones only: with HS256 whoever knows the client's secret could sign, with none anybody.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
CALLBACK = "/v1/oidc/callback"
_LEEWAY_S = 30
_OTHERS = 0o007  # a service manager may hand a secret over by group
_LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SignInRefusedError(Exception):
    """A person is not let in; the message says why, for them."""


class UnknownKeyError(SignInRefusedError):
    """The token is signed by a key that the provider has not published, as far as we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """The one provider that people may sign in through.

    Attributes:
        issuer: Its issuer, as its tokens spell it.
        redirect_base: Where browsers reach this API.
        console_url: Where browsers reach the console; empty: the sign-in leads to the phone's pages only.
        role_claim: The ID token's claim that holds roles or groups; dots lead into objects.
        roles: The role that each of its values gives; nobody gets one by default.
        label: What the button calls the provider.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_base: str
    console_url: str
    role_claim: str
    roles: Mapping[str, Role]
    label: str

    @property
    def redirect_uri(self) -> str:
        """Return where the provider sends browsers back to."""
        return self.redirect_base + CALLBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the provider says somebody is.

    Attributes:
        subject: The provider's name for them, which never passes to another person.
        role: The highest that the mapping gives, None where it gives none.
    """

    subject: str
    role: Role | None


def oidc_settings(env: Mapping[str, str]) -> OidcSettings | None:
    """Return the provider, None where none is set.

    Raises:
        SettingsError: Something of it is missing or unusable.
    """
    if not any(name.startswith(PREFIX) and value for name, value in env.items()):
        return None
    path = need_file(env, CLIENT_SECRET_FILE)
    if path.stat().st_mode & _OTHERS:
        raise SettingsError(f"{CLIENT_SECRET_FILE}: others may open {path}; run: chmod 600 {path}")
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise SettingsError(f"{CLIENT_SECRET_FILE}: the file is empty")
    issuer = _web_address(need(env, ISSUER), ISSUER)
    console_url = env.get(CONSOLE_URL, "")
    return OidcSettings(
        issuer=issuer,
        client_id=need(env, CLIENT_ID),
        client_secret=secret,
        redirect_base=_origin(need(env, REDIRECT_BASE)),
        console_url=_web_address(console_url, CONSOLE_URL).rstrip("/") if console_url else "",
        role_claim=env.get(ROLE_CLAIM, "") or "groups",
        roles=roles_of(need(env, ROLES)),
        label=env.get(NAME, "") or urlsplit(issuer).hostname or issuer,
    )


def roles_of(text: str) -> Mapping[str, Role]:
    """Return which role each claim value gives, from `value=role` pairs with commas between them.

    Raises:
        SettingsError: It names no role of a person, or a value twice.
    """
    found: dict[str, Role] = {}
    for pair in filter(None, (one.strip() for one in text.split(","))):
        value, _, role = pair.rpartition("=")
        if not value or role not in {one.value for one in Role if one is not Role.SITE}:
            raise SettingsError(f"{ROLES}: {pair!r} is not value=viewer, operator, approver or admin")
        if value.strip() in found:
            raise SettingsError(f"{ROLES}: {value.strip()!r} stands there twice")
        found[value.strip()] = Role(role)
    return found


def is_safe(url: str) -> bool:
    """Return whether what is sent there can be read by nobody else: HTTPS, or this machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


def _web_address(url: str, name: str) -> str:
    if not is_safe(url) or urlsplit(url).query or urlsplit(url).fragment:
        raise SettingsError(f"{name}: {url!r} is no https address (http is for this machine alone)")
    return url


def _origin(url: str) -> str:
    base = _web_address(url, REDIRECT_BASE).rstrip("/")
    if urlsplit(base).path:
        raise SettingsError(
            f"{REDIRECT_BASE}: {url!r} has a path; the API answers at the root of its address"
        )
    return base


def challenge_of(verifier: str) -> str:
    """Return a verifier's S256 challenge (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def identity_of(
    id_token: str, keys: KeySet, settings: OidcSettings, *, nonce: str, wall: datetime
) -> Identity:
    """Return who an ID token is about.

    Args:
        id_token: As the provider sent it.
        keys: What the provider signs with.
        settings: The provider.
        nonce: What this sign-in asked with.
        wall: Now, wall time.

    Raises:
        UnknownKeyError: The provider has to be asked for its keys again.
        SignInRefusedError: The token is not to be believed.
    """
    try:
        claims = jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims
        jwt.JWTClaimsRegistry(
            now=int(wall.timestamp()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
        ).validate(claims)
    except InvalidKeyIdError as error:
        raise UnknownKeyError("the provider's token is signed by a key that it does not publish") from error
    except ExpiredTokenError as error:
        raise SignInRefusedError("the provider's token has expired") from error
    except ClaimError as error:
        raise SignInRefusedError(f"the provider's token is not meant for us: {error.description}") from error
    except (JoseError, ValueError, TypeError) as error:
        raise SignInRefusedError("the provider's token is not signed as it must be") from error
    _check_meant_for_us(claims, settings, nonce)
    return Identity(subject=claims["sub"], role=role_of(claims, settings))


def _check_meant_for_us(claims: Mapping[str, Any], settings: OidcSettings, nonce: str) -> None:
    found = claims.get("nonce")
    if not isinstance(found, str) or not hmac.compare_digest(
        found.encode("utf-8", "replace"), nonce.encode()
    ):
        raise SignInRefusedError("the provider's token belongs to another sign-in (nonce)")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else settings.client_id) != settings.client_id:
        raise SignInRefusedError("the provider's token was made for another application (azp)")
    if len(claims["sub"]) > _LONGEST_SUBJECT or not claims["sub"].isprintable():
        raise SignInRefusedError("the provider's token names nobody (sub)")


def role_of(claims: Mapping[str, Any], settings: OidcSettings) -> Role | None:
    """Return the highest role that the claims give, None where they give none."""
    found: Any = claims
    for part in settings.role_claim.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    values = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    given = [settings.roles[one] for one in values if isinstance(one, str) and one in settings.roles]
    return max(given, key=list(Role).index, default=None)
