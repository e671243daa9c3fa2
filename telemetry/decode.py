"""Payloads to values: each message becomes rows to store, or a reason why not (pure)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from telemetry.model.reading import FeederReading, Reading, SiteStatus
from telemetry.model.site import SiteId
from telemetry.quality import judge
from telemetry.wire import (
    EventMessage,
    FeederMessage,
    StateMessage,
    TelemetryMessage,
    WireError,
    decode,
    to_feeder_readings,
    to_readings,
    to_status,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEvent:
    """An alarm or a change of state that a site told at once."""

    site_id: SiteId
    at: datetime
    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message that is not believed, whole, with why: it goes to quarantine."""

    topic: str
    reason: str
    payload: bytes


OLDEST = timedelta(days=400)
NEWEST = timedelta(days=2)

Decoded = tuple[Reading, ...] | tuple[FeederReading, ...] | SiteStatus | SiteEvent | Refused


def decode_message(topic: str, payload: bytes, now: datetime) -> Decoded:
    """Return what a message says, readings judged; its topic and content must name the same sender.

    Args:
        topic: `cbs/v1/{sender}/{kind}`: the broker's ACL made sure that the sender owns it.
        payload: JSON, or gzipped JSON.
        now: Domain instant of arrival.
    """
    parts = topic.split("/")
    if len(parts) != 4 or parts[:2] != ["cbs", "v1"]:
        return Refused(topic=topic, reason="unknown topic", payload=payload)
    sender, kind = parts[2], parts[3]
    try:
        claimed, value = _read(kind, payload, now)
    except WireError as error:
        return Refused(topic=topic, reason=str(error), payload=payload)
    if b"\\u0000" in payload:
        return Refused(topic=topic, reason="a NUL character in a text", payload=payload)
    if (out := _out_of_time(value, now)) is not None:
        return Refused(
            topic=topic, reason=f"sampled at {out.isoformat()}, beyond any clock's error", payload=payload
        )
    if claimed != sender:
        return Refused(topic=topic, reason=f"sent by {sender} but speaks for {claimed}", payload=payload)
    return value


def is_out_of_time(at: datetime, now: datetime) -> bool:
    """Return whether no buffer and no drifting clock explains an instant."""
    return not -OLDEST <= at - now <= NEWEST


def _out_of_time(value: Decoded, now: datetime) -> datetime | None:
    """Return the first instant that no buffer and no drifting clock explains: each would make a partition."""
    instants = [item.at for item in value] if isinstance(value, tuple) else []
    return next((at for at in instants if is_out_of_time(at, now)), None)


def _read(kind: str, payload: bytes, now: datetime) -> tuple[str, Decoded]:
    if kind == "telemetry":
        telemetry = decode(payload, TelemetryMessage)
        return telemetry.site_id, tuple(judge(reading, now) for reading in to_readings(telemetry))
    if kind == "feeder":
        feeder = decode(payload, FeederMessage)
        return feeder.feeder_id, to_feeder_readings(feeder)
    if kind == "state":
        state = decode(payload, StateMessage)
        status = to_status(state)
        # A last will was written when the link was made and speaks of the moment it arrives.
        return state.site_id, status if status.online else replace(status, at=max(status.at, now))
    if kind == "event":
        event = decode(payload, EventMessage)
        return event.site_id, SiteEvent(
            site_id=SiteId(event.site_id), at=event.at, kind=event.kind, detail=event.detail
        )
    raise WireError(f"no such message kind as {kind!r}")
