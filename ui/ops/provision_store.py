"""What a new database is given before any process starts: the fleet, the mode in force, the first login."""

from datetime import datetime

import psycopg
from argon2 import PasswordHasher

from edge.safety.limits import OperatingMode


def provision_admin(owner: psycopg.Connection, name: str, password: str, at: datetime) -> None:
    """Make the first login, or set its password to the one in the state directory."""
    owner.execute(
        "INSERT INTO app_user (name, password_hash, role, created_at) VALUES (%s, %s, 'admin', %s)"
        " ON CONFLICT (name) DO NOTHING",
        [name, PasswordHasher().hash(password), at],
    )


def provision_mode(owner: psycopg.Connection, at: datetime) -> None:
    """Put the normal mode in force where none is."""
    owner.execute(
        "INSERT INTO fleet_mode (mode, who, since) VALUES (%s, 'provisioning', %s) ON CONFLICT DO NOTHING",
        [OperatingMode.NORMAL.value, at],
    )


def roll_ups_due(owner: psycopg.Connection, before: datetime) -> int:
    """Return how many quarter hours that ended before an instant still wait to be rolled up."""
    row = owner.execute(
        "SELECT count(*) FROM rollup_due WHERE bucket + interval '15 minutes' <= %s", [before]
    ).fetchone()
    return int(row[0]) if row else 0


def sites_with_history(owner: psycopg.Connection, boot_id: str, readings: int) -> int:
    """Return of how many sites at least so many readings of a boot are stored, without a gap."""
    row = owner.execute(
        "SELECT count(*) FROM stored_mark WHERE boot_id = %s AND upto >= %s", [boot_id, readings]
    ).fetchone()
    return int(row[0]) if row else 0


def fresh_sites(owner: psycopg.Connection, since: datetime) -> int:
    """Return how many sites have a reading sampled after `since`."""
    row = owner.execute("SELECT count(*) FROM reading_latest WHERE at > %s", [since]).fetchone()
    return int(row[0]) if row else 0
