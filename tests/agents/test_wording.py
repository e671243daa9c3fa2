"""Slips, other languages, follow-up turns; and what a long conversation is shortened to."""

import pytest

from agents.memory import shortened
from agents.wording import continued, is_foreign, mended, named, relief_kw_in


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("staus of teh fleet", "status of teh fleet"),
        ("how logn does site-00003 hold", "how long does site-00003 hold"),
        ("shvae feeder-00", "shave feeder-00"),
        ("forcast for feeder-01", "forecast for feeder-01"),
        ("any incidnts?", "any incidents?"),
        ("lower the reserve", "lower the reserve"),
        ("status-1 of foracast-2", "status-1 of foracast-2"),  # ids are left alone
    ],
)
def test_slips_are_mended(text: str, meant: str) -> None:
    assert mended(text) == meant


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("Wie geht es der Flotte?", True),
        ("Combien de temps tient site-00003 sans secteur ?", True),
        ("Laadin akut feeder-01:ssa huomenna aamulla", True),
        ("¿Hay incidentes abiertos?", True),
        ("サイトの状態は", True),
        ("status", False),
        ("forecast feeder-00 tomorrow", False),
        ("shave feeder-00 from 18:00 to 20:00", False),
    ],
)
def test_other_languages_are_noticed(text: str, foreign: bool) -> None:
    assert is_foreign(text) is foreign


@pytest.mark.parametrize(
    ("text", "kw"),
    [("5 kW off", 5.0), ("0.004 MW", 4.0), ("2500 W", 2.5), ("feeder-5 kw", None), ("no figure", None)],
)
def test_powers(text: str, kw: float | None) -> None:
    assert relief_kw_in(text) == kw


def test_a_longer_id_is_not_a_shorter_one() -> None:
    assert named(["cbs-1", "cbs-10"], "how is cbs-10?") == ["cbs-10"]


@pytest.mark.parametrize(
    ("before", "text", "whole"),
    [
        ("How long does cbs-1 last?", "And cbs-2?", "how long does cbs-2 last?"),
        ("Expected peak on feeder-1?", "the same for feeder-2", "expected peak on feeder-2?"),
        ("Shave feeder-1", "from 18:00 to 20:00", "from 18:00 to 20:00 Shave feeder-1"),
        ("Can cbs-1 be dispatched?", "Why not?", "Can cbs-1 be dispatched? why"),
        ("How long does cbs-1 last?", "compare plans", "compare plans"),
    ],
)
def test_a_follow_up_turn_is_completed(before: str, text: str, whole: str) -> None:
    assert continued(text, [{"who": "operator", "text": before}, {"who": "agent", "text": "x"}]) == whole


def test_a_long_conversation_is_shortened_to_what_was_asked() -> None:
    turns = [
        {"who": who, "text": text}
        for number in range(5)
        for who, text in (
            ("operator", f"How long does cbs-{number} last?"),
            ("agent", f"cbs-{number} lasts {number + 7}.5 h."),
        )
    ]
    found = shortened(turns, keep=4)
    assert [one["who"] for one in found] == ["summary", "operator", "agent", "operator", "agent"]
    assert found[0]["text"] == (
        "Before that, 6 turns. They spoke of cbs-0, cbs-1, cbs-2."
        " The operator asked: How long does cbs-0 last?; How long does cbs-1 last?; How long does cbs-2 last?."
    )
    assert shortened(turns[:3], keep=4) == turns[:3]
