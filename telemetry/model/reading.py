"""One sample of one site (or feeder), with a verdict on each doubtful field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from telemetry.model.site import FeederId, SiteId


class Verdict(StrEnum):
    """How far one field of one reading can be believed."""

    GOOD = "good"
    SUSPECT = "suspect"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldQuality:
    """The verdict on one field and why; a bad value is kept aside in `raw`, and the field itself becomes None."""

    verdict: Verdict
    reason: str
    raw: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an ISC sampled at one instant; None where the site does not measure.

    Charging positive, at the battery terminals; bus voltage as a magnitude; `soc_frac` of present full capacity.
    `quality` names only fields that are not good.
    """

    site_id: SiteId
    boot_id: str
    sequence: int
    at: datetime
    grid_v: float | None = None
    grid_hz: float | None = None
    grid_w: float | None = None
    aux_ac_w: float | None = None
    rectifier_w: float | None = None
    load_w: float | None = None
    bus_v: float | None = None
    battery_a: float | None = None
    battery_w: float | None = None
    meter_battery_w: float | None = None
    string_a: tuple[float, ...] | None = None
    soc_frac: float | None = None
    soh_frac: float | None = None
    battery_c: float | None = None
    ambient_c: float | None = None
    pv_w: float | None = None
    genset_w: float | None = None
    fuel_frac: float | None = None
    mains_ok: bool | None = None
    alarms: tuple[str, ...] = ()
    quality: Mapping[str, FieldQuality] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError(f"{self.site_id}: a reading's instant must be aware")
        if self.sequence < 0:
            raise ValueError(f"{self.site_id}: sequence {self.sequence} is negative")

    def verdict(self, name: str) -> Verdict:
        """Return the verdict on a field; an absent verdict means good."""
        return self.quality[name].verdict if name in self.quality else Verdict.GOOD


class SiteState(StrEnum):
    """What a site is doing, by its own account (the retained `state` topic)."""

    FLOAT = "float"
    DISPATCH = "dispatch"
    RECHARGE = "recharge"
    OUTAGE = "outage"
    RECOVERY = "recovery"
    FAULT = "fault"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """A site's last own word about itself."""

    site_id: SiteId
    at: datetime
    online: bool
    state: SiteState
    local_lock: bool
    last_sequence: int
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeederReading:
    """The import that a substation meter measures on a feeder, W, with our sites taken out: the background load."""

    feeder_id: FeederId
    at: datetime
    background_w: float
