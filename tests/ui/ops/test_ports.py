import socket

from ui.ops.ports import free_port


def test_a_port_that_somebody_listens_on_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_port_whose_last_connection_still_lingers_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the server closes first, so its side lingers
    assert free_port(port) == port
