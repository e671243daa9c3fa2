"""The end of a connection whose event loop, or whose owner, went first."""

import asyncio
import gc
import socket
import sys
from datetime import timedelta

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from telemetry.mqtt_link import LoopLink

MINUTE = timedelta(seconds=60)


def made(port: int) -> tuple[paho.Client, LoopLink]:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="outlives")
    link = LoopLink(client, MINUTE)
    client.connect("127.0.0.1", port)
    link.attach()
    return client, link


async def opened(port: int) -> tuple[paho.Client, LoopLink]:
    client, link = made(port)
    assert link.up
    return client, link


def test_a_client_collected_after_its_loop_has_ended_closes_its_socket_and_complains_of_nothing() -> None:
    said: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        client, link = asyncio.run(opened(server.getsockname()[1]))
        peer, _ = server.accept()
        before, sys.unraisablehook = sys.unraisablehook, lambda args: said.append(args.exc_value)
        try:
            del client, link
            gc.collect()
        finally:
            sys.unraisablehook = before
        with peer:
            peer.settimeout(5.0)
            assert peer.recv(100)[0] == 0x10  # the CONNECT that a handshake sends
            assert peer.recv(100) == b""
    assert said == []


async def test_a_closed_link_watches_nothing_even_where_the_broker_left_half_a_packet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client, link = await opened(server.getsockname()[1])
        peer, _ = server.accept()
        with peer:
            mine = client.socket()
            assert isinstance(mine, socket.socket)
            number = mine.fileno()
            peer.sendall(b"\x30\x40half")  # a publish of 64 bytes of which four come
            link.close()
            assert not link.up
            assert not asyncio.get_running_loop().remove_reader(number)  # False: nobody was watching
            link.close()  # again does nothing
        del client
