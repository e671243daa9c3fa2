"""Everything that a verdict may depend on: the limits in force and the state of the fleet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from edge.plan import Plan
from telemetry.model.reading import Reading, SiteStatus
from telemetry.model.series import Forecast
from telemetry.model.site import Feeder, FeederId, Site, SiteId


class OperatingMode(StrEnum):
    """The mode in force for the whole system."""

    NORMAL = "normal"
    STORM = "storm"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How old, how good and how long: settings with defaults (defaults are our choice [I] unless DOMAIN.md says)."""

    max_reading_age: timedelta = timedelta(minutes=2)
    max_status_age: timedelta = timedelta(minutes=5)
    max_forecast_age: timedelta = timedelta(hours=6)
    max_background_age: timedelta = timedelta(hours=6)
    max_calibration_age: timedelta = timedelta(days=90)
    max_capacity_test_age: timedelta = timedelta(days=365)
    max_proof_age: timedelta = timedelta(days=365)
    min_quality_score: float = 0.9
    max_lead: timedelta = timedelta(hours=36)
    max_duration: timedelta = timedelta(hours=24)
    max_envelope_validity: timedelta = timedelta(hours=48)
    max_cluster_low_frac: float = 0.5
    cluster_low_margin_h: float = 1.0
    max_target_drift_frac: float = 0.05
    max_recharge: timedelta = timedelta(hours=24)  # VRLA back to full within 24 h (DOMAIN.md section 2, [R])
    fine_voltage_step_v: float = (
        0.02  # a coarser controller offers full-load blocks only (DOMAIN.md section 1, [I])
    )
    harmless_alarms: frozenset[str] = frozenset()  # every other active alarm keeps a site out of every plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the registry allows: sites, feeders and the policy's ages."""

    sites: Mapping[SiteId, Site]
    feeders: Mapping[FeederId, Feeder]
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUse:
    """What a site's battery has already done today: equivalent full cycles and discharged energy."""

    cycles: float
    discharged_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IslandProof:
    """What must be on record before a site may export with its mains absent (DOMAIN.md section 4).

    `contact_open` is the transfer switch's contact as read back at `read_at`; the authority is the network operator's.
    """

    read_at: datetime
    contact_open: bool
    switching_authority: str
    authority_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """The live facts that a verdict may depend on. What is absent here counts against the plan.

    `load`, `pv` are forecasts by site, `background` by feeder; `quality_score` is 0..1 by site; `live_plans` are
    the plans dispatched and not yet ended. `day_use` counts from the site's own midnight. `superseded_plans` are the ancestors of
    live plans that others replaced: what they did under the same envelope still counts against it. `islands` is empty
    unless a transfer switch was read back.
    """

    at: datetime
    mode: OperatingMode
    readings: Mapping[SiteId, Reading]
    statuses: Mapping[SiteId, SiteStatus]
    quality_score: Mapping[SiteId, float]
    load: Mapping[SiteId, Forecast]
    pv: Mapping[SiteId, Forecast]
    background: Mapping[FeederId, Forecast]
    day_use: Mapping[SiteId, DayUse]
    live_plans: tuple[Plan, ...]
    superseded_plans: tuple[Plan, ...] = ()
    islands: Mapping[SiteId, IslandProof] = field(default_factory=dict)
