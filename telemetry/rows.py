"""Readings as rows of the table `reading`: most are good in every field and go from the wire to a row directly (pure).

The quick way judges a whole batch in one array; what it doubts in the least goes through `quality.judge`, which says why.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.types.json import Jsonb

from telemetry.model.reading import Reading
from telemetry.quality import (
    BALANCE_TOLERANCE_FRAC,
    BALANCE_TOLERANCE_W,
    FUTURE_TOLERANCE,
    RANGES,
    WORST_RECTIFIER_EFFICIENCY,
)
from telemetry.wire import ReadingWire

FLOATS = (
    "grid_v", "grid_hz", "grid_w", "aux_ac_w", "rectifier_w", "load_w", "bus_v", "battery_a", "battery_w",
    "meter_battery_w", "soc_frac", "soh_frac", "battery_c", "ambient_c", "pv_w", "genset_w", "fuel_frac",
)  # fmt: skip
COLUMNS = ("site_id", "at", "boot_id", "sequence", *FLOATS, "string_a", "mains_ok", "alarms", "quality")
TYPES = (
    "text", "timestamptz", "text", "int8", *["float4"] * len(FLOATS), "float4[]", "bool", "text[]", "jsonb",
)  # fmt: skip
Row = tuple[Any, ...]  # in the order of COLUMNS

_floats_of = attrgetter(*FLOATS)
_LOW = np.array([RANGES[name].low for name in FLOATS])
_HIGH = np.array([RANGES[name].high for name in FLOATS])
_AT = {name: place for place, name in enumerate(FLOATS)}


def to_row(reading: Reading) -> Row:
    """Return a judged reading as a row."""
    strings = None if reading.string_a is None else list(reading.string_a)
    quality = {name: [each.verdict.value, each.reason, each.raw] for name, each in reading.quality.items()}
    return (
        reading.site_id, reading.at, reading.boot_id, reading.sequence, *_floats_of(reading),
        strings, reading.mains_ok, list(reading.alarms), Jsonb(quality) if quality else None,
    )  # fmt: skip


def to_good_row(site_id: str, boot_id: str, wire: ReadingWire, floats: tuple[float | None, ...]) -> Row:
    """Return a sample in which nothing is doubtful as a row."""
    strings = None if wire.string_a is None else list(wire.string_a)
    return (
        site_id, wire.at, boot_id, wire.sequence, *floats, strings, wire.mains_ok, list(wire.alarms), None,
    )  # fmt: skip


def floats_of(wire: ReadingWire) -> tuple[float | None, ...]:
    """Return the measured numbers of a sample in the order of `FLOATS`."""
    values: tuple[float | None, ...] = _floats_of(wire)
    return values


def to_matrix(floats: Sequence[tuple[float | None, ...]]) -> npt.NDArray[np.float64]:
    """Return numbers as an array, shape (samples, `FLOATS`), NaN where the site does not measure."""
    return np.array(floats, dtype=np.float64).reshape(len(floats), len(FLOATS))


def possible(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers with those outside their range taken out (NaN)."""
    with np.errstate(invalid="ignore"):
        return np.where((values < _LOW) | (values > _HIGH), np.nan, values)


def is_doubtful(
    values: npt.NDArray[np.float64], wires: Sequence[ReadingWire], arrived: Sequence[datetime]
) -> npt.NDArray[np.bool_]:
    """Return which samples `quality.judge` would find anything in, or that measure nothing.

    Args:
        values: Shape (samples, `FLOATS`).
        wires: The same samples.
        arrived: Domain instant of each sample's arrival.
    """
    with np.errstate(invalid="ignore"):
        doubt = ((values < _LOW) | (values > _HIGH)).any(axis=1)
        doubt |= np.isnan(values).all(axis=1)
        doubt |= _imbalanced(values, np.fromiter((bool(wire.mains_ok) for wire in wires), bool, len(wires)))
    strings = RANGES["battery_a"]
    for place, (wire, came) in enumerate(zip(wires, arrived, strict=True)):
        if wire.at - came > FUTURE_TOLERANCE:
            doubt[place] = True
        if wire.string_a is not None and not all(strings.low <= a <= strings.high for a in wire.string_a):
            doubt[place] = True
    return doubt


def _imbalanced(values: npt.NDArray[np.float64], mains_ok: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """As `quality._imbalance`; a comparison with NaN is false: what is not measured cannot be out of balance."""
    rectifier_w, load_w = values[:, _AT["rectifier_w"]], values[:, _AT["load_w"]]
    battery_w, grid_w = values[:, _AT["battery_w"]], values[:, _AT["grid_w"]]
    pv_w, aux_w, genset_w = (np.nan_to_num(values[:, _AT[name]]) for name in ("pv_w", "aux_ac_w", "genset_w"))
    tolerance_w = BALANCE_TOLERANCE_W + BALANCE_TOLERANCE_FRAC * np.maximum(load_w, rectifier_w)
    through_w = grid_w - aux_w
    dc: npt.NDArray[np.bool_] = np.abs(rectifier_w + pv_w - load_w - battery_w) > tolerance_w
    ac = (through_w < rectifier_w - tolerance_w) | (
        through_w > rectifier_w / WORST_RECTIFIER_EFFICIENCY + tolerance_w
    )
    unbalanced: npt.NDArray[np.bool_] = dc | (ac & mains_ok & (genset_w == 0.0))
    return unbalanced
