"""Whose browser it is: believed with the right signature alone."""

import base64
from pathlib import Path

import pytest

from ui.browser_address import HEADER, KEY_FILE, believed, browser_header, signed
from ui.processes.console import child_env
from ui.settings import TRUSTED_PROXIES

KEY, OTHER = bytes(range(32)), bytes(32)
OPENSSL = "f7ac478119c2c96907111fcb2188ac9be0170a40d9b2cd431ded647d762e251a"


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
def test_what_was_signed_is_believed(address: str) -> None:
    assert believed(signed(address, KEY), KEY) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "203.0.113.7",
        "203.0.113.7 ",
        "203.0.113.7 " + "0" * 64,
        signed("203.0.113.7", OTHER),
        signed("203.0.113.7", KEY).replace("203.0.113.7", "203.0.113.8"),
        signed("no-address", KEY),
        signed("1" * 60, KEY),
        "203.0.113.7 \N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert believed(text, KEY) == ""


def test_the_console_signs_where_it_has_a_key_and_an_address(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(base64.b64encode(KEY))
    env = {KEY_FILE: str(path)}
    # HMAC-SHA256 of "browser 203.0.113.7" under the bytes 0..31, as OpenSSL gives it.
    assert browser_header("203.0.113.7", env) == {HEADER: f"203.0.113.7 {OPENSSL}"}
    assert browser_header("", env) == {}
    assert browser_header("203.0.113.7", {}) == {}
    assert browser_header("203.0.113.7", {KEY_FILE: str(tmp_path / "none")}) == {}


@pytest.mark.parametrize(("trusted", "told"), [({}, ""), ({TRUSTED_PROXIES: "10.0.0.2"}, "10.0.0.2")])
def test_the_console_takes_a_forwarded_address_from_a_named_proxy_only(
    trusted: dict[str, str], told: str
) -> None:
    # Streamlit's server reads this one, and believes everybody on this machine where it is missing.
    assert child_env({"FORWARDED_ALLOW_IPS": "*", **trusted})["FORWARDED_ALLOW_IPS"] == told
