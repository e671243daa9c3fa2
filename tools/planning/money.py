"""What a plan is expected to cost in money, by tariff and by wear. Pure.

The optimiser weighs relief, wear and reserve in a score of its own; this is what a bill and a battery would see. All
of it is expected, by the median forecast, and indicative: a site's readings are no revenue meter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from edge.plan import MoneyEffect, SitePlan
from telemetry.model.battery import Chemistry
from telemetry.model.catalogue import Tariff
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import Site
from tools.health.ageing import AGEING, cost_per_kwh
from tools.planning.problem import Floats

DAY_STEPS = timedelta(days=1) // STEP
KILO = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneySettings:
    """Price of a new battery in its place, labour included, per rated kWh, in the tariff's currency [I]."""

    replacement_per_kwh: Mapping[Chemistry, float] = field(
        default_factory=lambda: {Chemistry.LFP: 300.0, Chemistry.VRLA: 180.0}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMoney:
    """What is known of one site: its part of the plan, its tariff, its load and its battery's temperature and health.

    `load_ac_w` is the median import without the plan, W, over the window and the day after it; `refill_w` the most that
    its recharge takes, W at the AC side, over that day.
    """

    site: Site
    plan: SitePlan
    tariff: Tariff
    load_ac_w: Floats
    refill_w: Floats
    battery_c: float
    full_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    energy: float
    refill: float
    demand: float
    wear: float


def money_of(sites: Sequence[SiteMoney], start: datetime, settings: MoneySettings) -> MoneyEffect | None:
    """Return what the sites' parts of a plan cost together; None where their tariffs are in different currencies."""
    currencies = {one.tariff.currency for one in sites}
    if len(currencies) != 1:
        return None
    parts = [_parts(one, start, settings) for one in sites]
    names = sorted({one.tariff.tariff_id for one in sites})
    prices = sorted({settings.replacement_per_kwh[one.site.battery.chemistry] for one in sites})
    return MoneyEffect(
        currency=currencies.pop(),
        energy=round(sum(one.energy for one in parts), 4),
        refill=round(sum(one.refill for one in parts), 4),
        demand=round(sum(one.demand for one in parts), 4),
        wear=round(sum(one.wear for one in parts), 4),
        source=f"tariff {', '.join(names)}; median forecast; a new battery at {', '.join(f'{p:g}' for p in prices)} per kWh",
    )


def _parts(one: SiteMoney, start: datetime, settings: MoneySettings) -> _Parts:
    row = np.array(one.plan.schedule_w)
    steps = row.size
    prices = np.array([one.tariff.price_per_kwh(start + k * STEP) for k in range(steps + DAY_STEPS)])
    change_w = row / one.site.rectifiers.efficiency
    battery = one.site.battery
    kept_wh = float(
        np.where(row > 0.0, row * battery.charge_efficiency, row / battery.discharge_efficiency).sum()
    )
    lacking_wh = -kept_wh * STEP_H / battery.charge_efficiency / one.site.rectifiers.efficiency
    given_wh = float(np.maximum(-row, 0.0).sum()) * STEP_H
    later = prices[steps:]
    refill_w = _refill(one.refill_w, lacking_wh)
    bought_wh = float(refill_w.sum()) * STEP_H
    # What the day after cannot put back, or what is left over, counts at the day's mean price.
    refill = float((refill_w * later).sum()) * STEP_H + (lacking_wh - bought_wh) * float(later.mean())
    return _Parts(
        energy=float((_paid_w(one, change_w) * prices[:steps]).sum()) * STEP_H / KILO
        + _fed_in(one, change_w),
        refill=refill / KILO,
        demand=_demand(one, change_w, refill_w),
        wear=_wear(one, given_wh, settings),
    )


def _refill(most_w: Floats, lacking_wh: float) -> Floats:
    """Return the recharge of the day after, W at the AC side: as fast as it goes until nothing is lacking."""
    done_wh = np.cumsum(most_w) * STEP_H
    return np.clip(max(lacking_wh, 0.0) - (done_wh - most_w * STEP_H), 0.0, most_w * STEP_H) / STEP_H


def _paid_w(one: SiteMoney, change_w: Floats) -> Floats:
    """Return the change of what is taken from the grid; below zero import only as far as there is some."""
    return np.maximum(change_w, -one.load_ac_w[: change_w.size])


def _fed_in(one: SiteMoney, change_w: Floats) -> float:
    """Return what is paid for feeding in, below zero."""
    out_w = change_w - _paid_w(one, change_w)
    return float(out_w.sum()) * STEP_H / KILO * one.tariff.export_per_kwh


def _demand(one: SiteMoney, change_w: Floats, refill_w: Floats) -> float:
    """Return the month's demand charge on what the plan and its recharge add to the highest quarter hour.

    What it takes off is not counted: the month's highest so far is not known.
    """
    after = np.concatenate([change_w, refill_w])
    rise_w = float((one.load_ac_w + after).max() - one.load_ac_w.max())
    return max(rise_w, 0.0) / KILO * one.tariff.demand_per_kw_month


def _wear(one: SiteMoney, given_wh: float, settings: MoneySettings) -> float:
    """Return what the discharged energy costs of the battery, by the depth of the cycle and its temperature."""
    if given_wh <= 0.0:
        return 0.0
    battery = one.site.battery
    rated_kwh = battery.rated_wh / KILO
    per_kwh = cost_per_kwh(
        min(given_wh / one.full_wh, 1.0),
        one.battery_c,
        AGEING[battery.chemistry],
        replacement_cost=settings.replacement_per_kwh[battery.chemistry] * rated_kwh,
        rated_kwh=rated_kwh,
    )
    return float(per_kwh) * given_wh / KILO
