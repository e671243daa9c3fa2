"""What the database needs so that tomorrow's data has a place, and yesterday's goes."""

from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from telemetry.db import role_dsn
from telemetry.partition_store import days_of_readings
from ui.ops.finding import Finding, fine, problem, warning
from ui.ops.secrets import DatabaseRole

_AHEAD = timedelta(days=1)
_RESTART = "look at the end of logs/ingest.log: its housekeeping makes partitions ahead and drops old ones every hour"


def check_partitions(owner_dsn: str, secrets: Path, now: datetime, keep_days: int) -> Finding:
    """There is a partition for today's and tomorrow's readings, and none far older than the retention.

    Args:
        owner_dsn: Address of the database.
        secrets: The folder with the passwords.
        now: Domain instant.
        keep_days: How many days of readings are kept.
    """
    path = secrets / f"database-{DatabaseRole.API.value}"
    try:
        with psycopg.connect(
            role_dsn(owner_dsn, DatabaseRole.API.value, path.read_text().strip()), connect_timeout=5
        ) as connection:
            days = days_of_readings(connection)
    except (OSError, psycopg.Error):
        return warning("partitions", "not looked at: the database does not answer", "mend that first")
    missing = [day for day in (now.date(), (now + _AHEAD).date()) if day not in days]
    if missing:
        names = ", ".join(day.isoformat() for day in missing)
        return problem("partitions", f"no partition for the readings of {names}", _RESTART)
    old = [day for day in days if day < (now - timedelta(days=keep_days + 2)).date()]
    if old:
        return warning(
            "partitions",
            f"{len(old)} days of readings are past their {keep_days} days, from {min(old)} on",
            _RESTART,
        )
    return fine("partitions", f"{len(days)} days of readings, ahead until {max(days)}")
