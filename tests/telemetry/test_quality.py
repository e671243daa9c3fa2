from dataclasses import replace
from datetime import timedelta
from math import inf, nan, nextafter

import pytest

from telemetry.model.reading import Reading, Verdict
from telemetry.quality import RANGES, goodness, judge
from tests.telemetry.examples import NOW, READING


def test_a_healthy_reading_is_left_alone() -> None:
    assert judge(READING, NOW) == READING
    assert goodness(READING) == 1.0


@pytest.mark.parametrize("name", sorted(RANGES))
def test_each_limit_holds_from_both_sides(name: str) -> None:
    allowed = RANGES[name]
    for good in (allowed.low, allowed.high):
        assert judge(_with(name, good), NOW).verdict(name) is not Verdict.BAD
    for bad in (nextafter(allowed.low, -inf), nextafter(allowed.high, inf), nan, inf, -inf):
        assert judge(_with(name, bad), NOW).verdict(name) is Verdict.BAD


def _with(name: str, value: float) -> Reading:
    changed: dict[str, float] = {name: value}
    return replace(READING, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("bus_v", 54_400.0, "unit slip, mV for V"),
        ("grid_hz", 50_000.0, "unit slip, mHz for Hz"),
        ("soc_frac", 98.0, "unit slip, percent for fraction"),
        ("battery_c", 251.0, "unit slip, tenths for degrees"),
        ("bus_v", 61.0, "outside 0..60"),
        ("soc_frac", -0.01, "outside 0..1"),
    ],
)
def test_the_reason_says_what_is_wrong(name: str, value: float, reason: str) -> None:
    judged = judge(_with(name, value), NOW)
    assert judged.quality[name].reason == reason


def test_a_bad_value_is_set_aside_and_never_used() -> None:
    judged = judge(replace(READING, bus_v=54_400.0), NOW)
    assert judged.bus_v is None
    assert judged.quality["bus_v"].raw == 54_400.0


def test_string_currents_are_held_to_the_batterys_range() -> None:
    assert judge(replace(READING, string_a=(1.0, 601.0)), NOW).string_a is None
    assert judge(replace(READING, string_a=(1.0, 600.0)), NOW).string_a == (1.0, 600.0)


@pytest.mark.parametrize(("ahead_s", "doubtful"), [(60.0, False), (60.1, True), (-3600.0, False)])
def test_a_clock_more_than_a_minute_ahead_is_suspect(ahead_s: float, doubtful: bool) -> None:
    judged = judge(replace(READING, at=NOW + timedelta(seconds=ahead_s)), NOW)
    assert ("at" in judged.quality) is doubtful


def test_power_that_does_not_add_up_is_suspect() -> None:
    # 2,016 in, 2,000 load: 500 W into the battery cannot be; tolerance 150 + 8 % of 2,016 = 311 W.
    assert "rectifier_w" in judge(replace(READING, battery_w=500.0), NOW).quality
    assert "rectifier_w" not in judge(replace(READING, battery_w=300.0), NOW).quality


def test_grid_power_that_vanishes_between_meter_and_rectifier_is_suspect() -> None:
    # 2,016 / 0.7 + 311 = 3,191 W may go in at most.
    assert "grid_w" in judge(replace(READING, grid_w=60.0 + 3192.0), NOW).quality
    assert "grid_w" not in judge(replace(READING, grid_w=60.0 + 3190.0), NOW).quality


def test_goodness_is_the_share_of_measured_fields_that_are_good() -> None:
    # 14 of the ranged fields are measured in READING; one of them bad.
    measured = sum(getattr(READING, name) is not None for name in RANGES)
    assert measured == 14
    assert goodness(judge(replace(READING, battery_c=200.0), NOW)) == pytest.approx(13 / 14)
    assert goodness(replace(READING, **dict.fromkeys(RANGES))) == 0.0  # type: ignore[arg-type]
