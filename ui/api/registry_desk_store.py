"""Registry entries written by an admin: one transaction each, so that no other change is lost in between."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Rollback, sql
from psycopg.errors import ForeignKeyViolation
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from tools.planning.audit_store import append_audit

Doc = dict[str, Any]
KEYS: Mapping[str, str] = {
    "site": "site_id",
    "feeder": "feeder_id",
    "critical_site": "critical_site_id",
    "autonomy_profile": "profile_id",
    "battery_type": "battery_type_id",
    "tariff": "tariff_id",
}
# What queries filter by stands beside the document.
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "site": ("feeder_id", "radio_cluster", "mode", "simulated"),
    "feeder": (),
    "critical_site": ("feeder_id",),
    "autonomy_profile": (),
    "battery_type": (),
    "tariff": (),
}
Settle = Callable[[Doc | None], "Doc | Conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """An entry is written: its version, whether it is new, and whether anything changed."""

    version: int
    made: bool
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """It is not written, and why."""

    why: str
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One entry of many to be written: see `RegistryDesk.put`."""

    table: str
    subject_id: str
    settle: Settle


class RegistryDesk:
    """Writes registry entries as the API's role may."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def put(
        self,
        table: str,
        subject_id: str,
        settle: Settle,
        *,
        expected_version: int | None,
        who: str,
        at: datetime,
    ) -> Put | Conflict:
        """Add or replace an entry.

        Args:
            table: `site`, `feeder` or `critical_site`.
            subject_id: The entry.
            settle: What is to be stored, given what is stored now (None: nothing), or why not.
            expected_version: The version that the writer has seen; None: any.
            who: For the trail.
            at: Domain instant.
        """
        try:
            async with self._pool.connection() as connection:
                asked = Asked(table=table, subject_id=subject_id, settle=settle)
                return await _put(connection, asked, expected_version, who, at)
        except ForeignKeyViolation:
            return Conflict(why="there is no such feeder", field="feeder_id")

    async def put_all(
        self, asked: Sequence[Asked], *, who: str, at: datetime, keep: bool = True
    ) -> list[Put | Conflict]:
        """Add or replace entries, all of them or (if any conflicts, or not to be kept) none; return what became of each.

        Args:
            asked: In an order in which each finds what it refers to.
            who: For the trail.
            at: Domain instant.
            keep: False: only say what would be done.
        """
        done: list[Put | Conflict] = []
        async with self._pool.connection() as connection, connection.transaction() as transaction:
            for one in asked:
                try:
                    async with connection.transaction():
                        done.append(await _put(connection, one, None, who, at))
                except ForeignKeyViolation:
                    done.append(Conflict(why="there is no such feeder", field="feeder_id"))
            if not keep or any(isinstance(one, Conflict) for one in done):
                raise Rollback(transaction)
        return done

    async def history(self, table: str, subject_id: str, limit: int) -> list[Doc]:
        """Return the changes of an entry, the newest first: version, at, who, before, after."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT row_number() OVER (ORDER BY change_id), at, who, before, after FROM registry_change"
                " WHERE kind = %s AND subject_id = %s ORDER BY change_id DESC LIMIT %s",
                [table, subject_id, limit],
            )
            names = ("version", "at", "who", "before", "after")
            return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def _put(
    connection: AsyncConnection, asked: Asked, expected_version: int | None, who: str, at: datetime
) -> Put | Conflict:
    before, version = await _locked(connection, asked.table, asked.subject_id)
    if expected_version is not None and expected_version != version:
        return Conflict(
            why=f"{asked.subject_id} is at version {version} now; look at it again", field="If-Match"
        )
    after = asked.settle(before)
    if isinstance(after, Conflict):
        return after
    if after == before:
        return Put(version=version, made=False, changed=False)
    await _write(connection, asked.table, asked.subject_id, after)
    await _trail(connection, asked.table, asked.subject_id, before, after, who, at)
    return Put(version=version + 1, made=before is None)


async def _locked(connection: AsyncConnection, table: str, subject_id: str) -> tuple[Doc | None, int]:
    # A row that is not there yet cannot be locked: the name is.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"{table}/{subject_id}"])
    query = sql.SQL("SELECT doc, version FROM {} WHERE {} = %s FOR UPDATE").format(
        sql.Identifier(table), sql.Identifier(KEYS[table])
    )
    row = await (await connection.execute(query, [subject_id])).fetchone()
    return (None, 0) if row is None else (row[0], row[1])


async def _write(connection: AsyncConnection, table: str, subject_id: str, doc: Doc) -> None:
    columns = _BESIDE[table]
    names = [KEYS[table], *columns, "version", "doc"]
    query = sql.SQL(
        "INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {sets},"
        " version = {table}.version + 1"
    ).format(
        table=sql.Identifier(table),
        key=sql.Identifier(KEYS[table]),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        places=sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        sets=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in (*columns, "doc")
        ),
    )
    await connection.execute(query, [subject_id, *(doc[name] for name in columns), 1, Jsonb(doc)])


async def _trail(
    connection: AsyncConnection,
    table: str,
    subject_id: str,
    before: Doc | None,
    after: Doc,
    who: str,
    at: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO registry_change (at, who, kind, subject_id, before, after) VALUES (%s, %s, %s, %s, %s, %s)",
        [at, who, table, subject_id, None if before is None else Jsonb(before), Jsonb(after)],
    )
    old = before or {}
    changed = sorted(name for name in {*old, *after} if old.get(name) != after.get(name))
    await append_audit(
        connection,
        at=at,
        who=who,
        action=f"registry.{table}_{'added' if before is None else 'changed'}",
        subject=subject_id,
        before=None if before is None else {name: old.get(name) for name in changed},
        after={name: after.get(name) for name in changed},
    )
