"""What a site does for itself while nobody asks anything of it: import peak, sun, float voltage. Pure.

Each rule is a key of the file's `local` section; absent means off. W at the battery terminals, charging positive;
`grid_w` at the AC connection, import positive. A command from the centre, an outage, a fault, a local lock and a fleet
stop all come first. Discharge of its own never goes below `keep_soc_frac`, the site's one backup reserve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Annotated, Final

import msgspec

from edge.gateway.limits import OwnLimits, spare_load_w
from edge.gateway.modules import ModuleRule
from edge.modbus.port import Capabilities, FieldSample
from edge.plan import ControlBounds

_LEAST_W: Final = 50.0  # less is not worth a discharge: half a voltage step
_AGAIN_FRAC: Final = 0.02  # above the reserve before a discharge of its own begins anew
_IDLE_RECTIFIER_W: Final = (
    60.0  # the rectifier gives no more: the sun carries the bus and may have more to give
)
_PROBE_A: Final = 1.0  # the charging limit is opened so much a step to find out
_SUN_MARGIN_W: Final = 30.0  # import that is accepted rather than sun lost
_COMPENSATION_STEP_V: Final = 0.05  # a float voltage is written on changes of this size
_BELIEVED_C: Final = (-20.0, 60.0)

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class PeakRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Import above `limit_w` is taken over by the battery, up to `most_w`; recharge stays below the limit too."""

    limit_w: Positive
    most_w: Positive
    hold_s: Annotated[float, msgspec.Meta(ge=0.0, le=900.0)] = 60.0


class SunRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The battery takes what the sun gives beyond the load, and gives it back to the load afterwards.

    Above the backup reserve it is recharged from the sun alone, except on `full_weekday` (0 is Monday, UTC), when it
    is filled from the mains as well: a battery that is never full loses its calibration.
    """

    most_w: Positive
    full_weekday: Annotated[int, msgspec.Meta(ge=0, le=6)] = 6


class CompensationRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Float voltage by battery temperature, for a controller that does not do it by itself.

    Source:
        -5 mV per degC and cell (Mastervolt, DOMAIN.md section 3), 24 cells of lead-acid, from 25 degC.
    """

    volts_per_c: Annotated[float, msgspec.Meta(ge=-0.2, lt=0.0)] = -0.12
    reference_c: Annotated[float, msgspec.Meta(ge=15.0, le=30.0)] = 25.0
    most_v: Annotated[float, msgspec.Meta(gt=0.0, le=1.5)] = 1.5


class LocalRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `local` section of the gateway's file. `keep_soc_frac` has no default: discharge needs it."""

    keep_soc_frac: Share | None = None
    import_peak: PeakRule | None = None
    self_consumption: SunRule | None = None
    compensation: CompensationRule | None = None
    modules: ModuleRule | None = None

    def __post_init__(self) -> None:
        discharges = self.import_peak is not None or self.self_consumption is not None
        if discharges and self.keep_soc_frac is None:
            raise ValueError("local: import_peak and self_consumption need keep_soc_frac, the backup reserve")


def bounded_w(body: ControlBounds, sample: FieldSample, rectifier_efficiency: float) -> float:
    """Return the setpoint that brings the import to its limit, within the bounds.

    Above the limit the battery takes over the excess; below it the battery may charge with what is left. Without a
    measurement of the import nothing is asked.
    """
    room_w = import_room_w(body.grid_import_limit_w, sample, rectifier_efficiency)
    return 0.0 if room_w is None else max(body.min_w, min(body.max_w, room_w))


def import_room_w(limit_w: float, sample: FieldSample, rectifier_efficiency: float) -> float | None:
    """Return the battery power at which the import meets a limit; negative: it must discharge. None: not measured.

    Source:
        Import = aux + (load - PV + battery) / efficiency, so the import without the battery is
        grid - battery / efficiency, and battery = (limit - that) x efficiency.
    """
    if sample.grid_w is None:
        return None
    without_w = sample.grid_w - sample.battery_w / rectifier_efficiency
    return (limit_w - without_w) * rectifier_efficiency


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """What the local rules remember: whether they discharge and why, the sun's charging limit, the float voltage."""

    doing: str = ""
    until: datetime | None = None
    sun_a: float = 0.0
    float_v: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAsk:
    """What they ask now: a discharge (`target_w` below zero), else float at a voltage with bounds on charging.

    `most_grid_w` bounds what the mains charge, `sun_w` is what the sun may charge beside it. `sun_only`: the battery
    is above its reserve and waits for the sun.
    """

    local: Local
    target_w: float
    float_v: float
    most_grid_w: float = inf
    sun_w: float = 0.0
    sun_only: bool = False


def local_step(
    local: Local,
    rule: LocalRule,
    sample: FieldSample,
    limits: OwnLimits,
    capabilities: Capabilities,
    now: datetime,
    *,
    may_discharge: bool,
) -> LocalAsk:
    """Return what the rules ask after a scan.

    Args:
        local: As it was after the last step.
        rule: The file's.
        sample: The scan.
        limits: The site's own; the caller keeps the result within them.
        capabilities: The cabinet's.
        now: The instant of the scan.
        may_discharge: No stop, proven continuity, partial power offered, cycles of the day left.
    """
    float_v = _float_v(local, rule.compensation, sample, capabilities)
    doing, target_w, until = (
        _discharge(local, rule, sample, limits, now) if may_discharge else ("", 0.0, None)
    )
    if target_w < 0.0:
        feeding = Local(doing=doing, until=until, float_v=float_v)
        return LocalAsk(local=feeding, target_w=target_w, float_v=float_v, most_grid_w=0.0)
    room_w = max(0.0, _peak_room_w(rule, sample, limits))
    sun_a, sun_only = 0.0, False
    if rule.self_consumption is not None:
        sun_a = _sun_a(local, rule.self_consumption, sample)
        sun_only = _waits_for_sun(rule, rule.self_consumption, sample, now)
    return LocalAsk(
        local=Local(doing=doing, until=until, sun_a=sun_a, float_v=float_v),
        target_w=0.0,
        float_v=float_v,
        most_grid_w=0.0 if sun_only else room_w,
        sun_w=sun_a * sample.bus_v,
        sun_only=sun_only,
    )


def _discharge(
    local: Local, rule: LocalRule, sample: FieldSample, limits: OwnLimits, now: datetime
) -> tuple[str, float, datetime | None]:
    """Return which rule discharges, how much (zero or less), and until when a peak is held."""
    keep = rule.keep_soc_frac
    if keep is None or sample.soc_frac is None:
        return "", 0.0, None
    floor = max(keep, limits.soc_min_frac)
    if not sample.soc_frac > (floor if local.doing else floor + _AGAIN_FRAC):
        return "", 0.0, None
    peak_w, sun_w, until = 0.0, 0.0, local.until
    if rule.import_peak is not None:
        peak_w, until = _peak_w(local, rule.import_peak, sample, limits, now)
    if rule.self_consumption is not None and not _filling(rule.self_consumption, now):
        spare_w = min(spare_load_w(sample), rule.self_consumption.most_w)
        sun_w = -spare_w if spare_w > _LEAST_W else 0.0
    target_w = min(peak_w, sun_w)
    if target_w == 0.0:
        return "", 0.0, until
    return ("import_peak" if peak_w <= sun_w else "self_consumption"), target_w, until


def _peak_w(
    local: Local, rule: PeakRule, sample: FieldSample, limits: OwnLimits, now: datetime
) -> tuple[float, datetime | None]:
    room_w = import_room_w(rule.limit_w, sample, limits.rectifier_efficiency)
    if room_w is None:
        return 0.0, None
    if room_w < -_LEAST_W:
        return max(-rule.most_w, room_w), now + timedelta(seconds=rule.hold_s)
    holds = local.doing == "import_peak" and local.until is not None and now < local.until
    return (-_LEAST_W if holds else 0.0), (local.until if holds else None)


def _peak_room_w(rule: LocalRule, sample: FieldSample, limits: OwnLimits) -> float:
    """Return the charging power that keeps the import below the peak limit."""
    if rule.import_peak is None:
        return inf
    room_w = import_room_w(rule.import_peak.limit_w, sample, limits.rectifier_efficiency)
    return 0.0 if room_w is None else room_w


def _filling(rule: SunRule, now: datetime) -> bool:
    return now.astimezone(UTC).weekday() == rule.full_weekday


def _waits_for_sun(rule: LocalRule, sun: SunRule, sample: FieldSample, now: datetime) -> bool:
    """Return whether nothing is charged from the mains: above the reserve, save on the weekday of the full charge."""
    if rule.keep_soc_frac is None or sample.soc_frac is None:
        return False
    return sample.soc_frac >= rule.keep_soc_frac and not _filling(sun, now)


def _sun_a(local: Local, rule: SunRule, sample: FieldSample) -> float:
    """Return the charging limit that takes the sun's surplus and nothing of the mains, A.

    A curtailed charger does not say what it could give. While the rectifier gives nothing the limit is opened step by
    step; what the rectifier then gives is taken back from it.
    """
    if sample.pv_w is None or sample.rectifier_w is None or not sample.pv_w > _LEAST_W:
        return 0.0
    if sample.rectifier_w <= _IDLE_RECTIFIER_W:
        wanted_a = max(local.sun_a, 0.0) + _PROBE_A
    else:
        wanted_a = local.sun_a - (sample.rectifier_w - _SUN_MARGIN_W) / max(sample.bus_v, 40.0)
    return max(0.0, min(wanted_a, rule.most_w / max(sample.bus_v, 40.0)))


def _float_v(
    local: Local, rule: CompensationRule | None, sample: FieldSample, capabilities: Capabilities
) -> float:
    """Return the float voltage for the battery's temperature, on the device's grid, never above its top."""
    nominal_v = capabilities.float_v
    low_c, high_c = _BELIEVED_C
    if rule is None or sample.battery_c is None or not low_c <= sample.battery_c <= high_c:
        return nominal_v
    shift_v = rule.volts_per_c * (sample.battery_c - rule.reference_c)
    shift_v = max(-rule.most_v, min(rule.most_v, shift_v))
    wanted_v = min(nominal_v + shift_v, capabilities.max_v)
    held_v = local.float_v
    if held_v is not None and abs(wanted_v - held_v) < _COMPENSATION_STEP_V:
        return held_v
    step_v = capabilities.voltage_step_v
    rounded_v = round(wanted_v / step_v) * step_v if step_v > 0.0 else wanted_v
    return round(min(rounded_v, capabilities.max_v), 6)


def as_new(local: Local) -> Local:
    """Return the memory after something else had the battery: the float voltage stays, the rest begins anew."""
    return replace(local, doing="", until=None, sun_a=0.0)
