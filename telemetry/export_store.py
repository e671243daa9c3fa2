"""Rows on their way out of the database, a part at a time whatever their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

TABLES = {"readings": ("reading", "at"), "rollups": ("rollup", "bucket"), "hours": ("rollup_hour", "bucket")}
_AT_ONCE = 20_000
_TYPES = {
    16: "bool", 20: "int8", 21: "int2", 23: "int4", 25: "text", 700: "float4", 701: "float8", 1009: "text[]",
    1021: "float4[]", 1184: "timestamptz", 3802: "jsonb",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPart:
    """Some rows as tuples, with the columns' names and database types."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def export_rows(
    connection: psycopg.Connection,
    what: str,
    *,
    start: datetime | None,
    end: datetime | None,
    site_ids: Sequence[str] | None,
) -> Iterator[RowsPart]:
    """Yield rows in order of site and time, all of one instant of the database; the first part may be empty.

    Args:
        connection: Not in autocommit.
        what: A name out of `TABLES`.
        start: From here on; None: from the first.
        end: Before this; None: to the last.
        site_ids: None: all.

    Raises:
        KeyError: There is no such thing.
    """
    table, time = TABLES[what]
    query = sql.SQL(
        "SELECT * FROM {table} WHERE (%(ids)s::text[] IS NULL OR site_id = ANY(%(ids)s))"
        " AND {time} >= coalesce(%(start)s, '-infinity'::timestamptz) AND {time} < coalesce(%(end)s, 'infinity'::timestamptz)"
        " ORDER BY site_id, {time}"
    ).format(table=sql.Identifier(table), time=sql.Identifier(time))
    arguments = {"ids": None if site_ids is None else list(site_ids), "start": start, "end": end}
    with connection.cursor(name="export", binary=True) as cursor:
        cursor.execute(query, arguments)
        columns = cursor.description or ()
        names = tuple(column.name for column in columns)
        types = tuple(_TYPES[column.type_code] for column in columns)
        rows = cursor.fetchmany(_AT_ONCE)
        yield RowsPart(names=names, types=types, rows=rows)
        while len(rows) == _AT_ONCE:
            rows = cursor.fetchmany(_AT_ONCE)
            yield RowsPart(names=names, types=types, rows=rows)


def count_rows(
    connection: psycopg.Connection,
    what: str,
    *,
    start: datetime | None,
    end: datetime | None,
    site_ids: Sequence[str] | None,
) -> int:
    """Return how many rows `export_rows` will yield."""
    table, time = TABLES[what]
    query = sql.SQL(
        "SELECT count(*) FROM {table} WHERE (%(ids)s::text[] IS NULL OR site_id = ANY(%(ids)s))"
        " AND {time} >= coalesce(%(start)s, '-infinity'::timestamptz) AND {time} < coalesce(%(end)s, 'infinity'::timestamptz)"
    ).format(table=sql.Identifier(table), time=sql.Identifier(time))
    arguments = {"ids": None if site_ids is None else list(site_ids), "start": start, "end": end}
    row = connection.execute(query, arguments).fetchone()
    return int(row[0]) if row else 0
