"""The district backtest on homes and hours worked out by hand."""

import gzip
import json
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from tools.planning.district import DistrictPlanner, DistrictView, Homes
from ui.bench.backtest_citylearn import (
    District,
    Score,
    by_plan,
    by_rule,
    one_less_load_factor,
    outlook,
    read_district,
    score,
    thirds,
)
from ui.bench.home_battery import HomeBattery, moved

ONE = Homes(count=1, power_kw=5.0, each_way=0.9)
VIEW = DistrictView(
    stored_kwh=np.array([0.0]), full_kwh=np.array([6.0]), net_kwh=np.array([[[1.0, 3.0]]]),
    step_kwh=np.array([[0.0, 2.0]]), total_kwh=np.array([1.0, 3.0]), peak_kwh=0.0,
    import_price=np.array([[0.1, 1.0]]), ramp_price=0.0, peak_price=0.0,
)  # fmt: skip


def district(days: int = 20) -> District:
    """Two homes: 1 kWh an hour and 3 from 18 to 21 o'clock, twice that next door; the same every day."""
    day = np.where((np.arange(24) >= 18) & (np.arange(24) < 22), 3.0, 1.0)
    net = np.tile(day, days)
    return District(
        net_kwh=np.stack([net, 2.0 * net]),
        hour=np.tile(np.arange(1, 25), days),
        price=np.tile(np.where(day > 1.0, 0.5, 0.2), days),
        carbon=np.full(days * 24, 0.2),
    )


def test_a_battery_fills_near_its_top_only_slowly() -> None:
    # At 0.9 of 6.4 kWh the power curve is halfway from 1 to 0.2 of 5 kW, and 0.64 kWh fit.
    full, taken = moved(HomeBattery(stored_kwh=0.9 * 6.4), 5.0)
    assert taken == pytest.approx(0.64)
    assert full.stored_kwh == pytest.approx(0.9 * 6.4 + 0.64 * sqrt(0.83))


def test_a_battery_loses_by_its_power() -> None:
    # 3.5 kW of 5 is 0.7 of nominal: 90 % both ways; 1 kW is 0.2: 83 %.
    assert moved(HomeBattery(), 3.5)[0].stored_kwh == pytest.approx(3.5 * sqrt(0.9))
    after, passed = moved(HomeBattery(stored_kwh=3.0), -1.0)
    assert after.stored_kwh == pytest.approx(3.0 - 1.0 / sqrt(0.83))
    assert passed == pytest.approx(-1.0)


def test_a_battery_never_gives_more_than_it_holds_and_wears() -> None:
    after, passed = moved(HomeBattery(stored_kwh=1.0), -5.0)
    assert after.stored_kwh >= 0.0
    # It may ask for 1 kWh times the last efficiency; at 0.19 of nominal that takes more than there is.
    assert passed == pytest.approx(-sqrt(0.83))
    assert after.full_kwh == pytest.approx(6.4 - 1e-5 * 6.4 * sqrt(0.83) / (2 * 6.4))


def test_the_load_factor_is_by_month() -> None:
    months = np.concatenate([np.full(730, 2.0), np.tile([1.0, 3.0], 365)])
    assert one_less_load_factor(months) == pytest.approx((0.0 + (1.0 - 2.0 / 3.0)) / 2.0)


def test_the_score_of_doing_nothing_is_one_and_parts_weigh_as_told() -> None:
    town = district(4)
    assert score(town, town.net_kwh).total == pytest.approx(1.0)
    assert Score(cost=0.9, carbon=0.8, ramp=0.5, load_factor=0.7).total == pytest.approx(2.3 / 3.0)


def test_cost_counts_import_alone_home_by_home() -> None:
    town = District(
        net_kwh=np.array([[2.0, 2.0], [1.0, 4.0]]), hour=np.array([1, 2]), price=np.array([0.1, 0.3]),
        carbon=np.array([1.0, 1.0]),
    )  # fmt: skip
    found = score(town, np.array([[2.0, -5.0], [1.0, 4.0]]))
    # The first home pays 0.2 of 0.8, the second all: 0.625; carbon likewise 2 of 4: 0.75; ramp 4 against 3.
    assert [found.cost, found.carbon, found.ramp] == pytest.approx([0.625, 0.75, 4.0 / 3.0])


def test_one_home_charges_for_the_dear_hour() -> None:
    assert DistrictPlanner(ONE, 2, 1).plan(VIEW)[0] == pytest.approx(3.0 / 0.81, rel=1e-3)


def test_an_uncertain_load_is_not_met_whole_where_feeding_in_earns_nothing() -> None:
    # Energy in store; 1 kWh now is worth 0.6 of its price by outcome, later surely the price: 2 of 3 outcomes use it.
    net = np.array([[[1.0, 3.0], [2.0, 3.0], [6.0, 3.0]]])
    view = replace(
        VIEW, stored_kwh=np.array([4.0]), net_kwh=net, step_kwh=np.zeros((3, 2)),
        total_kwh=np.array([3.0, 3.0]), import_price=np.array([[1.0, 0.6]]),
    )  # fmt: skip
    # The second kWh serves two outcomes of three (0.67 > 0.6), the third only one (0.33 < 0.6).
    assert DistrictPlanner(ONE, 2, 3).plan(view)[0] == pytest.approx(-2.0)


def test_a_dear_peak_and_a_dear_ramp_flatten_the_district() -> None:
    plain = np.array([[0.1, 0.1]])
    peaky = replace(VIEW, import_price=plain, peak_price=10.0)
    # 1 + c = 3 - 0.81 c, so c = 2 / 1.81.
    assert DistrictPlanner(ONE, 2, 1).plan(peaky)[0] == pytest.approx(2.0 / 1.81)
    assert DistrictPlanner(ONE, 2, 1).plan(replace(peaky, peak_kwh=3.0))[0] == pytest.approx(0.0)
    # Up by c now and by 2 less 1.81 c after: any c up to 2 / 1.81 costs less than none, and the most of it ends lowest.
    assert DistrictPlanner(ONE, 2, 1).plan(replace(VIEW, import_price=plain, ramp_price=10.0))[0] == (
        pytest.approx(2.0 / 1.81)
    )


def test_thirds_are_means_of_ordered_days() -> None:
    assert thirds(np.array([[6.0], [1.0], [3.0], [2.0], [5.0], [4.0]])).ravel() == pytest.approx(
        [1.5, 3.5, 5.5]
    )
    assert thirds(np.array([[1.0], [3.0]])).ravel() == pytest.approx([2.0, 2.0, 2.0])


def test_the_outlook_reads_no_hour_that_has_not_passed() -> None:
    town = district(30)
    changed = replace(town, net_kwh=town.net_kwh.copy(), carbon=town.carbon.copy())
    changed.net_kwh[:, 500:] = 77.0
    changed.carbon[500:] = 77.0
    batteries = [HomeBattery(), HomeBattery()]
    views = [outlook(each, each.net_kwh, batteries, 500) for each in (town, changed)]
    for name in ("net_kwh", "step_kwh", "total_kwh", "import_price", "ramp_price", "peak_price", "peak_kwh"):
        assert np.array_equal(getattr(views[0], name), getattr(views[1], name)), name
    assert not np.array_equal(outlook(changed, changed.net_kwh, batteries, 502).total_kwh, views[0].total_kwh)


def test_the_same_day_over_and_over_is_foreseen() -> None:
    view = outlook(district(), district().net_kwh, [HomeBattery(), HomeBattery()], 240)
    assert view.total_kwh == pytest.approx(district().net_kwh.sum(axis=0)[240:264])
    assert view.net_kwh[1, 2] == pytest.approx(district().net_kwh[1, 240:264])
    assert view.peak_kwh == 9.0


def test_the_rule_charges_by_the_hour_it_last_saw() -> None:
    town = district(2)
    moved_kwh = by_rule(town) - town.net_kwh
    assert np.flatnonzero(moved_kwh[0, :24] > 0.0).tolist() == list(
        range(6, 15)
    )  # hours 6..14 are rows 5..13
    assert moved_kwh[0, 6] == pytest.approx(0.11 * 6.4)


def test_the_plan_beats_the_rule_where_every_day_is_the_same() -> None:
    town = district(8)
    told: list[float] = []
    planned, ruled = score(town, by_plan(town, told.append)), score(town, by_rule(town))
    assert planned.total < min(ruled.total, 0.95)
    assert told == [50 / 192, 100 / 192, 150 / 192]


def test_files_are_read_as_the_challenge_ships_them(tmp_path: Path) -> None:
    def put(name: str, text: str) -> None:
        with gzip.open(tmp_path / f"{name}.gz", "wt", encoding="utf-8") as file:
            file.write(text)

    home = {"energy_simulation": "B.csv", "pv": {"attributes": {"nominal_power": 4.0}}}
    (tmp_path / "schema.json").write_text(json.dumps({"buildings": {"B": home}}))
    put("B.csv", "Hour,Equipment Electric Power [kWh],Solar Generation [W/kW]\n24.0,2.0,0\n1.0,1.0,500\n")
    put("pricing.csv", "Electricity Pricing [$/kWh]\n0.2\n0.5\n")
    put("carbon_intensity.csv", "kg_CO2/kWh\n0.1\n0.3\n")
    town = read_district(tmp_path)
    assert town.net_kwh.tolist() == [[2.0, -1.0]]
    assert (town.hour.tolist(), town.price.tolist(), town.carbon.tolist()) == (
        [24, 1],
        [0.2, 0.5],
        [0.1, 0.3],
    )
