"""Free TCP ports on this machine."""

import socket


def free_port(preferred: int | None = None) -> int:
    """Return the preferred TCP port on 127.0.0.1 if nobody listens there, else one that is free.

    Another process may take it before the caller does: a server that then cannot bind is started again on another.
    """
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket() as probe:
            # As servers do: closed connections that linger do not make the port taken, a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise OSError("no free TCP port on 127.0.0.1")
