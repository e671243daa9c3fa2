"""The one-site backtest on hours worked out by hand."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.planning.single_site import Outlook, Site, SitePlanner, Step, balanced, hour_cost, stored_after
from ui.bench.backtest_microgrid import (
    Margins,
    Microgrid,
    chosen,
    foresee,
    perfect_cost,
    read_microgrids,
    rolling_bill,
)
from ui.bench.hourly_forecast import forecasts

SITE = Site(
    low_kwh=2.0, high_kwh=10.0, charge_kw=4.0, discharge_kw=4.0, efficiency=0.9, cycle_per_kwh=0.02,
    lost_per_kwh=10.0, import_kw=20.0,
)  # fmt: skip
BACKED = replace(SITE, genset_kw=6.0, genset_min_kw=1.0, genset_per_kwh=0.6)
BUYS = Step(import_kwh=3.0, charge_kwh=0.0, discharge_kwh=2.0, unused_kwh=0.0, lost_kwh=0.0, genset_kwh=0.0)
SELF = replace(BUYS, import_kwh=0.0, discharge_kwh=3.0)
HOURS_A_DAY = np.arange(24)


def outlook(load: list[float], price: list[float], mains: list[float] | None = None) -> Outlook:
    return Outlook(
        load_kwh=np.array(load),
        pv_kwh=np.zeros(len(load)),
        import_price=np.array(price),
        mains=np.ones(len(load)) if mains is None else np.array(mains),
    )


def test_it_charges_cheap_for_a_dear_hour() -> None:
    planner = SitePlanner(SITE, 2)
    view = outlook([1.0, 3.0], [0.1, 1.0])
    # 3 kWh out need 3 / 0.9 from store and 3 / 0.81 bought: 1 kWh of load more, cycled both ways.
    charge = 3.0 / 0.81
    assert planner.plan(2.0, view).charge_kwh == pytest.approx(charge)
    assert planner.cost(2.0, view) == pytest.approx(0.1 * (1.0 + charge) + 0.02 * (charge + 3.0))


def test_a_planner_used_again_forgets_the_last_question() -> None:
    planner = SitePlanner(SITE, 2)
    planner.plan(2.0, outlook([1.0, 3.0], [0.1, 1.0]))
    assert planner.plan(2.0, outlook([1.0, 3.0], [0.5, 0.5])).charge_kwh == pytest.approx(0.0)


def test_losses_dearer_than_the_spread_leave_the_battery_alone() -> None:
    # 0.1 / 0.81 + 0.02 / 0.81 + 0.02 = 0.168 is what a kWh through the battery costs.
    assert SitePlanner(SITE, 2).plan(2.0, outlook([1.0, 3.0], [0.1, 0.16])).charge_kwh == pytest.approx(0.0)
    assert SitePlanner(SITE, 2).plan(2.0, outlook([1.0, 3.0], [0.1, 0.17])).charge_kwh > 3.0


def test_a_foreseen_outage_runs_on_battery_then_generator() -> None:
    view = outlook([3.0, 3.0], [0.1, 0.1], [0.0, 0.0])
    # 1.8 kWh reach the terminals from 2 kWh above the floor; 4.2 kWh come from the generator.
    assert SitePlanner(BACKED, 2).cost(4.0, view) == pytest.approx(1.8 * 0.02 + 4.2 * 0.6)
    assert SitePlanner(SITE, 2).cost(4.0, view) == pytest.approx(1.8 * 0.02 + 4.2 * 10.0)


def test_spare_energy_is_bought_only_while_it_is_worth_it() -> None:
    view = outlook([0.0, 0.0], [0.1, 0.1])
    # A kWh stored costs (0.1 + 0.02) / 0.9 = 0.133 and is kept two hours.
    assert SitePlanner(replace(SITE, spare_kwh=8.0, spare_per_kwh=0.06), 2).plan(2.0, view).charge_kwh == 0.0
    kept = SitePlanner(replace(SITE, spare_kwh=8.0, spare_per_kwh=0.07), 2).plan(4.0, view)
    assert kept.charge_kwh == pytest.approx(4.0)


def test_the_mains_take_the_error_while_the_plan_buys() -> None:
    found = balanced(SITE, BUYS, 10.0, 9.0, 0.0, 1.0)
    assert (found.discharge_kwh, found.import_kwh, found.lost_kwh) == (2.0, 7.0, 0.0)


def test_the_battery_takes_the_error_while_the_plan_does_not_buy() -> None:
    assert balanced(SITE, SELF, 10.0, 3.5, 0.0, 1.0).discharge_kwh == pytest.approx(3.5)
    over = balanced(SITE, SELF, 10.0, 9.0, 0.0, 1.0)
    assert (over.discharge_kwh, over.import_kwh) == (4.0, 5.0)


def test_it_never_discharges_into_the_mains_and_keeps_unforeseen_sun() -> None:
    assert balanced(SITE, BUYS, 10.0, 1.0, 0.0, 1.0).discharge_kwh == 1.0
    sunny = balanced(SITE, BUYS, 8.2, 1.0, 4.0, 1.0)
    # Room for 1.8 kWh takes 2 kWh at the terminals; the third kWh of surplus is curtailed.
    assert sunny.charge_kwh == pytest.approx(2.0)
    assert sunny.unused_kwh == pytest.approx(1.0)
    assert stored_after(SITE, sunny, 8.2) == pytest.approx(10.0)


def test_an_unforeseen_outage_takes_battery_then_generator_then_loses_load() -> None:
    assert balanced(BACKED, BUYS, 4.0, 5.0, 0.0, 0.0).genset_kwh == pytest.approx(5.0 - 1.8)
    dark = balanced(SITE, BUYS, 4.0, 5.0, 0.0, 0.0)
    assert dark.lost_kwh == pytest.approx(3.2)
    assert hour_cost(SITE, dark, 0.1) == pytest.approx(1.8 * 0.02 + 3.2 * 10.0)


def test_the_generator_never_runs_below_its_least() -> None:
    found = balanced(BACKED, BUYS, 2.0, 0.5, 0.0, 0.0)
    assert (found.genset_kwh, found.unused_kwh, found.lost_kwh) == (1.0, 0.5, 0.0)


def test_charging_yields_to_load_where_the_mains_are_short() -> None:
    charging = replace(BUYS, charge_kwh=4.0, discharge_kwh=0.0)
    found = balanced(replace(SITE, import_kw=5.0), charging, 2.0, 4.0, 0.0, 1.0)
    assert (found.import_kwh, found.charge_kwh, found.lost_kwh) == (5.0, 1.0, 0.0)


def test_a_forecast_knows_nothing_of_the_hour_it_is_made_for() -> None:
    rng = np.random.default_rng(3)
    values = 5.0 + np.sin(np.arange(1400) / 24 * 2 * np.pi) + rng.uniform(0.0, 0.2, 1400)
    changed = values.copy()
    changed[1300:] = 77.0
    before, after = (forecasts(each, 1290, 20, 24, refit_h=5) for each in (values, changed))
    assert np.array_equal(before[:11], after[:11])
    assert np.abs(after[11:] - before[11:]).max() > 1.0


def test_a_daily_pattern_is_forecast_and_dark_hours_stay_dark() -> None:
    day = np.where((HOURS_A_DAY > 6) & (HOURS_A_DAY < 18), 10.0, 0.0)
    found = forecasts(np.tile(day, 60), 1200, 24, 24)
    assert found[0] == pytest.approx(day, abs=0.05)
    assert (found[0][:6] == 0.0).all()


def flat_case() -> Microgrid:
    """A year of 1 kWh an hour, 0.1 but for three hours of each day at 1.0; the year is known by heart."""
    hours, price = 60 * 24, np.where(HOURS_A_DAY >= 21, 1.0, 0.1)
    return Microgrid(
        site=SITE, load_kwh=np.ones(hours), pv_kwh=np.zeros(hours), import_price=np.tile(price, 60),
        co2_kg_per_kwh=np.zeros(hours), mains=np.ones(hours), co2_per_kg=0.1, initial_kwh=2.0, published={},
    )  # fmt: skip


def test_with_nothing_to_foresee_rolling_costs_what_foresight_costs() -> None:
    case = flat_case()
    # A day buys 21 kWh and 3 / 0.81 more, all at 0.1, and cycles both.
    day = 0.1 * (21.0 + 3.0 / 0.81) + 0.02 * (3.0 / 0.81 + 3.0)
    assert perfect_cost(case, 1200, 48) == pytest.approx(2.0 * day)
    assert rolling_bill(case, 1200, foresee(case, 1200, 48)).cost == pytest.approx(2.0 * day, rel=2e-3)


def test_an_outage_is_met_though_nobody_foresaw_it() -> None:
    case = flat_case()
    case.mains[1200:1202] = 0.0
    bill = rolling_bill(case, 1200, foresee(case, 1200, 24))
    assert bill.lost_kwh == pytest.approx(2.0)


def test_margins_are_those_that_would_have_cost_least() -> None:
    case = flat_case()
    keep, none = Margins(spare_per_kwh=0.03), Margins()
    # Firm mains: energy kept for an outage is bought for nothing. Dark from 10 to 14 o'clock: 4 kWh lost at 10 each.
    assert chosen(case, (keep, none), 1200, 48) == none
    case.mains[1210:1214] = 0.0
    assert chosen(case, (none, keep), 1200, 48) == keep
    seen = foresee(case, 1200, 24)
    assert rolling_bill(case, 1200, seen, keep).lost_kwh == 0.0
    assert rolling_bill(case, 1200, seen, none).lost_kwh > 1.0


def test_a_case_is_read_with_its_parameters(tmp_path: Path) -> None:
    (tmp_path / "parameters_and_published_costs.csv").write_text(
        "microgrid,cost_loss_load,cost_co2,battery_soc_0,battery_power_charge,battery_power_discharge,"
        "battery_capacity,battery_efficiency,battery_soc_min,battery_soc_max,battery_cost_cycle,"
        "grid_power_import,genset_rated_power,genset_pmin,genset_pmax,fuel_cost,genset_co2,rbc,mpc,saa_85\n"
        "7,10,0.1,0.5,4,4,10,0.9,0.2,1,0.02,20,10,0.05,0.9,0.4,2.0,3,1,2\n"
    )
    with gzip.open(tmp_path / "microgrid_7.csv.gz", "wt", encoding="utf-8") as file:
        file.write(
            "hour,load_kwh,pv_kwh,import_price,export_price,co2_kg_per_kwh,grid_status\n0,5,1,0.2,0,0.3,1\n"
        )
    case = read_microgrids(tmp_path, (7,))[7]
    assert (case.initial_kwh, case.site.low_kwh, case.site.genset_kw) == (5.0, 2.0, 9.0)
    assert case.site.genset_per_kwh == pytest.approx(0.6)
    assert case.published == {"mpc": 1.0, "saa_85": 2.0, "rbc": 3.0}
