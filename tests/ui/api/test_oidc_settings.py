"""What needs no server: which settings are a provider, which keys count, which role a claim gives."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

from tests.ui.api.test_oidc import SETTINGS
from ui.api.oidc import challenge_of, is_safe, oidc_settings, role_of, roles_of
from ui.api.oidc_provider import ProviderAwayError, metadata_of, signing_keys
from ui.api.roles import Role
from ui.settings import SettingsError


def test_only_long_keys_that_sign_count() -> None:
    long, short = _rsa(2048), _rsa(1024)
    encrypting = RSAKey.generate_key(2048).as_dict(private=False, use="enc")
    for keys in ([], [short], [encrypting], [{"kty": "oct", "k": "AAAA"}], [{"kty": "RSA"}], ["x"], None):
        with pytest.raises(ProviderAwayError, match="no key"):
            signing_keys({"keys": keys})
    assert [one.key_type for one in signing_keys({"keys": [short, long]}).keys] == ["RSA"]


def test_a_provider_elsewhere_sends_us_to_no_port_of_this_machine_and_says_how_we_show_ourselves() -> None:
    issuer = "https://login.example"
    found: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/a",
        "token_endpoint": f"{issuer}/t",
        "jwks_uri": f"{issuer}/j",
    }
    assert metadata_of(found, issuer).secret_in_body is False
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        with pytest.raises(ProviderAwayError, match=f"{name} is no https"):
            metadata_of({**found, name: "http://127.0.0.1:9/x"}, issuer)
    methods = "token_endpoint_auth_methods_supported"
    assert metadata_of({**found, methods: ["client_secret_post"]}, issuer).secret_in_body is True
    for unusable in (None, 5, ["private_key_jwt"]):
        with pytest.raises(ProviderAwayError, match="client secret"):
            metadata_of({**found, methods: unusable}, issuer)


def _rsa(bits: int) -> dict[str, str]:
    """Return a public key as a key set spells it."""
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_numbers()
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(bits // 8)).decode().rstrip("=")
    return {"kty": "RSA", "n": modulus, "e": "AQAB"}


def test_the_challenge_is_that_of_the_rfc() -> None:
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_roles_come_from_the_mapping_alone_and_the_highest_counts() -> None:
    nested = replace(SETTINGS, role_claim="realm_access.roles")
    assert role_of({"realm_access": {"roles": ["cw-viewers", "cw-admins"]}}, nested) is Role.ADMIN
    assert role_of({"realm_access": "cw-admins"}, nested) is None
    assert role_of({"groups": ["admin", 7, None]}, SETTINGS) is None
    assert roles_of(" a=viewer, cn=ops=admin,") == {"a": Role.VIEWER, "cn=ops": Role.ADMIN}


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://login.example/t", True),
        ("http://127.0.0.1:9/t", True),
        ("http://[::1]:9/t", True),
        ("http://login.example/t", False),
        ("http://127.0.0.1.example/t", False),
        ("ftp://127.0.0.1/t", False),
        ("https:///t", False),
        ("http://[", False),
    ],
)
def test_plain_http_is_for_this_machine_alone(url: str, safe: bool) -> None:
    assert is_safe(url) is safe


def test_settings_are_all_there_or_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o640)
    whole = {
        "CELLWATT_OIDC_ISSUER": "https://login.example/realm",
        "CELLWATT_OIDC_CLIENT_ID": "cw",
        "CELLWATT_OIDC_CLIENT_SECRET_FILE": str(secret),
        "CELLWATT_OIDC_REDIRECT_BASE": "https://api.example/",
        "CELLWATT_OIDC_ROLES": "cn=ops=operator",
    }
    found = oidc_settings(whole)
    assert found is not None
    assert (found.redirect_uri, found.label) == ("https://api.example/v1/oidc/callback", "login.example")
    assert found.roles == {"cn=ops": Role.OPERATOR}
    assert "s3cret" not in repr(found)
    assert oidc_settings({"PATH": "x"}) is None
    for name in whole:
        with pytest.raises(SettingsError, match=name):
            oidc_settings({**whole, name: ""})
    for name, wrong in [
        ("ISSUER", "http://login.example"),
        ("REDIRECT_BASE", "https://a.example/api"),
        ("ROLES", "ops=root"),
        ("ROLES", "ops=site"),
        ("ROLES", "ops=viewer,ops=admin"),
    ]:
        with pytest.raises(SettingsError, match=name):
            oidc_settings({**whole, f"CELLWATT_OIDC_{name}": wrong})
    secret.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        oidc_settings(whole)
