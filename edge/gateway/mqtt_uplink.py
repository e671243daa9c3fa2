"""The uplink over MQTT with mutual TLS: `telemetry.mqtt` behind the gateway's own protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Final

from edge.gateway.uplink import UplinkError, subscriptions, topic
from telemetry.model.site import SiteId
from telemetry.mqtt import InboundMessage, MqttClient, MqttError, MqttSettings, Will

_CONFIRM_WITHIN: Final = timedelta(
    seconds=30
)  # wall time; the message is sent again by the client until then


class MqttUplink:
    """One site's connection; the broker says `will` in its name when the link breaks."""

    def __init__(
        self,
        site_id: SiteId,
        settings: MqttSettings,
        will: bytes,
        random: Random,
        executor: Executor | None = None,
    ) -> None:
        self._site_id = site_id
        # The broker keeps what comes while the site is away; `accept_by` decides whether it still counts.
        self._settings = replace(settings, persistent_session=True)
        self._will = Will(topic=topic(site_id, "state"), payload=will)
        self._random = random
        self._executor = executor
        self._client: MqttClient | None = None
        self._on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self._on_connected: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.connected

    @property
    def last_error(self) -> str:
        """What went wrong with the last attempt to connect, or nothing."""
        return "" if self._client is None else self._client.last_error

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        self._on_message, self._on_connected = on_message, on_connected

    async def open(self) -> None:
        if self._client is not None:  # opened anew: the broker must not see two of us, nor the old one's will
            await self._client.stop()
        self._client = MqttClient(
            self._settings,
            on_message=self._arrived,
            random=self._random,
            will=self._will,
            on_connect=self._on_connected,
            executor=self._executor,
        )
        self._client.subscribe(*subscriptions(self._site_id))
        self._client.start()

    async def wait_ready(self, within: timedelta) -> None:
        """Return once connected and subscribed.

        Raises:
            UplinkError: Not within that wall time; the message holds why.
        """
        if self._client is None:
            raise UplinkError("the uplink is not open")
        try:
            await self._client.wait_ready(within)
        except MqttError as error:
            raise UplinkError(str(error)) from error

    def _arrived(self, message: InboundMessage) -> None:
        self._on_message(message.topic, message.payload)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self._client is None:
            raise UplinkError("the uplink is not open")
        try:
            confirmed = self._client.publish(topic, payload, retain=retain)
            async with asyncio.timeout(_CONFIRM_WITHIN.total_seconds()):
                await confirmed
        except TimeoutError as error:
            raise UplinkError(f"{topic}: not confirmed in {_CONFIRM_WITHIN}") from error
        except MqttError as error:
            raise UplinkError(f"{topic}: {error}") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.stop(drain=timedelta(seconds=1))
