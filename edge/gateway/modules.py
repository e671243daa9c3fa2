"""Which rectifier modules stand by: part-load efficiency and balance between phases, always one more than needed. Pure.

Standby is the controller's own energy management, not a contactor: the module stays on the bus and walks in when asked.
Counted on is the whole load, not the load less sun or battery, plus what is charged: the modules that stay on, one of
them failed, carry the site alone (DOMAIN.md section 1, bus continuity).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations
from math import ceil
from typing import Annotated, Final

import msgspec

from edge.modbus.port import FieldSample

_LESS_FRAC: Final = 0.1  # of the mean phase: a better spread by less than this moves no module


class ModuleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `local.modules` section (defaults [I]): module k is bit k of the profile's `modules_off`.

    `phases` names the phase (0 to 2) that each single-phase module hangs on; without it modules are three-phase and
    only their number is managed. `margin_frac` is room for a load that rises; a module is switched on at once and off
    only when it was not needed for `off_after_s`.
    """

    count: Annotated[int, msgspec.Meta(ge=2, le=12)]
    module_w: Annotated[float, msgspec.Meta(gt=0.0)]
    phases: tuple[Annotated[int, msgspec.Meta(ge=0, le=2)], ...] = ()
    spare: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    margin_frac: Annotated[float, msgspec.Meta(ge=0.05, le=1.0)] = 0.15
    off_after_s: Annotated[float, msgspec.Meta(ge=60.0)] = 600.0

    def __post_init__(self) -> None:
        if self.phases and len(self.phases) != self.count:
            raise ValueError("local.modules: phases needs one entry per module, or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The standby mask in force, and since when fewer modules or another spread would do (None: not)."""

    mask: int = 0
    since: datetime | None = None


def needed(rule: ModuleRule, load_w: float, charge_w: float) -> int:
    """Return how many modules must be on: the whole load, what is charged, a margin, and the spare ones."""
    carried_w = (load_w + max(0.0, charge_w)) * (1.0 + rule.margin_frac)
    return min(rule.count, max(1, ceil(carried_w / rule.module_w)) + rule.spare)


def modules_step(
    modules: Modules, rule: ModuleRule, sample: FieldSample, charge_w: float, now: datetime, *, all_on: bool
) -> Modules:
    """Return the mask after a scan.

    Args:
        modules: As it was after the last step.
        rule: The file's.
        sample: The scan.
        charge_w: What may be charged now, W at the battery terminals.
        now: The instant of the scan.
        all_on: An outage, its recharge, a fault, a lost module or a local lock: every module is wanted.
    """
    lost = sample.rectifier_modules_ok is None or sample.rectifier_modules_ok < rule.count
    if all_on or lost:
        return Modules()
    count = needed(rule, sample.load_w, charge_w)
    on_now = rule.count - modules.mask.bit_count()
    if on_now < count:
        return Modules(mask=choose(rule, sample, count, modules.mask))
    best = choose(rule, sample, count, modules.mask)
    if best == modules.mask:
        return replace(modules, since=None)
    since = modules.since or now
    if now - since < timedelta(seconds=rule.off_after_s):
        return replace(modules, since=since)
    return Modules(mask=best)


def choose(rule: ModuleRule, sample: FieldSample, count: int, mask: int) -> int:
    """Return the standby mask with `count` modules on whose fullest phase carries least.

    The present mask stays where another is no better by a tenth of the mean phase, so that modules do not take turns
    on a meter's noise.
    """
    keep = set(range(rule.count)) - {k for k in range(rule.count) if mask >> k & 1}
    masks = [
        sum(1 << k for k in range(rule.count) if k not in on) for on in combinations(range(rule.count), count)
    ]
    if not rule.phases or len(sample.phase_w) != 3:
        # Fewest changes: of those on now, the first stay on; more come in order.
        return min(masks, key=lambda m: ((m ^ mask).bit_count(), m))
    other_w, module_w = _apart(rule, sample, keep)

    def fullest_w(candidate: int) -> float:
        share_w = module_w * len(keep) / count
        on = [rule.phases[k] for k in range(rule.count) if not candidate >> k & 1]
        return max(other_w[phase] + share_w * on.count(phase) for phase in range(3))

    best = min(masks, key=lambda m: (round(fullest_w(m), 3), (m ^ mask).bit_count(), m))
    mean_w = sum(sample.phase_w) / 3.0
    same_count = rule.count - mask.bit_count() == count
    if same_count and fullest_w(mask) - fullest_w(best) < _LESS_FRAC * abs(mean_w):
        return mask
    return best


def _apart(rule: ModuleRule, sample: FieldSample, keep: set[int]) -> tuple[list[float], float]:
    """Return the load of each phase without the rectifier, W, and the power of one module that is on, W.

    What all modules draw is the import less the auxiliaries; without a reading of these, the rectifier's output.
    """
    drawn_w = (
        sum(sample.phase_w) - sample.aux_ac_w if sample.aux_ac_w is not None else sample.rectifier_w or 0.0
    )
    module_w = max(0.0, drawn_w) / max(1, len(keep))
    on = [rule.phases[k] for k in keep]
    return [sample.phase_w[phase] - module_w * on.count(phase) for phase in range(3)], module_w
