"""Sites, feeders and critical sites, as the registry holds them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import NewType

from telemetry.model.battery import Battery

SiteId = NewType("SiteId", str)
FeederId = NewType("FeederId", str)
CriticalSiteId = NewType("CriticalSiteId", str)
RadioClusterId = NewType("RadioClusterId", str)


# As far as forecasts reach, and beyond every duty on record (72 h): hours become the length of a sum.
LONGEST_AUTONOMY_H = 96.0


class SiteMode(StrEnum):
    """How far a site lets itself be controlled; every real site starts in `shadow`."""

    MONITOR = "monitor"
    SHADOW = "shadow"
    REMOTE = "remote"


class DispatchPath(StrEnum):
    """Who writes the site's setpoints: its own ISC, a proxy gateway beside the controller, or nobody."""

    ISC = "isc"
    PROXY = "proxy"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomyProfile:
    """How long a site must run on its battery, by jurisdiction: never one constant (DOMAIN.md section 2).

    `max_load_w` stands in where a forecast does not reach far enough. Where `genset_allowed`, proven fuel covers the
    duty and the battery floor covers a failed start of `failed_start_h`.
    """

    name: str
    jurisdiction: str
    autonomy_h: float
    max_load_w: float
    genset_allowed: bool = False
    failed_start_h: float = 2.0

    def __post_init__(self) -> None:
        for name in ("autonomy_h", "failed_start_h"):
            if not 0.0 <= (value := getattr(self, name)) <= LONGEST_AUTONOMY_H:
                raise ValueError(f"{name} {value} must be within 0..{LONGEST_AUTONOMY_H:g}")
        if not (isfinite(self.max_load_w) and self.max_load_w >= 0.0):
            raise ValueError(f"max_load_w {self.max_load_w} must be zero or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectifiers:
    """The rectifier shelf: `count` modules of `module_w` DC each; `efficiency` is DC out over AC in."""

    module_w: float
    count: int
    efficiency: float

    def __post_init__(self) -> None:
        if not (isfinite(self.module_w) and self.module_w > 0.0 and self.count >= 1):
            raise ValueError("rectifiers need module_w above zero and at least one module")
        if not 0.0 < self.efficiency <= 1.0:
            raise ValueError(f"rectifier efficiency {self.efficiency} must be in (0, 1]")

    @property
    def secure_w(self) -> float:
        """DC power with one module failed, W."""
        return self.module_w * (self.count - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """The -48 V bus (magnitudes, V): where it floats and the live backstop below which dispatch never goes.

    `continuity_proven_at` is when the backstop was shown to carry the whole load; None means no dispatch.
    """

    float_v: float
    backstop_v: float
    voltage_step_v: float
    device_reverts: bool
    continuity_proven_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverter:
    """A bidirectional inverter: what it may export and on whose authority."""

    rated_w: float
    certificate: str | None
    transfer_switch_interlocked: bool
    agreement_expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Genset:
    """A standby generator with its tank."""

    rated_w: float
    tank_wh: float
    proven_at: datetime | None


LONGEST_WAIT_S = 4 * 3600.0
HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RechargeTerms:
    """How a site's ISC fills its battery again by itself after a release, as written at commissioning (defaults [I]).

    Charging opens at most `max_delay_s` after the return to float, rises within `ramp_s` to `c_rate` of the rated energy
    per hour, and keeps `feeder_share_w`: W at the AC side for each hour of the UTC day, 24 values; none: the feeder sets
    it no bound. The gateway's own file says the same; nothing of it comes from the centre at run time.
    """

    max_delay_s: float = 600.0
    ramp_s: float = 600.0
    c_rate: float = 0.1
    feeder_share_w: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # Written as "not inside" so that NaN is refused too. Both become a length in steps.
        if not 0.0 <= self.max_delay_s <= LONGEST_WAIT_S:
            raise ValueError(f"recharge max_delay_s {self.max_delay_s} must be within 0..{LONGEST_WAIT_S:g}")
        if not 0.0 < self.ramp_s <= LONGEST_WAIT_S:
            raise ValueError(
                f"recharge ramp_s {self.ramp_s} must be within 0..{LONGEST_WAIT_S:g}, zero excluded"
            )
        if not 0.0 < self.c_rate <= 0.5:
            raise ValueError(f"recharge c_rate {self.c_rate} must be in (0, 0.5]")
        if len(self.feeder_share_w) not in {0, HOURS}:
            raise ValueError(
                f"recharge feeder_share_w has {len(self.feeder_share_w)} values, not {HOURS} or none"
            )
        if not all(isfinite(w) and w >= 0.0 for w in self.feeder_share_w):
            raise ValueError("recharge feeder_share_w must be finite and zero or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTerms:
    """What commissioning measured of a site's frequency meter and of its actuator: what a reserve stands on.

    `meter_error_hz` and `meter_period_s` are the meter's, `actuator_s` the time from a written setpoint to 90 % of its
    power, `ramp_w_per_s` how fast that grows. The gateway's own file says the same and has the last word.
    """

    meter_error_hz: float
    meter_period_s: float
    actuator_s: float
    ramp_w_per_s: float

    def __post_init__(self) -> None:
        for name in ("meter_error_hz", "meter_period_s", "actuator_s", "ramp_w_per_s"):
            # Written as "not inside" so that NaN is refused too.
            if not (isfinite(value := getattr(self, name)) and value > 0.0):
                raise ValueError(f"fast {name} {value} must be above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One cellular base station with its power cabinet.

    `recharge` None: nobody has declared how it fills its battery again, so it is for backup only.
    `fast` None: no fast frequency meter is declared, so its gateway offers no reserve.
    """

    site_id: SiteId
    name: str
    latitude: float
    longitude: float
    time_zone: str
    feeder_id: FeederId
    radio_cluster: RadioClusterId
    mode: SiteMode
    simulated: bool
    dispatch_path: DispatchPath
    autonomy: AutonomyProfile
    battery: Battery
    rectifiers: Rectifiers
    bus: Bus
    grid_import_limit_w: float
    ramp_w_per_step: float
    pv_rated_w: float
    inverter: Inverter | None
    genset: Genset | None
    tariff: str
    maintenance: str | None
    commissioned_at: datetime | None
    recharge: RechargeTerms | None = None
    fast: FastTerms | None = None

    def __post_init__(self) -> None:
        for name in ("grid_import_limit_w", "ramp_w_per_step", "pv_rated_w"):
            if not (isfinite(value := getattr(self, name)) and value >= 0.0):
                raise ValueError(f"{self.site_id}: {name} {value} must be zero or more")
        if not (-90.0 <= self.latitude <= 90.0 and -180.0 <= self.longitude <= 180.0):
            raise ValueError(f"{self.site_id}: no such place as {self.latitude}, {self.longitude}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeder:
    """A distribution feeder with its limits at the substation, W, import positive."""

    feeder_id: FeederId
    name: str
    substation: str
    import_limit_w: float
    export_limit_w: float

    def __post_init__(self) -> None:
        for name in ("import_limit_w", "export_limit_w"):
            if not (isfinite(value := getattr(self, name)) and value >= 0.0):
                raise ValueError(f"{self.feeder_id}: {name} {value} must be zero or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalSite:
    """A hospital, a water works: who is to be helped first in an emergency."""

    critical_site_id: CriticalSiteId
    name: str
    kind: str
    latitude: float
    longitude: float
    feeder_id: FeederId
    priority: int
    demand_profile: str
    peak_w: float
    linked_site_ids: tuple[SiteId, ...]
