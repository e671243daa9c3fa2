"""Messages as they arrived to a batch that can be stored: decoded, judged, sorted by kind (pure)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from telemetry.copy_format import PLAIN_TAILS, head, numbers, tail, to_at_us
from telemetry.declared import declared_lost, quarantined
from telemetry.decode import NEWEST, OLDEST, Decoded, Refused, SiteEvent, decode_message
from telemetry.ingest_store import Batch, Heard
from telemetry.model.reading import FeederReading, FieldQuality, Reading, SiteStatus, Verdict
from telemetry.order import Stamped
from telemetry.quality import judge
from telemetry.ranges import Span, to_spans
from telemetry.rows import days_of, is_doubtful, possible, to_matrix, wire_floats
from telemetry.spill import Message
from telemetry.watch import Doubts, Series, Told, Watch
from telemetry.wire import ReadingWire, TelemetryMessage, WireError, decode, to_reading

_BEFORE_SENDER, _AFTER_SENDER = "cbs/v1/", "/telemetry"


def to_batch(messages: Sequence[Message], watch: Watch | None = None) -> Batch:
    """Return what messages say; of several states of a site the newest stays.

    Args:
        messages: In the order of arrival.
        watch: Judges readings beside those before them; None judges each alone.
    """
    batch = Batch()
    wires: list[ReadingWire] = []
    told: list[Told] = []
    for message in messages:
        telemetry = _read_telemetry(message)
        if telemetry is None:
            _add(batch, decode_message(message.topic, message.payload, message.arrived_at))
        else:
            readings = telemetry.readings
            told.append(Told(len(wires), telemetry.site_id, telemetry.boot_id, readings, message.arrived_at))
            wires += readings
    if wires:
        _judge(batch, wires, told, watch)
    return batch


def _read_telemetry(message: Message) -> TelemetryMessage | None:
    """Return a telemetry message that is believed; None: another kind, or `decode_message` will say what is wrong."""
    topic = message.topic
    if not (topic.startswith(_BEFORE_SENDER) and topic.endswith(_AFTER_SENDER)):
        return None
    if b"\\u0000" in message.payload:
        return None
    try:
        telemetry = decode(message.payload, TelemetryMessage)
    except WireError:
        return None
    if telemetry.site_id != topic[len(_BEFORE_SENDER) : -len(_AFTER_SENDER)]:
        return None
    oldest, newest = message.arrived_at - OLDEST, message.arrived_at + NEWEST
    for wire in (
        telemetry.readings
    ):  # a loop: this runs for every message, and `all` of a generator takes twice as long
        if not oldest <= wire.at <= newest:
            return None
    return telemetry


def _judge(batch: Batch, wires: Sequence[ReadingWire], told: Sequence[Told], watch: Watch | None) -> None:
    """Sort readings of believed messages: those that are good in every field become rows at once."""
    counts = np.array([len(message.stamps) for message in told])
    values = to_matrix([wire_floats(wire) for wire in wires])
    at_s = np.array([wire.at.timestamp() for wire in wires])
    arrived_s = np.repeat([message.arrived_at.timestamp() for message in told], counts)
    doubtful = is_doubtful(values, wires, at_s - arrived_s)
    doubts: Doubts = {}
    if watch is not None:
        # What is impossible is no measure of what came after it.
        doubts = watch.judge(Series(counts=counts, values=possible(values), at_s=at_s), told)
        doubtful[list(doubts)] = True
    batch.days |= days_of(at_s)
    blocks = numbers([wire.sequence for wire in wires], to_at_us(at_s), values)
    doubtful_at = doubtful.tolist()
    for message in told:
        first, site_id, boot_id, stamps, arrived_at = message
        end = first + len(stamps)
        places: Sequence[int] = range(first, end)
        if True in doubtful_at[first:end]:
            for place in places:
                if doubtful_at[place]:
                    reading = judge(to_reading(wires[place], site_id, boot_id), arrived_at)
                    batch.readings.append(_with_doubts(reading, doubts.get(place, ())))
            places = [place for place in places if not doubtful_at[place]]
            stamps = [wires[place] for place in places]
        if places:
            begin = head(site_id, boot_id)
            batch.rows += [begin + blocks[place] + _tail(wires[place]) for place in places]
            batch.heard.append(_heard(site_id, boot_id, stamps))


def _tail(wire: ReadingWire) -> bytes:
    if wire.string_a is None and not wire.alarms:
        return PLAIN_TAILS[wire.mains_ok]
    return tail(wire.string_a, wire.mains_ok, wire.alarms)


def _heard(site_id: str, boot_id: str, stamps: Sequence[Stamped]) -> Heard:
    sequences = [stamp.sequence for stamp in stamps]
    first, last = sequences[0], sequences[-1]
    in_order = sequences == list(range(first, last + 1))
    spans = (Span(first, last),) if in_order else to_spans(sequences)
    return Heard(site_id, boot_id, spans, max([stamp.at for stamp in stamps]), len(sequences))


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
            if (gone := quarantined(says)) is not None:
                batch.declared.append(gone)
        case SiteStatus():
            newest = batch.statuses.get(says.site_id)
            if newest is None or newest.at <= says.at:
                batch.statuses[says.site_id] = says
        case SiteEvent():
            batch.events.append(says)
            if (gone := declared_lost(says)) is not None:
                batch.declared.append(gone)
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
