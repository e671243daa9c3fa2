"""Alerts as incidents: one id while a matter lasts, no coming and going, closed with the outcome."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from telemetry.db import open_async_pool
from telemetry.model.incident import Incident, IncidentState, Severity
from telemetry.reading_store import ReadingStore
from tests.agents.worlds import FEEDER, NOW, PEAK_FROM, SITE_IDS, World
from tests.services import Database
from tools.alerts.alert import Alert, AlertKind
from tools.alerts.battery import Life
from tools.alerts.countdown import countdowns
from tools.alerts.lifecycle import Patience, folded, update_alerts
from tools.anomaly.findings import Finding
from tools.anomaly.incident_store import IncidentStore
from tools.anomaly.incidents import acknowledge, update
from tools.anomaly.kinds import Kind
from tools.deps import Fleet
from tools.notify.occasion import of_incident
from tools.outage_chances import OutageChances
from tools.refresh_alerts import AlertRefresh
from ui.ops.secrets import DatabaseRole

STEP = timedelta(minutes=15)
ALERT = Alert(
    kind=AlertKind.FEEDER_LIMIT,
    subject_id="feeder-1",
    feeder_id="feeder-1",
    of_feeder=True,
    due_at=NOW + timedelta(hours=2),
    earliest_at=NOW + timedelta(hours=1),
    latest_at=None,
    field="import_w",
    expected=120_000.0,
    limit=114_000.0,
    severity=Severity.INFO,
    says="The import may pass the limit.",
)


def raised() -> Incident:
    [one] = update_alerts((), [ALERT], NOW)
    return one


def test_an_alert_becomes_an_incident_with_a_countdown() -> None:
    one = raised()
    assert (one.kind, one.site_id, one.state) == ("feeder_limit", "feeder-1", IncidentState.OPEN)
    assert [(c.who, c.why) for c in one.history] == [("forecast", "The import may pass the limit.")]
    [count] = countdowns([one], NOW + timedelta(minutes=30))
    assert (count.seconds_left, count.seconds_left_at_least) == (5400.0, 1800.0)
    assert (count.subject, count.subject_id, count.backup_h) == ("feeder", "feeder-1", None)
    occasion = of_incident(one)
    assert occasion is not None
    assert "The import may pass the limit." in occasion.body


def test_seen_again_it_keeps_its_id_and_its_hour_moves() -> None:
    later = replace(ALERT, due_at=NOW + timedelta(hours=3), severity=Severity.WARNING)
    taken = acknowledge(raised(), who="anna", why="asked for a plan", at=NOW)
    [again] = update_alerts([taken], [later], NOW + STEP)
    assert again.incident_id == taken.incident_id
    assert (again.state, again.severity) == (IncidentState.ACKNOWLEDGED, Severity.WARNING)
    assert again.evidence["due_at"] == later.due_at.isoformat()
    assert again.history[-1].why.startswith("now warning")
    [mild] = update_alerts([again], [ALERT], NOW + 2 * STEP)
    assert mild.severity is Severity.WARNING


def test_one_look_without_it_does_not_close_it_and_a_longer_calm_does() -> None:
    one = raised()
    assert update_alerts([one], [], NOW + 2 * STEP) == ()
    [closed] = update_alerts([one], [], NOW + 3 * STEP)
    assert closed.state is IncidentState.CLOSED
    assert closed.evidence["outcome"] == "did not come"
    assert closed.until == NOW + 3 * STEP


def test_an_alert_whose_hour_came_says_so() -> None:
    due = replace(ALERT, due_at=NOW, earliest_at=NOW)
    [one] = update_alerts((), [due], NOW)
    [closed] = update_alerts([one], [], NOW + timedelta(hours=1))
    assert closed.evidence["outcome"] == "came"


@pytest.mark.parametrize(
    ("after", "severity", "new"),
    [
        (timedelta(minutes=119), Severity.INFO, 0),
        (timedelta(minutes=119), Severity.WARNING, 1),
        (timedelta(minutes=120), Severity.INFO, 1),
    ],
)
def test_what_was_just_closed_does_not_come_back_at_once_unless_graver(
    after: timedelta, severity: Severity, new: int
) -> None:
    [closed] = update_alerts([raised()], [], NOW + timedelta(hours=1))
    at = NOW + timedelta(hours=1) + after
    later = replace(ALERT, severity=severity, due_at=at, earliest_at=at)
    assert len(update_alerts([closed], [later], at)) == new


def test_of_too_many_at_once_the_gravest_are_raised() -> None:
    many = [replace(ALERT, subject_id=f"f{k}") for k in range(5)]
    many.append(replace(ALERT, subject_id="worst", severity=Severity.CRITICAL))
    found = update_alerts((), many, NOW, Patience(most=2))
    assert [one.site_id for one in found] == ["worst", "f0"]


def test_findings_and_alerts_of_one_site_stay_apart() -> None:
    one = replace(raised(), site_id=SITE_IDS[0])  # type: ignore[arg-type]
    finding = Finding(
        kind=Kind.LOAD, site_id=SITE_IDS[0], field="load_w", since=NOW, until=None, expected=1.0, observed=2.0,
        residual=1.0, score=6.0, severity=Severity.WARNING, check_first="look",
    )  # fmt: skip
    kept, new = update([one], [finding], at=NOW + STEP, backup_h={})
    assert kept == one
    assert new.kind == "load"
    assert update_alerts([new], [], NOW + timedelta(days=1)) == ()


async def test_over_a_day_a_fleets_alerts_are_raised_carried_on_and_closed(database: Database) -> None:
    world = World()
    world.soc[SITE_IDS[5]] = 0.3  # 4000 Wh where 4200 Wh are asked for
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)

    looked_at = [NOW]

    async def fleet() -> Fleet:
        return world.fleet(looked_at[-1])

    async def lives(now: datetime) -> dict[str, Life]:
        end = datetime(2026, 5, 1, tzinfo=UTC)
        return {SITE_IDS[1]: Life(early=end, middle=end, late=end, soh_frac=0.81)}

    readings = ReadingStore(pool)
    chances = OutageChances(readings=readings)
    refresh = AlertRefresh(fleet=fleet, readings=readings, store=store, chances=chances, lives=lives)
    assert await refresh(NOW) == 3
    counts = countdowns(await store.open(), NOW)
    assert [(one.kind, one.subject_id) for one in counts] == [
        ("reserve_breach", SITE_IDS[5]),
        ("feeder_limit", FEEDER),
        ("battery_end_of_life", SITE_IDS[1]),
    ]
    assert counts[1].due_at == PEAK_FROM
    first = {one.incident_id for one in await store.open()}
    world.soc[SITE_IDS[5]] = 0.95
    looked_at.append(NOW + STEP)
    assert await refresh(NOW + STEP) == 3
    assert {one.incident_id for one in await store.open()} == first
    looked_at.append(NOW + timedelta(hours=1))
    assert await refresh(NOW + timedelta(hours=1)) == 2
    past = [one for one in await store.since(NOW) if one.state is IncidentState.CLOSED]
    assert [(one.kind, one.evidence["outcome"]) for one in past] == [("reserve_breach", "came")]
    assert folded(await store.open()) == frozenset()
    await pool.close()
