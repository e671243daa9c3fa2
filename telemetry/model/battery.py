"""Battery types and what they allow at a temperature."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isfinite


class Chemistry(StrEnum):
    """What the cells are made of."""

    LFP = "lfp"
    VRLA = "vrla"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureBand:
    """What a battery allows from `from_c` (included) up to `to_c` (excluded), degC.

    Rates are per hour of rated capacity (C-rates); `capacity_frac` is the share of full capacity that can be had.
    """

    from_c: float
    to_c: float
    charge_c_rate: float
    discharge_c_rate: float
    capacity_frac: float

    def __post_init__(self) -> None:
        numbers = (self.from_c, self.to_c, self.charge_c_rate, self.discharge_c_rate, self.capacity_frac)
        if not all(isfinite(number) for number in numbers):
            raise ValueError("a temperature band needs finite numbers")
        if not self.from_c < self.to_c:
            raise ValueError(f"temperature band {self.from_c}..{self.to_c} is empty")
        if not (
            self.charge_c_rate >= 0.0 and self.discharge_c_rate >= 0.0 and 0.0 < self.capacity_frac <= 1.0
        ):
            raise ValueError("rates must be zero or more, capacity_frac in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """The battery of one site, as the registry knows it.

    SoC fractions are of present full capacity (`rated_wh` x SoH). `disconnect_soc_frac` is where the low-voltage
    disconnect ends backup (cable drop included); `backstop_soc_frac` is where the rectifier's live backstop ends
    dispatch. Energy is counted at the terminals: charging `w` for an hour stores `w x charge_efficiency`,
    discharging `w` for an hour takes `w / discharge_efficiency`.
    """

    chemistry: Chemistry
    rated_wh: float
    soc_min_frac: float
    soc_max_frac: float
    disconnect_soc_frac: float
    backstop_soc_frac: float
    soc_error_frac: float
    charge_efficiency: float
    discharge_efficiency: float
    bands: tuple[TemperatureBand, ...]
    max_cycles_per_day: float
    calibrated_at: datetime | None
    capacity_tested_at: datetime | None

    def __post_init__(self) -> None:
        if not (isfinite(self.rated_wh) and self.rated_wh > 0.0):
            raise ValueError(f"rated_wh {self.rated_wh} must be above zero")
        if not (
            0.0
            <= self.disconnect_soc_frac
            <= self.backstop_soc_frac
            <= self.soc_min_frac
            < self.soc_max_frac
            <= 1.0
        ):
            raise ValueError("SoC band must satisfy 0 <= disconnect <= backstop <= min < max <= 1")
        if not (0.0 < self.charge_efficiency <= 1.0 and 0.0 < self.discharge_efficiency <= 1.0):
            raise ValueError("efficiencies must be in (0, 1]")
        if not 0.0 <= self.soc_error_frac < 1.0:
            raise ValueError(f"soc_error_frac {self.soc_error_frac} must be in [0, 1)")
        if not (isfinite(self.max_cycles_per_day) and self.max_cycles_per_day >= 0.0):
            raise ValueError(f"max_cycles_per_day {self.max_cycles_per_day} must be zero or more")

    def band_at(self, battery_c: float) -> TemperatureBand | None:
        """Return the band that holds the temperature, or None where the battery may not be used at all."""
        return next((band for band in self.bands if band.from_c <= battery_c < band.to_c), None)


def _band(from_c: float, to_c: float, charge: float, discharge: float, capacity: float) -> TemperatureBand:
    return TemperatureBand(
        from_c=from_c, to_c=to_c, charge_c_rate=charge, discharge_c_rate=discharge, capacity_frac=capacity
    )


# Alpha APL48-50 charge window and V-LFP48100 discharge range (DOMAIN.md section 3); capacity_frac is a default [I].
LFP_BANDS = (
    _band(-20.0, 0.0, 0.0, 0.5, 0.80),
    _band(0.0, 10.0, 0.1, 1.0, 0.90),
    _band(10.0, 25.0, 0.2, 1.0, 0.97),
    _band(25.0, 50.0, 0.5, 1.0, 1.00),
    _band(50.0, 60.0, 0.1, 0.5, 1.00),
)
# Mastervolt's charge window, 0.1 C10 charge (DOMAIN.md section 3); discharge rates and capacity_frac are defaults [I].
VRLA_BANDS = (
    _band(-20.0, 0.0, 0.1, 0.2, 0.60),
    _band(0.0, 15.0, 0.1, 0.3, 0.85),
    _band(15.0, 40.0, 0.15, 0.3, 1.00),
    _band(40.0, 55.0, 0.05, 0.2, 1.00),
)
