"""Refuses connections that leave this machine, so that no test depends on the outside or calls a paid model."""

import ipaddress
import socket
import sys


class OutgoingConnectionError(AssertionError):
    """Code under test reached for another machine."""


class NetworkGuard:
    """An audit hook: it sees every Python socket and needs no replacement of anything; it cannot be removed again."""

    def __init__(self) -> None:
        self.refused: list[object] = []

    def install(self) -> None:
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "socket.connect":
            return
        connecting, address = arguments
        if not isinstance(connecting, socket.socket) or connecting.family not in {
            socket.AF_INET,
            socket.AF_INET6,
        }:
            return
        if not (isinstance(address, tuple) and is_loopback(str(address[0]))):
            self.refused.append(address)
            raise OutgoingConnectionError(f"a test tried to connect to {address!r}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost` or a loopback address, no other name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
