import socket

import pytest

from tests.network_guard import NetworkGuard, OutgoingConnectionError, is_loopback


def test_a_connection_to_another_machine_is_refused_and_remembered(network_guard: NetworkGuard) -> None:
    with socket.socket() as outgoing, pytest.raises(OutgoingConnectionError):
        outgoing.connect(("192.0.2.1", 443))
    assert network_guard.refused == [("192.0.2.1", 443)]
    network_guard.refused.clear()


def test_a_connection_to_this_machine_is_allowed(network_guard: NetworkGuard) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("api.example", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
