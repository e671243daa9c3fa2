"""The ingest benchmark's own SQL: bare tables for what it is measured against, and what has become visible."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import psycopg
from psycopg import sql

from telemetry.rows import COLUMNS, FLOATS
from telemetry.wire import TelemetryMessage

Row = tuple[Any, ...]  # in the order of COLUMNS
_TYPES = (
    "text", "text", "int8", "timestamptz", *["float4"] * len(FLOATS), "float4[]", "bool", "text[]", "jsonb",
)  # fmt: skip
_measured = attrgetter(*FLOATS)
_NAMES = sql.SQL(", ").join(sql.Identifier(name) for name in COLUMNS)
_COPY = sql.SQL("COPY bench_bare ({}) FROM STDIN (FORMAT BINARY)").format(_NAMES)
_INSERT = sql.SQL("INSERT INTO bench_keyed ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
    _NAMES, sql.SQL(", ").join([sql.Placeholder()] * len(COLUMNS))
)


def rows_of(message: TelemetryMessage) -> list[Row]:
    """Return a message's readings as rows, unjudged."""
    return [
        (
            message.site_id, message.boot_id, wire.sequence, wire.at, *_measured(wire),
            None if wire.string_a is None else list(wire.string_a), wire.mains_ok, list(wire.alarms), None,
        )
        for wire in message.readings
    ]  # fmt: skip


def make_tables(owner: psycopg.Connection) -> None:
    """Make a table without any key, and one keyed as `reading` is."""
    owner.execute("CREATE TABLE bench_bare (LIKE reading)")
    owner.execute("CREATE TABLE bench_keyed (LIKE reading, PRIMARY KEY (site_id, at, boot_id, sequence))")


def copy_bare(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Copy rows into the table without a key."""
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row(row)


def insert_message(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Insert one message's rows and commit."""
    for row in rows:
        connection.execute(_INSERT, row)
    connection.commit()


def visible(connection: psycopg.Connection, boot_id: str) -> dict[str, int]:
    """Return by site up to which sequence every reading of a boot is visible."""
    rows = connection.execute(
        "SELECT site_id, upto FROM stored_mark WHERE boot_id = %s", [boot_id]
    ).fetchall()
    return dict(rows)


def count_readings(connection: psycopg.Connection, boot_id: str) -> int:
    """Return how many readings of a boot there are."""
    row = connection.execute("SELECT count(*) FROM reading WHERE boot_id = %s", [boot_id]).fetchone()
    return int(row[0]) if row else 0


def server_processes(connection: psycopg.Connection, application: str) -> list[int]:
    """Return the server's processes that serve an application."""
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [application]
    ).fetchall()
    return [pid for (pid,) in rows]
