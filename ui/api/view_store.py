"""Lists for people: plans, incidents, audit, quality and the registry, page by page, newest or first id first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from edge.plan import PlanId, PlanStatus
from tools.planning.plan_store import PlanSummary
from ui.api.registry_desk_store import KEYS

Doc = dict[str, Any]
_DOCUMENT = ("document_id", "title", "kind", "role", "written_on", "simulated", "imported_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One registry entry as stored."""

    subject_id: str
    version: int
    doc: dict[str, Any]


class ViewStore:
    """Read-only queries that only the API asks."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def registry_page(
        self, table: str, limit: int, *, after: str = "", feeder_id: str | None = None
    ) -> list[Entry]:
        """Return registry entries in order of id from just after one on.

        Raises:
            KeyError: There is no such part of the registry.
        """
        key = sql.Identifier(KEYS[table])
        query = sql.SQL(
            "SELECT {key}, version, doc FROM {table} WHERE {key} > %s AND (%s::text IS NULL OR doc ->> 'feeder_id' = %s)"
            " ORDER BY {key} LIMIT %s"
        ).format(key=key, table=sql.Identifier(table))
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, [after, feeder_id, feeder_id, limit])
            rows = await cursor.fetchall()
        return [Entry(subject_id=row[0], version=row[1], doc=row[2]) for row in rows]

    async def registry_entry(self, table: str, subject_id: str) -> Entry | None:
        """Return one registry entry."""
        query = sql.SQL("SELECT {key}, version, doc FROM {table} WHERE {key} = %s").format(
            key=sql.Identifier(KEYS[table]), table=sql.Identifier(table)
        )
        async with self._pool.connection() as connection:
            row = await (await connection.execute(query, [subject_id])).fetchone()
        return None if row is None else Entry(subject_id=row[0], version=row[1], doc=row[2])

    async def plans_page(
        self,
        limit: int,
        *,
        before: tuple[datetime, str] | None = None,
        statuses: Sequence[PlanStatus] = tuple(PlanStatus),
        thread_id: str | None = None,
    ) -> list[PlanSummary]:
        """Return plans, the newest first, from just before a (created_at, plan_id) on."""
        at, plan_id = before or (None, None)
        rows = await self._all(
            "SELECT plan_id, supersedes, thread_id, status, created_at, window_start, window_end,"
            " doc #>> '{objective,kind}', jsonb_array_length(doc -> 'sites') FROM plan WHERE status = ANY(%s)"
            " AND (%s::timestamptz IS NULL OR (created_at, plan_id) < (%s, %s))"
            " AND (%s::text IS NULL OR thread_id = %s) ORDER BY created_at DESC, plan_id DESC LIMIT %s",
            [[status.value for status in statuses], at, at, plan_id, thread_id, thread_id, limit],
        )
        return [
            PlanSummary(
                plan_id=PlanId(row[0]),
                supersedes=row[1],
                thread_id=row[2],
                status=PlanStatus(row[3]),
                created_at=row[4],
                window_start=row[5],
                window_end=row[6],
                objective=row[7],
                sites=row[8],
            )
            for row in rows
        ]

    async def simulated(self, site_ids: Sequence[str]) -> int:
        """Return how many of these sites are simulated."""
        rows = await self._all(
            "SELECT count(*) FROM site WHERE simulated AND site_id = ANY(%s)", [list(site_ids)]
        )
        return int(rows[0][0])

    async def feeders_of(self, site_ids: Sequence[str]) -> dict[str, str]:
        """Return which feeder each of these sites hangs on; a site that is registered no longer is left out."""
        rows = await self._all(
            "SELECT site_id, feeder_id FROM site WHERE site_id = ANY(%s)", [list(site_ids)]
        )
        return {str(site_id): str(feeder_id) for site_id, feeder_id in rows}

    async def audit_page(
        self, limit: int, *, before: int | None = None, subject: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return audit entries, the newest first: seq, at, role, who, action, subject, before, after."""
        return await self._all(
            "SELECT seq, at, role, who, action, subject, before, after FROM audit"
            " WHERE (%s::bigint IS NULL OR seq < %s) AND (%s::text IS NULL OR subject = %s OR after ->> 'plan_id' = %s)"
            " ORDER BY seq DESC LIMIT %s",
            [before, before, subject, subject, subject, limit],
        )

    async def quality(self) -> list[tuple[str, datetime, float, dict[str, str]]]:
        """Return each site's quality, the worst first."""
        return [
            (row[0], row[1], float(row[2]), row[3])
            for row in await self._all(
                "SELECT q.site_id, q.at, q.score, q.reasons FROM site_quality q JOIN site USING (site_id)"
                " ORDER BY q.score, q.site_id",
                [],
            )
        ]

    async def quarantined(self, since: datetime) -> list[tuple[str, int, datetime]]:
        """Return what was set aside since an instant, by reason, the most frequent first."""
        rows = await self._all(
            "SELECT left(reason, 160), count(*), max(received_at) FROM quarantine WHERE received_at >= %s"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 50",
            [since],
        )
        return [(row[0], int(row[1]), row[2]) for row in rows]

    async def forecast_lines(self, quantity: str, limit: int, *, after: str = "") -> list[tuple[Any, ...]]:
        """Return the newest forecast of each subject in order of subject: all but its values."""
        return await self._all(
            "SELECT s.id, f.quantity, f.made_at, f.start, f.steps, f.model, f.version, f.reason FROM"
            " (SELECT site_id AS id FROM site UNION SELECT feeder_id FROM feeder) s JOIN LATERAL"
            " (SELECT * FROM forecast WHERE subject_id = s.id AND quantity = %s"
            " ORDER BY made_at DESC, forecast_id DESC LIMIT 1) f ON true WHERE s.id > %s ORDER BY s.id LIMIT %s",
            [quantity, after, limit],
        )

    async def documents_page(self, roles: Sequence[str], limit: int, *, after: str = "") -> list[Doc]:
        """Return the library's documents that these roles' readers may read, by id from just after one on."""
        rows = await self._all(
            "SELECT document_id, title, kind, role, written_on, simulated, imported_at FROM document"
            " WHERE role = ANY(%s) AND document_id > %s ORDER BY document_id LIMIT %s",
            [list(roles), after, limit],
        )
        return [dict(zip(_DOCUMENT, row, strict=True)) for row in rows]

    async def document(self, document_id: str) -> Doc | None:
        """Return one document of the library, whole."""
        rows = await self._all(
            "SELECT document_id, title, kind, role, written_on, simulated, imported_at, body FROM document"
            " WHERE document_id = %s",
            [document_id],
        )
        return dict(zip((*_DOCUMENT, "text"), rows[0], strict=True)) if rows else None

    async def ping(self) -> None:
        """Ask the database anything."""
        await self._all("SELECT 1", [])

    async def _all(self, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query.encode(), arguments)
            return await cursor.fetchall()
