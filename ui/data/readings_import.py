"""A file of readings into the database, the way ingest stores a batch."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from telemetry.db import open_async_pool
from telemetry.registry_store import RegistryStore
from tools.planning.audit_store import AuditStore
from ui.api.upload import BadRow, Sender
from ui.api.upload_store import store_upload
from ui.data.readings_files import AT_ONCE, read_parts

_KEPT = 1_000  # bad rows that are told; all are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingsImport:
    """What an import did."""

    rows: int
    stored: int
    refused: int
    bad: tuple[BadRow, ...]


def import_readings(
    dsn: str,
    path: Path,
    *,
    who: str,
    now: datetime,
    reach: Callable[[float], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    at_once: int = AT_ONCE,
) -> ReadingsImport:
    """Store a file's good rows and name the bad ones; what was stored already is not stored twice.

    Args:
        dsn: Of the API's role.
        path: CSV or Parquet.
        who: For the trail.
        now: Domain instant: an hour's roll-up is worked out by ingest from then on.
        reach: Told how far it is, 0..1.
        say: Told how many rows there were.
        at_once: Rows judged and stored together.

    Raises:
        ReadingsFileError: The file as a whole cannot be read; what was stored before that stays.
    """
    sender = asyncio.run(_sender(dsn))
    rows = stored = refused = 0
    bad: list[BadRow] = []
    try:
        for part in read_parts(path, sender, now, at_once):
            stored += store_upload(dsn, part.rows, now, connect=psycopg.connect)
            rows = part.rows.rows
            refused += len(part.rows.bad)
            bad += sorted(part.rows.bad)[: _KEPT - len(bad)]
            reach(part.reached)
            say(f"{rows:,} rows, {refused:,} refused")
    finally:
        if rows:
            told: dict[str, str | int] = {
                "file": path.name,
                "rows": rows,
                "stored": stored,
                "refused": refused,
            }
            asyncio.run(_trail(dsn, who, now, told))
    return ReadingsImport(rows=rows, stored=stored, refused=refused, bad=tuple(bad))


async def _sender(dsn: str) -> Sender:
    """Return somebody who may speak for all that the registry knows."""
    pool = await open_async_pool(dsn, application_name="cellwatt-import", max_size=1)
    try:
        registry = RegistryStore(pool)
        return Sender(
            site_id="", sites=frozenset(await registry.sites()), feeders=frozenset(await registry.feeders())
        )
    finally:
        await pool.close()


async def _trail(dsn: str, who: str, at: datetime, told: dict[str, str | int]) -> None:
    pool = await open_async_pool(dsn, application_name="cellwatt-import", max_size=1)
    try:
        await AuditStore(pool).append(
            at=at, who=who, action="telemetry.imported", subject="fleet", after=told
        )
    finally:
        await pool.close()
