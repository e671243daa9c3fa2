"""What the gateway asks of its link to the centre, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from telemetry.model.errors import ControlError
from telemetry.model.site import SiteId


class UplinkError(ControlError):
    """A message was not confirmed: no connection, or it broke before the broker answered."""


class Uplink(Protocol):
    """A link to the broker that connects again by itself.

    Handlers run on the event loop and must not block. `on_connected` is called after each (re)connection, when the
    subscriptions are in place.
    """

    @property
    def connected(self) -> bool: ...

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        """Name the two handlers; called once, before `open`."""
        ...

    async def open(self) -> None:
        """Start connecting; returns at once, whether or not the broker can be reached."""
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and return when the broker has confirmed.

        Raises:
            UplinkError: It has not.
        """
        ...

    async def close(self) -> None: ...


def topic(site_id: SiteId, leaf: str) -> str:
    """Return a site's topic: `telemetry`, `state`, `event`, `command`, `ack` or `stored`."""
    return f"cbs/v1/{site_id}/{leaf}"


FLEET_STOP = "cbs/v1/fleet/stop"
FLEET_KEYS = "cbs/v1/fleet/keys"


def subscriptions(site_id: SiteId) -> tuple[str, ...]:
    """Return what a site listens to. The key set comes first, so that what it signs can be judged."""
    return (FLEET_KEYS, FLEET_STOP, topic(site_id, "stored"), topic(site_id, "command"))
