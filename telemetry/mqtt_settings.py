"""What a connection to the broker is made from: address, identity, waits, errors."""

import ssl
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class MqttError(Exception):
    """What goes wrong between us and the broker."""


class PublishRefusedError(MqttError):
    """The broker answered that this client may not publish there (MQTT 5 only; 3.1.1 cannot say so)."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"the broker refused a message to {topic}: {reason}")
        self.topic = topic
        self.reason = reason


class BacklogFullError(MqttError):
    """Too many messages wait for the broker's confirmation; the caller keeps its own copy and tries later."""


class MqttProtocol(StrEnum):
    """The version spoken."""

    V311 = "3.1.1"
    V5 = "5"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """Where the broker is and who we are."""

    host: str
    port: int
    authority: Path  # PEM of the certificate authority that signed the broker's certificate
    certificate: Path  # ours; its common name is our user name and client id at the broker
    key: Path
    client_id: str
    keepalive: timedelta = timedelta(seconds=30)
    protocol: MqttProtocol = MqttProtocol.V311
    persistent_session: bool = False  # the broker keeps subscriptions and messages while we are away
    session_expiry: timedelta = timedelta(days=7)  # of a persistent session, MQTT 5
    connect_timeout: timedelta = timedelta(seconds=10)
    first_backoff: timedelta = timedelta(seconds=0.5)
    longest_backoff: timedelta = timedelta(seconds=30)
    max_inflight: int = 20  # sent and not confirmed
    max_unconfirmed: int = 1000  # accepted from the caller and not confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker says in our name, retained, when we vanish."""

    topic: str
    payload: bytes


def backoff_delay(settings: MqttSettings, failures: int, unit_random: float) -> timedelta:
    """Return the wait before the next connection: doubling to a cap, then between half and all of it.

    Args:
        settings: First and longest wait.
        failures: Attempts in a row that failed, zero after a connection that held.
        unit_random: Uniform in 0..1; a fleet that lost its broker must not come back in one instant.
    """
    longest = min(settings.longest_backoff, settings.first_backoff * (1 << min(failures, 20)))
    return longest * (0.5 + 0.5 * unit_random)


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails; paho would leave it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """Return the client's side of mutual TLS, our own certificate still to be loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(settings.authority)
    context.sslsocket_class = _ClosingSocket
    return context
