"""Incidents in the database: opened and carried on by the loop, acknowledged and closed by people through the API."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.site import SiteId

_COLUMNS = "incident_id, site_id, kind, since, until, score, severity, state, evidence, history"


class IncidentStore:
    """Reads and writes incidents."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def put(self, incidents: Iterable[Incident]) -> int:
        """Keep incidents, each once by its id, and return how many; one that a person has closed stays closed."""
        rows = [_row(one) for one in incidents]
        if not rows:
            return 0
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(
                f"INSERT INTO incident ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
                " ON CONFLICT (incident_id) DO UPDATE SET kind = excluded.kind, since = excluded.since,"
                " until = excluded.until, score = excluded.score, severity = excluded.severity, state = excluded.state,"
                " evidence = excluded.evidence, history = excluded.history WHERE incident.state <> 'closed'",
                rows,
            )
        return len(rows)

    async def open(self) -> list[Incident]:
        """Return the incidents that are not closed, the most severe and then the newest first."""
        found = await self._find("WHERE state <> 'closed'", [])
        return sorted(found, key=lambda one: (-list(Severity).index(one.severity), -one.since.timestamp()))

    async def since(self, at: datetime, limit: int = 1000) -> list[Incident]:
        """Return incidents that began or still lasted after an instant, whatever their state, newest first."""
        return await self._find(
            "WHERE until IS NULL OR until >= %s OR since >= %s ORDER BY since DESC LIMIT %s", [at, at, limit]
        )

    async def changed(self, at: datetime, limit: int = 1000) -> list[Incident]:
        """Return the incidents that are open, and those that began, ended or were worked on since an instant, newest first.

        One that a person closes may have ended long before: its history tells when that was.
        """
        return await self._find(
            "WHERE state <> 'closed' OR since >= %s OR until >= %s OR (history -> -1 ->> 'at')::timestamptz >= %s"
            " ORDER BY since DESC LIMIT %s",
            [at, at, at, limit],
        )

    async def closed(self, kinds: Iterable[str], *, limit: int = 200) -> list[Incident]:
        """Return the latest closed incidents of some kinds, newest first: what similar ones are found among."""
        return await self._find(
            "WHERE state = 'closed' AND kind = ANY(%s) ORDER BY since DESC LIMIT %s", [sorted(kinds), limit]
        )

    async def fetch(self, incident_id: str) -> Incident | None:
        """Return one incident."""
        return next(iter(await self._find("WHERE incident_id = %s", [incident_id])), None)

    async def _find(self, where: str, arguments: list[object]) -> list[Incident]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(f"SELECT {_COLUMNS} FROM incident {where}".encode(), arguments)  # noqa: S608
            return [_incident(row) for row in await cursor.fetchall()]


def _row(one: Incident) -> list[object]:
    history = [
        {"at": change.at.isoformat(), "who": change.who, "state": change.state.value, "why": change.why}
        for change in one.history
    ]
    return [
        one.incident_id, one.site_id, one.kind, one.since, one.until, one.score, one.severity.value, one.state.value,
        Jsonb(dict(one.evidence)), Jsonb(history),
    ]  # fmt: skip


def _incident(row: Sequence[Any]) -> Incident:
    return Incident(
        incident_id=row[0],
        site_id=SiteId(row[1]),
        kind=row[2],
        since=row[3],
        until=row[4],
        score=row[5],
        severity=Severity(row[6]),
        state=IncidentState(row[7]),
        evidence=row[8],
        history=tuple(
            IncidentChange(
                at=datetime.fromisoformat(change["at"]),
                who=change["who"],
                state=IncidentState(change["state"]),
                why=change["why"],
            )
            for change in row[9]
        ),
    )
