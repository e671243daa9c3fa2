import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.services import PASSWORDS, QUICK
from tests.ui.ops.waiting import gone, wait_for
from ui.ops.postgres import EmbeddedPostgres, PostgresStartError, postgres_from_env
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], int]:
    """A data folder with one row, what its first start said, and the process id of the server that made it."""
    folder = tmp_path_factory.mktemp("pg")
    said: list[str] = []
    with EmbeddedPostgres(folder, PASSWORDS, progress=said.append, settings=QUICK) as server:
        keep(server, 41)
        pid = server.process.pid
    return folder, said, pid


@pytest.fixture(scope="module")
def folder(first_start: tuple[Path, list[str], int]) -> Path:
    return first_start[0]


def keep(server: EmbeddedPostgres, number: int) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n integer)")
        connection.execute("DELETE FROM kept")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def kept(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("SELECT n FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def test_the_first_start_says_what_it_does_and_ends_with_its_block(
    first_start: tuple[Path, list[str], int],
) -> None:
    folder, said, pid = first_start
    assert any("bootstrap" in line for line in said)
    assert gone(pid)
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_second_start_finds_the_data_and_refuses_a_wrong_password(folder: Path) -> None:
    said: list[str] = []
    with EmbeddedPostgres(folder, PASSWORDS, progress=said.append, settings=QUICK) as server:
        keep(server, 43)
    with EmbeddedPostgres(folder, PASSWORDS, progress=said.append, settings=QUICK) as server:
        assert kept(server) == 43
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        wrong = server.dsn().replace(PASSWORDS[DatabaseRole.OWNER], "guess")
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(wrong)
    assert not any("bootstrap" in line for line in said)


def test_a_second_server_on_a_folder_in_use_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder, PASSWORDS, settings=QUICK) as first:
        second = EmbeddedPostgres(folder, PASSWORDS, old_server_gone_within_s=0.2, settings=QUICK)
        with pytest.raises(PostgresStartError, match=f"process {first.process.pid} already serves"):
            second.start()


def test_kill_9_of_the_parent_ends_the_server_and_keeps_the_data(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ui.ops.doomed", "postgres", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        with psycopg.connect(
            f"postgresql://127.0.0.1:{port}/cellwatt?sslmode=disable",
            user="cellwatt_owner",
            password=PASSWORDS[DatabaseRole.OWNER],
        ) as connection:
            connection.execute("UPDATE kept SET n = 42")
        parent.send_signal(signal.SIGKILL)
    assert wait_for(lambda: gone(pid))
    with EmbeddedPostgres(folder, PASSWORDS, settings=QUICK) as server:
        assert kept(server) == 42


def test_a_crashed_server_recovers_though_its_number_belongs_to_another_process(folder: Path) -> None:
    crashing = EmbeddedPostgres(folder, PASSWORDS, settings=QUICK)
    crashing.start()
    keep(crashing, 44)
    crashing.process.kill()
    crashing.process.wait()
    lock = folder / "data" / "postmaster.pid"
    stranger = subprocess.Popen(["sleep", "60"], user=lock.stat().st_uid)
    try:
        lock.write_text(lock.read_text().replace(str(crashing.process.pid), str(stranger.pid), 1))
        with EmbeddedPostgres(folder, PASSWORDS, settings=QUICK) as server:
            assert kept(server) == 44
    finally:
        stranger.kill()
        stranger.wait()


def test_lost_secrets_are_named_as_the_fault(folder: Path) -> None:
    lost: dict[str, str] = {role: "lost" for role in DatabaseRole}  # noqa: C420 the keys are read as text
    with pytest.raises(PostgresStartError, match="restore the state directory's secrets"):
        EmbeddedPostgres(folder, lost, settings=QUICK).start()


def test_an_interrupted_first_start_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "half").write_text("")
    with (
        EmbeddedPostgres(tmp_path, PASSWORDS, settings=QUICK) as server,
        psycopg.connect(server.dsn()) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (tmp_path / "data.new").exists()


def test_kill_9_during_the_first_start_leaves_nothing_that_a_second_trips_over(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "tests.ui.ops.doomed", "postgres", str(tmp_path)]) as parent:
        assert wait_for((tmp_path / "data.new" / "base").exists)
        parent.send_signal(signal.SIGKILL)
    assert not (tmp_path / "data").exists()
    with EmbeddedPostgres(tmp_path, PASSWORDS, settings=QUICK) as server:
        keep(server, 45)
        assert kept(server) == 45


def test_database_url_means_no_embedded_server(tmp_path: Path) -> None:
    url = "postgresql://boss:x@db.example/fleet"
    with postgres_from_env({"DATABASE_URL": url}, tmp_path, PASSWORDS) as server:
        assert server.dsn() == url
        assert server.dsn(DatabaseRole.API) == "postgresql://cellwatt_api:test-cellwatt_api@db.example/fleet"
    assert list(tmp_path.iterdir()) == []
