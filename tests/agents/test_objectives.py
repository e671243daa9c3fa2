"""Standing objectives in words: what is read out of them, and when they end."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.objectives import NotUnderstoodError, in_force, read_objective

NOW = datetime(2026, 3, 10, 16, 0, tzinfo=UTC)  # a Tuesday; 17:00 in Rome
SITES = ["cbs-0001", "cbs-0002", "cbs-0010"]


@pytest.mark.parametrize(
    ("text", "sites", "pause", "until"),
    [
        ("Never use cbs-0001", ("cbs-0001",), False, None),
        (
            "keep cbs-0001 and cbs-0002 out until friday",
            ("cbs-0001", "cbs-0002"),
            False,
            "2026-03-12T23:00:00+00:00",
        ),
        (
            "leave out cbs-0010 until 2026-04-01",
            ("cbs-0010",),
            False,
            "2026-03-31T22:00:00+00:00",
        ),  # summer time by then
        ("No dispatch until tomorrow, storm watch", (), True, "2026-03-10T23:00:00+00:00"),
        ("pause everything until tuesday", (), True, "2026-03-16T23:00:00+00:00"),  # the next one
        ("Pause dispatch", (), True, None),
    ],
)
def test_what_is_read(text: str, sites: tuple[str, ...], pause: bool, until: str | None) -> None:
    found = read_objective(text, SITES, NOW, "Europe/Rome")
    assert (found.exclude_site_ids, found.pause) == (sites, pause)
    assert found.doc()["until"] == until
    assert found.doc()["text"] == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("be nice", "say which sites are to be left out"),
        ("never use cbs-0099", "there is no site cbs-0099"),
        ("cbs-0001 is my favourite", "say which sites"),
        ("no dispatch until 2026-13-01", "2026-13-01 is no day"),
    ],
)
def test_what_says_nothing_is_refused(text: str, why: str) -> None:
    with pytest.raises(NotUnderstoodError, match=why):
        read_objective(text, SITES, NOW, "Europe/Rome")


def test_an_objective_ends_at_its_time() -> None:
    kept = [{"objective_id": "a"}, {"objective_id": "b", "until": (NOW + timedelta(hours=1)).isoformat()}]
    assert [one["objective_id"] for one in in_force(kept, NOW)] == ["a", "b"]
    assert [one["objective_id"] for one in in_force(kept, NOW + timedelta(hours=1))] == ["a"]
