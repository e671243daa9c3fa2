"""What a site holds and what it must keep, as the planner counts it. Pure; the trusted core has code of its own.

Energy is counted as it comes out at the terminals, Wh, from the low-voltage disconnect upward. Needs add up the upper
quantiles of load and the lower ones of PV step by step, which is never less than the quantile of the sum: the planner
errs towards keeping more than the gate demands.
"""

from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from telemetry.model.reading import Reading
from telemetry.model.series import LOWER, STEP, STEP_H, UPPER, Forecast
from telemetry.model.site import Site, SiteId
from tools.deps import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A battery now: Wh above the disconnect (SoC's error taken off), the dispatch floor, and what goes in and out.

    `credit_frac` is what surely comes back of each Wh that goes in; `ceiling_wh` is the level at the highest SoC.
    """

    backup_wh: float
    dispatch_floor_wh: float
    ceiling_wh: float
    full_wh: float
    soc_frac: float
    credit_frac: float
    max_charge_w: float
    max_discharge_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a site will draw on the DC bus by step, W, and the backup to hold at the start of each step and at the end, Wh."""

    upper_w: tuple[float, ...]
    lower_w: tuple[float, ...]
    net_upper_w: tuple[float, ...]
    floor_wh: tuple[float, ...]


def store_of(site: Site, reading: Reading | None) -> Store | None:
    """Return the battery as it stands; None where the reading does not tell or the battery may not be used."""
    if reading is None or reading.soc_frac is None or reading.soh_frac is None or reading.battery_c is None:
        return None
    battery = site.battery
    band = battery.band_at(reading.battery_c)
    if band is None:
        return None
    full_wh = battery.rated_wh * min(1.0, reading.soh_frac)
    given_wh = full_wh * band.capacity_frac * battery.discharge_efficiency
    lowest = max(battery.backstop_soc_frac, battery.soc_min_frac - battery.soc_error_frac)
    backup_wh = given_wh * (reading.soc_frac - battery.soc_error_frac - battery.disconnect_soc_frac)
    room_wh = given_wh * max(battery.soc_max_frac - reading.soc_frac, 0.0)
    return Store(
        backup_wh=backup_wh,
        dispatch_floor_wh=given_wh * (lowest - battery.disconnect_soc_frac),
        ceiling_wh=max(backup_wh, 0.0) + room_wh,
        full_wh=full_wh,
        soc_frac=reading.soc_frac,
        credit_frac=battery.charge_efficiency * band.capacity_frac * battery.discharge_efficiency,
        max_charge_w=band.charge_c_rate * battery.rated_wh,
        max_discharge_w=band.discharge_c_rate * battery.rated_wh,
    )


def needs_of(fleet: Fleet, site: Site, offset: int, steps: int, hours: float) -> Needs:
    """Return the needs over `steps` steps from the `offset`-th step of the site's load forecast.

    Where a forecast has ended the profile's highest load stands in and no sun is counted on (DOMAIN.md section 2).
    """
    load, pv = fleet.state.load.get(site.site_id), fleet.state.pv.get(site.site_id)
    length = ceil(hours / STEP_H)
    total = steps + length
    most = site.autonomy.max_load_w
    shift = offset if pv is None or load is None else offset + int((load.start - pv.start) / STEP)
    upper = _row(load, UPPER, offset, total, most)
    lower = _row(load, LOWER, offset, total, 0.0)
    dark = _row(pv, LOWER, shift, total, 0.0)
    bright = _row(pv, UPPER, shift, total, site.pv_rated_w)
    net = [max(w, 0.0) - max(p, 0.0) for w, p in zip(upper, dark, strict=True)]
    summed = [0.0, *accumulate(max(w, 0.0) * STEP_H for w in net)]
    return Needs(
        upper_w=tuple(upper[:steps]),
        lower_w=tuple(w - max(p, 0.0) for w, p in zip(lower[:steps], bright[:steps], strict=True)),
        net_upper_w=tuple(net[:steps]),
        floor_wh=tuple(summed[k + length] - summed[k] for k in range(steps + 1)),
    )


def lasting_h(fleet: Fleet, site_id: SiteId, offset: int, backup_wh: float) -> float:
    """Return for how many hours the backup carries the site at upper load, at most 96 h, in whole steps."""
    site = fleet.limits.sites[site_id]
    net = needs_of(fleet, site, offset, 384, 0.0).net_upper_w
    left, steps = backup_wh, 0
    for w in net:
        left -= max(w, 0.0) * STEP_H
        if left < 0.0:
            break
        steps += 1
    return steps * STEP_H


def _row(forecast: Forecast | None, level: float, offset: int, count: int, fill: float) -> list[float]:
    if forecast is None or offset < 0:
        return [fill] * count
    part = list(forecast.quantile_w(level)[offset : offset + count])
    return part + [fill] * (count - len(part))
