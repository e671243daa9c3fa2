"""What we ask sites to do: plans, what an approval covers, commands and their acknowledgements.

Charging positive, discharging negative, at the battery terminals. Instants aware UTC.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NewType

from telemetry.model.series import STEP
from telemetry.model.site import FeederId, SiteId, SiteMode

PlanId = NewType("PlanId", str)
CommandId = NewType("CommandId", str)


class ObjectiveKind(StrEnum):
    """What a plan is for, in the field's words."""

    PEAK_SHAVING = "peak_shaving"
    ARBITRAGE = "arbitrage"
    DEMAND_RESPONSE = "demand_response"
    GRID_RESERVE = "grid_reserve"
    EMERGENCY_SUPPORT = "emergency_support"
    RECHARGE = "recharge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is wanted, where; `target_w` is the wanted relief (negative: discharge) where the objective has one."""

    kind: ObjectiveKind
    feeder_ids: tuple[FeederId, ...]
    target_w: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBounds:
    """What an approval lets one site do: a power band and the energy that may leave and enter its battery."""

    site_id: SiteId
    min_w: float
    max_w: float
    max_discharge_wh: float
    max_charge_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is approved: any plan that stays inside needs no new approval until `valid_until`."""

    objective: Objective
    window_start: datetime
    window_end: datetime
    sites: tuple[SiteBounds, ...]
    total_min_w: float
    total_max_w: float
    total_discharge_wh: float
    reserve_h: float
    valid_until: datetime

    def canonical_bytes(self) -> bytes:
        """Return the one byte form that is hashed: JSON, keys sorted, instants in UTC, no spaces."""
        return canonical_json(asdict(self))

    def digest(self) -> str:
        """Return the SHA-256 of the canonical bytes, hex."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces; instants become ISO 8601 in UTC; NaN and infinity are refused.

    Every number is written as a double and minus zero as zero: a database's JSON keeps neither `-0.0` nor the
    difference between `4` and `4.0`, and what is equal must hash alike.
    """
    return json.dumps(
        _as_doubles(value),
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
        ensure_ascii=True,
        default=_plain,
    ).encode()


def _as_doubles(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _as_doubles(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_doubles(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) + 0.0
    return value


def _plain(value: object) -> str | float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"instant {value} is not aware")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no canonical form")


@dataclass(frozen=True, slots=True, kw_only=True)
class GridReserve:
    """A site's share of a market reserve product; the site answers frequency by itself."""

    product: str
    up_w: float
    down_w: float
    droop_hz: float
    dead_band_hz: float
    activation_s: float
    energy_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlBounds:
    """Bounds for a deterministic controller at the site."""

    min_w: float
    max_w: float
    grid_import_limit_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """What one site is asked to do: exactly one of a schedule, a grid reserve or bounds.

    `schedule_w[t]` is the setpoint from `window_start + t x STEP`, W, for every step of the window.
    """

    site_id: SiteId
    schedule_w: tuple[float, ...] = ()
    grid_reserve: GridReserve | None = None
    bounds: ControlBounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeederEffect:
    """A feeder's forecast peak import without and with the plan, and how far above its limit, W."""

    feeder_id: FeederId
    peak_without_w: float
    peak_with_w: float
    limit_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyEffect:
    """What a plan is expected to cost in money, in `currency`; below zero it earns.

    Attributes:
        currency: Of the sites' tariffs, such as EUR.
        energy: Change of the energy bill within the window.
        refill: Buying back afterwards what the batteries lack then.
        demand: A month's demand charge on what plan and recharge add to the sites' highest quarter hour.
        wear: What the discharged energy costs of the batteries, by depth and temperature.
        source: Where the prices come from.
    """

    currency: str
    energy: float
    refill: float
    demand: float
    wear: float
    source: str

    @property
    def total(self) -> float:
        """All parts together."""
        return self.energy + self.refill + self.demand + self.wear


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedEffect:
    """What a plan promises, by the forecast that it was made from.

    `score` is what the optimiser minimised, weights and all: comparable with the plan's `bound`, and no money. `money`
    is None where a site's tariff is not known.
    """

    feeders: tuple[FeederEffect, ...]
    relief_w: float
    discharge_wh: float
    charge_wh: float
    throughput_cycles: float
    score: float
    min_autonomy_margin_h: float
    money: MoneyEffect | None = None


class PlanStatus(StrEnum):
    """Where a plan is in its life."""

    PROPOSED = "proposed"
    VALIDATED = "validated"
    REJECTED = "rejected"
    APPROVED = "approved"
    DECLINED = "declined"
    DISPATCHED = "dispatched"
    COMPLETED = "completed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A dispatch plan: schedules for named sites over one window of whole steps."""

    plan_id: PlanId
    supersedes: PlanId | None
    objective: Objective
    window_start: datetime
    window_end: datetime
    sites: tuple[SitePlan, ...]
    envelope: Envelope
    expected: ExpectedEffect
    bound: float
    gap_frac: float
    created_at: datetime
    provenance: Mapping[str, str] = field(default_factory=dict)
    status: PlanStatus = PlanStatus.PROPOSED

    @property
    def steps(self) -> int:
        """Whole steps between start and end of the window."""
        return (self.window_end - self.window_start) // STEP


class ApprovalTier(StrEnum):
    """Who must say yes, by the approval policy."""

    AUTOMATIC = "automatic"
    ONE_PERSON = "one_person"
    TWO_PERSONS = "two_persons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A yes to exactly one envelope: by the policy, or by one or two different persons."""

    plan_id: PlanId
    envelope_digest: str
    tier: ApprovalTier
    approvers: tuple[str, ...]
    approved_at: datetime
    expires_at: datetime


class CommandKind(StrEnum):
    """What a command asks; the last two are for the whole fleet."""

    SCHEDULE = "schedule"
    GRID_RESERVE = "grid_reserve"
    BOUNDS = "bounds"
    RELEASE = "release"
    MODE = "mode"
    TEST = "test"
    STOP = "stop"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleBody:
    """Setpoints by step from `start`; after the last step the site returns to float."""

    start: datetime
    step_s: int
    setpoint_w: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeBody:
    """The mode that a site is asked to take."""

    mode: SiteMode


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyBody:
    """Release, test, stop and clear carry nothing."""


CommandBody = ScheduleBody | GridReserve | ControlBounds | ModeBody | EmptyBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One order to one site (`site_id`), or to the whole fleet (`site_id` None: stop and clear only).

    It is refused after `accept_by`, does nothing before `not_before` and ends at `valid_until`.
    """

    command_id: CommandId
    plan_id: PlanId | None
    site_id: SiteId | None
    sequence: int
    accept_by: datetime
    not_before: datetime
    valid_until: datetime
    kind: CommandKind
    body: CommandBody


class AckVerdict(StrEnum):
    """What a site says to a command."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LIMITED = "limited"
    SUPERSEDED = "superseded"
    COMPLETED = "completed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """A site's answer: bound to the command's digest; `read_back_v` is the bus setpoint that the device confirmed."""

    site_id: SiteId
    command_id: CommandId
    digest: str
    verdict: AckVerdict
    reason: str
    at: datetime
    read_back_v: float | None = None
    limited_wh: float = 0.0
