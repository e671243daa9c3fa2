from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ui.console.formats import (
    ago,
    countdown,
    duration,
    harmless,
    hours,
    kilo,
    moment,
    percent,
    plain,
    span,
    words,
    zone_of,
)

ROME = ZoneInfo("Europe/Rome")


def test_units_are_written_out() -> None:
    assert kilo(1536.0, "W") == "1.5 kW"
    assert kilo(-20826.5, "Wh", 2) == "-20.83 kWh"
    assert plain(54.4, "V") == "54.4 V"
    assert percent(0.875) == "88 %"
    assert percent(0.875, 1) == "87.5 %"


def test_what_is_not_known_is_no_zero() -> None:
    assert kilo(None, "W") == plain(None, "V") == percent(None) == hours(None) == "–"
    assert kilo(0.0, "W") == "0.0 kW"


def test_hours_at_the_horizon_are_more_than_it() -> None:
    assert hours(95.75) == "95.75 h"
    assert hours(96.0) == "> 96 h"


def test_an_instant_is_on_the_readers_clock_with_its_zone() -> None:
    assert moment("2026-01-15T17:15:00Z", ROME) == "15 Jan 18:15 CET"
    assert moment("2026-07-15T17:15:00Z", ROME) == "15 Jul 19:15 CEST"
    assert moment(None, ROME) == "–"


def test_a_window_says_the_day_again_only_where_it_changes() -> None:
    assert span("2026-01-15T17:15:00Z", "2026-01-15T19:30:00Z", ROME) == "15 Jan 18:15 – 20:30 CET"
    assert span("2026-01-15T22:15:00Z", "2026-01-15T23:30:00Z", ROME) == "15 Jan 23:15 – 16 Jan 00:30 CET"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (86399, "24 h"), (172800, "2 d")],
)
def test_durations_take_the_largest_fitting_unit(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_what_is_still_to_come_is_not_negative_ago() -> None:
    now = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    assert ago("2026-01-15T11:58:00Z", now) == "2 min ago"
    assert ago("2026-01-15T12:00:05Z", now) == "0 s ago"


def test_an_unknown_zone_is_utc() -> None:
    assert zone_of("Mars/Olympus").key == "UTC"
    assert zone_of(None).key == "UTC"
    assert zone_of("Europe/Oslo").key == "Europe/Oslo"


def test_names_become_words() -> None:
    assert words("two_persons") == "two persons"


def test_what_a_model_wrote_fetches_nothing() -> None:
    assert harmless("![x](http://a.example/?q=1) costs $5") == "!\\[x](http://a.example/?q=1) costs \\$5"
    assert harmless("[a link](http://a.example)") == "[a link](http://a.example)"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "now"), (59.9, "now"), (60.0, "1 min"), (3_660.0, "1 h 01 min"), (90_000.0, "1 d 1 h")],
)
def test_a_countdown_is_read_at_a_glance(seconds: float, shown: str) -> None:
    assert countdown(seconds) == shown
