"""Which days of readings have a partition."""

from datetime import date

import psycopg


def days_of_readings(connection: psycopg.Connection) -> list[date]:
    """Return the UTC days that have a partition, in order."""
    rows = connection.execute(
        "SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'reading'::regclass AND c.relname ~ '^reading_[0-9]{8}$' ORDER BY 1"
    ).fetchall()
    return [day for (day,) in rows]
