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
_AT = {name: place for place, name in enumerate(FLOATS)}
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
    numbered = np.array(sequences, np.int64)
    masks = np.packbits(np.isnan(values), axis=1)
    if (masks == masks[0]).all():  # most sites measure the same: no search for groups
        return _blocks(masks[0].tobytes(), numbered, at_us, values)
    blocks: list[bytes] = [b""] * len(sequences)
    kinds, which = np.unique(masks, axis=0, return_inverse=True)
    for group, mask in enumerate(kinds):
        places = np.flatnonzero(which.ravel() == group)
        made = _blocks(mask.tobytes(), numbered[places], at_us[places], values[places])
        for place, block in zip(places.tolist(), made, strict=True):
            blocks[place] = block
    return blocks


def _blocks(
    mask: bytes,
    sequences: npt.NDArray[np.int64],
    at_us: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> list[bytes]:
    """Return the numbers of rows that have the same nulls."""
    empty = _empty_block(mask)
    filled = np.repeat(empty, len(sequences))
    filled["sequence"], filled["at"] = sequences, at_us
    for name in _measured(mask):
        filled[name] = values[:, _AT[name]]
    raw, size = filled.tobytes(), empty.itemsize
    return [raw[place : place + size] for place in range(0, len(raw), size)]


@lru_cache(maxsize=1_000)
def _measured(mask: bytes) -> tuple[str, ...]:
    nulls = np.unpackbits(np.frombuffer(mask, np.uint8)).tolist()
    return tuple(name for name, null in zip(FLOATS, nulls, strict=False) if not null)


@lru_cache(maxsize=1_000)
def _empty_block(mask: bytes) -> npt.NDArray[np.void]:
    """Return one row's numbers with the lengths filled in; the bits of `mask` say which are null."""
    measured = _measured(mask)
    fields = [("_sequence", ">i4"), ("sequence", ">i8"), ("_at", ">i4"), ("at", ">i8")]
    for name in FLOATS:
        fields += [(f"_{name}", ">i4"), (name, ">f4")] if name in measured else [(f"_{name}", ">i4")]
    block = np.zeros(1, np.dtype(fields))
    block["_sequence"] = block["_at"] = 8
    for name in FLOATS:
        block[f"_{name}"] = 4 if name in measured else -1
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
