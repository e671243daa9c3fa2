"""What sites are put together from: autonomy duties by jurisdiction, battery types, tariffs.

A site holds a copy of what it was given (its `autonomy`, its `battery`): a later change here reaches it only by another
import of that site, so that no floor moves by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from math import isfinite
from typing import NewType
from zoneinfo import ZoneInfo

from telemetry.model.battery import Battery, Chemistry, TemperatureBand
from telemetry.model.site import AutonomyProfile

ProfileId = NewType("ProfileId", str)
BatteryTypeId = NewType("BatteryTypeId", str)
TariffId = NewType("TariffId", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomyRule:
    """What a jurisdiction asks of a class of sites (DOMAIN.md section 2); `binding` is whether it is law there."""

    profile_id: ProfileId
    jurisdiction: str
    autonomy_h: float
    binding: bool
    source: str
    genset_allowed: bool = False
    failed_start_h: float = 2.0

    def __post_init__(self) -> None:
        self.for_site(0.0)

    def for_site(self, max_load_w: float) -> AutonomyProfile:
        """Return the duty of a site whose load stays below `max_load_w`, W."""
        return AutonomyProfile(
            name=self.profile_id,
            jurisdiction=self.jurisdiction,
            autonomy_h=self.autonomy_h,
            max_load_w=max_load_w,
            genset_allowed=self.genset_allowed,
            failed_start_h=self.failed_start_h,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryType:
    """A battery product with its limits by temperature; fractions and efficiencies as in `Battery`."""

    battery_type_id: BatteryTypeId
    chemistry: Chemistry
    soc_min_frac: float
    soc_max_frac: float
    disconnect_soc_frac: float
    backstop_soc_frac: float
    soc_error_frac: float
    charge_efficiency: float
    discharge_efficiency: float
    max_cycles_per_day: float
    source: str
    bands: tuple[TemperatureBand, ...]

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError("a battery type needs limits for at least one range of temperature")
        ordered = sorted(self.bands, key=lambda band: band.from_c)
        for one, following in pairwise(ordered):
            if one.to_c > following.from_c:
                raise ValueError(f"limits from {one.from_c:g} and from {following.from_c:g} degC overlap")
        self.for_site(1.0, None, None)

    def for_site(
        self, rated_wh: float, calibrated_at: datetime | None, capacity_tested_at: datetime | None
    ) -> Battery:
        """Return the battery of a site: its size and when it was last proven."""
        same = {one.name for one in fields(Battery)} & {one.name for one in fields(BatteryType)}
        return Battery(
            rated_wh=rated_wh,
            calibrated_at=calibrated_at,
            capacity_tested_at=capacity_tested_at,
            **{name: getattr(self, name) for name in same},
        )


class Days(StrEnum):
    """On which days a price holds."""

    ALL = "all"
    WORKDAYS = "workdays"
    WEEKEND = "weekend"

    def holds_on(self, weekday: int) -> bool:
        """Return whether it holds on a weekday (0 is Monday)."""
        return self is Days.ALL or (weekday < 5) == (self is Days.WORKDAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePeriod:
    """A price for energy taken from the grid, currency per kWh, from `from_h` up to `to_h` o'clock local time."""

    days: Days
    from_h: int
    to_h: int
    import_per_kwh: float

    def __post_init__(self) -> None:
        if not 0 <= self.from_h < self.to_h <= 24:
            raise ValueError(f"a price from {self.from_h} to {self.to_h} h is of no part of a day")
        if not isfinite(self.import_per_kwh):
            raise ValueError("a price must be finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a site's energy costs: every hour of every day has one price.

    `demand_per_kw_month` is charged on the month's highest quarter hour, `export_per_kwh` is paid for what is fed in.
    """

    tariff_id: TariffId
    name: str
    currency: str
    time_zone: str
    periods: tuple[PricePeriod, ...]
    demand_per_kw_month: float = 0.0
    export_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        for name in ("demand_per_kw_month", "export_per_kwh"):
            if not (isfinite(value := getattr(self, name)) and value >= 0.0):
                raise ValueError(f"{name} {value} must be zero or more")
        for weekday in range(7):
            for hour in range(24):
                if (count := len(list(self._at(weekday, hour)))) != 1:
                    kind = "weekends" if weekday >= 5 else "workdays"
                    raise ValueError(f"{count} prices hold on {kind} at {hour} h, not one")

    def price_per_kwh(self, at: datetime) -> float:
        """Return the price of energy taken from the grid at an aware instant, currency per kWh."""
        local = at.astimezone(ZoneInfo(self.time_zone))
        return next(iter(self._at(local.weekday(), local.hour))).import_per_kwh

    def _at(self, weekday: int, hour: int) -> Iterable[PricePeriod]:
        return (one for one in self.periods if one.days.holds_on(weekday) and one.from_h <= hour < one.to_h)
