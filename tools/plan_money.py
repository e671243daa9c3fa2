"""What a plan costs in money, from what is known of the fleet: tariffs, median forecasts, batteries as they stand. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from edge.plan import MoneyEffect, SitePlan
from telemetry.model.catalogue import TariffId
from telemetry.model.series import MEDIAN, STEP
from tools.deps import Fleet
from tools.planning.money import DAY_STEPS, MoneySettings, SiteMoney, money_of
from tools.planning.problem import Floats
from tools.rebound import fast_ac_w
from tools.site_needs import store_of


def plan_money(fleet: Fleet, plans: Sequence[SitePlan], start: datetime) -> MoneyEffect | None:
    """Return what the sites' schedules cost together; None where a tariff or a battery is not known."""
    known = [site_money(fleet, plan, start) for plan in plans]
    sites = [one for one in known if one is not None]
    return money_of(sites, start, MoneySettings()) if sites and len(sites) == len(plans) else None


def site_money(fleet: Fleet, plan: SitePlan, start: datetime) -> SiteMoney | None:
    """Return what the money of one site's schedule follows from."""
    site, reading = fleet.limits.sites[plan.site_id], fleet.state.readings.get(plan.site_id)
    tariff, store = fleet.tariffs.get(TariffId(site.tariff)), store_of(site, reading)
    if tariff is None or store is None or reading is None or reading.battery_c is None or not plan.schedule_w:
        return None
    steps = len(plan.schedule_w)
    return SiteMoney(
        site=site,
        plan=plan,
        tariff=tariff,
        load_ac_w=_load_ac_w(fleet, plan, start, steps + DAY_STEPS),
        refill_w=fast_ac_w(site, start + steps * STEP, DAY_STEPS),
        battery_c=reading.battery_c,
        full_wh=store.full_wh,
    )


def _load_ac_w(fleet: Fleet, plan: SitePlan, start: datetime, steps: int) -> Floats:
    """Return the site's import at the median load, W by step; where the forecast has ended its last value stays."""
    site, reading = fleet.limits.sites[plan.site_id], fleet.state.readings.get(plan.site_id)
    aux_w = 0.0 if reading is None or reading.aux_ac_w is None else reading.aux_ac_w
    load = fleet.state.load.get(plan.site_id)
    if load is None:
        return np.full(steps, site.autonomy.max_load_w / site.rectifiers.efficiency + aux_w)
    row = np.array(load.quantile_w(MEDIAN))
    at = np.clip((start - load.start) // STEP + np.arange(steps), 0, row.size - 1)
    return np.asarray(np.maximum(row[at], 0.0) / site.rectifiers.efficiency + aux_w)


def money_words(money: MoneyEffect | None) -> Mapping[str, object] | None:
    """Return the money of a plan as values to compare; None where it is not known."""
    if money is None:
        return None
    parts = {"energy": money.energy, "refill": money.refill, "demand": money.demand, "wear": money.wear}
    return {
        "currency": money.currency,
        "total": round(money.total, 2),
        **{name: round(value, 2) for name, value in parts.items()},
        "source": money.source,
    }
