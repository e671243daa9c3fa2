"""Messages as they arrived to a batch that can be stored: decoded, judged, sorted by kind (pure)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np

from telemetry.declared import declared_lost, quarantined
from telemetry.decode import NEWEST, OLDEST, Decoded, Refused, SiteEvent, decode_message
from telemetry.ingest_store import Batch
from telemetry.model.reading import FeederReading, FieldQuality, Reading, SiteStatus, Verdict
from telemetry.order import Stamp
from telemetry.quality import judge
from telemetry.rows import floats_of, is_doubtful, possible, to_good_row, to_matrix
from telemetry.spill import Message
from telemetry.watch import Doubts, Series, Told, Watch
from telemetry.wire import ReadingWire, TelemetryMessage, WireError, decode, to_reading


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One reading of a believed message, not judged yet."""

    site_id: str
    boot_id: str
    wire: ReadingWire
    arrived_at: datetime


def to_batch(messages: Sequence[Message], watch: Watch | None = None) -> Batch:
    """Return what messages say; of several states of a site the newest stays.

    Args:
        messages: In the order of arrival.
        watch: Judges readings beside those before them; None judges each alone.
    """
    batch = Batch()
    samples: list[Sample] = []
    told: list[Told] = []
    for message in messages:
        telemetry = _read_telemetry(message)
        if telemetry is None:
            _add(batch, decode_message(message.topic, message.payload, message.arrived_at))
        else:
            site_id, boot_id, arrived_at = telemetry.site_id, telemetry.boot_id, message.arrived_at
            stamps = [Stamp(wire.sequence, wire.at) for wire in telemetry.readings]
            told.append(
                Told(
                    first=len(samples), site_id=site_id, boot_id=boot_id, stamps=stamps, arrived_at=arrived_at
                )
            )
            samples += [Sample(site_id, boot_id, wire, arrived_at) for wire in telemetry.readings]
    if samples:
        _judge(batch, samples, told, watch)
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


def _judge(batch: Batch, samples: Sequence[Sample], told: Sequence[Told], watch: Watch | None) -> None:
    """Sort samples: those that are good in every field become rows at once."""
    wires = [sample.wire for sample in samples]
    floats = [floats_of(wire) for wire in wires]
    values = to_matrix(floats)
    doubtful = is_doubtful(values, wires, [sample.arrived_at for sample in samples]).tolist()
    doubts: Doubts = {}
    if watch is not None:
        at_s = np.fromiter((wire.at.timestamp() for wire in wires), np.float64, len(wires))
        # What is impossible is no measure of what came after it.
        series = Series(site_ids=[each.site_id for each in samples], values=possible(values), at_s=at_s)
        doubts = watch.judge(series, told)
    for place, (sample, numbers) in enumerate(zip(samples, floats, strict=True)):
        if doubtful[place] or place in doubts:
            reading = judge(to_reading(sample.wire, sample.site_id, sample.boot_id), sample.arrived_at)
            batch.readings.append(_with_doubts(reading, doubts.get(place, ())))
        else:
            batch.rows.append(to_good_row(sample.site_id, sample.boot_id, sample.wire, numbers))


def _with_doubts(reading: Reading, doubts: Sequence[tuple[str, str]]) -> Reading:
    """Return the reading with suspicions added; a verdict that it has already stays."""
    quality = dict(reading.quality)
    for name, reason in doubts:
        quality.setdefault(name, FieldQuality(verdict=Verdict.SUSPECT, reason=reason))
    return replace(reading, quality=quality) if doubts else reading


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
