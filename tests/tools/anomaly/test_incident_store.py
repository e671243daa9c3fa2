"""Incidents kept in PostgreSQL by the loop's role."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from telemetry.db import open_async_pool
from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.site import SiteId
from tests.services import Database
from tools.anomaly.incident_store import IncidentStore
from ui.ops.secrets import DatabaseRole

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
INCIDENT = Incident(
    incident_id="inc-1", site_id=SiteId("cbs-0001"), kind="load", since=AT, until=None, score=3.5,
    severity=Severity.WARNING, evidence={"expected": 1000.0, "check_first": "the door"}, state=IncidentState.OPEN,
    history=(IncidentChange(at=AT, who="detector", state=IncidentState.OPEN, why="load"),),
)  # fmt: skip


async def test_what_is_kept_comes_back_and_a_closed_incident_is_not_reopened(database: Database) -> None:
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)
    assert await store.put([INCIDENT]) == 1
    assert await store.fetch("inc-1") == INCIDENT
    closed = replace(INCIDENT, state=IncidentState.CLOSED, until=AT + timedelta(hours=1))
    await store.put([closed])
    await store.put([INCIDENT])  # the detector sees the same stretch again
    assert await store.fetch("inc-1") == closed
    assert await store.open() == []
    assert await store.since(AT + timedelta(minutes=30)) == [closed]
    assert await store.since(AT + timedelta(hours=2)) == []
    await pool.close()


async def test_the_most_severe_come_first_and_then_the_newest(database: Database) -> None:
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)
    await store.put(
        [
            replace(INCIDENT, incident_id="old", since=AT - timedelta(days=1)),
            replace(INCIDENT, incident_id="new"),
            replace(INCIDENT, incident_id="worst", severity=Severity.CRITICAL, since=AT - timedelta(days=2)),
        ]
    )
    assert [one.incident_id for one in await store.open()] == ["worst", "new", "old"]
    await pool.close()


async def test_an_incident_has_changed_when_somebody_closed_it_however_long_ago_it_ended(
    database: Database,
) -> None:
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    store = IncidentStore(pool)
    ended = replace(INCIDENT, state=IncidentState.CLOSED, until=AT + timedelta(hours=1))
    end = IncidentChange(
        at=AT + timedelta(hours=30), who="anna", state=IncidentState.CLOSED, why="cable mended"
    )
    late = replace(
        ended, incident_id="inc-2", since=AT - timedelta(hours=1), history=(*INCIDENT.history, end)
    )
    open_still = replace(INCIDENT, incident_id="inc-3", since=AT - timedelta(days=9))
    silent = replace(ended, incident_id="inc-4", history=())
    await store.put([ended, late, open_still, silent])
    assert await store.changed(AT + timedelta(hours=29)) == [late, open_still]
    assert await store.changed(AT + timedelta(hours=31)) == [open_still]
    assert len(await store.changed(AT + timedelta(minutes=30))) == 4
    await pool.close()
