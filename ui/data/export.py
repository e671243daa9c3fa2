"""Readings and roll-ups out of the database into a Parquet file."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import psycopg

from telemetry.export_store import count_rows, export_rows
from ui.data.parquet_file import write_parquet


def export_parquet(
    dsn: str,
    what: str,
    path: Path,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    site_ids: Sequence[str] | None = None,
    reach: Callable[[float], None] = lambda _: None,
) -> int:
    """Write rows of `[start, end)` and return how many.

    Args:
        dsn: Any role that may read.
        what: `readings`, `rollups` or `hours`.
        path: The file; made whole or not at all.
        start: None: from the first.
        end: None: to the last.
        site_ids: None: all.
        reach: Told how far it is, 0..1.
    """
    with psycopg.connect(
        dsn,
        application_name="cellwatt-export",
        options="-c timezone=UTC -c default_transaction_isolation=repeatable\\ read",
    ) as connection:
        total = max(1, count_rows(connection, what, start=start, end=end, site_ids=site_ids))
        rows = export_rows(connection, what, start=start, end=end, site_ids=site_ids)
        return write_parquet(path, rows, lambda written: reach(written / total))
