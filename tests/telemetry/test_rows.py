"""The quick way of judging a batch agrees with the way that judges one reading."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from telemetry.batching import to_batch
from telemetry.model.reading import Reading
from telemetry.quality import RANGES, judge
from telemetry.rows import COLUMNS, FLOATS, floats_of, is_doubtful, to_good_row, to_matrix, to_row
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
    (doubtful,) = is_doubtful(to_matrix([floats_of(wire)]), [wire], [NOW])
    assert bool(doubtful) is (bool(judged.quality) or nothing_measured)


def test_both_ways_make_the_same_row() -> None:
    wire = to_wire(replace(READING, string_a=(1.0,), alarms=("door",)))
    quick = to_good_row("cbs-0001", "boot-1", wire, floats_of(wire))
    assert quick == to_row(replace(READING, string_a=(1.0,), alarms=("door",)))
    assert dict(zip(COLUMNS, quick, strict=True))["load_w"] == 2000.0


def test_a_batch_sorts_good_samples_from_doubtful_ones() -> None:
    payload = encode(telemetry_message((READING, replace(READING, sequence=2, bus_v=99.0))))
    batch = to_batch([Message(topic="cbs/v1/cbs-0001/telemetry", payload=payload, arrived_at=NOW)])
    assert [row[3] for row in batch.rows] == [1]
    assert [(each.sequence, each.bus_v, each.quality["bus_v"].raw) for each in batch.readings] == [
        (2, None, 99.0)
    ]
