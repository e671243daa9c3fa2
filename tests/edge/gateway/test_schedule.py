"""What a schedule asks for at an instant, how clocks are judged, how a fleet recharges."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from edge.envelope import Verified
from edge.gateway.duty import Duty, mean_power_w
from edge.gateway.pace import Tick, jumped, stretched_s, wall_wait_s
from edge.gateway.recharge import RechargeRule, plan_recharge, recharge_w
from edge.gateway.roster import MOST_DUTIES, Roster, new_duty, take_on
from edge.gateway.schedule import (
    duty_end,
    energy_wh,
    next_edge,
    quarter_end,
    ramped_w,
    runs_to_its_end,
    setpoint_at,
)
from edge.plan import Command, CommandId, ScheduleBody
from tests.edge.gateway.bench import LIMITS, NOON, SCHEDULE
from tests.edge.gateway.test_commands import SAMPLE

MINUTE = timedelta(minutes=1)
TINY = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (NOON - TINY, 0.0),
        (NOON, -1000.0),
        (NOON + 15 * MINUTE - TINY, -1000.0),
        (NOON + 15 * MINUTE, -500.0),
        (NOON + 30 * MINUTE, 0.0),
        (NOON + 45 * MINUTE, 800.0),
        (NOON + 60 * MINUTE - TINY, 800.0),
        (NOON + 60 * MINUTE, 0.0),
    ],
)
def test_a_setpoint_holds_from_its_step_until_the_next(at: datetime, expected: float) -> None:
    assert setpoint_at(SCHEDULE, at) == expected


def test_nothing_is_asked_before_not_before_and_after_expiry() -> None:
    narrow = replace(SCHEDULE, not_before=NOON + 5 * MINUTE, valid_until=NOON + 10 * MINUTE)
    assert setpoint_at(narrow, NOON + 5 * MINUTE - TINY) == 0.0
    assert setpoint_at(narrow, NOON + 5 * MINUTE) == -1000.0
    assert setpoint_at(narrow, NOON + 10 * MINUTE) == 0.0
    assert duty_end(narrow) == NOON + 10 * MINUTE
    assert not runs_to_its_end(narrow)
    assert runs_to_its_end(SCHEDULE)


def test_energy_is_the_magnitude_between_two_instants() -> None:
    # 250 + 125 + 0 + 200 Wh in all; the last 5 min of the first step and the first 6 of the second: 83.3 + 50.
    assert energy_wh(SCHEDULE, NOON, NOON + 120 * MINUTE) == pytest.approx(575.0)
    assert energy_wh(SCHEDULE, NOON + 10 * MINUTE, NOON + 21 * MINUTE) == pytest.approx(133.333, abs=0.001)


def test_the_next_edge_is_the_next_instant_at_which_something_changes() -> None:
    assert next_edge(SCHEDULE, NOON - MINUTE) == NOON
    assert next_edge(SCHEDULE, NOON) == NOON + 15 * MINUTE
    assert next_edge(SCHEDULE, NOON + 50 * MINUTE) == NOON + 60 * MINUTE
    assert next_edge(SCHEDULE, NOON + 60 * MINUTE) is None


def test_a_quarter_ends_on_the_quarter() -> None:
    assert quarter_end(NOON) == NOON + 15 * MINUTE
    assert quarter_end(NOON + 15 * MINUTE - TINY) == NOON + 15 * MINUTE


@pytest.mark.parametrize(
    ("previous_w", "wanted_w", "expected_w"),
    [(0.0, -1000.0, -500.0), (-800.0, -1000.0, -1000.0), (-900.0, 0.0, 0.0), (-900.0, 800.0, 500.0)],
)
def test_a_setpoint_grows_by_its_ramp_and_falls_to_zero_at_once(
    previous_w: float, wanted_w: float, expected_w: float
) -> None:
    assert ramped_w(previous_w, wanted_w, ramp_w_per_s=500.0, elapsed_s=1.0) == expected_w


def _at(first_minute: int, number: int) -> Command:
    start = NOON + first_minute * MINUTE
    body = ScheduleBody(start=start, step_s=60, setpoint_w=(-100.0,) * 10)
    return replace(
        SCHEDULE, command_id=CommandId(f"c-{number}"), sequence=number, not_before=start, body=body
    )


def _duty(first_minute: int, number: int) -> Duty:
    verified = Verified(command=_at(first_minute, number), digest="0" * 64, key_id="k", epoch=1)
    return new_duty(verified, b"", NOON)


def test_only_what_overlaps_is_superseded_and_the_roster_is_bounded() -> None:
    roster: Roster = ()
    for number, first in enumerate((0, 10, 20, 30)):
        roster, out = take_on(roster, _duty(first, number))
        assert len(out) == 0
    assert len(roster) == MOST_DUTIES
    roster, out = take_on(roster, _duty(5, 9))
    assert [gone.command.command_id for gone in out] == ["c-0", "c-1"]
    assert [held.command.command_id for held in roster] == ["c-9", "c-2", "c-3"]


# -- clocks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moved_s", "wall_s", "speeds", "expected"),
    [
        (1.0, 1.0, (1.0, 1.0), False),
        (6.0, 1.0, (1.0, 1.0), False),
        (6.1, 1.0, (1.0, 1.0), True),
        (-4.1, 1.0, (1.0, 1.0), True),
        (60.0, 1.0, (60.0, 60.0), False),
        (30.0, 1.0, (1.0, 60.0), False),
        (700.0, 1.0, (1.0, 60.0), True),
    ],
)
def test_a_clock_jump_is_what_speed_and_wall_time_do_not_explain(
    moved_s: float, wall_s: float, speeds: tuple[float, float], expected: bool
) -> None:
    before = Tick(at=NOON, wall_s=0.0, speed=speeds[0])
    after = Tick(at=NOON + timedelta(seconds=moved_s), wall_s=wall_s, speed=speeds[1])
    assert jumped(before, after, tolerance_s=5.0) is expected


def test_periods_stretch_with_the_speed_and_waits_stay_short() -> None:
    assert stretched_s(1.0, 0.1, 1.0) == 1.0
    assert stretched_s(1.0, 0.1, 60.0) == 6.0
    assert stretched_s(1.0, 0.1, 0.5) == 1.0
    assert wall_wait_s(6.0, 60.0) == pytest.approx(0.1)
    assert wall_wait_s(6.0, 0.0) == 1.0


# -- energy between scans and recharge -------------------------------------------------------------------------


def test_the_mean_power_between_two_scans_lies_halfway_where_both_agree() -> None:
    assert mean_power_w(-980.0, -1020.0) == -1000.0
    assert mean_power_w(-980.0, None) == -980.0
    assert mean_power_w(-980.0, -300.0) == -980.0


def test_a_feeder_released_in_one_instant_recharges_late_slowly_and_never_as_a_step() -> None:
    rule, random = RechargeRule(), Random(4)
    plans = [plan_recharge(rule, NOON, random) for _ in range(200)]

    def total_w(after_s: float) -> float:
        at = NOON + timedelta(seconds=after_s)
        return sum(recharge_w(plan, rule, LIMITS, SAMPLE, at) for plan in plans)

    full_w = 200 * 1536.0  # 0.1 C of 15,360 Wh each
    assert total_w(0.0) == 0.0
    assert total_w(30.0) == 0.0
    assert total_w(1200.0) == pytest.approx(full_w)
    steps = [total_w(10.0 * n + 10.0) - total_w(10.0 * n) for n in range(120)]
    # All ramps at once would rise by 10 s / 600 s = 1.67 % of the whole in ten seconds.
    assert max(steps) <= 0.0168 * full_w
    assert total_w(300.0) < 0.2 * full_w


def test_recharge_never_uses_more_than_the_connection_leaves() -> None:
    plan = plan_recharge(RechargeRule(), NOON, Random(1))
    later = NOON + timedelta(hours=1)
    # Rectifiers: 6,000 W less 5,500 W of load.
    assert recharge_w(plan, RechargeRule(), LIMITS, replace(SAMPLE, load_w=5500.0), later) == 500.0
    assert recharge_w(plan, RechargeRule(), LIMITS, replace(SAMPLE, battery_c=-5.0), later) == 0.0
