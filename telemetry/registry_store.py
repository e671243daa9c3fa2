"""Sites, feeders and critical sites in PostgreSQL, every change with its before and after."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from telemetry.model.catalogue import AutonomyRule, BatteryType, BatteryTypeId, ProfileId, Tariff, TariffId
from telemetry.model.errors import ControlError
from telemetry.model.site import CriticalSite, CriticalSiteId, Feeder, FeederId, Site, SiteId, SiteMode

T = TypeVar("T")


class RegistryError(ControlError):
    """A stored registry entry cannot be read, or an entry names something that does not exist."""


class RegistryStore:
    """Reads and writes the registry; each write leaves a `registry_change`."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def sites(self) -> dict[SiteId, Site]:
        """Return every site by id, in order of id."""
        return {site.site_id: site for site in await self._all("site", "site_id", Site)}

    async def feeders(self) -> dict[FeederId, Feeder]:
        """Return every feeder by id, in order of id."""
        return {feeder.feeder_id: feeder for feeder in await self._all("feeder", "feeder_id", Feeder)}

    async def critical_sites(self) -> dict[CriticalSiteId, CriticalSite]:
        """Return every critical site by id, in order of id."""
        found = await self._all("critical_site", "critical_site_id", CriticalSite)
        return {site.critical_site_id: site for site in found}

    async def autonomy_profiles(self) -> dict[ProfileId, AutonomyRule]:
        """Return the autonomy duties by id, in order of id."""
        found = await self._all("autonomy_profile", "profile_id", AutonomyRule)
        return {one.profile_id: one for one in found}

    async def battery_types(self) -> dict[BatteryTypeId, BatteryType]:
        """Return the battery types by id, in order of id."""
        found = await self._all("battery_type", "battery_type_id", BatteryType)
        return {one.battery_type_id: one for one in found}

    async def tariffs(self) -> dict[TariffId, Tariff]:
        """Return the tariffs by id, in order of id."""
        return {one.tariff_id: one for one in await self._all("tariff", "tariff_id", Tariff)}

    async def put_tariffs(self, tariffs: Mapping[TariffId, Tariff], *, who: str, at: datetime) -> None:
        """Add or replace tariffs."""
        async with self._pool.connection() as connection, connection.transaction():
            for tariff_id, tariff in sorted(tariffs.items()):
                await _put(connection, "tariff", "tariff_id", tariff_id, tariff, {}, who, at)

    async def put_feeders(self, feeders: Mapping[FeederId, Feeder], *, who: str, at: datetime) -> None:
        """Add or replace feeders."""
        async with self._pool.connection() as connection, connection.transaction():
            for feeder_id, feeder in sorted(feeders.items()):
                await _put(connection, "feeder", "feeder_id", feeder_id, feeder, {}, who, at)

    async def put_sites(self, sites: Mapping[SiteId, Site], *, who: str, at: datetime) -> None:
        """Add or replace sites; their feeders must exist."""
        async with self._pool.connection() as connection, connection.transaction():
            for site_id, site in sorted(sites.items()):
                columns = {
                    "feeder_id": site.feeder_id,
                    "radio_cluster": site.radio_cluster,
                    "mode": site.mode.value,
                    "simulated": site.simulated,
                }
                await _put(connection, "site", "site_id", site_id, site, columns, who, at)

    async def put_critical_sites(
        self, sites: Mapping[CriticalSiteId, CriticalSite], *, who: str, at: datetime
    ) -> None:
        """Add or replace critical sites; their feeders must exist."""
        async with self._pool.connection() as connection, connection.transaction():
            for site_id, site in sorted(sites.items()):
                columns = {"feeder_id": site.feeder_id}
                await _put(connection, "critical_site", "critical_site_id", site_id, site, columns, who, at)

    async def set_mode(self, site_id: SiteId, mode: SiteMode, *, who: str, at: datetime) -> None:
        """Change how far a site lets itself be controlled.

        Raises:
            RegistryError: There is no such site.
        """
        site = (await self.sites()).get(site_id)
        if site is None:
            raise RegistryError(f"no site {site_id}")
        await self.put_sites({site_id: replace(site, mode=mode)}, who=who, at=at)

    async def _all(self, table: str, key: str, kind: type[T]) -> list[T]:
        query = sql.SQL("SELECT {}, doc FROM {} ORDER BY 1").format(
            sql.Identifier(key), sql.Identifier(table)
        )
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query)).fetchall()
        return [_from_doc(doc, kind, f"{table} {name}") for name, doc in rows]


def to_doc(thing: object) -> Any:
    """Return the JSON form of a registry dataclass, as the database gives it back (lists, not tuples)."""
    return msgspec.json.decode(msgspec.json.encode(thing))


def _from_doc(doc: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(doc, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise RegistryError(f"{where}: {error}") from error


async def _put(
    connection: AsyncConnection,
    table: str,
    key: str,
    subject_id: str,
    thing: object,
    columns: Mapping[str, object],
    who: str,
    at: datetime,
) -> None:
    doc = to_doc(thing)
    look = sql.SQL("SELECT doc FROM {} WHERE {} = %s FOR UPDATE").format(
        sql.Identifier(table), sql.Identifier(key)
    )
    row = await (await connection.execute(look, [subject_id])).fetchone()
    before = row[0] if row else None
    if before == doc:
        return
    names = [key, *columns, "version", "doc"]
    put = sql.SQL(
        "INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {sets},"
        " version = {table}.version + 1"
    ).format(
        table=sql.Identifier(table),
        key=sql.Identifier(key),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        places=sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        sets=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in (*columns, "doc")
        ),
    )
    await connection.execute(put, [subject_id, *columns.values(), 1, Jsonb(doc)])
    await connection.execute(
        "INSERT INTO registry_change (at, who, kind, subject_id, before, after) VALUES (%s, %s, %s, %s, %s, %s)",
        [at, who, table, subject_id, None if before is None else Jsonb(before), Jsonb(doc)],
    )
