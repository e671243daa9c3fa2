import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from telemetry.db import (
    SERVICE_ROLES,
    Migration,
    MigrationError,
    migrate,
    open_async_pool,
    open_pool,
    pending,
    provision_roles,
    read_migrations,
    role_dsn,
)
from tests.services import PASSWORDS, Database
from ui.ops.secrets import DatabaseRole

AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
FIRST = Migration(version=1, name="first", text="CREATE TABLE first (n integer);")
SECOND = Migration(version=2, name="second", text="CREATE TABLE second (n integer);")


def write(folder: Path, *migrations: Migration) -> Path:
    folder.mkdir(exist_ok=True)
    for migration in migrations:
        (folder / f"{migration.version:04d}_{migration.name}.sql").write_text(migration.text)
    return folder


def test_role_dsn_replaces_the_user_and_keeps_the_options() -> None:
    owner = "postgresql://owner:p%40ss@db.example:5433/cellwatt?sslmode=require"
    assert role_dsn(owner, "cellwatt_api", "a/b@c") == (
        "postgresql://cellwatt_api:a%2Fb%40c@db.example:5433/cellwatt?sslmode=require"
    )


def test_role_dsn_refuses_a_keyword_string() -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        role_dsn("host=localhost dbname=cellwatt", "cellwatt_api", "x")


def test_checksum_is_the_same_on_a_checkout_with_windows_line_ends() -> None:
    text = "SELECT 1;\nSELECT 2;\n"
    assert replace(FIRST, text=text).checksum == replace(FIRST, text=text.replace("\n", "\r\n")).checksum


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0001_a.sql", "0003_c.sql"], "0002 is missing"),
        (["0001_a.sql", "0001_b.sql"], "given twice"),
        (["1_a.sql"], "not named"),
        (["0002_b.sql"], "0001 is missing"),
    ],
)
def test_a_folder_with_a_gap_or_a_misnamed_file_is_refused(
    tmp_path: Path, names: list[str], complaint: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=complaint):
        read_migrations(tmp_path)


def test_only_what_has_not_run_is_pending() -> None:
    assert pending((FIRST, SECOND), {1: ("first", FIRST.checksum)}) == (SECOND,)
    assert pending((FIRST, SECOND), {}) == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("applied", "complaint"),
    [
        ({1: ("first", "0" * 64)}, "0001_first was edited"),
        ({1: ("first", FIRST.checksum), 2: ("second", SECOND.checksum), 3: ("third", "0")}, "0003_third"),
        ({2: ("second", SECOND.checksum)}, "gap"),
    ],
)
def test_a_database_that_does_not_fit_the_files_is_refused(
    applied: dict[int, tuple[str, str]], complaint: str
) -> None:
    with pytest.raises(MigrationError, match=complaint):
        pending((FIRST, SECOND), applied)


@pytest.mark.database
def test_migrations_run_once_in_order_and_are_recorded(empty_database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path, FIRST)
    assert migrate(empty_database.owner_dsn, applied_at=AT, folder=folder) == (FIRST,)
    write(tmp_path, SECOND)
    assert migrate(empty_database.owner_dsn, applied_at=AT, folder=folder) == (SECOND,)
    assert migrate(empty_database.owner_dsn, applied_at=AT, folder=folder) == ()
    with psycopg.connect(empty_database.owner_dsn) as connection:
        rows = connection.execute(
            "SELECT version, name, applied_at FROM schema_migration ORDER BY version"
        ).fetchall()
    assert rows == [(1, "first", AT), (2, "second", AT)]


@pytest.mark.database
def test_a_failing_migration_leaves_nothing_of_itself_and_keeps_those_before_it(
    empty_database: Database, tmp_path: Path
) -> None:
    broken = replace(SECOND, text="CREATE TABLE half (n integer); SELECT nonsense;")
    folder = write(tmp_path, FIRST, broken)
    with pytest.raises(MigrationError, match="0002_second failed"):
        migrate(empty_database.owner_dsn, applied_at=AT, folder=folder)
    with psycopg.connect(empty_database.owner_dsn) as connection:
        found = connection.execute("SELECT to_regclass('first')::text, to_regclass('half')::text").fetchone()
    assert found == ("first", None)


@pytest.mark.database
def test_an_edited_migration_is_refused_before_anything_runs(
    empty_database: Database, tmp_path: Path
) -> None:
    migrate(empty_database.owner_dsn, applied_at=AT, folder=write(tmp_path, FIRST))
    write(tmp_path, replace(FIRST, text="CREATE TABLE other (n integer);"), SECOND)
    with pytest.raises(MigrationError, match="edited"):
        migrate(empty_database.owner_dsn, applied_at=AT, folder=tmp_path)
    with psycopg.connect(empty_database.owner_dsn) as connection:
        assert connection.execute("SELECT to_regclass('second')::text").fetchone() == (None,)


@pytest.mark.database
def test_two_starters_do_not_race(empty_database: Database, tmp_path: Path) -> None:
    slow = replace(FIRST, text="CREATE TABLE first (n integer); SELECT pg_sleep(0.3);")
    folder = write(tmp_path, slow, SECOND)
    ran: list[tuple[Migration, ...]] = []
    starters = [
        threading.Thread(
            target=lambda: ran.append(migrate(empty_database.owner_dsn, applied_at=AT, folder=folder))
        )
        for _ in range(2)
    ]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert sorted(map(len, ran)) == [0, 2]


@pytest.mark.database
def test_provisioned_roles_log_in_and_may_do_nothing_yet(empty_database: Database) -> None:
    provision_roles(empty_database.owner_dsn, PASSWORDS)
    provision_roles(empty_database.owner_dsn, PASSWORDS)
    for role in SERVICE_ROLES:
        with psycopg.connect(empty_database.dsn(DatabaseRole(role))) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE mine (n integer)")
    with psycopg.connect(empty_database.owner_dsn) as connection:
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector").fetchone() == (2.0,)


@pytest.mark.database
def test_a_changed_password_replaces_the_old_one(empty_database: Database) -> None:
    provision_roles(empty_database.owner_dsn, {**PASSWORDS, "cellwatt_loop": "changed"})
    try:
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(empty_database.dsn(DatabaseRole.LOOP))
        psycopg.connect(role_dsn(empty_database.owner_dsn, "cellwatt_loop", "changed")).close()
    finally:
        provision_roles(empty_database.owner_dsn, PASSWORDS)


@pytest.mark.database
def test_a_copied_database_holds_the_migrated_schema(database: Database) -> None:
    with psycopg.connect(database.owner_dsn) as connection:
        row = connection.execute("SELECT count(*) FROM schema_migration").fetchone()
    assert row == (len(read_migrations()),)


@pytest.mark.database
def test_a_pool_speaks_utc_under_its_own_name(database: Database) -> None:
    with open_pool(database.owner_dsn, application_name="check") as pool, pool.connection() as connection:
        found = connection.execute(
            "SELECT current_setting('timezone'), current_setting('application_name')"
        ).fetchone()
    assert found == ("UTC", "check")


@pytest.mark.database
async def test_an_async_pool_answers(database: Database) -> None:
    async with (
        await open_async_pool(database.owner_dsn, application_name="check") as pool,
        pool.connection() as connection,
    ):
        cursor = await connection.execute("SELECT current_setting('timezone')")
        assert await cursor.fetchone() == ("UTC",)
