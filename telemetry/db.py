"""Connections to PostgreSQL: pools, roles, and the migration runner.

Migrations are forward-only files `NNNN_name.sql`, one sequence for the whole database. Each runs once, in a
transaction of its own, under a lock, and is recorded with the hash of its text; a changed text is refused.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, ConnectionPool

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICE_ROLES = ("cellwatt_ingest", "cellwatt_api", "cellwatt_loop", "cellwatt_control")

_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_LOCK_KEY = 0x0CE1_1BA7  # one number for everything that changes the schema


class MigrationError(Exception):
    """The migration files and the database do not fit together; nothing was changed beyond the last good one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int  # 1, 2, 3 ...
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal; line ends are normalised, so that a checkout setting changes nothing."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()


def role_dsn(owner_dsn: str, role: str, password: str) -> str:
    """Return the address of the same database for another role.

    Args:
        owner_dsn: A `postgresql://` address; its own user and password are replaced, options are kept.
        role: User name.
        password: Any characters.

    Raises:
        ValueError: Not a `postgresql://` address.
    """
    parts = urlsplit(owner_dsn)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("the database address must start with postgresql://")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{host}"))


def read_migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Return the migrations of a folder in order.

    Raises:
        MigrationError: A number is missing, given twice, or a file is misnamed.
    """
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is not named NNNN_name.sql")
        found.append(Migration(version=int(match["version"]), name=match["name"], text=path.read_text()))
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"migration {expected:04d} is missing or given twice: found {migration.version:04d} in its place"
            )
    return tuple(found)


def pending(
    migrations: tuple[Migration, ...], applied: Mapping[int, tuple[str, str]]
) -> tuple[Migration, ...]:
    """Return which migrations are still to run.

    Args:
        migrations: All of this release, numbered from 1.
        applied: Version to (name, checksum), as the database recorded them.

    Raises:
        MigrationError: The database has one that this release lacks, has a gap, or has another text under a number.
    """
    known = {migration.version: migration for migration in migrations}
    if sorted(applied) != list(range(1, len(applied) + 1)):
        raise MigrationError(f"the database's record of migrations has a gap: {sorted(applied)}")
    for version, (name, checksum) in applied.items():
        if version not in known:
            raise MigrationError(
                f"the database has migration {version:04d}_{name}, which this release does not know; run the newer release"
            )
        if known[version].checksum != checksum:
            raise MigrationError(
                f"migration {version:04d}_{known[version].name} was edited after it ran (as {name}); "
                "restore its text and put the change into a new migration"
            )
    return migrations[len(applied) :]


def migrate(owner_dsn: str, *, applied_at: datetime, folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Bring the database up to this release; return what ran.

    Args:
        owner_dsn: The owner's address, a direct one: a transaction-pooling proxy would lose the lock.
        applied_at: Aware UTC, recorded beside each migration.
        folder: Where the files are.

    Raises:
        MigrationError: Files and database do not fit, or a migration failed (those before it stay).
    """
    migrations = read_migrations(folder)
    with _locked(owner_dsn) as connection:
        with connection.transaction():
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migration (version integer PRIMARY KEY, name text NOT NULL,"
                " checksum text NOT NULL, applied_at timestamptz NOT NULL)"
            )
        todo = pending(migrations, _applied(connection))
        for migration in todo:
            _apply(connection, migration, applied_at)
    return todo


def unapplied(owner_dsn: str, folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Return which migrations of this release the database still lacks; changes nothing.

    Raises:
        MigrationError: Files and database do not fit.
    """
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        row = connection.execute("SELECT to_regclass('schema_migration') IS NOT NULL").fetchone()
        applied = _applied(connection) if row is not None and row[0] else {}
    return pending(read_migrations(folder), applied)


def _applied(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute(
        "SELECT version, name, checksum FROM schema_migration ORDER BY version"
    ).fetchall()
    return {version: (name, checksum) for version, name, checksum in rows}


def ensure_database(admin_dsn: str, name: str) -> None:
    """Make a database unless there is one of that name.

    Args:
        admin_dsn: A role that may create databases, connected to another one.
        name: Of the database.
    """
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def provision_roles(owner_dsn: str, passwords: Mapping[str, str]) -> None:
    """Make the service roles, set their passwords, and make the vector extension; may be repeated.

    Runs before the migrations, which grant to these roles. A role gets nothing here but the right to connect. The
    server sees a SCRAM verifier, so that no statement log holds a password.

    Args:
        owner_dsn: A role that may create roles.
        passwords: Role name to password, for each of `SERVICE_ROLES`; others are ignored.
    """
    with _locked(owner_dsn) as connection, connection.transaction():
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        for role in SERVICE_ROLES:
            _provision(connection, role, passwords[role])


def open_pool(
    dsn: str,
    *,
    application_name: str,
    min_size: int = 1,
    max_size: int = 4,
    configure: Callable[[psycopg.Connection], None] | None = None,
) -> ConnectionPool[psycopg.Connection]:
    """Return an open pool; connections are made in the background and made again after a restart of the server.

    Args:
        dsn: Address of the process's own role.
        application_name: Shown in `pg_stat_activity`.
        min_size: Connections kept.
        max_size: Connections at most.
        configure: Called with each new connection, for instance to register types.
    """
    return ConnectionPool(
        dsn,
        kwargs=_session(application_name),
        min_size=min_size,
        max_size=max_size,
        configure=configure,
        open=True,
        name=application_name,
    )


async def open_async_pool(
    dsn: str,
    *,
    application_name: str,
    min_size: int = 1,
    max_size: int = 4,
    configure: Callable[[psycopg.AsyncConnection], Awaitable[None]] | None = None,
) -> AsyncConnectionPool[psycopg.AsyncConnection]:
    """Like `open_pool`, for asyncio."""
    pool = AsyncConnectionPool(
        dsn,
        kwargs=_session(application_name),
        min_size=min_size,
        max_size=max_size,
        configure=configure,
        open=False,
        name=application_name,
    )
    await pool.open()
    return pool


def _session(application_name: str) -> dict[str, str]:
    return {"application_name": application_name, "options": "-c timezone=UTC"}


@contextmanager
def _locked(owner_dsn: str) -> Iterator[psycopg.Connection]:
    # The lock belongs to the session and ends with it, also when this process is killed.
    with psycopg.connect(owner_dsn, autocommit=True, application_name="cellwatt-migrate") as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK_KEY])
        yield connection


def _apply(connection: psycopg.Connection, migration: Migration, applied_at: datetime) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES (%s, %s, %s, %s)",
                [migration.version, migration.name, migration.checksum, applied_at],
            )
    except psycopg.Error as error:
        raise MigrationError(f"migration {migration.version:04d}_{migration.name} failed: {error}") from error


def _provision(connection: psycopg.Connection, role: str, password: str) -> None:
    name = sql.Identifier(role)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            name, sql.Literal(verifier)
        )
    )
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name))
