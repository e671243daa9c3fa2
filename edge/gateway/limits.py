"""What a site allows itself, from its own file: checked before a command is accepted and at every control step.

Pure. Charging positive, discharging negative, W at the battery terminals. Nothing here trusts the centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf, isfinite
from typing import Annotated, Final

import msgspec

from edge.gateway.interlock import IslandRule, SwitchRule
from edge.modbus.port import Capabilities, FieldSample
from telemetry.model.battery import LFP_BANDS, VRLA_BANDS, Chemistry, TemperatureBand

_SHARE_FROM_A: Final = 5.0
_ZERO_W: Final = 1.0  # a setpoint within a watt of zero asks for nothing


class Reason(StrEnum):
    """Why a command is refused, or why a running one is held below what it asks."""

    STALE_FIELD_DATA = "stale_field_data"
    DEVICE_FAULT = "device_fault"
    NO_CONTINUITY = "no_continuity"
    NOT_FINITE = "not_finite"
    EXPORT_NOT_DECLARED = "export_not_declared"
    INTERLOCK = "interlock"
    PARTIAL_POWER_NOT_OFFERED = "partial_power_not_offered"
    CHARGE_HEADROOM = "charge_headroom"
    C_RATE_BY_TEMPERATURE = "c_rate_by_temperature"
    RAMP = "ramp"
    BUS_WINDOW = "bus_window"
    SOC_BAND = "soc_band"
    HOLD_TOO_LONG = "hold_too_long"
    CYCLES_PER_DAY = "cycles_per_day"
    LOAD_BELOW_SETPOINT = "load_below_setpoint"
    GRID_IMPORT_LIMIT = "grid_import_limit"
    BACKSTOP = "backstop"
    BATTERY_ACCEPTANCE = "battery_acceptance"
    SETTLING = "settling"
    STRING_SHARE = "string_share"


class ExportRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `limits.export` section: a bidirectional inverter that may feed the grid.

    `certificate` is its anti-islanding certificate for the country (EN 50549-1 and the like): without one it cannot be
    declared. `limit_w` at its AC side. With the mains absent it feeds an isolated section only, by `island`, while the
    transfer switch is read back open; no switch is ever driven from here. `switch` says when a position is believed.
    """

    certificate: Annotated[str, msgspec.Meta(min_length=3, max_length=120)]
    limit_w: Annotated[float, msgspec.Meta(gt=0.0)]
    efficiency: Annotated[float, msgspec.Meta(gt=0.5, le=1.0)] = 0.95
    switch: SwitchRule = SwitchRule()
    island: IslandRule | None = None

    @property
    def dc_w(self) -> float:
        """What the inverter takes from the bus at its limit, W."""
        return self.limit_w / self.efficiency


class OwnLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `limits` section of the gateway's file.

    Defaults are our choice [I] unless DOMAIN.md names a source. `bus_min_v` is the lowest bus voltage that dispatch
    may reach: the higher of this and the device's own backstop counts. `load_tolerance_frac` is how far the load,
    as it is now, may lie below a setpoint that is about to start before the command is refused whole: below that it
    is accepted and held to the load, reported as limited. `parallel_strings` (0: not watched) holds the total to what
    the string that takes most of it may carry by itself: strings of unlike age or charge do not share alike.
    """

    chemistry: Chemistry
    rated_wh: float
    max_load_w: float
    rectifier_secure_w: float
    grid_import_limit_w: float
    rectifier_efficiency: float = 0.96
    soc_min_frac: float = 0.2
    soc_max_frac: float = 1.0
    charge_efficiency: float = 0.97
    discharge_efficiency: float = 0.97
    bands: tuple[TemperatureBand, ...] = ()
    bus_min_v: float = 47.0
    bus_max_v: float = 57.0
    max_hold_h: float = 24.0
    max_lead_h: float = 48.0
    max_cycles_per_day: float = 1.0
    ramp_w_per_step: float | None = None
    continuity_proven: bool = False
    load_tolerance_frac: float = 0.25
    export: ExportRule | None = None
    parallel_strings: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    max_sample_age_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("rated_wh", "max_load_w", "rectifier_secure_w", "grid_import_limit_w", "max_hold_h"):
            if not (isfinite(value := getattr(self, name)) and value > 0.0):
                raise ValueError(f"{name} {value} must be above zero")
        for name in ("rectifier_efficiency", "charge_efficiency", "discharge_efficiency"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in (0, 1]")
        if not 0.0 <= self.soc_min_frac < self.soc_max_frac <= 1.0:
            raise ValueError("SoC band must satisfy 0 <= soc_min_frac < soc_max_frac <= 1")
        if not 44.0 <= self.bus_min_v < self.bus_max_v <= 57.0:
            raise ValueError(
                "bus window must satisfy 44 <= bus_min_v < bus_max_v <= 57 (EN 300 132-2 ends at 57)"
            )
        for name in ("max_lead_h", "max_cycles_per_day", "load_tolerance_frac", "max_sample_age_s"):
            if not (isfinite(value := getattr(self, name)) and value >= 0.0):
                raise ValueError(f"{name} {value} must be zero or more")
        if self.ramp_w_per_step is not None and not self.ramp_w_per_step > 0.0:
            raise ValueError("ramp_w_per_step must be above zero, or absent")

    def band_at(self, battery_c: float) -> TemperatureBand | None:
        """Return the band that holds the temperature, or None where the battery may not be used at all."""
        bands = self.bands or (LFP_BANDS if self.chemistry is Chemistry.LFP else VRLA_BANDS)
        return next((band for band in bands if band.from_c <= battery_c < band.to_c), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the field side says at the moment of a decision.

    `sample` is the last good scan and `sampled_at` when it was made (None: none yet); `max_age` is how old it may
    be; `fault` is a device fault in force; `running_w` the setpoint in force (0 at float); `cycles_today` the
    equivalent full cycles already spent in the UTC day; `export_gap` is what the interlock lacks for a declared export.
    """

    sample: FieldSample | None
    sampled_at: datetime | None
    max_age: timedelta
    fault: bool
    running_w: float
    cycles_today: float
    capabilities: Capabilities
    export_gap: str = ""


def terminal_w(sample: FieldSample) -> float:
    """Return the power at the battery terminals, W: by the independent meter where there is one, else by the BMS."""
    return sample.battery_w if sample.meter_battery_w is None else sample.meter_battery_w


def spare_load_w(sample: FieldSample) -> float:
    """Return what the battery can feed without export: max(0, load - PV), W (DOMAIN.md section 1)."""
    return max(0.0, sample.load_w - (sample.pv_w or 0.0))


def feedable_w(sample: FieldSample, limits: OwnLimits) -> float:
    """Return what the battery can give: the site's own load less PV, and what a declared inverter may take, W."""
    return spare_load_w(sample) + (0.0 if limits.export is None else limits.export.dc_w)


def exported_w(target_w: float, sample: FieldSample, limits: OwnLimits) -> float:
    """Return the inverter's AC power for a battery power, charging positive: what the site's own load does not take."""
    if limits.export is None or not sample.mains_ok:
        return 0.0
    return beyond_load_w(target_w, sample, limits.export)


def beyond_load_w(target_w: float, sample: FieldSample, export: ExportRule) -> float:
    """Return the inverter's AC power, zero or less, for what of a battery power the site's own load does not take."""
    excess_w = -target_w - spare_load_w(sample)
    return -min(export.limit_w, excess_w * export.efficiency) if excess_w > _ZERO_W else 0.0


def charge_headroom_w(sample: FieldSample, limits: OwnLimits) -> float:
    """Return the charging power that the rectifiers, one module failed, and the AC connection leave, W.

    AC: import = aux + (load - PV + charge) / efficiency, so charge = (limit - aux) x efficiency - (load - PV).
    """
    net_w = sample.load_w - (sample.pv_w or 0.0)
    at_dc_w = limits.rectifier_secure_w - net_w
    at_ac_w = (limits.grid_import_limit_w - (sample.aux_ac_w or 0.0)) * limits.rectifier_efficiency - net_w
    return max(0.0, min(at_dc_w, at_ac_w))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The power that may be asked of the battery now, and what holds it below the setpoint (None: nothing)."""

    power_w: float
    reason: Reason | None


def allow(target_w: float, sample: FieldSample, limits: OwnLimits) -> Allowed:
    """Return the setpoint reduced in magnitude, never raised and never turned around, to what the limits leave."""
    if target_w < 0.0:
        bounds = _discharge_bounds_w(sample, limits)
    elif target_w > 0.0:
        bounds = _charge_bounds_w(sample, limits)
    else:
        return Allowed(power_w=0.0, reason=None)
    most_w, reason = min(bounds)
    if abs(target_w) <= most_w:
        return Allowed(power_w=target_w, reason=None)
    return Allowed(power_w=most_w if target_w > 0.0 else -most_w, reason=reason)


def string_bound_w(sample: FieldSample, limits: OwnLimits, rate: float, sign: int) -> float:
    """Return the total at which the string that takes most of it reaches its own C-rate, W.

    Args:
        sample: Its strings' currents say how they share; below 5 A nothing is known yet.
        limits: `parallel_strings` alike by rating.
        rate: C-rate of a string.
        sign: 1 for charging, -1 for discharging.

    Source:
        A string of rated / n carries rate x rated / n; at a share of the total that is the total times the share.
    """
    strings = limits.parallel_strings
    if not strings or len(sample.string_a) < strings:
        return inf
    currents = [max(0.0, sign * amps) for amps in sample.string_a[:strings]]
    total_a = sum(currents)
    if total_a < _SHARE_FROM_A:
        return inf
    return rate * limits.rated_wh / strings * total_a / max(currents)


def _discharge_bounds_w(sample: FieldSample, limits: OwnLimits) -> list[tuple[float, Reason]]:
    band = None if sample.battery_c is None else limits.band_at(sample.battery_c)
    rate = 0.0 if band is None else band.discharge_c_rate
    empty = sample.soc_frac is None or not sample.soc_frac > limits.soc_min_frac
    return [
        (feedable_w(sample, limits), Reason.LOAD_BELOW_SETPOINT),
        (rate * limits.rated_wh, Reason.C_RATE_BY_TEMPERATURE),
        (string_bound_w(sample, limits, rate, -1), Reason.STRING_SHARE),
        (0.0 if empty else limits.rated_wh * 100.0, Reason.SOC_BAND),
    ]


def _charge_bounds_w(sample: FieldSample, limits: OwnLimits) -> list[tuple[float, Reason]]:
    band = None if sample.battery_c is None else limits.band_at(sample.battery_c)
    rate = 0.0 if band is None else band.charge_c_rate
    full = sample.soc_frac is None or not sample.soc_frac < limits.soc_max_frac
    return [
        (charge_headroom_w(sample, limits), Reason.GRID_IMPORT_LIMIT),
        (rate * limits.rated_wh, Reason.C_RATE_BY_TEMPERATURE),
        (string_bound_w(sample, limits, rate, 1), Reason.STRING_SHARE),
        (0.0 if full else limits.rated_wh * 100.0, Reason.SOC_BAND),
    ]
