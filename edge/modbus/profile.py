"""Register profiles: a controller's registers in YAML, checked whole before the first byte is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from edge.modbus.codec import INTEGER_RANGE, WordOrder, decode, encode, width
from edge.modbus.writable import WRITABLE

Kind = Literal["int16", "uint16", "int32", "uint32", "float32"]

# Point -> the unit it is given in after scale and sign; "1" is a share 0..1, "bit" is 0 or 1.
STRINGS = tuple(f"string_{k}_a" for k in range(1, 9))
UNITS: dict[str, str] = {
    "bus_v": "V", "load_w": "W", "battery_a": "A", "battery_w": "W", "meter_battery_w": "W", "rectifier_w": "W",
    "grid_v": "V", "grid_hz": "Hz", "grid_w": "W", "aux_ac_w": "W", "pv_w": "W", "genset_w": "W",
    "soc_frac": "1", "soh_frac": "1", "fuel_frac": "1", "battery_c": "degC", "ambient_c": "degC",
    "mains_ok": "bit", "local_lock": "bit", "rectifier_modules_ok": "count", "alarms": "bits",
    "revert_left_s": "s", "lvd_v": "V", "boost_v": "V",
    "rectifier_set_v": "V", "charge_limit_a": "A", "discharge_limit_a": "A", "revert_s": "s",
    "load_shed": "mask", "modules_off": "mask",
    "switch_open": "bit", "switch_closed": "bit", "switch_looks": "count",
    **dict.fromkeys(STRINGS, "A"),
}  # fmt: skip

# A transfer switch's contacts and its counter of looks: read, and written by nobody.
SWITCH = ("switch_open", "switch_closed", "switch_looks")

LIMITS = (
    "charge_limit_a",
    "discharge_limit_a",
    "load_shed",
    "modules_off",
)  # what must not outlive a gateway

# Points whose sign a controller may turn round: a profile that has one must prove the sign.
SIGNED = frozenset({"battery_a", "battery_w", "meter_battery_w", "grid_w", *STRINGS})


class ProfileError(ValueError):
    """A register profile breaks a rule; the message names every one that is broken."""


class PointFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One point as written in YAML."""

    address: int
    type: Kind
    unit: str
    scale: float = 1.0
    sign: Literal[1, -1] = 1
    access: Literal["r", "rw"] = "r"
    min: float | None = None
    max: float | None = None
    word_order: WordOrder = "big"
    bits: dict[int, str] = {}


class SignTest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Registers seen at commissioning and the value they meant, in our sign."""

    point: str
    registers: list[int]
    value: float


class ProfileFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A profile as written in YAML."""

    profile: str
    version: int
    note: str
    voltage_step_v: float
    full_load_blocks_only: bool
    limits_revert: bool  # limits return to the controller's own when the bus falls silent
    points: dict[str, PointFile]
    sign_tests: list[SignTest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value in a device's registers."""

    name: str
    address: int
    kind: Kind
    scale: float
    sign: int
    writable: bool
    low: float | None
    high: float | None
    order: WordOrder
    bits: tuple[tuple[int, str], ...]

    @property
    def size(self) -> int:
        return width(self.kind)

    def decode(self, registers: Sequence[int]) -> float:
        """Return the value in our unit and sign."""
        return decode(self.kind, registers, self.order) * self.scale * self.sign

    def encode(self, value: float) -> list[int]:
        """Return the registers for a value in our unit and sign, rounded to the point's step."""
        return encode(self.kind, value * self.sign / self.scale, self.order)

    def names(self, registers: Sequence[int]) -> tuple[str, ...]:
        """Return the names of the bits that are set; a set bit without a name is named by its number."""
        raw = int(decode(self.kind, registers, self.order))
        known = dict(self.bits)
        return tuple(known.get(k, f"bit_{k}") for k in range(16 * self.size) if raw >> k & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A checked profile."""

    name: str
    version: int
    voltage_step_v: float
    full_load_blocks_only: bool
    limits_revert: bool
    points: dict[str, Point]

    @property
    def can_revert(self) -> bool:
        """Return whether the device undoes every remote setting by itself.

        The voltage needs a timer that can be armed and read; limits, if they can be written at all, must go
        back to the controller's own when the bus falls silent: a charge limit of zero that outlives its
        gateway is a battery that is never charged again.
        """
        timer = self.points.get("revert_s")
        armed = timer is not None and timer.writable and "revert_left_s" in self.points
        limits = any(self.points[n].writable for n in LIMITS if n in self.points)
        return armed and (self.limits_revert or not limits)

    def blocks(self, names: Sequence[str], gap: int = 8) -> list[tuple[int, int]]:
        """Return the (address, count) reads that cover the points, joining those `gap` registers apart."""
        spans = sorted((self.points[n].address, self.points[n].size) for n in names)
        joined: list[tuple[int, int]] = []
        for address, size in spans:
            if joined and address - sum(joined[-1]) <= gap:
                start = joined[-1][0]
                joined[-1] = (start, address + size - start)
            else:
                joined.append((address, size))
        return joined


def parse_profile(text: str) -> Profile:
    """Read a profile from YAML and refuse it unless every rule holds.

    Raises:
        ProfileError: Unknown or missing keys, overlapping registers, a wrong range, a write that is never
            allowed, a signed point without a sign test, or a sign test that fails.
    """
    try:
        raw = msgspec.convert(yaml.safe_load(text), ProfileFile, strict=False)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ProfileError(str(error)) from error
    broken = [*_point_faults(raw), *_overlaps(raw)]
    if broken:
        raise ProfileError(f"{raw.profile}: " + "; ".join(broken))
    points = {name: _point(name, p) for name, p in raw.points.items()}
    broken = _sign_faults(raw, points)
    if broken:
        raise ProfileError(f"{raw.profile}: " + "; ".join(broken))
    return Profile(
        name=raw.profile,
        version=raw.version,
        voltage_step_v=raw.voltage_step_v,
        full_load_blocks_only=raw.full_load_blocks_only,
        limits_revert=raw.limits_revert,
        points=points,
    )


def load_profile(name_or_path: str) -> Profile:
    """Return a profile shipped here by name, or one from a file when the name ends in .yaml."""
    if name_or_path.endswith(".yaml"):
        return parse_profile(Path(name_or_path).read_text(encoding="utf-8"))
    return _shipped(name_or_path)


@cache
def _shipped(name: str) -> Profile:
    """Return a shipped profile; many cores of one process share it (13 ms to parse, measured)."""
    shipped = files("edge.modbus").joinpath(f"profiles/{name}.yaml")
    return parse_profile(shipped.read_text(encoding="utf-8"))


def _point(name: str, p: PointFile) -> Point:
    return Point(
        name=name,
        address=p.address,
        kind=p.type,
        scale=p.scale,
        sign=p.sign,
        writable=p.access == "rw",
        low=p.min,
        high=p.max,
        order=p.word_order,
        bits=tuple(sorted(p.bits.items())),
    )


def _point_faults(raw: ProfileFile) -> list[str]:
    broken = []
    if not (0.0 < raw.voltage_step_v <= 1.0 or set(raw.points) == set(SWITCH)):
        broken.append("voltage_step_v: above 0, at most 1 V")
    for name, p in raw.points.items():
        if name not in UNITS:
            broken.append(f"{name}: no such point")
            continue
        if p.unit != UNITS[name]:
            broken.append(f"{name}: unit is {UNITS[name]}, not {p.unit}")
        if not (p.scale > 0.0):
            broken.append(f"{name}: scale must be above 0; the sign has its own key")
        if not (p.address >= 0 and p.address + width(p.type) <= 65536):
            broken.append(f"{name}: address outside 0..65535")
        if any(not (0 <= bit < 16 * width(p.type)) for bit in p.bits):
            broken.append(f"{name}: a bit number does not fit the type")
        broken += _write_faults(name, p, raw.voltage_step_v)
    return broken


def _write_faults(name: str, p: PointFile, step_v: float) -> list[str]:
    if p.access == "r":
        return [] if p.min is None and p.max is None else [f"{name}: a range belongs to a writable point"]
    if name not in WRITABLE:
        return [f"{name}: is never written"]
    low, high = WRITABLE[name]
    if p.min is None or p.max is None:
        return [f"{name}: a writable point needs min and max"]
    broken = []
    if not (low <= p.min < p.max <= high):
        broken.append(f"{name}: range {p.min} to {p.max} is not inside {low} to {high}")
    if p.type in INTEGER_RANGE and p.scale > 0.0:
        bottom, top = INTEGER_RANGE[p.type]
        ends = sorted((p.min * p.sign / p.scale, p.max * p.sign / p.scale))
        if not (bottom <= ends[0] and ends[1] <= top):
            broken.append(f"{name}: the range does not fit {p.type} at scale {p.scale}")
    if name == "rectifier_set_v" and p.scale > step_v * (1.0 + 1e-9):
        broken.append(f"{name}: scale {p.scale} is coarser than the declared step {step_v}")
    return broken


def _overlaps(raw: ProfileFile) -> list[str]:
    spans = sorted((p.address, p.address + width(p.type), name) for name, p in raw.points.items())
    return [
        f"{name} overlaps {before}" for (_, end, before), (start, _, name) in pairwise(spans) if start < end
    ]


def _sign_faults(raw: ProfileFile, points: dict[str, Point]) -> list[str]:
    broken = []
    for test in raw.sign_tests:
        point = points.get(test.point)
        if point is None:
            broken.append(f"sign test: no point {test.point}")
        elif len(test.registers) != point.size:
            broken.append(f"sign test {test.point}: needs {point.size} registers")
        elif abs(point.decode(test.registers) - test.value) > 1e-6 * max(1.0, abs(test.value)):
            broken.append(f"sign test {test.point}: reads {point.decode(test.registers)}, not {test.value}")
        elif test.value == 0.0:
            broken.append(f"sign test {test.point}: zero has no sign")
    untested = sorted(SIGNED & set(points) - {t.point for t in raw.sign_tests})
    return broken + [f"{name}: has no sign test" for name in untested]
