"""Messages as they arrived to a batch that can be stored: decoded, judged, sorted by kind (pure)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from telemetry.declared import declared_lost, quarantined
from telemetry.decode import NEWEST, OLDEST, Decoded, Refused, SiteEvent, decode_message
from telemetry.ingest_store import Batch
from telemetry.model.reading import FeederReading, SiteStatus
from telemetry.quality import judge
from telemetry.rows import floats_of, is_doubtful, to_good_row, to_matrix
from telemetry.spill import Message
from telemetry.wire import ReadingWire, TelemetryMessage, WireError, decode, to_reading


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One reading of a believed message, not judged yet."""

    site_id: str
    boot_id: str
    wire: ReadingWire
    arrived_at: datetime


def to_batch(messages: Sequence[Message]) -> Batch:
    """Return what messages say; of several states of a site the newest stays."""
    batch = Batch()
    samples: list[Sample] = []
    for message in messages:
        telemetry = _read_telemetry(message)
        if telemetry is None:
            _add(batch, decode_message(message.topic, message.payload, message.arrived_at))
        else:
            site_id, boot_id, arrived_at = telemetry.site_id, telemetry.boot_id, message.arrived_at
            samples += [Sample(site_id, boot_id, wire, arrived_at) for wire in telemetry.readings]
    if samples:
        _judge(batch, samples)
    return batch


def _read_telemetry(message: Message) -> TelemetryMessage | None:
    """Return a telemetry message that is believed; None: another kind, or `decode_message` will say what is wrong."""
    sender, _, kind = message.topic.removeprefix("cbs/v1/").partition("/")
    if kind != "telemetry" or not message.topic.startswith("cbs/v1/") or b"\\u0000" in message.payload:
        return None
    try:
        telemetry = decode(message.payload, TelemetryMessage)
    except WireError:
        return None
    oldest, newest = message.arrived_at - OLDEST, message.arrived_at + NEWEST
    in_time = all(oldest <= wire.at <= newest for wire in telemetry.readings)
    return telemetry if telemetry.site_id == sender and in_time else None


def _judge(batch: Batch, samples: Sequence[Sample]) -> None:
    """Sort samples: those that are good in every field become rows at once."""
    wires = [sample.wire for sample in samples]
    floats = [floats_of(wire) for wire in wires]
    doubtful = is_doubtful(to_matrix(floats), wires, [sample.arrived_at for sample in samples])
    for sample, values, doubt in zip(samples, floats, doubtful.tolist(), strict=True):
        if doubt:
            reading = to_reading(sample.wire, sample.site_id, sample.boot_id)
            batch.readings.append(judge(reading, sample.arrived_at))
        else:
            batch.rows.append(to_good_row(sample.site_id, sample.boot_id, sample.wire, values))


def _add(batch: Batch, says: Decoded) -> None:
    match says:
        case Refused():
            batch.refused.append(says)
            if (numbers := quarantined(says)) is not None:
                batch.declared.append(numbers)
        case SiteStatus():
            newest = batch.statuses.get(says.site_id)
            if newest is None or newest.at <= says.at:
                batch.statuses[says.site_id] = says
        case SiteEvent():
            batch.events.append(says)
            if (numbers := declared_lost(says)) is not None:
                batch.declared.append(numbers)
        case tuple():
            for item in says:
                if isinstance(item, FeederReading):
                    batch.feeder.append(item)
                else:
                    batch.readings.append(item)


def refuse(message: Message, reason: str) -> Batch:
    """Return a batch that sets one message aside; the numbers it holds need not be waited for."""
    batch = Batch()
    _add(batch, Refused(topic=message.topic, reason=reason, payload=message.payload))
    return batch
