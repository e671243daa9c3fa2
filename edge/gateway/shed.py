"""Which non-critical loads are off during a mains outage, and when they come back. Pure.

The order is that of the file: a load goes only after all before it, and comes back only after all behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from edge.gateway.limits import OwnLimits, spare_load_w
from edge.modbus.port import FieldSample

_LEAST_LOAD_W = 10.0  # a site that draws less runs for as long as anyone asks

Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class SheddableLoad(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One non-critical load behind a priority output of the controller.

    `bit` is its place in the profile's `load_shed` register. It goes when the mains are absent and the SoC, or the
    hours that the battery still carries the present load, fall below its thresholds; at least one must be given.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    bit: Annotated[int, msgspec.Meta(ge=0, le=7)]
    below_soc_frac: Share | None = None
    below_autonomy_h: Annotated[float, msgspec.Meta(gt=0.0, le=240.0)] | None = None

    def __post_init__(self) -> None:
        if self.below_soc_frac is None and self.below_autonomy_h is None:
            raise ValueError(f"load {self.name}: needs below_soc_frac or below_autonomy_h")


class ShedRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `shed` section of the gateway's file: loads in the order in which they go (defaults [I]).

    After the mains have been back for `restore_after_s` they return in reverse order, one in `restore_every_s`, each
    once the SoC lies `soc_margin_frac` above the threshold that it went at. `empty_soc_frac` is the SoC at which the
    battery counts as empty: the error of the SoC itself (DOMAIN.md: 5 % LFP, 10 % VRLA [I]).
    """

    loads: tuple[SheddableLoad, ...] = ()
    restore_after_s: float = 300.0
    restore_every_s: float = 60.0
    soc_margin_frac: float = 0.05
    empty_soc_frac: float = 0.05

    def __post_init__(self) -> None:
        if len({load.bit for load in self.loads}) < len(self.loads):
            raise ValueError("shed: two loads share a bit")
        if len({load.name for load in self.loads}) < len(self.loads):
            raise ValueError("shed: two loads share a name")
        if not (self.restore_after_s >= 0.0 and self.restore_every_s >= 0.0):
            raise ValueError("shed: restore_after_s and restore_every_s must be zero or more")
        if not (0.0 <= self.soc_margin_frac <= 0.5 and 0.0 <= self.empty_soc_frac <= 0.5):
            raise ValueError("shed: soc_margin_frac and empty_soc_frac must be in [0, 0.5]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """The first `off` loads of the order are off; `mains_since` is when the mains came back (None: absent)."""

    off: int = 0
    mains_since: datetime | None = None
    restored_at: datetime | None = None


def mask_of(rule: ShedRule, off: int) -> int:
    """Return the register that has the first `off` loads off."""
    return sum(1 << load.bit for load in rule.loads[:off])


def off_in(rule: ShedRule, mask: int) -> int:
    """Return how many loads count as off by what the device says: up to the last whose bit is set."""
    return max((n for n, load in enumerate(rule.loads, start=1) if mask >> load.bit & 1), default=0)


def autonomy_h(sample: FieldSample, limits: OwnLimits, empty_soc_frac: float) -> float | None:
    """Return how long the battery carries the present load less PV, h; None without a SoC."""
    if sample.soc_frac is None:
        return None
    healthy = 1.0 if sample.soh_frac is None else sample.soh_frac
    left_wh = max(0.0, sample.soc_frac - empty_soc_frac) * limits.rated_wh * healthy
    return left_wh * limits.discharge_efficiency / max(_LEAST_LOAD_W, spare_load_w(sample))


def shed_step(
    shedding: Shedding, rule: ShedRule, sample: FieldSample, limits: OwnLimits, now: datetime
) -> Shedding:
    """Return the shedding after a scan: any number of loads go at once, one at a time comes back."""
    if not sample.mains_ok:
        off = shedding.off
        while off < len(rule.loads) and must_go(rule.loads[off], rule, sample, limits):
            off += 1
        return Shedding(off=off)
    since = shedding.mains_since or now
    held = replace(shedding, mains_since=since)
    if not held.off or now - since < timedelta(seconds=rule.restore_after_s):
        return held
    last = held.restored_at
    if last is not None and now - last < timedelta(seconds=rule.restore_every_s):
        return held
    if not _may_return(rule.loads[held.off - 1], rule, sample):
        return held
    return replace(held, off=held.off - 1, restored_at=now)


def must_go(load: SheddableLoad, rule: ShedRule, sample: FieldSample, limits: OwnLimits) -> bool:
    """Return whether a load's thresholds are passed; without a SoC they are: what is not known is not spent."""
    left_h = autonomy_h(sample, limits, rule.empty_soc_frac)
    if left_h is None or sample.soc_frac is None:
        return True
    by_soc = load.below_soc_frac is not None and sample.soc_frac < load.below_soc_frac
    return by_soc or (load.below_autonomy_h is not None and left_h < load.below_autonomy_h)


def _may_return(load: SheddableLoad, rule: ShedRule, sample: FieldSample) -> bool:
    if load.below_soc_frac is None or sample.soc_frac is None:
        return True
    return sample.soc_frac >= min(1.0, load.below_soc_frac + rule.soc_margin_frac)
