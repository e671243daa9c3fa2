"""MQTT over mutual TLS on asyncio: one object per connection, no thread per connection.

The client is paho's. Its socket is watched by the event loop, so that hundreds of gateway cores share one process;
only the TCP and TLS handshakes, which paho makes blocking, go through an executor. MQTT 3.1.1 is the default because
it costs 26 us of CPU per message received against 44 us for MQTT 5 (measured); MQTT 5 is worth it where a forbidden
publish must not look as if it had been delivered.

Every publish is QoS 1 and kept until the broker confirms it, over as many connections as that takes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from telemetry.mqtt_link import LoopLink
from telemetry.mqtt_settings import (
    BacklogFullError,
    MqttError,
    MqttProtocol,
    MqttSettings,
    PublishRefusedError,
    Will,
    backoff_delay,
    tls_context,
)

__all__ = [
    "BacklogFullError",
    "InboundMessage",
    "MqttClient",
    "MqttError",
    "MqttProtocol",
    "MqttSettings",
    "PublishRefusedError",
    "Will",
    "backoff_delay",
    "forget_session",
]

_log = logging.getLogger(__name__)


class InboundMessage:
    """A message that the broker waits to have acknowledged."""

    __slots__ = ("_acknowledge", "duplicate", "payload", "retained", "topic")

    def __init__(
        self, *, topic: str, payload: bytes, retained: bool, duplicate: bool, acknowledge: Callable[[], None]
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.retained = retained
        self.duplicate = duplicate
        self._acknowledge = acknowledge

    def acknowledge(self) -> None:
        """Tell the broker that we are done with it; does nothing once the connection it came over is gone.

        A new connection counts its messages anew, so a late acknowledgement would confirm somebody else's message.
        """
        self._acknowledge()


class MqttClient:
    """One connection that comes back by itself. All methods belong to the event loop's thread."""

    def __init__(
        self,
        settings: MqttSettings,
        *,
        on_message: Callable[[InboundMessage], None],
        random: Random,
        will: Will | None = None,
        on_connect: Callable[[], None] = lambda: None,
        on_disconnect: Callable[[], None] = lambda: None,
        manual_acknowledge: bool = False,
        executor: Executor | None = None,
    ) -> None:
        """Prepare; `start` connects.

        Args:
            settings: Broker and identity.
            on_message: Called for each message. What it raises goes to the loop's exception handler, and the
                message stays unacknowledged.
            random: Source of the jitter.
            will: Said by the broker when we vanish without a goodbye.
            on_connect: Called each time the broker has accepted us.
            on_disconnect: Called each time the connection is lost or closed.
            manual_acknowledge: `on_message`'s caller acknowledges each message; otherwise it is done on return.
            executor: Runs the handshakes; None takes the loop's own. Clients should share one.
        """
        self._settings = settings
        self._on_message = on_message
        self._random = random
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._manual_acknowledge = manual_acknowledge
        self._executor = executor
        self._tls = tls_context(settings)
        self._client = self._make_client(will)
        self._link = LoopLink(self._client, settings.keepalive)
        self._filters: list[str] = []
        self._waiting: deque[_Outbound] = deque()  # accepted while there was no connection
        self._unconfirmed: dict[int, _Outbound] = {}  # handed to paho, by message id
        self._subscribing: set[int] = set()
        self._accepted = asyncio.Event()
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.last_error = ""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and the connection stands."""
        return self._accepted.is_set()

    @property
    def unconfirmed(self) -> int:
        """Messages that the broker has not confirmed yet."""
        return len(self._waiting) + len(self._unconfirmed)

    def start(self) -> None:
        """Connect in the background and stay connected until `stop`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._stay_connected())

    async def wait_ready(self, within: timedelta) -> None:
        """Return once connected with every subscription answered.

        Raises:
            MqttError: Not in time; the message holds what went wrong last.
        """
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._ready.wait()
        except TimeoutError as error:
            raise MqttError(
                f"{self._settings.client_id} is not connected: {self.last_error or 'no answer'}"
            ) from error

    async def stop(self, *, drain: timedelta = timedelta(0)) -> None:
        """Say goodbye and close; the broker does not publish the will.

        Args:
            drain: How long to wait for confirmations first. What is left then is cancelled.
        """
        pending = [outbound.confirmed for outbound in (*self._unconfirmed.values(), *self._waiting)]
        if pending and drain:
            await asyncio.wait(pending, timeout=drain.total_seconds())
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._link.up:
            self._client.disconnect()
            self._link.flush()
            self._link.close()
        for outbound in (*self._unconfirmed.values(), *self._waiting):
            outbound.confirmed.cancel()
        self._unconfirmed.clear()
        self._waiting.clear()

    def reconnect(self) -> None:
        """Give up the connection and come back: the broker then sends again what was not acknowledged."""
        self._link.cut()

    def subscribe(self, *topic_filters: str) -> None:
        """Ask for topics, QoS 1, now and after every reconnection.

        The broker may answer "granted" for a topic we may not read and then deliver nothing.
        """
        self._filters.extend(topic_filters)
        if self.connected:
            self._send_subscriptions(topic_filters)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[None]:
        """Send a message, QoS 1; the future is done when the broker has confirmed it.

        The message is sent again after a reconnection until it is confirmed, also if the future is cancelled.

        Raises:
            BacklogFullError: `max_unconfirmed` messages wait already.
        """
        if self.unconfirmed >= self._settings.max_unconfirmed:
            raise BacklogFullError(f"{self.unconfirmed} messages wait for the broker")
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        outbound = _Outbound(topic=topic, payload=payload, retain=retain, confirmed=confirmed)
        self._waiting.append(outbound)
        self._send_waiting()
        return confirmed

    # -- connection ---------------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            if await self._connect():
                failures = 0
                await self._lost.wait()
            else:
                failures += 1
                _log.info(
                    "broker not reached", extra={"client": self._settings.client_id, "error": self.last_error}
                )
            await asyncio.sleep(
                backoff_delay(self._settings, failures, self._random.random()).total_seconds()
            )

    async def _connect(self) -> bool:
        loop = asyncio.get_running_loop()
        self._lost.clear()
        handshake = loop.run_in_executor(self._executor, self._shake_hands)
        try:
            await asyncio.shield(handshake)
        except asyncio.CancelledError:
            # The thread cannot be stopped: wait for it, then close what it opened.
            await asyncio.wait([handshake])
            if handshake.exception() is None:
                self._link.attach()
            raise
        except (OSError, ValueError) as error:
            self.last_error = str(error)
            return False
        self._link.attach()
        waits = [loop.create_task(self._accepted.wait()), loop.create_task(self._lost.wait())]
        try:
            await asyncio.wait(
                waits,
                timeout=self._settings.connect_timeout.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for wait in waits:
                wait.cancel()
        if not self.connected:
            self._link.cut()
        return self.connected

    def _shake_hands(self) -> None:
        """Connect, in an executor's thread; nothing else touches paho's client meanwhile."""
        settings = self._settings
        self._tls.load_cert_chain(
            settings.certificate, settings.key
        )  # again each time: it may have been renewed
        keepalive_s = max(1, round(settings.keepalive.total_seconds()))
        if settings.protocol is MqttProtocol.V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            if settings.persistent_session:
                properties.SessionExpiryInterval = round(settings.session_expiry.total_seconds())
            self._client.connect(
                settings.host,
                settings.port,
                keepalive_s,
                clean_start=not settings.persistent_session,
                properties=properties,
            )
        else:
            self._client.connect(settings.host, settings.port, keepalive_s)

    # -- traffic ------------------------------------------------------------------------------------------------------

    def _send_waiting(self) -> None:
        # The window is kept here: paho's own walks all messages in flight at each confirmation.
        while self.connected and self._waiting and len(self._unconfirmed) < self._settings.max_inflight:
            outbound = self._waiting[0]
            info = self._client.publish(outbound.topic, outbound.payload, qos=1, retain=outbound.retain)
            if (
                info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
            ):  # else that message id is still in use: take the next
                self._waiting.popleft()
                self._unconfirmed[info.mid] = outbound

    def _send_subscriptions(self, topic_filters: tuple[str, ...]) -> None:
        if topic_filters:
            _, message_id = self._client.subscribe([(topic_filter, 1) for topic_filter in topic_filters])
            if message_id is not None:
                self._subscribing.add(message_id)
        self._note_ready()

    def _note_ready(self) -> None:
        if self.connected and not self._subscribing:
            self._ready.set()
        else:
            self._ready.clear()

    # -- what paho calls, in the loop's thread ------------------------------------------------------------------------

    def _make_client(self, will: Will | None) -> paho.Client:
        settings = self._settings
        version5 = settings.protocol is MqttProtocol.V5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if version5 else not settings.persistent_session,
            protocol=MQTTProtocolVersion.MQTTv5 if version5 else MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        client.tls_set_context(self._tls)
        client.connect_timeout = settings.connect_timeout.total_seconds()
        client.max_inflight_messages = 0  # no limit: see `_send_waiting`
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_connect = self._connect_answered
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        client.on_publish = self._publish_answered
        client.on_subscribe = self._subscribe_answered
        return client

    def _connect_answered(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any
    ) -> None:
        if reason.is_failure:
            self.last_error = f"the broker refused the connection: {reason}"
            return
        self.last_error = ""
        self._accepted.set()
        self._subscribing.clear()
        self._send_subscriptions(tuple(self._filters))
        # After paho has sent again what was unconfirmed, so that the order stays.
        asyncio.get_running_loop().call_soon(self._send_waiting)
        self._on_connect()

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any
    ) -> None:
        was_connected = self.connected
        self._accepted.clear()
        self._ready.clear()
        self._lost.set()
        if was_connected:
            self.last_error = f"connection lost: {reason}"
            self._on_disconnect()
        elif not self.last_error:
            self.last_error = f"the broker closed the connection during the handshake: {reason}"

    def _arrived(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        generation = self._link.generation

        def acknowledge() -> None:
            if message.qos and generation == self._link.generation and self.connected:
                client.ack(message.mid, message.qos)

        inbound = InboundMessage(
            topic=message.topic,
            payload=bytes(message.payload),
            retained=message.retain,
            duplicate=message.dup,
            acknowledge=acknowledge,
        )
        try:
            self._on_message(inbound)
        except Exception as error:  # noqa: BLE001 paho would be left in the middle of a packet
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a message could not be handled", "exception": error}
            )
            return
        if not self._manual_acknowledge:
            acknowledge()

    def _publish_answered(
        self, _client: paho.Client, _data: Any, message_id: int, reason: ReasonCode, _more: Any
    ) -> None:
        outbound = self._unconfirmed.pop(message_id, None)
        if outbound is not None and not outbound.confirmed.done():
            if reason.is_failure:
                outbound.confirmed.set_exception(PublishRefusedError(outbound.topic, str(reason)))
            else:
                outbound.confirmed.set_result(None)
        if self._waiting:
            # Not at once: paho still counts this message as being sent.
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _subscribe_answered(
        self, _client: paho.Client, _data: Any, message_id: int, reasons: Any, _more: Any
    ) -> None:
        self._subscribing.discard(message_id)
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self.last_error = f"subscription refused: {refused[0]}"
            _log.error("subscription refused", extra={"client": self._settings.client_id, "reasons": refused})
        self._note_ready()


async def forget_session(settings: MqttSettings, *, random: Random, within: timedelta) -> None:
    """Make the broker drop the persistent session of a client that will not come back.

    A shared subscription goes on handing messages to a member that is away: with two workers and one retired, half of
    all messages would wait in the retired one's session (measured with mosquitto 2.0).

    Raises:
        MqttError: The broker was not reached in time.
    """
    client = MqttClient(replace(settings, persistent_session=False), on_message=lambda _: None, random=random)
    client.start()
    try:
        await client.wait_ready(within)
    finally:
        await client.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outbound:
    topic: str
    payload: bytes
    retain: bool
    confirmed: asyncio.Future[None]
