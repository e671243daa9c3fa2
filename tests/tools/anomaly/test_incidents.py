from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from telemetry.model.incident import IncidentState, Severity
from tools.anomaly.findings import Finding
from tools.anomaly.incidents import (
    IncidentTransitionError,
    acknowledge,
    at_stake_h,
    close,
    group,
    severity_of,
    similar,
    update,
    with_similar,
)
from tools.anomaly.kinds import Kind

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
THEFT = Finding(
    kind=Kind.ENERGY_THEFT,
    site_id="s1",
    field="grid_w",
    since=NOON,
    until=NOON + 2 * HOUR,
    expected=2000.0,
    observed=2300.0,
    residual=300.0,
    score=8.0,
    severity=Severity.WARNING,
    check_first="look",
)
BATTERY = replace(THEFT, kind=Kind.BATTERY_VOLTAGE, field="bus_v", since=NOON + HOUR, score=4.0)
AT = NOON + 3 * HOUR


def test_findings_of_one_site_and_time_are_one_incident_named_by_what_is_broken() -> None:
    (one,) = update((), [THEFT, BATTERY], at=AT, backup_h={})
    assert (one.kind, one.site_id, one.score) == ("battery_voltage", "s1", 8.0)
    assert (one.since, one.until) == (NOON, NOON + 2 * HOUR)
    assert one.evidence["kinds"] == "battery_voltage, energy_theft"
    assert one.state is IncidentState.OPEN


@pytest.mark.parametrize(("apart", "groups"), [(6 * HOUR, 1), (6 * HOUR + timedelta(seconds=1), 2)])
def test_a_quiet_time_longer_than_the_gap_separates(apart: timedelta, groups: int) -> None:
    later = replace(THEFT, since=NOON + 2 * HOUR + apart, until=None)
    assert len(group([THEFT, later], gap=6 * HOUR)) == groups


def test_other_sites_are_other_incidents() -> None:
    assert len(group([THEFT, replace(THEFT, site_id="s2")])) == 2


def test_seen_again_an_incident_keeps_its_id_and_its_state() -> None:
    (first,) = update((), [replace(THEFT, until=None)], at=AT, backup_h={})
    taken = acknowledge(first, who="anna", why="on my way", at=AT)
    (second,) = update(
        (taken,), [replace(THEFT, until=NOON + 4 * HOUR, score=9.0)], at=AT + HOUR, backup_h={}
    )
    assert second.incident_id == first.incident_id
    assert second.state is IncidentState.ACKNOWLEDGED
    assert (second.until, second.score) == (NOON + 4 * HOUR, 9.0)


def test_a_cause_that_comes_back_after_closing_is_a_new_incident() -> None:
    (first,) = update((), [THEFT], at=AT, backup_h={})
    closed = close(first, who="anna", why="tap removed", at=AT)
    again = update((closed,), [replace(THEFT, since=NOON + 3 * HOUR, until=None)], at=AT + HOUR, backup_h={})
    assert [i.state for i in again] == [IncidentState.CLOSED, IncidentState.OPEN]
    assert again[0].incident_id != again[1].incident_id


def test_every_step_is_signed_and_only_legal_steps_are_taken() -> None:
    (one,) = update((), [THEFT], at=AT, backup_h={})
    done = close(acknowledge(one, who="anna", why="seen", at=AT), who="ben", why="fixed", at=AT + HOUR)
    assert [(c.who, c.why) for c in done.history] == [
        ("detector", "energy_theft"),
        ("anna", "seen"),
        ("ben", "fixed"),
    ]
    with pytest.raises(IncidentTransitionError):
        close(done, who="anna", why="again", at=AT + HOUR)
    with pytest.raises(IncidentTransitionError):
        acknowledge(done, who="anna", why="again", at=AT + HOUR)
    with pytest.raises(IncidentTransitionError):
        acknowledge(one, who=" ", why="seen", at=AT)
    with pytest.raises(IncidentTransitionError):
        acknowledge(one, who="anna", why="seen", at=AT - HOUR)


@pytest.mark.parametrize(
    ("kind", "backup_h", "severity"),
    [
        (Kind.BATTERY_VOLTAGE, 1.0, Severity.CRITICAL),
        (Kind.BATTERY_VOLTAGE, 1.1, Severity.WARNING),
        (Kind.BATTERY_VOLTAGE, 4.1, Severity.INFO),
        (Kind.BATTERY_VOLTAGE, float("nan"), Severity.CRITICAL),
        (Kind.BATTERY_VOLTAGE, None, Severity.INFO),
        (Kind.ENERGY_THEFT, 0.5, Severity.INFO),
    ],
)
def test_severity_follows_the_backup_at_stake(kind: Kind, backup_h: float | None, severity: Severity) -> None:
    finding = replace(THEFT, kind=kind, severity=Severity.INFO)
    assert severity_of([finding], backup_h) is severity


def test_similar_incidents_are_closed_ones_of_the_kind_own_site_first() -> None:
    def past(site: str, day: int, kind: Kind = Kind.ENERGY_THEFT) -> Finding:
        begin = NOON - timedelta(days=day)
        return replace(THEFT, site_id=site, since=begin, until=begin + HOUR, kind=kind)

    found = update((), [past("s1", 30), past("s2", 5), past("s3", 2, Kind.PV)], at=AT, backup_h={})
    closed = [close(i, who="a", why="b", at=AT) for i in found]
    (now,) = update((), [THEFT], at=AT, backup_h={})
    assert [i.site_id for i in similar(now, [*closed, now])] == ["s1", "s2"]


def test_what_is_at_stake_is_what_the_battery_would_hold_if_the_finding_is_true() -> None:
    faded = replace(
        THEFT, kind=Kind.CAPACITY_FADE, field="capacity_ah", expected=200.0, observed=150.0, residual=-50.0
    )
    weak = replace(
        THEFT, kind=Kind.WEAK_STRING, field="string_gap_frac", expected=0.02, observed=0.52, residual=0.5
    )
    assert at_stake_h([THEFT], 8.0) == 8.0
    assert at_stake_h([faded], 8.0) == 6.0
    assert at_stake_h([faded, weak], 8.0) == 4.0
    assert at_stake_h([faded], None) is None
    (one,) = update((), [replace(weak, residual=0.9, severity=Severity.INFO)], at=AT, backup_h={"s1": 8.0})
    assert (one.severity, one.evidence["backup_at_stake_h"]) == (Severity.CRITICAL, 0.8)


def test_an_incident_names_the_closed_ones_like_it_and_why_they_were_closed() -> None:
    (old,) = update((), [THEFT], at=AT, backup_h={})
    closed = close(old, who="anna", why="a tap behind the meter was removed", at=AT)
    (new,) = update(
        (), [replace(THEFT, site_id="s2", since=NOON + 24 * HOUR, until=None)], at=AT + 24 * HOUR, backup_h={}
    )
    told = with_similar(new, [closed]).evidence["similar"]
    assert told == f"{old.incident_id} at s1 from 2024-05-06, closed: a tap behind the meter was removed"
    assert with_similar(new, [old]) == new  # not closed: nothing to learn from yet
