"""What a new database is given before any process starts: the fleet, the mode in force, the first login."""

from datetime import datetime

import psycopg
from argon2 import PasswordHasher

from edge.safety.limits import OperatingMode


def is_provisioned(owner: psycopg.Connection) -> bool:
    """Return whether a mode is in force, which is the last thing that provisioning sets."""
    return owner.execute("SELECT 1 FROM fleet_mode").fetchone() is not None


def first_site_count(owner: psycopg.Connection) -> int:
    """Return how many simulated sites the registry holds."""
    row = owner.execute("SELECT count(*) FROM site WHERE simulated").fetchone()
    return int(row[0]) if row else 0


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


def newest_reading(owner: psycopg.Connection) -> datetime | None:
    """Return when the newest stored reading was sampled."""
    row = owner.execute("SELECT max(at) FROM reading_latest").fetchone()
    return row[0] if row else None


def fresh_sites(owner: psycopg.Connection, since: datetime) -> int:
    """Return how many sites have a reading sampled after `since`."""
    row = owner.execute("SELECT count(*) FROM reading_latest WHERE at > %s", [since]).fetchone()
    return int(row[0]) if row else 0
