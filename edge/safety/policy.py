"""Who must say yes to what: the approval policy, read from a TOML file. No sound file: nobody may."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from pathlib import Path

from edge.plan import ApprovalTier, ObjectiveKind, Plan
from edge.safety.case import Power, discharged_wh, power_of
from edge.safety.limits import FleetState, Limits, OperatingMode
from edge.safety.plan_rules import number_breaches
from edge.safety.verdict import FREE
from telemetry.model.site import SiteId

_VERSION = 1
_LEAST_FIRST = (ApprovalTier.AUTOMATIC, ApprovalTier.ONE_PERSON, ApprovalTier.TWO_PERSONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierScope:
    """How far one tier reaches; a plan must be inside in every respect.

    Attributes:
        max_total_w: Most power of all sites together at any step, charging and discharging added up, W.
        max_sites: Most sites.
        max_depth_frac: Deepest discharge of any site, share of its present full capacity.
        objectives: Kinds of objective.
        modes: Operating modes.
        simulated_only: Only simulated sites.
        max_validity: Longest life of an approval.
    """

    max_total_w: float
    max_sites: int
    max_depth_frac: float
    objectives: frozenset[ObjectiveKind]
    modes: frozenset[OperatingMode]
    simulated_only: bool
    max_validity: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """The tiers that exist; `why` says why there is none. Without tiers nobody may approve anything."""

    tiers: Mapping[ApprovalTier, TierScope] = field(default_factory=dict)
    why: str = ""


def load_policy(source: Path | str | Mapping[str, object]) -> ApprovalPolicy:
    """Return the policy of a TOML file or of a mapping like it; whatever is wrong with it, nobody may, and `why` says it.

    The file holds `version = 1` and a table for each tier in use (`automatic`, `one_person`, `two_persons`) with exactly
    the keys `max_total_w`, `max_sites`, `max_depth_frac`, `objectives`, `modes`, `simulated_only`, `max_validity_h`.
    """
    try:
        tables = source if isinstance(source, Mapping) else tomllib.loads(Path(source).read_text("utf-8"))
        return ApprovalPolicy(tiers=_tiers_from(tables))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        return ApprovalPolicy(why=f"no approval policy in force: {error}")


def _tiers_from(tables: Mapping[str, object]) -> dict[ApprovalTier, TierScope]:
    if tables.get("version") != _VERSION:
        raise ValueError(f"version {tables.get('version')!r} is not {_VERSION}")
    tiers = {
        ApprovalTier(name): _scope_from(name, table) for name, table in tables.items() if name != "version"
    }
    if not tiers:
        raise ValueError("it names no tier")
    return tiers


def _scope_from(name: str, table: object) -> TierScope:
    if not isinstance(table, Mapping):
        raise TypeError(f"{name} is no table")
    known = {
        "max_total_w",
        "max_sites",
        "max_depth_frac",
        "objectives",
        "modes",
        "simulated_only",
        "max_validity_h",
    }
    if set(table) != known:
        raise ValueError(f"{name}: missing or unknown keys {sorted(set(table) ^ known)}")
    if not isinstance(table["simulated_only"], bool):
        raise TypeError(f"{name}: simulated_only is neither true nor false")
    return TierScope(
        max_total_w=_number(name, table["max_total_w"]),
        max_sites=int(_number(name, table["max_sites"])),
        max_depth_frac=_number(name, table["max_depth_frac"]),
        objectives=frozenset(ObjectiveKind(word) for word in table["objectives"]),
        modes=frozenset(OperatingMode(word) for word in table["modes"]),
        simulated_only=table["simulated_only"],
        max_validity=timedelta(hours=_number(name, table["max_validity_h"])),
    )


def _number(name: str, value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (isfinite(value) and value >= 0.0)
    ):
        raise ValueError(f"{name}: {value!r} is no number of zero or more")
    return float(value)


def required_tier(
    plan: Plan, state: FleetState, limits: Limits, policy: ApprovalPolicy
) -> ApprovalTier | None:
    """Return the least tier whose scope holds the plan, or None: nobody may approve it."""
    if plan.steps < 1 or number_breaches(plan, plan.steps):
        return None
    reaching = (tier for tier in _LEAST_FIRST if tier in policy.tiers)
    return next((tier for tier in reaching if _holds(policy.tiers[tier], plan, state, limits)), None)


def _holds(scope: TierScope, plan: Plan, state: FleetState, limits: Limits) -> bool:
    powers = {site.site_id: power_of(site, plan.steps) for site in plan.sites}
    known = [limits.sites[site_id] for site_id in powers if site_id in limits.sites]
    depths = [depth_frac(site_id, power, state, limits) for site_id, power in powers.items()]
    return (
        plan.objective.kind in scope.objectives
        and state.mode in scope.modes
        and len(powers) <= scope.max_sites
        and peak_total_w(powers.values()) <= scope.max_total_w
        and all(depth <= scope.max_depth_frac for depth in depths)
        and (
            not scope.simulated_only or (len(known) == len(powers) and all(site.simulated for site in known))
        )
    )


def peak_total_w(powers: Iterable[Power]) -> float:
    """Return the most power of all sites together at any step, each at its largest either way, W."""
    rows = [
        [max(-low, high) for low, high in zip(power.low_w, power.high_w, strict=True)] for power in powers
    ]
    return max(map(sum, zip(*rows, strict=True)))


def depth_frac(site_id: str, power: Power, state: FleetState, limits: Limits) -> float:
    """Return the share of present full capacity that a site would discharge; 1 or more where it is not known."""
    drawn_wh = discharged_wh(power)
    if drawn_wh == 0.0:
        return 0.0
    site = limits.sites.get(SiteId(site_id))
    reading = state.readings.get(SiteId(site_id))
    if site is None or reading is None or reading.soh_frac is None or not reading.soh_frac > 0.0:
        return FREE
    return drawn_wh / (site.battery.rated_wh * min(1.0, reading.soh_frac))
