"""What sites and ingest workers told of: mains lost, loads shed, a full spill. Read for the API."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; `site_id` is a site, or an ingest worker (`svc-ingest...`)."""

    site_id: str
    at: datetime
    kind: str
    detail: str


class EventStore:
    """Reads events, the newest first."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def recent(
        self, limit: int, *, site_id: str | None = None, kind: str | None = None
    ) -> list[EventRow]:
        """Return the newest events of all, or of one site, or of one kind."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT site_id, at, kind, detail FROM site_event WHERE (%(site)s::text IS NULL OR site_id = %(site)s)"
                " AND (%(kind)s::text IS NULL OR kind = %(kind)s) ORDER BY at DESC, site_id LIMIT %(limit)s",
                {"site": site_id, "kind": kind, "limit": limit},
            )
            return [
                EventRow(site_id=row[0], at=row[1], kind=row[2], detail=row[3])
                for row in await cursor.fetchall()
            ]
