"""Sites that nobody commands, run again: the same every time, and without what a plan would have given."""

from datetime import UTC, datetime, timedelta

import pytest

from ui.ops.demo_replay import undispatched_grid_w
from ui.ops.runtime import Runtime

EVENING = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)
RUNTIME = Runtime(
    owner_dsn="", mqtt_host="127.0.0.1", mqtt_port=1, api_port=1, console_port=1, simulated_sites=8, seed=7, history_days=28,
    epoch=EVENING,
)  # fmt: skip


def test_the_same_hours_come_out_the_same_from_wherever_they_are_looked_at() -> None:
    whole = undispatched_grid_w(RUNTIME, EVENING, EVENING + timedelta(hours=1))
    late = undispatched_grid_w(RUNTIME, EVENING + timedelta(minutes=30), EVENING + timedelta(hours=1))
    assert len(whole) == 4
    for feeder_id, quarters in whole.items():
        assert list(quarters) == [EVENING + n * timedelta(minutes=15) for n in range(4)]
        # Only the meters' noise differs: it is not of the instant but of the reading.
        for at, watts in late[feeder_id].items():
            assert watts == pytest.approx(quarters[at], rel=0.005)


def test_what_the_sites_draw_is_their_load_through_their_rectifiers() -> None:
    quarters = undispatched_grid_w(RUNTIME, EVENING, EVENING + timedelta(minutes=15))
    total_w = sum(watts for feeder in quarters.values() for watts in feeder.values())
    # Eight sites whose load peaks between 1.5 and 5 kW, in the evening: some kW each, and nobody gives any back.
    assert 8 * 1_000.0 < total_w < 8 * 6_500.0
