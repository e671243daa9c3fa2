"""A paho client's socket on the asyncio event loop, so that a connection needs no thread."""

import asyncio
import contextlib
import socket
import ssl
from datetime import timedelta

from paho.mqtt import client as paho

_READS_PER_TURN = 200  # then the loop serves its other clients


class LoopLink:
    """Reads, writes and keeps alive one connection at a time. All methods belong to the event loop's thread.

    It is down while a handshake runs in another thread: then nothing here touches paho's client.
    """

    def __init__(self, client: paho.Client, keepalive: timedelta) -> None:
        self._client = client
        self._pause_s = keepalive.total_seconds() / 4
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that watches the socket
        self._flush_due = False
        self.generation = 0  # counts connections: what belongs to an earlier one is recognised by it
        client.on_socket_close = lambda *_: self._closed()
        client.on_socket_register_write = lambda *_: self._write_wanted()

    @property
    def up(self) -> bool:
        """Whether a connection stands, accepted by the broker or not yet."""
        return self._socket is not None

    def attach(self) -> None:
        """Take over the connection that a handshake has just opened, and send what it left to send."""
        opened = self._client.socket()
        if isinstance(opened, socket.socket):
            self._socket = opened
            self._loop = asyncio.get_running_loop()
            self.generation += 1
            self._loop.add_reader(opened, self._readable)
            self._keep_alive(self.generation)
            self.flush()

    def cut(self) -> None:
        """Close the connection without a goodbye, through paho, which then reports it as lost."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the other side was quicker
                self._socket.shutdown(socket.SHUT_RDWR)
            self._client.loop_read()

    def close(self) -> None:
        """Cut the connection for good: nothing of the loop's points here afterwards, whatever paho made of the end."""
        self.cut()
        # What the kernel still held may have looked like half a packet to paho, which then waits for the rest.
        self._closed()

    def flush(self) -> None:
        """Write what waits, as far as the socket takes it now."""
        self._flush_due = False
        if self._socket is None:
            return
        self._client.loop_write()
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            if self._client.want_write():
                loop.add_writer(self._socket, self.flush)
            else:
                loop.remove_writer(self._socket)

    def _write_wanted(self) -> None:
        # During a handshake this is its thread and no connection is up; `attach` writes afterwards.
        # Otherwise the packets of one turn of the loop leave together.
        if self._socket is not None and not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._socket is None:
                return
            self._client.loop_read()
            # Bytes already decrypted do not wake the selector: read until none are left.
            if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
                return
        asyncio.get_running_loop().call_soon(self._readable)

    def _keep_alive(self, generation: int) -> None:
        if self._socket is not None and generation == self.generation:
            self._client.loop_misc()
            asyncio.get_running_loop().call_later(self._pause_s, self._keep_alive, generation)

    def _closed(self) -> None:
        """Stop watching the socket.

        Paho calls this from its client's destructor too, when no loop runs any more: one that has ended watches
        nothing.
        """
        closed, self._socket = self._socket, None
        loop, self._loop = self._loop, None
        if closed is not None and loop is not None and not loop.is_closed():
            loop.remove_reader(closed)
            loop.remove_writer(closed)
