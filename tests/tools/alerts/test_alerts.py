"""Each predictive alert against a value worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from edge.plan import Plan, SitePlan
from telemetry.model.incident import Severity
from telemetry.model.site import SiteId
from tests.agents.worlds import FEEDER, NOW, PEAK_FROM, SITE_IDS, World, a_site
from tests.edge.safety.examples import a_plan, schedule_of
from tools.alerts.alert import Alert, AlertKind
from tools.alerts.battery import Life, battery_end_of_life, battery_temperature, window_c
from tools.alerts.energy import reserve_breach, time_to_empty
from tools.alerts.feeders import feeder_limit
from tools.alerts.fold import fold
from tools.alerts.outage_history import DailyHistory, chance_by_rate, features
from tools.alerts.outage_risk import outage_days, outage_risk
from tools.deps import Fleet

FIRST = SiteId(SITE_IDS[0])
AGE = timedelta(hours=1)


def with_outage(fleet: Fleet, *names: str, **change: object) -> Fleet:
    readings = dict(fleet.state.readings)
    for name in names:
        readings[SiteId(name)] = replace(readings[SiteId(name)], mains_ok=False, **change)  # type: ignore[arg-type]
    return replace(fleet, state=replace(fleet.state, readings=readings))


def discharging(names: Sequence[str], start: datetime, watts: float, steps: int) -> Plan:
    """Return a plan by which each site discharges."""
    return replace(
        a_plan(schedule_of("site-1", (1, -1.0))),
        window_start=start,
        window_end=start + steps * timedelta(minutes=15),
        sites=tuple(SitePlan(site_id=SiteId(name), schedule_w=(-watts,) * steps) for name in names),
    )


def test_time_to_empty_counts_what_is_left_at_upper_median_and_lower_load() -> None:
    # 20 kWh x (0.95 - 0.05 SoC error - 0.05 disconnect) = 17 kWh; at 2100, 2000, 1900 W: 8.095, 8.5, 8.947 h.
    fleet = with_outage(World().fleet(NOW), FIRST)
    [alert] = time_to_empty(fleet, NOW, AGE)
    read_at = NOW - timedelta(seconds=20)
    hours = [
        (at - read_at) / timedelta(hours=1)
        for at in (alert.earliest_at, alert.due_at, alert.latest_at or NOW)
    ]
    assert hours == pytest.approx([17_000 / 2100, 8.5, 17_000 / 1900], abs=1e-6)
    assert (
        alert.says
        == "Mains absent: the battery is empty at 01:19 on 11 Mar, 00:55 on 11 Mar at the earliest."
    )
    assert alert.severity is Severity.WARNING
    world = World()
    world.soc[FIRST] = 0.2  # 2 kWh: 0.952 h at upper load
    [short] = time_to_empty(with_outage(world.fleet(NOW), FIRST), NOW, AGE)
    assert short.severity is Severity.CRITICAL


def test_a_running_genset_or_an_old_reading_gives_no_countdown() -> None:
    fleet = World().fleet(NOW)
    assert time_to_empty(fleet, NOW, AGE) == []
    assert time_to_empty(with_outage(fleet, FIRST, genset_w=2500.0), NOW, AGE) == []
    assert time_to_empty(with_outage(fleet, FIRST), NOW + timedelta(hours=1), AGE) == []


@pytest.mark.parametrize(("soc", "breached"), [(0.309, True), (0.311, False)])
def test_a_site_below_its_reserve_is_told_now(soc: float, breached: bool) -> None:
    # 2 h at 2100 W = 4200 Wh; (soc - 0.1) x 20 kWh = 4180 and 4220 Wh.
    world = World()
    world.soc[FIRST] = soc
    alerts = reserve_breach(world.fleet(NOW), NOW)
    assert [a.subject_id for a in alerts] == ([FIRST] if breached else [])
    if breached:
        assert alerts[0].due_at == NOW
        assert alerts[0].more["short_wh"] == pytest.approx(20.0)


def test_a_running_plan_brings_the_hour_at_which_the_reserve_is_breached() -> None:
    # 5000 Wh held, 250 Wh a quarter of an hour from 17:00: 4250 at 17:45, 4000 < 4200 at 18:00 (19:00 in Rome).
    world = World()
    world.soc[FIRST] = 0.35
    assert reserve_breach(world.fleet(NOW), NOW) == []
    world.live_plans = (discharging([FIRST], PEAK_FROM, 1000.0, 8),)
    [alert] = reserve_breach(world.fleet(NOW), NOW)
    assert alert.due_at == PEAK_FROM + timedelta(hours=1)
    assert alert.says.startswith(
        "The backup reserve is breached at 19:00: 4.0 kWh held, 4.2 kWh asked for 2 h."
    )
    fleet = with_outage(world.fleet(NOW), FIRST)
    assert reserve_breach(fleet, NOW) == []  # in an outage the reserve is there to be used


def test_a_feeder_is_told_with_the_hour_and_a_plan_that_shaves_it_ends_the_alert() -> None:
    # 112 kW outside and four sites of 2000 / 0.96 W: 120,333 W from 17:00 against a limit of 114 kW.
    world = World()
    [alert] = feeder_limit(world.fleet(NOW), NOW)
    assert (alert.subject_id, alert.due_at, alert.severity) == (FEEDER, PEAK_FROM, Severity.WARNING)
    assert alert.more["excess_w"] == pytest.approx(112_000 + 4 * 2000 / 0.96 - 114_000, abs=0.1)
    assert alert.says == "The import is expected to pass the limit of 114 kW at 18:00; 120 kW at 18:00."
    world.live_plans = (discharging(SITE_IDS[:4], PEAK_FROM, 2000.0, 6),)
    assert feeder_limit(world.fleet(NOW), NOW) == []
    world.live_plans = ()
    world.background_high_w = 105_500.0  # median 113,833 W stays below, upper 114,750 W does not
    [mild] = feeder_limit(world.fleet(NOW), NOW)
    assert mild.severity is Severity.INFO
    assert "may pass" in mild.says


def course(mean: float, days: int = 4) -> np.ndarray:
    """Return a daily wave of 4 degC around a mean that ends at 15:45, coldest at 03:00."""
    hours = np.arange(days * 96) * 0.25 + 15.75
    return np.asarray(mean + 4.0 * np.cos(2 * np.pi * (hours - 15.0) / 24.0))


def test_a_battery_that_will_freeze_tonight_is_told_by_its_hour() -> None:
    # 3 + 4 cos falls below 0 where cos < -0.75: 9.239 h after 15:00, so first in the quarter hour of 00:15.
    site = a_site(FIRST)
    assert window_c(site.battery) == (0.0, 60.0)
    [alert] = battery_temperature({FIRST: site}, {FIRST: course(3.0)}, NOW)
    assert alert.due_at == datetime(2026, 3, 11, 0, 15, tzinfo=UTC)
    assert alert.earliest_at < alert.due_at
    assert alert.latest_at is not None
    assert alert.latest_at > alert.due_at
    assert alert.limit == 0.0
    assert alert.expected == pytest.approx(-1.0, abs=0.05)
    assert alert.severity is Severity.WARNING
    assert battery_temperature({FIRST: site}, {FIRST: course(8.0)}, NOW) == []
    assert battery_temperature({FIRST: site}, {FIRST: course(3.0)[-96:]}, NOW) == []  # a day is too little
    [frozen] = battery_temperature({FIRST: site}, {FIRST: course(-18.0)}, NOW)  # -22 degC: no band at all
    assert frozen.severity is Severity.CRITICAL
    assert frozen.due_at == NOW


@pytest.mark.parametrize(("days", "severity"), [(60, Severity.WARNING), (120, Severity.INFO), (200, None)])
def test_a_battery_is_named_with_the_month_of_its_end(days: int, severity: Severity | None) -> None:
    life = Life(
        early=NOW + timedelta(days=days - 30), middle=NOW + timedelta(days=days),
        late=NOW + timedelta(days=days + 90), soh_frac=0.83,
    )  # fmt: skip
    alerts = battery_end_of_life({FIRST: a_site(FIRST)}, {FIRST: life, "unknown": life}, NOW)
    assert [a.severity for a in alerts] == ([] if severity is None else [severity])
    if days == 60:
        assert alerts[0].says == (
            "The battery reaches its end of life in May 2026 (between April 2026 and August 2026); 83% now."
        )


def test_days_without_mains_are_counted_from_roll_ups_and_give_a_chance() -> None:
    load = np.full((2, 192), 1000.0)
    grid = np.full((2, 192), 1200.0)
    grid[0, 100:104] = 10.0  # an hour of the second day
    grid[1, 96:150] = np.nan  # most of the second day unknown
    history = outage_days(grid, load, date(2026, 3, 1))
    assert history.failed.tolist() == [[False, True], [False, False]]
    assert history.seen.tolist() == [[True, True], [True, False]]
    assert history.deficit[0, 1] == 4.0


def test_the_chance_is_drawn_towards_the_fleet() -> None:
    # One day, two sites, one failed: base 0.5. Prior days 1.5, 7, 30: (1 + 0.75) / 2.5, (1 + 3.5) / 8, (1 + 15) / 31.
    seen = np.ones((2, 1), dtype=bool)
    failed = np.array([[True], [False]])
    history = DailyHistory(first_day=date(2026, 3, 1), seen=seen, failed=failed, deficit=failed.astype(float))
    assert chance_by_rate(history) == pytest.approx(
        [(0.7 + 0.5625 + 16 / 31) / 3, (0.3 + 0.4375 + 15 / 31) / 3], abs=1e-9
    )


def test_features_of_a_day_do_not_know_the_days_after_it() -> None:
    rng = np.random.default_rng(3)
    failed = rng.uniform(size=(12, 40)) < 0.2
    place = rng.uniform(size=(12, 2))
    history = DailyHistory(
        first_day=date(2026, 1, 1), seen=np.ones((12, 40), dtype=bool), failed=failed, deficit=failed * 3.0,
        counts={"alarms": failed * 1.0}, levels={"loss_4g": failed * 2.0}, place=place, weather={"wind": rng.uniform(size=40)},
    )  # fmt: skip
    short = replace(
        history, seen=history.seen[:, :25], failed=failed[:, :25], deficit=history.deficit[:, :25],
        counts={"alarms": failed[:, :25] * 1.0}, levels={"loss_4g": failed[:, :25] * 2.0},
        weather={"wind": history.weather["wind"][:25]},
    )  # fmt: skip
    table, names = features(history)
    again, same = features(short)
    assert names == same
    assert np.allclose(table[:, :25], again, equal_nan=True)


def test_tomorrows_outage_is_told_where_it_is_likely_and_graver_where_the_battery_is_short() -> None:
    sites = {FIRST: a_site(FIRST), "b": a_site("b")}
    [one, two] = outage_risk(sites, {FIRST: 0.4, "b": 0.25, "unknown": 0.9}, {FIRST: 8.0, "b": 3.0}, NOW)
    assert (one.severity, two.severity) == (Severity.INFO, Severity.WARNING)
    assert one.due_at == datetime(2026, 3, 10, 23, 0, tzinfo=UTC)  # midnight in Rome
    assert one.says == "Mains are likely to fail tomorrow (40%). The battery would carry the site for 8.0 h."
    assert outage_risk(sites, {FIRST: 0.249}, {}, NOW) == []


def many(count: int) -> list[Alert]:
    fleet = with_outage(World().fleet(NOW), FIRST)
    [alert] = time_to_empty(fleet, NOW, AGE)
    return [
        replace(alert, subject_id=f"cbs-{k}", due_at=alert.due_at + timedelta(minutes=k))
        for k in range(count)
    ]


def test_a_cut_feeder_is_one_alert_and_the_number_may_move_a_little() -> None:
    assert len(fold(many(4))) == 4
    [one] = fold(many(5))
    assert (one.subject_id, one.of_feeder, one.more["site_count"]) == (FEEDER, True, 5.0)
    assert one.says.startswith("5 sites run on their batteries; first cbs-0: Mains absent")
    was = frozenset({(AlertKind.TIME_TO_EMPTY, str(FEEDER))})
    assert [len(fold(many(k), was)) for k in (2, 3, 4)] == [2, 1, 1]
    dues = [a.due_at for a in fold(many(4))]
    assert all(a <= b for a, b in pairwise(dues))
