"""Why a command is refused by the site's own limits: whole, with the first reason, never clipped. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isfinite
from typing import Final

from edge.gateway.limits import OwnLimits, Reason, Site, charge_headroom_w, spare_load_w
from edge.modbus.port import FieldSample
from edge.plan import ControlBounds, ScheduleBody

_ZERO_W: Final = 1.0  # a setpoint within a watt of zero asks for nothing


def refuse_schedule(
    body: ScheduleBody, valid_until: datetime, site: Site, limits: OwnLimits, now: datetime
) -> Reason | None:
    """Return the first limit that a schedule breaks, or None: whole acceptance, no clipping.

    The order is that of DOMAIN.md: what we do not know, what the device cannot do, power, voltage, energy, time.
    """
    sample = site.sample
    if (reason := unfit_reason(site, limits, now)) or sample is None or sample.soc_frac is None:
        return reason or Reason.STALE_FIELD_DATA
    if not all(isfinite(setpoint_w) for setpoint_w in body.setpoint_w):
        return Reason.NOT_FINITE
    return (
        _power_reason(body, sample, site, limits, now)
        or bus_reason(body, sample, site, limits)
        or _soc_reason(body, sample.soc_frac, limits, now)
        or _time_reason(body, valid_until, site, limits, now)
    )


def refuse_bounds(
    body: ControlBounds,
    not_before: datetime,
    valid_until: datetime,
    site: Site,
    limits: OwnLimits,
    now: datetime,
) -> Reason | None:
    """Return the first limit that bounds for local control break, or None; SoC and load are kept while executing."""
    sample = site.sample
    if (reason := unfit_reason(site, limits, now)) or sample is None:
        return reason or Reason.STALE_FIELD_DATA
    hold = valid_until - max(now, not_before)
    checks = [
        (all(isfinite(w) for w in (body.min_w, body.max_w, body.grid_import_limit_w)), Reason.NOT_FINITE),
        (not site.capabilities.full_load_blocks_only, Reason.PARTIAL_POWER_NOT_OFFERED),
        (sample.grid_w is not None, Reason.STALE_FIELD_DATA),
        (-limits.max_load_w <= body.min_w <= 0.0, Reason.EXPORT_NOT_DECLARED),
        (0.0 <= body.max_w <= limits.rectifier_secure_w, Reason.CHARGE_HEADROOM),
        (hold <= timedelta(hours=limits.max_hold_h), Reason.HOLD_TOO_LONG),
        (site.cycles_today < limits.max_cycles_per_day, Reason.CYCLES_PER_DAY),
    ]
    if broken := [reason for holds, reason in checks if not holds]:
        return broken[0]
    whole = ScheduleBody(start=not_before, step_s=1, setpoint_w=(body.min_w, body.max_w))
    return rate_reason(whole, sample, limits) or bus_reason(whole, sample, site, limits)


def unfit_reason(site: Site, limits: OwnLimits, now: datetime) -> Reason | None:
    """Return why nothing at all may be accepted: unknown or old measurements, a fault, no proven continuity."""
    sample = site.sample
    if sample is None or site.sampled_at is None or sample.soc_frac is None or sample.battery_c is None:
        return Reason.STALE_FIELD_DATA
    # Written as "not inside" so that NaN is refused too.
    if not timedelta(0) <= now - site.sampled_at <= site.max_age or not 0.0 <= sample.soc_frac <= 1.0:
        return Reason.STALE_FIELD_DATA
    if site.fault:
        return Reason.DEVICE_FAULT
    return None if limits.continuity_proven and site.capabilities.can_revert else Reason.NO_CONTINUITY


def _power_reason(
    body: ScheduleBody, sample: FieldSample, site: Site, limits: OwnLimits, now: datetime
) -> Reason | None:
    lowest_w, highest_w = min(body.setpoint_w), max(body.setpoint_w)
    first_w = _near_setpoint_w(body, now)
    spare_w = spare_load_w(sample)
    export_w = 0.0 if limits.export is None else limits.export.dc_w
    most_w = spare_w * (1.0 + limits.load_tolerance_frac) + export_w
    if lowest_w < -limits.max_load_w - export_w or -first_w > most_w + _ZERO_W:
        return Reason.INTERLOCK if site.export_gap else Reason.EXPORT_NOT_DECLARED
    # Should the battery's protection open, the rectifiers carry load and inverter until that lets go.
    if export_w > 0.0 and limits.max_load_w + export_w > limits.rectifier_secure_w:
        return Reason.NO_CONTINUITY
    if site.capabilities.full_load_blocks_only and any(
        -spare_w + _ZERO_W < setpoint_w < -_ZERO_W for setpoint_w in body.setpoint_w
    ):
        return Reason.PARTIAL_POWER_NOT_OFFERED
    most_in_w = limits.rectifier_secure_w if sample.mains_ok else _ZERO_W
    if highest_w > most_in_w or first_w > charge_headroom_w(sample, limits) + _ZERO_W:
        return Reason.CHARGE_HEADROOM
    if reason := rate_reason(body, sample, limits):
        return reason
    return Reason.RAMP if _breaks_ramp(body, site.running_w, limits) else None


def rate_reason(body: ScheduleBody, sample: FieldSample, limits: OwnLimits) -> Reason | None:
    lowest_w, highest_w = min(body.setpoint_w), max(body.setpoint_w)
    band = limits.band_at(sample.battery_c) if sample.battery_c is not None else None
    if band is None:
        return Reason.C_RATE_BY_TEMPERATURE if lowest_w < -_ZERO_W or highest_w > _ZERO_W else None
    most_out_w = band.discharge_c_rate * limits.rated_wh + _ZERO_W
    most_in_w = band.charge_c_rate * limits.rated_wh + _ZERO_W
    return None if -most_out_w <= lowest_w <= highest_w <= most_in_w else Reason.C_RATE_BY_TEMPERATURE


def _near_setpoint_w(body: ScheduleBody, now: datetime) -> float:
    """Return the setpoint that applies now or within the next quarter of an hour: what the present load can judge."""
    index = (now - body.start) // timedelta(seconds=body.step_s)
    if index < 0:
        return body.setpoint_w[0] if body.start - now <= timedelta(minutes=15) else 0.0
    return body.setpoint_w[index] if index < len(body.setpoint_w) else 0.0


def _breaks_ramp(body: ScheduleBody, running_w: float, limits: OwnLimits) -> bool:
    if limits.ramp_w_per_step is None:
        return False
    allowed_w = limits.ramp_w_per_step + _ZERO_W
    first_w = body.setpoint_w[0]
    if min(abs(first_w - running_w), abs(first_w)) > allowed_w:
        return True
    pairs = zip(body.setpoint_w, body.setpoint_w[1:], strict=False)
    return any(abs(after_w - before_w) > allowed_w for before_w, after_w in pairs)


def bus_reason(body: ScheduleBody, sample: FieldSample, site: Site, limits: OwnLimits) -> Reason | None:
    floor_v = max(limits.bus_min_v, site.capabilities.backstop_v)
    ceiling_v = min(limits.bus_max_v, site.capabilities.max_v)
    if not (floor_v < site.capabilities.float_v <= ceiling_v):
        return Reason.BUS_WINDOW
    # A bus that already lies at the backstop has nothing to give; charging may still start from there.
    lowest_v = floor_v if min(body.setpoint_w) < -_ZERO_W else 40.5
    return None if lowest_v < sample.bus_v <= limits.bus_max_v else Reason.BUS_WINDOW


def _soc_reason(body: ScheduleBody, soc_frac: float, limits: OwnLimits, now: datetime) -> Reason | None:
    """Re-simulate: no step may carry the SoC out of the band, or further out of it than it already is."""
    step = timedelta(seconds=body.step_s)
    for index, setpoint_w in enumerate(body.setpoint_w):
        left = min(step, body.start + step * (index + 1) - now)
        if left <= timedelta(0):
            continue
        gain = limits.charge_efficiency if setpoint_w > 0.0 else 1.0 / limits.discharge_efficiency
        soc_frac += setpoint_w * gain * left.total_seconds() / 3600.0 / limits.rated_wh
        if setpoint_w < -_ZERO_W and soc_frac < limits.soc_min_frac - 1e-9:
            return Reason.SOC_BAND
        if setpoint_w > _ZERO_W and soc_frac > limits.soc_max_frac + 1e-9:
            return Reason.SOC_BAND
    return None


def _time_reason(
    body: ScheduleBody, valid_until: datetime, site: Site, limits: OwnLimits, now: datetime
) -> Reason | None:
    start = max(now, body.start)
    end = min(valid_until, body.start + timedelta(seconds=body.step_s) * len(body.setpoint_w))
    if end - start > timedelta(hours=limits.max_hold_h):
        return Reason.HOLD_TOO_LONG
    step_h = body.step_s / 3600.0
    discharge_wh = sum(-setpoint_w for setpoint_w in body.setpoint_w if setpoint_w < 0.0) * step_h
    if site.cycles_today + discharge_wh / limits.rated_wh > limits.max_cycles_per_day + 1e-9:
        return Reason.CYCLES_PER_DAY
    return None
