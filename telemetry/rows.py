"""The measured numbers of readings as one array, and which readings a closer look must be taken at (pure).

The quick way judges a whole batch in one array; what it doubts in the least goes through `quality.judge`, which says why.
"""

from collections.abc import Sequence
from datetime import date
from operator import attrgetter

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from telemetry.balance import contradicted
from telemetry.model.reading import Reading
from telemetry.quality import FUTURE_TOLERANCE, RANGES
from telemetry.wire import ReadingWire

FLOATS = (
    "grid_v", "grid_hz", "grid_w", "aux_ac_w", "rectifier_w", "load_w", "bus_v", "battery_a", "battery_w",
    "meter_battery_w", "soc_frac", "soh_frac", "battery_c", "ambient_c", "pv_w", "genset_w", "fuel_frac",
)  # fmt: skip
COLUMNS = ("site_id", "boot_id", "sequence", "at", *FLOATS, "string_a", "mains_ok", "alarms", "quality")

_floats_of = attrgetter(*FLOATS)
# Where the numbers stand among a sample's fields: in the order of `FLOATS`, `string_a` between them.
_FIELDS = ReadingWire.__struct_fields__
_FIRST, _STRINGS, _LAST = (_FIELDS.index(name) for name in (FLOATS[0], "string_a", "mains_ok"))
if (*_FIELDS[_FIRST:_STRINGS], *_FIELDS[_STRINGS + 1 : _LAST]) != FLOATS:
    raise TypeError("the fields of a sample are not in the order of FLOATS")
_LOW = np.array([RANGES[name].low for name in FLOATS])
_HIGH = np.array([RANGES[name].high for name in FLOATS])
_AT = {name: place for place, name in enumerate(FLOATS)}
_FUTURE_S = FUTURE_TOLERANCE.total_seconds() - 0.001  # a float of today's seconds is good to a microsecond
_DAY_1970 = date(1970, 1, 1).toordinal()


def floats_of(reading: Reading | ReadingWire) -> tuple[float | None, ...]:
    """Return the measured numbers of a reading in the order of `FLOATS`."""
    values: tuple[float | None, ...] = _floats_of(reading)
    return values


def wire_floats(wire: ReadingWire) -> tuple[float | None, ...]:
    """Return the same of a sample, three times as fast; every reading on the wire passes here."""
    fields = astuple(wire)
    return fields[_FIRST:_STRINGS] + fields[_STRINGS + 1 : _LAST]


def to_matrix(floats: Sequence[tuple[float | None, ...]]) -> npt.NDArray[np.float64]:
    """Return numbers as an array, shape (samples, `FLOATS`), NaN where the site does not measure."""
    return np.array(floats, dtype=np.float64).reshape(len(floats), len(FLOATS))


def possible(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers with those outside their range taken out (NaN)."""
    with np.errstate(invalid="ignore"):
        return np.where((values < _LOW) | (values > _HIGH), np.nan, values)


def is_doubtful(
    values: npt.NDArray[np.float64], wires: Sequence[ReadingWire], ahead_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which samples `quality.judge` may find anything in, or that measure nothing.

    Args:
        values: Shape (samples, `FLOATS`).
        wires: The same samples.
        ahead_s: By how much each sample's instant lies after its arrival.
    """
    with np.errstate(invalid="ignore"):
        doubt = ((values < _LOW) | (values > _HIGH)).any(axis=1)
        doubt |= np.isnan(values).all(axis=1)
        mains = [wire.mains_ok for wire in wires]
        there, absent = (np.array([each is said for each in mains]) for said in (True, False))
        doubt |= contradicted(lambda name: values[:, _AT[name]], there, absent)
    doubt |= ahead_s > _FUTURE_S
    strings = RANGES["battery_a"]
    for place, wire in enumerate(wires):
        if wire.string_a is not None and not all(strings.low <= a <= strings.high for a in wire.string_a):
            doubt[place] = True
    return doubt


def days_of(at_s: npt.NDArray[np.float64]) -> set[date]:
    """Return the days of UTC that instants (s since 1970) fall on."""
    return {date.fromordinal(_DAY_1970 + day) for day in np.unique(at_s // 86_400.0).astype(int).tolist()}
