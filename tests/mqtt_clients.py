"""MQTT clients for tests, closed at the end of a block."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

from telemetry.mqtt import InboundMessage, MqttClient, MqttSettings, Will

SOON = timedelta(seconds=10)


class Received(list[InboundMessage]):
    """Messages in the order of arrival."""

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self]

    async def until(self, count: int, *, within_s: float = 10.0) -> None:
        """Wait until that many have arrived."""
        await until(lambda: len(self) >= count, within_s=within_s)


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: It does not in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(
    settings: MqttSettings,
    *filters: str,
    on_message: Callable[[InboundMessage], None] = lambda _: None,
    will: Will | None = None,
    manual_acknowledge: bool = False,
) -> AsyncIterator[MqttClient]:
    """A client that is connected and subscribed."""
    client = MqttClient(
        settings, on_message=on_message, random=Random(1), will=will, manual_acknowledge=manual_acknowledge
    )
    client.subscribe(*filters)
    client.start()
    try:
        await client.wait_ready(SOON)
        yield client
    finally:
        await client.stop()
