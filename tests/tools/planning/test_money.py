"""What a plan costs in money, by hand."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from edge.plan import SitePlan
from telemetry.model.battery import Chemistry
from telemetry.model.catalogue import Days, PricePeriod, Tariff, TariffId
from telemetry.model.site import SiteId
from tests.edge.safety.examples import a_site
from tools.planning.money import DAY_STEPS, MoneySettings, SiteMoney, money_of

START = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)  # a Tuesday
TARIFF = Tariff(
    tariff_id=TariffId("t"),
    name="Evening dear",
    currency="EUR",
    time_zone="UTC",
    periods=tuple(
        PricePeriod(days=Days.ALL, from_h=first, to_h=last, import_per_kwh=price)
        for (first, last), price in zip(pairwise((0, 18, 20, 24)), (0.1, 0.4, 0.2), strict=True)
    ),
    demand_per_kw_month=5.0,
    export_per_kwh=0.05,
)
SITE = a_site()
SITE = replace(
    SITE,
    rectifiers=replace(SITE.rectifiers, efficiency=0.8),
    battery=replace(SITE.battery, rated_wh=20_000.0, charge_efficiency=0.9, discharge_efficiency=1.0),
)
# 300 EUR for each rated kWh.
SETTINGS = MoneySettings(replacement_per_kwh={Chemistry.LFP: 300.0, Chemistry.VRLA: 180.0})


def money(*row: float, load_w: float = 4000.0, refill_w: float = 0.0, battery_c: float = 20.0) -> SiteMoney:
    return SiteMoney(
        site=SITE,
        plan=SitePlan(site_id=SiteId("site-1"), schedule_w=row),
        tariff=TARIFF,
        load_ac_w=np.full(len(row) + DAY_STEPS, load_w),
        refill_w=np.full(DAY_STEPS, refill_w),
        battery_c=battery_c,
        full_wh=20_000.0,
    )


def test_two_hours_of_relief_and_what_it_takes_to_fill_up_again() -> None:
    # 1600 W for 2 h from the battery are 3.2 kWh there and 4 kWh at the meter: 4 x 0.40 EUR saved.
    found = money_of([money(*[-1600.0] * 8, refill_w=1000.0)], START, SETTINGS)
    assert found is not None
    assert found.energy == pytest.approx(-1.6)
    # 3.2 kWh are put back with 3.2 / 0.9 / 0.8 = 4.444 kWh: 1 kW from 20 h on, 4 h at 0.20 and the rest at 0.10.
    assert found.refill == pytest.approx(0.8 + 0.4444 * 0.1, abs=1e-4)
    # The recharge adds 1 kW to the highest quarter hour.
    assert found.demand == pytest.approx(5.0)
    # A cycle of 0.16 of the battery: (0.16 / 0.8) ** 1.1 / 4000 of 6,000 EUR.
    assert found.wear == pytest.approx(0.2**1.1 / 4000.0 * 6000.0, abs=1e-4)
    assert found.total == pytest.approx(found.energy + found.refill + 5.0 + found.wear)
    assert (found.currency, found.source) == (
        "EUR",
        "tariff t; median forecast; a new battery at 300 per kWh",
    )


def test_heat_and_depth_make_wear_dear() -> None:
    cool, warm = (money_of([money(*[-1600.0] * 8, battery_c=c)], START, SETTINGS) for c in (20.0, 32.0))
    deep = money_of([money(*[-3200.0] * 8)], START, SETTINGS)
    assert cool is not None
    assert warm is not None
    assert deep is not None
    assert warm.wear == pytest.approx(2.0 * cool.wear, abs=1e-3)  # 12 K above 20 degC halve the life of LFP
    assert deep.wear == pytest.approx(2.0**1.1 * cool.wear, abs=1e-3)


def test_where_nothing_flows_back_within_a_day_it_is_bought_at_the_days_mean_price() -> None:
    # 20 to 24 h at 0.20, 18 h at 0.10, 2 h at 0.40: a mean of (0.8 + 1.8 + 0.8) / 24.
    found = money_of([money(*[-1600.0] * 8)], START, SETTINGS)
    assert found is not None
    assert found.refill == pytest.approx(3.2 / 0.72 * 3.4 / 24.0, abs=1e-4)
    assert found.demand == 0.0  # what a plan takes off the peak is not counted


def test_charging_costs_now_and_saves_a_later_purchase() -> None:
    # 800 W for 1 h are 1 kWh at the meter at 0.40; 0.72 kWh are stored and need not be bought for 1 kWh later.
    found = money_of([money(*[800.0] * 4)], START, SETTINGS)
    assert found is not None
    assert found.energy == pytest.approx(0.4)
    day_mean = (0.4 * 4 + 0.2 * 16 + 0.1 * 72 + 0.4 * 4) / 96
    assert found.refill == pytest.approx(-1.0 * day_mean, abs=1e-4)
    assert found.demand == pytest.approx(5.0)
    assert found.wear == 0.0


def test_what_is_fed_in_earns_the_export_price_only() -> None:
    # 2 kW at the meter against 1.5 kW of own import: 1.5 kWh x 0.40 saved, 0.5 kWh x 0.05 earned.
    found = money_of([money(*[-1600.0] * 4, load_w=1500.0)], START, SETTINGS)
    assert found is not None
    assert found.energy == pytest.approx(-(0.6 + 0.025))


def test_sites_add_up_and_currencies_do_not() -> None:
    one, two = money(*[-1600.0] * 8), money(*[-1600.0] * 8)
    both, alone = money_of([one, two], START, SETTINGS), money_of([one], START, SETTINGS)
    assert both is not None
    assert alone is not None
    assert both.total == pytest.approx(2.0 * alone.total, abs=1e-3)
    foreign = replace(two, tariff=replace(TARIFF, currency="SEK"))
    assert money_of([one, foreign], START, SETTINGS) is None
