"""What is made by arrays is what the database reads: every kind of value goes in and comes back the same."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.copy_format import head, reading_rows, to_at_us, to_copy
from telemetry.model.reading import FieldQuality, Reading, Verdict
from telemetry.rows import COLUMNS, FLOATS, floats_of
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

_FLOAT4 = st.none() | st.floats(-1e5, 1e5, width=32)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_READINGS = st.builds(
    lambda numbers, strings, mains_ok, alarms, sequence, micros, reason: replace(
        READING,
        **dict(zip(FLOATS, numbers, strict=True)),
        string_a=strings,
        mains_ok=mains_ok,
        alarms=alarms,
        sequence=sequence,
        at=NOW + timedelta(microseconds=micros),
        quality={"bus_v": FieldQuality(verdict=Verdict.BAD, reason=reason, raw=1.5)} if reason else {},
    ),
    st.tuples(*[_FLOAT4] * len(FLOATS)),
    st.none() | st.lists(st.floats(-700, 700, width=32), max_size=3).map(tuple),
    st.sampled_from([True, False, None]),
    st.lists(_TEXT, max_size=3).map(tuple),
    st.integers(0, 2**63 - 1),
    st.integers(-(10**15), 10**15),
    _TEXT,
)
_FROM = f"COPY staged ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)".encode()
_BACK = f"SELECT {', '.join(COLUMNS)} FROM staged ORDER BY boot_id".encode()


@pytest.fixture(scope="module")
def staged(module_database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(module_database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE staged (LIKE reading)")
        yield connection


def _plain(reading: Reading) -> tuple[Any, ...]:
    strings = None if reading.string_a is None else list(reading.string_a)
    doubts = {name: [each.verdict.value, each.reason, each.raw] for name, each in reading.quality.items()}
    return (
        reading.site_id, reading.boot_id, reading.sequence, reading.at, *floats_of(reading), strings,
        reading.mains_ok, list(reading.alarms), doubts or None,
    )  # fmt: skip


@pytest.mark.database
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(readings=st.lists(_READINGS, min_size=1, max_size=4))
def test_every_kind_of_reading_comes_back_the_same(
    staged: psycopg.Connection, readings: list[Reading]
) -> None:
    sent = [replace(reading, boot_id=f"b{place}") for place, reading in enumerate(readings)]
    staged.execute("TRUNCATE staged")
    with staged.cursor() as cursor, cursor.copy(_FROM) as copy:
        copy.write(to_copy(reading_rows(sent)))
    assert staged.execute(_BACK, binary=True).fetchall() == [_plain(reading) for reading in sent]


def test_a_row_begins_with_its_width_and_its_names() -> None:
    assert len(COLUMNS) == 25
    assert head("ab", "c") == b"\0\x19" + b"\0\0\0\2ab" + b"\0\0\0\1c"


def test_a_row_ends_with_its_four_last_fields() -> None:
    # No strings (null), mains there, no alarms (an empty array of text), no verdict (null).
    (row,) = reading_rows([READING])
    ends = struct.pack(">i", -1) + b"\0\0\0\1\1" + struct.pack(">iiii", 12, 0, 0, 25) + struct.pack(">i", -1)
    assert row.endswith(ends)


def test_microseconds_survive_floating_seconds() -> None:
    late = NOW.replace(microsecond=123_457)
    # 2026-01-15 is 9,511 days after 2000-01-01, 17 h are 61,200 s.
    assert to_at_us(np.array([late.timestamp()])).tolist() == [
        (9_511 * 86_400 + 61_200) * 1_000_000 + 123_457
    ]
