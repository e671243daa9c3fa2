"""From broken rules to what a planner must change: machine constraints for the next attempt."""

from dataclasses import dataclass
from enum import StrEnum

from edge.safety.eligibility import WITHHOLDABLE
from edge.safety.verdict import Broken, Rejected, Scope


class ConstraintKind(StrEnum):
    """What a planner is told to do; `change_plan` is beyond what numbers can mend."""

    EXCLUDE_SITE = "exclude_site"
    RAISE_FLOOR_WH = "raise_floor_wh"
    CAP_DISCHARGE_W = "cap_discharge_w"
    CAP_CHARGE_W = "cap_charge_w"
    CAP_REBOUND_W = "cap_rebound_w"
    CAP_RAMP_W = "cap_ramp_w"
    CAP_DISCHARGE_WH = "cap_discharge_wh"
    LIMIT_LOW_SITES = "limit_low_sites"
    CHANGE_PLAN = "change_plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One thing to change at one place, over steps `step` to `last_step` (None: everywhere).

    `value` is how much further to go than the rejected plan did: raise the floor by so much, lower the cap by so much.
    `limit` is the absolute limit where the rule has one.
    """

    kind: ConstraintKind
    scope: Scope
    where: str
    value: float
    step: int | None
    last_step: int | None
    limit: float | None
    rule: str


_EXCLUDING = frozenset(
    {"unknown_site", "unknown_feeder", "foreign_feeder", "overlap", "day_use", "product", "recharge_terms"}
)
_BY_NAME = {
    "autonomy_floor": ConstraintKind.RAISE_FLOOR_WH,
    "dispatch_floor": ConstraintKind.RAISE_FLOOR_WH,
    "recharge_floor": ConstraintKind.RAISE_FLOOR_WH,
    "recharge": ConstraintKind.RAISE_FLOOR_WH,
    "discharge_power": ConstraintKind.CAP_DISCHARGE_W,
    "within_load": ConstraintKind.CAP_DISCHARGE_W,
    "feeder_export": ConstraintKind.CAP_DISCHARGE_W,
    "charge_power": ConstraintKind.CAP_CHARGE_W,
    "soc_ceiling": ConstraintKind.CAP_CHARGE_W,
    "charge_window": ConstraintKind.CAP_CHARGE_W,
    "feeder_import": ConstraintKind.CAP_CHARGE_W,
    "feeder_rebound": ConstraintKind.CAP_REBOUND_W,
    "ramp": ConstraintKind.CAP_RAMP_W,
    "daily_cycles": ConstraintKind.CAP_DISCHARGE_WH,
    "cluster_low": ConstraintKind.LIMIT_LOW_SITES,
}


def constraints(rejected: Rejected) -> tuple[Constraint, ...]:
    """Return one constraint for each breach, each once, in the order of the breaches."""
    return tuple(dict.fromkeys(constraint_of(breach) for breach in rejected.broken))


def constraint_of(breach: Broken) -> Constraint:
    """Return what one breach asks of a planner: a site that may not take part is excluded, a limit moves by `by`."""
    kind = _BY_NAME.get(breach.name, ConstraintKind.CHANGE_PLAN)
    if breach.scope is Scope.SITE and (breach.rule in WITHHOLDABLE or breach.name in _EXCLUDING):
        kind = ConstraintKind.EXCLUDE_SITE
    return Constraint(
        kind=kind,
        scope=breach.scope,
        where=breach.where,
        value=breach.by,
        step=breach.step,
        last_step=breach.last_step,
        limit=breach.limit,
        rule=breach.rule,
    )
