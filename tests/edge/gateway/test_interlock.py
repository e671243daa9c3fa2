"""The interlock by hand: contacts, counter, papers and the dead utility, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace as alter

from edge.gateway.check_devices import check_island, check_switch
from edge.gateway.config import SiteConfig
from edge.gateway.interlock import (
    Interlock,
    IslandRule,
    SwitchPosition,
    SwitchRule,
    follow,
    island_gap,
    switch_gap,
)
from edge.gateway.limits import ExportRule
from edge.modbus.port import FieldSample, SwitchReading
from tests.edge.gateway.bench import CONFIG, LIMITS, NOON
from tests.edge.gateway.test_commands import SAMPLE

SECOND = timedelta(seconds=1)
RULE = SwitchRule()
OPEN = SwitchReading(open_contact=True, closed_contact=False, looks=10)
ISLAND = IslandRule(
    agreement="connection agreement 12/2026",
    agreement_expires_at=NOON + timedelta(days=90),
    switching_authority="control room order 4711",
    authority_expires_at=NOON + timedelta(hours=8),
    limit_w=1500.0,
    keep_soc_frac=0.5,
)
DARK = replace(SAMPLE, mains_ok=False, grid_v=0.4, grid_w=3.0)
KNOWN = Interlock(
    position=SwitchPosition.OPEN, why="", since=NOON - 6 * SECOND, looks=10, moved_at=NOON
)  # open for six seconds


def seen(*readings: SwitchReading | None) -> Interlock:
    """Follow looks a second apart, the last of them at noon."""
    known = Interlock()
    for k, reading in enumerate(readings):
        known = follow(known, reading, RULE, NOON - (len(readings) - 1 - k) * SECOND)
    return known


def looks(*numbers: int) -> list[SwitchReading]:
    return [replace(OPEN, looks=number) for number in numbers]


def test_one_look_proves_nothing_and_two_with_a_counter_that_moved_do() -> None:
    assert seen(OPEN).why == "stale"
    known = seen(*looks(10, 20))
    assert (known.position, known.since, known.moved_at) == (SwitchPosition.OPEN, NOON, NOON)
    closed = replace(OPEN, open_contact=False, closed_contact=True)
    assert seen(closed, replace(closed, looks=11)).position is SwitchPosition.CLOSED


def test_a_position_keeps_its_beginning_and_a_doubt_ends_it() -> None:
    assert seen(*looks(10, 20, 30, 40)).since == NOON - 2 * SECOND
    assert seen(*looks(10, 20), None, *looks(40, 50)).since == NOON - SECOND
    # From closed to open within one look: the time of the one says nothing about the other.
    closed = [replace(look, open_contact=False, closed_contact=True) for look in looks(10, 20, 30)]
    known = seen(*closed, *looks(40, 50))
    assert (known.position, known.since) == (SwitchPosition.OPEN, NOON - SECOND)


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        ((*looks(10, 20), None), "not_read"),
        (looks(10, 20, 20), "stale"),  # a second without a look: 1.0 s is beyond 0.9 s
        ((*looks(10, 20), replace(OPEN, closed_contact=True, looks=30)), "contradictory"),
        ((*looks(10, 20), replace(OPEN, open_contact=False, looks=30)), "contradictory"),
        (looks(65_530, 4, 4), "stale"),
        ((*looks(10, 20), replace(OPEN, closed_contact=True, looks=20)), "stale"),  # the first that is wrong
        ((), "not_read"),
    ],
)
def test_what_cannot_be_believed_is_doubtful_at_once(readings: list[SwitchReading], why: str) -> None:
    known = seen(*readings)
    assert (known.position, known.why, known.since) == (SwitchPosition.DOUBTFUL, why, None)
    assert switch_gap(known, SwitchPosition.OPEN, RULE, NOON, 2 * SECOND) == f"switch_{why}"


def test_a_counter_that_starts_again_at_zero_has_moved() -> None:
    assert seen(*looks(65_530, 4)).position is SwitchPosition.OPEN


def test_a_look_of_nine_tenths_of_a_second_counts_and_one_microsecond_more_does_not() -> None:
    known = seen(*looks(10, 20))
    held = replace(OPEN, looks=20)
    at = NOON + timedelta(seconds=0.9)
    assert follow(known, held, RULE, at).position is SwitchPosition.OPEN
    assert follow(known, held, RULE, at + timedelta(microseconds=1)).why == "stale"
    # A clock that went back proves nothing either.
    assert follow(known, held, RULE, NOON - timedelta(microseconds=1)).why == "stale"


def test_a_switch_must_have_stood_for_five_seconds_and_been_looked_at_lately() -> None:
    def gap(since_s: float, moved_s: float = 0.0) -> str:
        known = replace(
            KNOWN, since=NOON - timedelta(seconds=since_s), moved_at=NOON - timedelta(seconds=moved_s)
        )
        return switch_gap(known, SwitchPosition.OPEN, RULE, NOON, 2 * SECOND)

    assert (gap(5.0), gap(4.999)) == ("", "switch_unsettled")
    assert (gap(6.0, 2.0), gap(6.0, 2.001)) == ("", "switch_stale")
    assert switch_gap(KNOWN, SwitchPosition.CLOSED, RULE, NOON, 2 * SECOND) == "switch_open"
    ageless, unmoved = replace(KNOWN, since=None), replace(KNOWN, moved_at=None)
    assert switch_gap(ageless, SwitchPosition.OPEN, RULE, NOON, 2 * SECOND) == "switch_unsettled"
    assert switch_gap(unmoved, SwitchPosition.OPEN, RULE, NOON, 2 * SECOND) == "switch_stale"


@pytest.mark.parametrize(
    ("rule", "known", "sample", "gap"),
    [
        (ISLAND, KNOWN, DARK, ""),
        (alter(ISLAND, agreement_expires_at=NOON), KNOWN, DARK, "agreement_expired"),
        (alter(ISLAND, agreement_expires_at=NOON + timedelta(microseconds=1)), KNOWN, DARK, ""),
        (alter(ISLAND, authority_expires_at=NOON), KNOWN, DARK, "authority_expired"),
        (ISLAND, KNOWN, replace(DARK, mains_ok=True), "mains_present"),
        (ISLAND, replace(KNOWN, position=SwitchPosition.CLOSED), DARK, "switch_closed"),
        (ISLAND, Interlock(), DARK, "switch_not_read"),
        (ISLAND, KNOWN, replace(DARK, grid_v=None), "utility_not_measured"),
        (ISLAND, KNOWN, replace(DARK, grid_v=23.0), ""),
        (ISLAND, KNOWN, replace(DARK, grid_v=23.1), "utility_live"),
        (ISLAND, KNOWN, replace(DARK, grid_v=float("nan")), "utility_live"),
        (ISLAND, KNOWN, replace(DARK, grid_v=-23.1), "utility_live"),
        (ISLAND, KNOWN, replace(DARK, grid_w=-100.1), "utility_live"),
        (ISLAND, KNOWN, replace(DARK, grid_w=100.1), "utility_live"),
        (ISLAND, KNOWN, replace(DARK, grid_w=float("nan")), "utility_live"),
        (ISLAND, KNOWN, replace(DARK, genset_w=100.0), ""),
        (ISLAND, KNOWN, replace(DARK, genset_w=float("nan")), "genset_running"),
        (ISLAND, KNOWN, replace(DARK, grid_w=-100.0), ""),
        (ISLAND, KNOWN, replace(DARK, genset_w=101.0), "genset_running"),
    ],
)
def test_each_thing_that_is_missing_keeps_an_islands_export_shut(
    rule: IslandRule, known: Interlock, sample: FieldSample, gap: str
) -> None:
    assert island_gap(rule, RULE, known, sample, NOON, 2 * SECOND) == gap


GOOD = """
certificate: EN 50549-1:2019 no. 17
limit_w: 1900
island:
  agreement: connection agreement 12/2026
  agreement_expires_at: 2026-05-31T00:00:00Z
  switching_authority: control room order 4711
  authority_expires_at: 2026-03-02T20:00:00Z
  limit_w: 1500
  keep_soc_frac: 0.5
"""


def test_the_files_island_is_read_with_its_instants() -> None:
    island = msgspec.yaml.decode(GOOD, type=ExportRule).island
    assert island is not None
    assert island.authority_expires_at == datetime(2026, 3, 2, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  agreement: connection agreement 12/2026\n", ""),
        ("  switching_authority: control room order 4711\n", ""),
        ("  keep_soc_frac: 0.5\n", ""),
        ("  limit_w: 1500\n", ""),
        ("2026-05-31T00:00:00Z", "2026-05-31T00:00:00"),  # no time zone
        ("  agreement_expires_at: 2026-05-31T00:00:00Z\n", ""),
        ("keep_soc_frac: 0.5", "keep_soc_frac: 0.5\n  settled: true"),
        ("2026-03-02T20:00:00Z", "2026-03-02T20:00:00"),
        ("connection agreement 12/2026", "ab"),
        ("connection agreement 12/2026", "x" * 201),
        ("control room order 4711", "ab"),
        ("limit_w: 1500", "limit_w: 0"),
        ("keep_soc_frac: 0.5", "keep_soc_frac: 0"),
        ("keep_soc_frac: 0.5", "keep_soc_frac: 1"),
        ("island:", "switch: {max_age_s: 0}\nisland:"),
        ("island:", "switch: {max_age_s: 1.0}\nisland:"),
        ("island:", "switch: {settle_s: 0.9}\nisland:"),
        ("island:", "switch: {settle_s: 601}\nisland:"),
    ],
)
def test_an_island_without_one_of_its_papers_cannot_be_declared(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(msgspec.ValidationError):
        msgspec.yaml.decode(GOOD.replace(old, new), type=ExportRule)


def test_what_an_island_leaves_to_the_site_lies_within_its_own_band() -> None:
    export = ExportRule(certificate="EN 50549-1", limit_w=1900.0, island=alter(ISLAND, keep_soc_frac=0.1))
    with pytest.raises(ValueError, match="keep_soc_frac"):
        SiteConfig(
            site_id=CONFIG.site_id,
            root_public_b64=CONFIG.root_public_b64,
            limits=alter(LIMITS, export=export),  # its band begins at 0.15
        )


@pytest.mark.parametrize(
    ("looks", "listed", "found"),
    [
        ((OPEN, replace(OPEN, looks=16)), True, ["open"]),
        ((OPEN, OPEN), True, ["its counter of looks stands still"]),
        ((OPEN, None), True, ["it does not answer"]),
        ((OPEN, replace(OPEN, closed_contact=True, looks=16)), True, ["its contacts contradict each other"]),
        ((None, None), False, ["declared, but no device reads it back"]),
    ],
)
def test_the_self_check_says_where_the_switch_stands_or_what_to_fix(
    looks: tuple[SwitchReading | None, SwitchReading | None], found: list[str], *, listed: bool
) -> None:
    export = ExportRule(certificate="EN 50549-1", limit_w=1900.0, island=ISLAND)
    findings = check_switch(export, looks, NOON, listed=listed)
    assert [finding.found for finding in findings] == found
    assert all(bool(finding.fix) is (found != ["open"]) for finding in findings)


def test_the_self_check_names_papers_that_have_ended() -> None:
    export = ExportRule(certificate="EN 50549-1", limit_w=1900.0, island=ISLAND)
    both = (OPEN, replace(OPEN, looks=16))
    found = check_switch(export, both, NOON + timedelta(hours=8), listed=True)
    assert [finding.what for finding in found] == ["switching authority"]
    assert check_switch(None, (None, None), NOON, listed=False) == []


def test_the_self_check_asks_for_the_utilitys_voltage_where_an_island_is_declared() -> None:
    export = ExportRule(certificate="EN 50549-1", limit_w=1900.0, island=ISLAND)
    assert [f.what for f in check_island(export, replace(DARK, grid_v=None))] == ["island"]
    assert check_island(export, DARK) == []
    assert check_island(alter(export, island=None), replace(DARK, grid_v=None)) == []
    assert check_island(None, replace(DARK, grid_v=None)) == []
