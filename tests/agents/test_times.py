"""Windows in an operator's words; it is 17:00 in Rome, 16:00 UTC, on Tuesday 10 March 2026."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.times import UNNAMED_END, read_window

EARLIEST = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("from 18:00 to 19:30", "10 17:00", "10 18:30"),  # Rome is an hour ahead of UTC in March
        ("from 18:00 to 19:30 UTC", "10 18:00", "10 19:30"),  # a zone that is named goes before Rome's
        ("between 18:00Z and 19:00Z", "10 18:00", "10 19:00"),
        ("at 20:15 for 90 minutes", "10 19:15", "10 20:45"),
        ("this evening", "10 16:00", "10 21:00"),
        ("for the next 2 hours", "10 16:00", "10 18:00"),
        ("from 18:00 for one hour", "10 17:00", "10 18:00"),
        ("at 18:00 for half an hour", "10 17:00", "10 17:30"),
        ("from 18:00 for two hours and a half", "10 17:00", "10 19:30"),
        ("between 6 pm and 7:30pm", "10 17:00", "10 18:30"),
        ("between 6 and 7:30 pm", "10 17:00", "10 18:30"),
        ("from 1730h to 1900h", "10 16:30", "10 18:00"),
        ("from 18.00 to 20.00", "10 17:00", "10 19:00"),
        ("from half past five until seven this evening", "10 16:30", "10 18:00"),
        ("from a quarter to six until quarter past seven in the evening", "10 16:45", "10 18:15"),
        ("tomorrow morning", "11 05:00", "11 09:00"),
        ("in the morning", "11 05:00", "11 09:00"),  # today's is over
        ("from 23:00 to 02:00", "10 22:00", "11 01:00"),
        ("from 8 pm until midnight", "10 19:00", "10 23:00"),
        ("on friday from 18 to 20", "13 17:00", "13 19:00"),
        ("on 2026-03-12 at 18:00 for an hour", "12 17:00", "12 18:00"),
        ("day after tomorrow at noon for 30 minutes", "12 10:00", "12 10:30"),
        (
            "shave feeder-18 by 20 kW from 18:05 to 18:20",
            "10 17:00",
            "10 17:30",
        ),  # whole quarter hours, ids and powers are no times
    ],
)
def test_words_lead_to_a_window(text: str, start: str, end: str) -> None:
    found = read_window(text, EARLIEST, "Europe/Rome")
    assert found is not None
    assert (f"{found.start:%d %H:%M}", f"{found.end:%d %H:%M}") == (start, end)
    assert found.assumed == ""


@pytest.mark.parametrize(
    "text",
    [
        "shave feeder-1",
        "when the sun has gone down",
        "tomorrow",
        "soon",
        "feeder-18 20 kW",
        "at 25:00",
        "yesterday evening at 5",
    ],
)
def test_no_window_is_invented(text: str) -> None:
    assert read_window(text, EARLIEST, "Europe/Rome") is None


@pytest.mark.parametrize("text", ["at 18:00", "now"])
def test_an_end_that_is_not_named_is_said_to_be_assumed(text: str) -> None:
    found = read_window(text, EARLIEST, "Europe/Rome")
    assert found is not None
    assert found.end - found.start == UNNAMED_END == timedelta(hours=4)
    assert found.assumed == "no end was named, so four hours are assumed"


def test_summer_time_begins_within_a_window() -> None:
    night = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    found = read_window("from 23:00 to 4:00", night, "Europe/Rome")
    assert found is not None
    # 22:00 UTC to 02:00 UTC: the clocks go from 02:00 to 03:00, so five hours on the wall are four.
    assert (found.start, found.end) == (
        datetime(2026, 3, 28, 22, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 0, tzinfo=UTC),
    )
