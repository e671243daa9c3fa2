"""Whose browser it is that the console asks for: the console signs the address, and the API believes nobody else's word.

All requests of the console come from one process; counted by where they come from, everybody who logs in there would share
one allowance. A stranger who names an address of his choice has no signature for it. Who can listen on this machine's
loopback can repeat a signature he saw, for the address it was made for. Standard library only: both processes import it.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

HEADER = "X-Cellwatt-Browser"
KEY_FILE = (
    "CELLWATT_BROWSER_KEY_FILE"  # 32 bytes in base64, which the console and the API share and nobody else has
)
_LONGEST = 45  # of an IPv6 address in text


def signed(address: str, key: bytes) -> str:
    """Return an address as the header carries it."""
    return f"{address} {_mac(address, key)}"


def believed(text: str, key: bytes) -> str:
    """Return the address of a header, empty where this key did not sign it or it is no address."""
    address, _, mac = text.partition(" ")
    if len(address) > _LONGEST or not hmac.compare_digest(mac.encode(), _mac(address, key).encode()):
        return ""
    try:
        ip_address(address)
    except ValueError:
        return ""
    return address


def browser_header(address: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return what the console sends along for a browser; nothing where it has no key or knows no address."""
    path = env.get(KEY_FILE, "")
    if not path or not address:
        return {}
    try:
        key = base64.b64decode(Path(path).read_bytes().strip(), validate=True)
    except (OSError, binascii.Error):
        return {}
    return {HEADER: signed(address, key)} if key else {}


def _mac(address: str, key: bytes) -> str:
    return hmac.new(key, b"browser " + address.encode(), hashlib.sha256).hexdigest()
