"""What a reserve asks of a site at a frequency, and what a site must refuse. Pure.

W at the battery terminals, charging positive: up-regulation (frequency low) discharges. Meant for a 100 ms loop on a
declared fast meter. `GridReserve.droop_hz` is the deviation beyond the dead band at which a droop product is fully
active; for a step product the trigger is dead band plus droop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import isfinite
from typing import Final

import msgspec

from edge.gateway.acceptance import bus_reason, rate_reason, unfit_reason
from edge.gateway.limits import OwnLimits, Reason, Site, charge_headroom_w, spare_load_w
from edge.gateway.products import Positive, Product, Shape, shipped_products
from edge.modbus.port import Capabilities, FieldSample
from edge.plan import GridReserve, ScheduleBody

NOMINAL_HZ = 50.0
_ROUNDING_HZ: Final = 1e-6  # 50 - 0.1 - 0.2 is not 49.7 in binary
_ROUNDING_S: Final = 1e-9


class FastPath(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `fast` section of the gateway's file: what commissioning measured of meter and actuator.

    `actuator_s` is the time from a written setpoint to 90 % of its power.
    """

    meter_error_hz: Positive
    meter_period_s: Positive
    actuator_s: Positive
    ramp_w_per_s: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A reserve's state: power asked now, since when it is triggered, and its energy account, Wh.

    `up_wh` and `down_wh` is what the rule asked for, `given_wh` and `taken_wh` what the battery was measured to do.
    """

    at: datetime
    power_w: float = 0.0
    triggered_at: datetime | None = None
    up_wh: float = 0.0
    down_wh: float = 0.0
    given_wh: float = 0.0
    taken_wh: float = 0.0


def droop_w(reserve: GridReserve, hz: float) -> float:
    """Return the power of a droop product at a frequency: zero inside the dead band, full beyond dead band plus droop."""
    deviation_hz = hz - NOMINAL_HZ
    share = min(1.0, max(0.0, abs(deviation_hz) - reserve.dead_band_hz) / reserve.droop_hz)
    return share * (reserve.down_w if deviation_hz > 0.0 else -reserve.up_w)


def respond(
    response: Response, reserve: GridReserve, product: Product, hz: float | None, now: datetime
) -> Response:
    """Return the response after a look at the frequency, the stretch up to now in its account.

    Power grows no faster than full activation in the reserve's own `activation_s`; back towards zero it goes at the
    same rate. Without a frequency (None) the answer is zero: a reserve is never held blind. What has been asked or
    given beyond `energy_wh` ends the answer in that direction.
    """
    elapsed_s = (now - response.at).total_seconds()
    if elapsed_s <= 0.0:
        return response
    booked = _book(response, elapsed_s, now)
    if hz is None:
        return replace(booked, power_w=0.0, triggered_at=None)
    triggered_at = _trigger(booked, reserve, product, hz, now)
    if product.shape is Shape.DROOP:
        wanted_w = droop_w(reserve, hz)
    else:
        held = triggered_at is not None and now - triggered_at < timedelta(seconds=_hold_s(reserve, product))
        wanted_w = -reserve.up_w if held else 0.0
    if (wanted_w < 0.0 and max(booked.up_wh, booked.given_wh) >= reserve.energy_wh) or (
        wanted_w > 0.0 and max(booked.down_wh, booked.taken_wh) >= reserve.energy_wh
    ):
        wanted_w = 0.0
    most_w = max(reserve.up_w, reserve.down_w) * elapsed_s / reserve.activation_s
    power_w = max(booked.power_w - most_w, min(booked.power_w + most_w, wanted_w))
    return replace(booked, power_w=power_w, triggered_at=triggered_at)


def _book(response: Response, elapsed_s: float, now: datetime) -> Response:
    wh = response.power_w * elapsed_s / 3600.0
    return replace(
        response, at=now, up_wh=response.up_wh + max(0.0, -wh), down_wh=response.down_wh + max(0.0, wh)
    )


def _hold_s(reserve: GridReserve, product: Product) -> float:
    """Return how long a step product is asked for: its ramp up, then the hold."""
    return reserve.activation_s + product.hold_s


def _trigger(
    response: Response, reserve: GridReserve, product: Product, hz: float, now: datetime
) -> datetime | None:
    """Return when a step product was triggered: once, and again only when it is ready."""
    before = response.triggered_at
    ready = before is None or now - before >= timedelta(seconds=product.ready_s)
    low = hz <= NOMINAL_HZ - reserve.dead_band_hz - reserve.droop_hz + _ROUNDING_HZ
    return now if product.shape is Shape.STEP and ready and low else before


class NoReserve(StrEnum):
    """Why a site's hardware or state cannot meet a reserve."""

    PRODUCT_NOT_OFFERED = "product_not_offered"
    RESERVE_UNSOUND = "reserve_unsound"
    NO_FAST_METER = "no_fast_meter"
    METER_TOO_COARSE = "meter_too_coarse"
    ACTUATOR_TOO_SLOW = "actuator_too_slow"
    ACTIVATION_TOO_SLOW = "activation_too_slow"
    RESERVE_POWER = "reserve_power"
    RESERVE_ENERGY = "reserve_energy"


def refuse_reserve_command(
    reserve: GridReserve,
    not_before: datetime,
    valid_until: datetime,
    site: Site,
    limits: OwnLimits,
    fast: FastPath | None,
    now: datetime,
) -> Reason | NoReserve | None:
    """Return the first thing that forbids a reserve: the site's state, its hardware, its room, its own limits."""
    sample = site.sample
    if (reason := unfit_reason(site, limits, now)) or sample is None:
        return reason or Reason.STALE_FIELD_DATA
    numbers = (reserve.up_w, reserve.down_w, reserve.droop_hz, reserve.dead_band_hz, reserve.activation_s)
    if not all(isfinite(number) for number in (*numbers, reserve.energy_wh)):
        return Reason.NOT_FINITE
    if site.capabilities.full_load_blocks_only:
        return Reason.PARTIAL_POWER_NOT_OFFERED
    whole = ScheduleBody(start=not_before, step_s=1, setpoint_w=(-reserve.up_w, reserve.down_w))
    return (
        refuse_reserve(reserve, fast, site.capabilities, sample, limits)
        or rate_reason(whole, sample, limits)
        or bus_reason(whole, sample, site, limits)
        or _time_reason(reserve, valid_until - max(now, not_before), site, limits)
    )


def _time_reason(reserve: GridReserve, hold: timedelta, site: Site, limits: OwnLimits) -> Reason | None:
    if hold > timedelta(hours=limits.max_hold_h):
        return Reason.HOLD_TOO_LONG
    cycles = site.cycles_today + (reserve.energy_wh / limits.rated_wh if reserve.up_w > 0.0 else 0.0)
    return Reason.CYCLES_PER_DAY if cycles > limits.max_cycles_per_day + 1e-9 else None


def offered(fast: FastPath | None, capabilities: Capabilities) -> dict[str, NoReserve | None]:
    """Return every product with the reason why the hardware cannot meet it, or None: then it may be offered.

    The quickest ramp that the product could ask for (1 kW in its own time less the path's delay) is assumed.
    """
    found: dict[str, NoReserve | None] = {}
    for name, product in shipped_products().items():
        first_s = 0.0 if fast is None else fast.meter_period_s + fast.actuator_s
        rest_s = max(0.05, (product.half_s or product.activation_s) - first_s)
        asked = GridReserve(
            product=name, up_w=1000.0, down_w=0.0, droop_hz=0.2, dead_band_hz=0.0,
            activation_s=rest_s, energy_wh=0.0,
        )  # fmt: skip
        found[name] = _hardware_reason(asked, product, fast, capabilities, 1000.0)
    return found


def refuse_reserve(
    reserve: GridReserve,
    fast: FastPath | None,
    capabilities: Capabilities,
    sample: FieldSample,
    limits: OwnLimits,
) -> NoReserve | None:
    """Return the first thing that the product asks and the site cannot do, or None.

    Up needs load to feed and energy above the SoC floor, down needs rectifier headroom and room below the SoC ceiling:
    a battery that floats has none.
    """
    product = shipped_products().get(reserve.product)
    if product is None:
        return NoReserve.PRODUCT_NOT_OFFERED
    most_w = max(reserve.up_w, reserve.down_w)
    sound = (
        min(reserve.up_w, reserve.down_w) >= 0.0
        and most_w > 0.0
        and reserve.droop_hz > 0.0
        and reserve.dead_band_hz >= 0.0
        and reserve.activation_s > 0.0
        and reserve.energy_wh > 0.0
        and (reserve.up_w == reserve.down_w or not product.symmetric)
        and (reserve.down_w == 0.0 or product.shape is Shape.DROOP)
        and _triggers_where_the_product_says(reserve, product)
    )
    if not sound:
        return NoReserve.RESERVE_UNSOUND
    return _hardware_reason(reserve, product, fast, capabilities, most_w) or _room_reason(
        reserve, product, sample, limits
    )


def _triggers_where_the_product_says(reserve: GridReserve, product: Product) -> bool:
    if product.trigger_hz is None:
        return True
    own_hz = NOMINAL_HZ - reserve.dead_band_hz - reserve.droop_hz
    return abs(own_hz - product.trigger_hz) <= 1e-3


def _hardware_reason(
    reserve: GridReserve, product: Product, fast: FastPath | None, capabilities: Capabilities, most_w: float
) -> NoReserve | None:
    step_hz = capabilities.frequency_step_hz
    if fast is None or step_hz is None:
        return NoReserve.NO_FAST_METER
    first_s = fast.meter_period_s + fast.actuator_s
    # Written as "not inside" so that NaN is refused too.
    checks = [
        (
            fast.meter_error_hz <= 0.01 and fast.meter_period_s <= 0.1 and step_hz <= 0.01 + _ROUNDING_HZ,
            NoReserve.METER_TOO_COARSE,
        ),
        (first_s <= product.react_s, NoReserve.ACTUATOR_TOO_SLOW),
        (first_s + most_w / fast.ramp_w_per_s <= product.activation_s, NoReserve.ACTUATOR_TOO_SLOW),
        (
            first_s + reserve.activation_s <= product.activation_s + _ROUNDING_S,
            NoReserve.ACTIVATION_TOO_SLOW,
        ),
        (
            product.half_s is None or first_s + reserve.activation_s / 2.0 <= product.half_s + _ROUNDING_S,
            NoReserve.ACTIVATION_TOO_SLOW,
        ),
    ]
    return next((reason for holds, reason in checks if not holds), None)


def _room_reason(
    reserve: GridReserve, product: Product, sample: FieldSample, limits: OwnLimits
) -> NoReserve | None:
    if sample.soc_frac is None:
        return NoReserve.RESERVE_ENERGY
    up_ok = reserve.up_w <= spare_load_w(sample)
    down_ok = reserve.down_w <= charge_headroom_w(sample, limits)
    if not (up_ok and down_ok):
        return NoReserve.RESERVE_POWER
    give_wh = (sample.soc_frac - limits.soc_min_frac) * limits.rated_wh * limits.discharge_efficiency
    take_wh = (limits.soc_max_frac - sample.soc_frac) * limits.rated_wh / limits.charge_efficiency
    up_holds = reserve.up_w == 0.0 or max(reserve.energy_wh, reserve.up_w * product.full_h) <= give_wh
    down_holds = reserve.down_w == 0.0 or max(reserve.energy_wh, reserve.down_w * product.full_h) <= take_wh
    return None if up_holds and down_holds else NoReserve.RESERVE_ENERGY
