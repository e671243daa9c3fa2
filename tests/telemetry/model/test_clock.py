import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from telemetry.model.clock import ClockError, FilePace, Pace, PacedClock, change_speed, wall_clock, write_pace

WALL = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
DOMAIN = datetime(2030, 6, 1, tzinfo=UTC)


class Wall:
    """A wall clock in the hands of a test."""

    def __init__(self) -> None:
        self.at = WALL

    def __call__(self) -> datetime:
        return self.at


def test_domain_time_runs_at_its_speed_from_its_epoch() -> None:
    wall = Wall()
    clock = PacedClock(lambda: Pace(wall=WALL, domain=DOMAIN, speed=60.0), wall)
    assert clock.now() == DOMAIN
    wall.at += timedelta(seconds=10)
    assert clock.now() == DOMAIN + timedelta(minutes=10)
    assert clock.to_wall(timedelta(minutes=15)) == timedelta(seconds=15)


def test_a_clock_that_stands_still_never_gets_there() -> None:
    assert (
        PacedClock(lambda: Pace(wall=WALL, domain=DOMAIN, speed=0.0)).to_wall(timedelta(1)) == timedelta.max
    )


def test_a_change_of_speed_goes_on_from_the_same_instant(tmp_path: Path) -> None:
    path, wall = tmp_path / "clock.json", Wall()
    write_pace(path, Pace(wall=WALL, domain=DOMAIN, speed=1.0))
    wall.at += timedelta(seconds=100)
    change_speed(path, 60.0, wall)
    clock = PacedClock(FilePace(path, look_every=timedelta(0)), wall)
    assert clock.now() == DOMAIN + timedelta(seconds=100)
    wall.at += timedelta(seconds=1)
    assert clock.now() == DOMAIN + timedelta(seconds=160)


def test_a_follower_sees_the_change_without_being_told(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_pace(path, Pace(wall=WALL, domain=DOMAIN, speed=1.0))
    pace = FilePace(path, look_every=timedelta(milliseconds=1))
    assert pace().speed == 1.0
    time.sleep(0.02)  # a file system's clock may be coarse
    change_speed(path, 7.0)
    time.sleep(0.02)
    assert pace().speed == 7.0


async def test_a_sleep_ends_early_when_the_speed_rises_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    now = datetime.now(UTC)
    write_pace(path, Pace(wall=now, domain=DOMAIN, speed=1.0))
    clock = PacedClock(FilePace(path))
    start_s = time.monotonic()
    sleeping = asyncio.create_task(clock.sleep(timedelta(hours=1)))
    await asyncio.sleep(0.05)
    change_speed(path, 100_000.0)
    await asyncio.wait_for(sleeping, 5)
    assert time.monotonic() - start_s < 5.0
    assert clock.now() >= DOMAIN + timedelta(hours=1)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", json.dumps({"wall": "2026-01-01", "domain": "2030-01-01", "speed": 1}), "no json"],
)
def test_a_clock_file_that_cannot_be_believed_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clock.json"
    path.write_text(text)
    with pytest.raises(ClockError, match=r"clock\.json|aware"):
        FilePace(path)


@pytest.mark.parametrize("speed", [-1.0, float("nan"), 100_001.0])
def test_a_speed_out_of_reason_is_refused(speed: float) -> None:
    with pytest.raises(ClockError, match="speed"):
        Pace(wall=WALL, domain=DOMAIN, speed=speed)


def test_a_real_fleets_clock_is_the_wall() -> None:
    assert abs(wall_clock().now() - datetime.now(UTC)) < timedelta(seconds=1)
