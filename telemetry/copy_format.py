"""Rows of `reading` in PostgreSQL's binary COPY format, made for a whole batch at once (pure).

Handing each value of each row to the driver costs more than judging it; arrays write all numbers of a batch together.

Source: PostgreSQL manual, COPY, "Binary Format": a row is the number of its fields, then each field's length (-1: null)
and value in network order; an instant is microseconds since 2000, jsonb is a version byte and text.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct, pack

import numpy as np
import numpy.typing as npt

from telemetry.model.reading import Reading
from telemetry.rows import COLUMNS, FLOATS, floats_of, to_matrix

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_FLOAT4, _TEXT = 700, 25  # types of an array's elements
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_US = 946_684_800_000_000
_MICROSECOND = timedelta(microseconds=1)
_LENGTH = Struct(">i")
_BOOLS = {None: _NULL, True: b"\0\0\0\1\1", False: b"\0\0\0\1\0"}
_EMPTY_ARRAY = pack(">iiii", 12, 0, 0, _TEXT)


def to_copy(rows: Iterable[bytes]) -> bytes:
    """Return rows as the whole content of one COPY."""
    return b"".join((_SIGNATURE, *rows, _TRAILER))


@lru_cache(maxsize=100_000)
def head(site_id: str, boot_id: str) -> bytes:
    """Return what every row of a boot begins with: the number of fields, site and boot."""
    return pack(">h", len(COLUMNS)) + _text(site_id) + _text(boot_id)


def numbers(
    sequences: Sequence[int], at_us: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
) -> list[bytes]:
    """Return what follows in each row: sequence, instant and the measured numbers.

    Args:
        sequences: Of each row.
        at_us: Instants, microseconds since 2000.
        values: Shape (rows, `FLOATS`), NaN where nothing was measured.
    """
    blocks: list[bytes] = [b""] * len(sequences)
    numbered = np.array(sequences, np.int64)
    masks, which = np.unique(np.packbits(np.isnan(values), axis=1), axis=0, return_inverse=True)
    for group, mask in enumerate(masks):
        places = np.flatnonzero(which.ravel() == group)
        empty = _empty_block(mask.tobytes())
        filled = np.repeat(empty, len(places))
        filled["sequence"], filled["at"] = numbered[places], at_us[places]
        for column, name in enumerate(FLOATS):
            if name in (empty.dtype.names or ()):
                filled[name] = values[places, column]
        raw, size = filled.tobytes(), empty.itemsize
        for number, place in enumerate(places.tolist()):
            blocks[place] = raw[number * size : (number + 1) * size]
    return blocks


@lru_cache(maxsize=1_000)
def _empty_block(mask: bytes) -> npt.NDArray[np.void]:
    """Return one row's numbers with the lengths filled in; the bits of `mask` say which are null."""
    nulls = np.unpackbits(np.frombuffer(mask, np.uint8))[: len(FLOATS)]
    fields = [("_sequence", ">i4"), ("sequence", ">i8"), ("_at", ">i4"), ("at", ">i8")]
    for name, null in zip(FLOATS, nulls, strict=True):
        fields += [(f"_{name}", ">i4")] if null else [(f"_{name}", ">i4"), (name, ">f4")]
    block = np.zeros(1, np.dtype(fields))
    block["_sequence"] = block["_at"] = 8
    for name, null in zip(FLOATS, nulls, strict=True):
        block[f"_{name}"] = -1 if null else 4
    return block


def tail(
    string_a: Sequence[float] | None, mains_ok: bool | None, alarms: Sequence[str], quality: str | None = None
) -> bytes:
    """Return what a row ends with; `quality` is JSON."""
    parts = [_NULL if string_a is None else _floats(string_a), _BOOLS[mains_ok], _texts(alarms)]
    if quality is None:
        parts.append(_NULL)
    else:
        text = quality.encode()
        parts.append(_LENGTH.pack(len(text) + 1) + b"\1" + text)
    return b"".join(parts)


def reading_rows(readings: Sequence[Reading]) -> list[bytes]:
    """Return judged readings as rows."""
    if not readings:
        return []
    at_us = np.array([(reading.at - _EPOCH) // _MICROSECOND for reading in readings], np.int64)
    blocks = numbers(
        [reading.sequence for reading in readings], at_us, to_matrix(list(map(floats_of, readings)))
    )
    return [
        head(each.site_id, each.boot_id)
        + block
        + tail(each.string_a, each.mains_ok, each.alarms, _quality(each))
        for each, block in zip(readings, blocks, strict=True)
    ]


def to_at_us(at_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return instants (s since 1970) as microseconds since 2000; exact, since a float of these years is."""
    return np.rint(at_s * 1e6).astype(np.int64) - _EPOCH_US


def _quality(reading: Reading) -> str | None:
    verdicts = {name: [each.verdict.value, each.reason, each.raw] for name, each in reading.quality.items()}
    return json.dumps(verdicts) if verdicts else None


def _text(value: str) -> bytes:
    raw = value.encode()
    return _LENGTH.pack(len(raw)) + raw


def _texts(values: Sequence[str]) -> bytes:
    if not values:
        return _EMPTY_ARRAY
    body = pack(">iiiii", 1, 0, _TEXT, len(values), 1) + b"".join(map(_text, values))
    return _LENGTH.pack(len(body)) + body


def _floats(values: Sequence[float]) -> bytes:
    if not values:
        return pack(">iiii", 12, 0, 0, _FLOAT4)
    body = pack(">iiiii", 1, 0, _FLOAT4, len(values), 1)
    body += b"".join(pack(">if", 4, value) for value in values)
    return _LENGTH.pack(len(body)) + body


PLAIN_TAILS = {mains_ok: tail(None, mains_ok, ()) for mains_ok in (None, True, False)}
