"""Numbers to 16-bit registers and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Literal

WordOrder = Literal["big", "little"]

# Type -> struct code, registers, value that means "not implemented" in SunSpec.
_CODES: dict[str, tuple[str, int, int | None]] = {
    "int16": ("h", 1, -0x8000),
    "uint16": ("H", 1, 0xFFFF),
    "int32": ("i", 2, -0x80000000),
    "uint32": ("I", 2, 0xFFFFFFFF),
    "int64": ("q", 4, -0x8000000000000000),
    "uint64": ("Q", 4, 0xFFFFFFFFFFFFFFFF),
    "acc32": ("I", 2, 0),
    "count": ("H", 1, 0),
    "enum16": ("H", 1, 0xFFFF),
    "bitfield16": ("H", 1, 0xFFFF),
    "bitfield32": ("I", 2, 0xFFFFFFFF),
    "sunssf": ("h", 1, -0x8000),
    "pad": ("H", 1, 0x8000),
    "float32": ("f", 2, None),
}

INTEGER_RANGE: dict[str, tuple[int, int]] = {
    "int16": (-0x8000, 0x7FFF),
    "uint16": (0, 0xFFFF),
    "int32": (-0x80000000, 0x7FFFFFFF),
    "uint32": (0, 0xFFFFFFFF),
}


def width(kind: str) -> int:
    """Return how many registers a type takes; strings have no fixed width."""
    return _CODES[kind][1]


def missing(kind: str, size: int) -> list[int]:
    """Return the registers that say "not implemented"."""
    if kind == "string":
        return [0] * size
    code, _, sentinel = _CODES[kind]
    if sentinel is None:
        return _registers(struct.pack(">f", math.nan))
    return _registers(struct.pack(">" + code, sentinel))


def _registers(raw: bytes) -> list[int]:
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


def encode(kind: str, value: float, order: WordOrder = "big") -> list[int]:
    """Return the registers of a raw (already scaled) number.

    Raises:
        ValueError: The number is not finite or does not fit the type.
    """
    code, _, _ = _CODES[kind]
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    if kind in {"int16", "uint16"}:  # most of a scan: no need to pack
        low, high = INTEGER_RANGE[kind]
        if not (low <= (whole := round(value)) <= high):
            raise ValueError(f"{value} does not fit {kind}")
        return [whole & 0xFFFF]
    try:
        raw = struct.pack(">" + code, value if code == "f" else round(value))
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value} does not fit {kind}") from error
    words = _registers(raw)
    return words if order == "big" else words[::-1]


def decode(kind: str, registers: Sequence[int], order: WordOrder = "big") -> float:
    """Return the raw number in the registers."""
    code, size, _ = _CODES[kind]
    if len(registers) != size:
        raise ValueError(f"{kind} takes {size} registers, got {len(registers)}")
    if kind in {"int16", "uint16"}:
        word = registers[0]
        return float(word - 0x10000 if kind == "int16" and word >= 0x8000 else word)
    words = registers if order == "big" else registers[::-1]
    (value,) = struct.unpack(">" + code, struct.pack(f">{size}H", *words))
    return float(value)


def is_missing(kind: str, registers: Sequence[int]) -> bool:
    """Return whether SunSpec registers say "not implemented"."""
    if kind == "float32":
        return math.isnan(decode(kind, registers))
    return kind not in {"acc32", "count"} and list(registers) == missing(kind, len(registers))


def encode_string(text: str, size: int) -> list[int]:
    """Return ASCII text in `size` registers, padded with zeros."""
    return _registers(text.encode("ascii")[: 2 * size].ljust(2 * size, b"\0"))


def decode_string(registers: Sequence[int]) -> str:
    """Return the ASCII text held in registers."""
    raw = struct.pack(f">{len(registers)}H", *registers)
    return raw.split(b"\0", 1)[0].decode("ascii", errors="replace")
