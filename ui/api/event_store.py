"""What sites and ingest workers told of: mains lost, loads shed, a full spill. Read for the API."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; `event_id` counts in the order in which they came in, `site_id` is a site, or an ingest worker (`svc-ingest...`)."""

    event_id: int
    site_id: str
    at: datetime
    kind: str
    detail: str


class EventStore:
    """Reads events, the newest first."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def recent(
        self,
        limit: int,
        *,
        before: tuple[datetime, int] | None = None,
        site_id: str | None = None,
        kind: str | None = None,
    ) -> list[EventRow]:
        """Return the newest events of all, or of one site, or of one kind, from just before an (at, event_id) on."""
        at, event_id = before or (None, None)
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT event_id, site_id, at, kind, detail FROM site_event WHERE (%(site)s::text IS NULL OR site_id = %(site)s)"
                " AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
                " AND (%(at)s::timestamptz IS NULL OR at < %(at)s OR (at = %(at)s AND event_id < %(no)s))"
                " ORDER BY at DESC, event_id DESC LIMIT %(limit)s",
                {"site": site_id, "kind": kind, "at": at, "no": event_id, "limit": limit},
            )
            return [
                EventRow(event_id=row[0], site_id=row[1], at=row[2], kind=row[3], detail=row[4])
                for row in await cursor.fetchall()
            ]
