"""Standing objectives as the API's role may write them, each change with its audit entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from tools.planning.audit_store import append_audit

_SELECT = "SELECT objective_id, who, at, doc FROM standing_objective WHERE active ORDER BY at, objective_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveRow:
    """One objective that is kept."""

    objective_id: str
    who: str
    at: datetime
    doc: Mapping[str, Any]


class ObjectiveStore:
    """Reads and writes standing objectives."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def kept(self) -> list[ObjectiveRow]:
        """Return the objectives that are active, oldest first."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_SELECT)).fetchall()
        return [ObjectiveRow(objective_id=row[0], who=row[1], at=row[2], doc=row[3]) for row in rows]

    async def sites(self) -> list[tuple[str, str]]:
        """Return each site's id and time zone, in order of id."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT site_id, doc ->> 'time_zone' FROM site ORDER BY site_id"
            )
            return [(str(row[0]), str(row[1] or "UTC")) for row in await cursor.fetchall()]

    async def keep(self, objective_id: str, doc: Mapping[str, Any], *, who: str, at: datetime) -> None:
        """Keep an objective from now on."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO standing_objective (objective_id, doc, who, active, at) VALUES (%s, %s, %s, true, %s)",
                [objective_id, Jsonb(dict(doc)), who, at],
            )
            await append_audit(
                connection,
                at=at,
                who=who,
                action="objective.set",
                subject=objective_id,
                before={},
                after=dict(doc),
            )

    async def end(self, objective_id: str, *, who: str, at: datetime) -> bool:
        """End an objective; False where none of that id is active."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "UPDATE standing_objective SET active = false WHERE objective_id = %s AND active RETURNING doc",
                [objective_id],
            )
            row = await cursor.fetchone()
            if row is None:
                return False
            await append_audit(
                connection,
                at=at,
                who=who,
                action="objective.ended",
                subject=objective_id,
                before=row[0],
                after={},
            )
        return True
