"""The quick way of judging a batch agrees with the way that judges one reading."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from telemetry.batching import to_batch
from telemetry.copy_format import reading_rows
from telemetry.ingest_store import Heard
from telemetry.model.reading import Reading
from telemetry.quality import FUTURE_TOLERANCE, RANGES, judge
from telemetry.ranges import Span
from telemetry.rows import FLOATS, days_of, floats_of, is_doubtful, to_matrix, wire_floats
from telemetry.spill import Message
from telemetry.wire import encode, telemetry_message, to_wire
from tests.telemetry.examples import NOW, READING

_EDGES = sorted({edge for each in RANGES.values() for edge in (each.low, each.high)})
_VALUES = st.none() | st.floats(-60_000, 60_000) | st.sampled_from(_EDGES) | st.floats(0, 1)
# Mostly the good example, with some fields changed: balances hold or just miss.
_READINGS = st.builds(
    lambda changes, strings, ahead_s, mains_ok: replace(
        READING, string_a=strings, mains_ok=mains_ok, at=NOW + timedelta(seconds=ahead_s), **changes
    ),
    st.dictionaries(st.sampled_from(FLOATS), _VALUES, max_size=3),
    st.none() | st.lists(st.floats(-700, 700), max_size=2).map(tuple),
    st.floats(0, 120),
    st.sampled_from([True, False, None]),
)


@given(_READINGS)
def test_a_sample_is_doubtful_exactly_if_judging_finds_something(reading: Reading) -> None:

    wire = to_wire(reading)
    judged = judge(reading, NOW)
    nothing_measured = all(getattr(reading, name) is None for name in FLOATS)
    ahead_s = np.array([(reading.at - NOW).total_seconds()])
    (doubtful,) = is_doubtful(to_matrix([wire_floats(wire)]), [wire], ahead_s)
    found = bool(judged.quality) or nothing_measured
    # In the last millisecond before the limit the closer look decides.
    almost = ahead_s > FUTURE_TOLERANCE.total_seconds() - 0.002
    assert bool(doubtful) is found or (bool(doubtful) and almost)


def test_a_samples_numbers_are_the_same_both_ways() -> None:
    wire = to_wire(replace(READING, string_a=(1.0,), fuel_frac=0.25))
    assert wire_floats(wire) == floats_of(wire)
    assert wire_floats(wire)[FLOATS.index("fuel_frac")] == 0.25


def test_instants_fall_on_days_of_utc() -> None:
    late = NOW.replace(hour=23, minute=59, second=59, microsecond=999_999)
    at_s = np.array([late.timestamp(), (late + timedelta(microseconds=1)).timestamp()])
    assert days_of(at_s) == {date(2026, 1, 15), date(2026, 1, 16)}


def test_a_batch_sorts_good_samples_from_doubtful_ones() -> None:
    payload = encode(telemetry_message((READING, replace(READING, sequence=2, bus_v=99.0))))
    batch = to_batch([Message(topic="cbs/v1/cbs-0001/telemetry", payload=payload, arrived_at=NOW)])
    assert batch.rows == reading_rows([READING])
    assert batch.heard == [Heard("cbs-0001", "boot-1", (Span(1, 1),), NOW, 1)]
    assert [(each.sequence, each.bus_v, each.quality["bus_v"].raw) for each in batch.readings] == [
        (2, None, 99.0)
    ]
