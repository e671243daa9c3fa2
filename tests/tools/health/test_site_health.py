"""A site's battery: tests guarded, discharges found in quarter hours, remaining life, the list by month."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from telemetry.model.battery import LFP_BANDS, Battery, Chemistry
from telemetry.model.site import SiteId
from tools.health.estimate import NotJudged, SohEstimate
from tools.health.partial_test import PartialTest, Refused, SiteUnderTest, partial_test
from tools.health.remaining import RemainingLife
from tools.health.replacement import replacement_list
from tools.health.site_health import BatteryPast, SiteHealth, discharges, site_health

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BATTERY = Battery(
    chemistry=Chemistry.LFP,
    rated_wh=10_000.0,
    soc_min_frac=0.15,
    soc_max_frac=1.0,
    disconnect_soc_frac=0.05,
    backstop_soc_frac=0.1,
    soc_error_frac=0.05,
    charge_efficiency=0.95,
    discharge_efficiency=0.95,
    bands=LFP_BANDS,
    max_cycles_per_day=1.0,
    calibrated_at=NOW - timedelta(days=10),
    capacity_tested_at=NOW - timedelta(days=200),
)
SITE = SiteUnderTest(
    battery=BATTERY,
    soc_frac=1.0,
    soh_frac=0.9,
    battery_c=27.0,
    load_w=2_000.0,
    reserve_wh=3_600.0,
    backstop_v=47.0,
    mains_ok=True,
    outage_expected=False,
)


def test_a_test_stops_where_the_reserve_begins_with_the_socs_error_against_it() -> None:
    found = partial_test(SITE, depth_frac=0.8)
    assert isinstance(found, PartialTest)
    # 0.05 disconnect + 3,600 of 9,000 Wh + 0.05 error = 0.5; 0.5 x 9,000 x 0.95 Wh at 2 kW, half as long again.
    assert found.stop_soc_frac == pytest.approx(0.5)
    assert found.longest_h == pytest.approx(1.5 * 4275.0 / 2000.0)
    assert (found.power_w, found.stop_bus_v) == (2000.0, 47.0)


def test_every_reason_against_a_test_is_named() -> None:
    broken = replace(SITE, mains_ok=False, outage_expected=True, soc_frac=0.7, battery_c=-30.0, load_w=0.0)
    found = partial_test(broken)
    assert isinstance(found, Refused)
    assert len(found.reasons) == 6
    assert "mains is absent" in found.reasons
    nan = partial_test(replace(SITE, soc_frac=float("nan")))
    assert isinstance(nan, Refused)
    assert "the state of charge is not at full" in nan.reasons


def past_with_outage(depth_frac: float, soh_frac: float) -> BatteryPast:
    """Return a day on float with an outage of four quarter hours in its middle, then a recharge of eight."""
    soc, power = np.ones(96), np.zeros(96)
    full_wh = BATTERY.rated_wh * soh_frac
    steps = np.concatenate([[0.0], np.full(4, -depth_frac / 4), np.full(8, depth_frac / 8)])
    power[40:52] = steps[1:] * full_wh * 4.0 * np.where(steps[1:] < 0.0, 0.95, 1.0 / 0.95)
    ends = np.concatenate([np.ones(40), 1.0 + np.cumsum(steps[1:]), np.ones(44)])
    starts = np.concatenate([[1.0], ends[:-1]])
    soc = (starts + ends) / 2.0
    return BatteryPast(
        start=NOW - timedelta(days=1), soc_frac=soc, battery_w=power, battery_c=np.full(96, 27.0)
    )


def test_an_outage_of_sixty_percent_gives_the_capacity_behind_it() -> None:
    (found,) = discharges(BATTERY, past_with_outage(0.6, 0.85))
    # The recharge's first quarter hour has begun to refill: its middle lies 3.75 points above the bottom.
    assert found.soc_from_frac - found.soc_to_frac == pytest.approx(0.6 - 0.0375)
    assert found.drawn_frac == pytest.approx(0.85 * (0.6 - 0.0375))
    assert (found.at, found.battery_c) == (NOW - timedelta(hours=13), 27.0)
    health = site_health(SiteId("cbs-1"), BATTERY, past_with_outage(0.6, 0.85), NOW)
    assert isinstance(health.soh, SohEstimate)
    assert health.soh.soh_frac == pytest.approx(0.85)
    assert health.cycles == pytest.approx(0.6, abs=0.08)  # quarter-hour means cut the tips


def test_a_stale_calibration_doubles_the_socs_error_and_a_gap_hides_the_discharge() -> None:
    past = past_with_outage(0.6, 0.85)
    (stale,) = discharges(replace(BATTERY, calibrated_at=None), past)
    assert stale.soc_error_frac == pytest.approx(0.1)
    gap = past.soc_frac.copy()
    gap[39] = np.nan
    assert not list(discharges(BATTERY, replace(past, soc_frac=gap)))


def health_of(name: str, soh_frac: float) -> SiteHealth:
    tests = [
        SohEstimate(soh_frac=soh_frac + 0.04 * k, sd_frac=0.005, at=NOW - timedelta(days=365.25 * k), method="full_discharge")
        for k in range(4)
    ]  # fmt: skip
    quiet = BatteryPast(
        start=NOW - timedelta(days=1),
        soc_frac=np.ones(96),
        battery_w=np.zeros(96),
        battery_c=np.full(96, 20.0),
    )
    return site_health(SiteId(name), BATTERY, quiet, NOW, earlier=tests)


def test_the_list_is_in_order_of_months_and_names_what_is_not_known() -> None:
    fleet = [health_of("cbs-3", 0.82), health_of("cbs-1", 0.85), health_of("cbs-2", 0.97)]
    unknown = replace(
        fleet[0], site_id=SiteId("cbs-9"), soh=NotJudged(reason="x"), remaining=NotJudged(reason="x")
    )
    due, rest = replacement_list([*fleet, unknown], NOW, timedelta(days=730))
    assert [line.site_id for line in due] == ["cbs-3", "cbs-1"]
    assert due[0].month < due[1].month
    assert rest == {"cbs-9": "x"}
    first = fleet[0].remaining
    assert isinstance(first, RemainingLife)
    assert (first.middle - NOW).days == pytest.approx(365 / 2, abs=40)  # 2 points left at 4 a year
    assert due[0].why.startswith("state of health 8")


def test_a_battery_on_float_alone_is_known_by_its_type_and_says_so() -> None:
    quiet = health_of("cbs-1", 0.9)
    assert quiet.wear_frac_per_year == pytest.approx(1.0 / 12.0)  # the calendar life of the type
    assert "nothing is claimed" in quiet.note
