from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.modbus import codec


def test_negative_ten_in_tenths_is_65436() -> None:
    assert codec.encode("int16", -100) == [65436]
    assert codec.decode("int16", [65436]) == -100.0


def test_word_order_turns_two_registers_round() -> None:
    # 70,000 = 1 x 65,536 + 4,464.
    assert codec.encode("uint32", 70_000) == [1, 4464]
    assert codec.encode("uint32", 70_000, "little") == [4464, 1]
    assert codec.decode("uint32", [4464, 1], "little") == 70_000.0


@given(st.integers(-0x80000000, 0x7FFFFFFF), st.sampled_from(["big", "little"]))
def test_every_int32_survives(value: int, order: codec.WordOrder) -> None:
    assert codec.decode("int32", codec.encode("int32", value, order), order) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, 70_000.0, -1.0])
def test_what_does_not_fit_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"fit|finite"):
        codec.encode("uint16", value)


def test_not_implemented_is_told_from_a_value() -> None:
    assert codec.is_missing("int16", [0x8000])
    assert not codec.is_missing("uint16", [0x8000])
    assert codec.is_missing("uint32", [0xFFFF, 0xFFFF])
    assert not codec.is_missing("acc32", [0, 0])
    assert codec.is_missing("float32", codec.missing("float32", 2))


def test_text_is_padded_with_zeros() -> None:
    assert codec.encode_string("AB", 2) == [0x4142, 0]
    assert codec.decode_string([0x4142, 0x4300]) == "ABC"
