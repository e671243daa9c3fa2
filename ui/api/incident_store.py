"""Incidents as people work on them: pages, and changes with a history entry and an audit entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from tools.planning.audit_store import append_audit

_SELECT = "SELECT incident_id, site_id, kind, since, until, score, severity, state, assignee, evidence, history FROM incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """An incident as stored, with whose it is."""

    incident_id: str
    site_id: str
    kind: str
    since: datetime
    until: datetime | None
    score: float
    severity: str
    state: str
    assignee: str | None
    evidence: dict[str, Any]
    history: list[dict[str, Any]]


class IncidentDesk:
    """Reads incidents, and writes what people say about them."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def page(
        self,
        limit: int,
        *,
        before: tuple[datetime, str] | None = None,
        states: Sequence[str],
        site_id: str | None = None,
    ) -> list[IncidentRow]:
        """Return incidents, the newest first, from just before a (since, incident_id) on."""
        at, incident_id = before or (None, None)
        return await self._find(
            " WHERE state = ANY(%s) AND (%s::text IS NULL OR site_id = %s)"
            " AND (%s::timestamptz IS NULL OR (since, incident_id) < (%s, %s))"
            " ORDER BY since DESC, incident_id DESC LIMIT %s",
            [list(states), site_id, site_id, at, at, incident_id, limit],
        )

    async def fetch(self, incident_id: str) -> IncidentRow | None:
        """Return one incident."""
        return next(iter(await self._find(" WHERE incident_id = %s", [incident_id])), None)

    async def change(
        self,
        incident_id: str,
        *,
        state: str,
        assignee: str | None,
        who: str,
        why: str,
        at: datetime,
        action: str,
    ) -> bool:
        """Move an incident on; False where there is none that is not closed. No assignee: it stays whose it is."""
        change = {"at": at.isoformat(), "who": who, "state": state, "why": why}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT state, assignee FROM incident WHERE incident_id = %s AND state <> 'closed' FOR UPDATE",
                [incident_id],
            )
            row = await cursor.fetchone()
            if row is None:
                return False
            await connection.execute(
                "UPDATE incident SET state = %s, history = history || %s, assignee = coalesce(%s, assignee),"
                " until = CASE WHEN %s = 'closed' THEN coalesce(until, %s) ELSE until END WHERE incident_id = %s",
                [state, Jsonb([change]), assignee, state, at, incident_id],
            )
            await append_audit(
                connection,
                at=at,
                who=who,
                action=f"incident.{action}",
                subject=incident_id,
                before={"state": row[0], "assignee": row[1]},
                after={"state": state, "assignee": assignee or row[1], "why": why},
            )
        return True

    async def _find(self, where: str, arguments: Sequence[Any]) -> list[IncidentRow]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute((_SELECT + where).encode(), arguments)
            rows = await cursor.fetchall()
        return [
            IncidentRow(
                incident_id=row[0],
                site_id=row[1],
                kind=row[2],
                since=row[3],
                until=row[4],
                score=row[5],
                severity=row[6],
                state=row[7],
                assignee=row[8],
                evidence=row[9],
                history=row[10],
            )
            for row in rows
        ]
