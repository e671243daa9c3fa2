"""A PostgreSQL for one evaluation: empty, migrated, and gone afterwards."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

from telemetry.db import migrate, provision_roles
from ui.bench.eval_fleet import NOW
from ui.ops.files import private_folder
from ui.ops.postgres import NOT_DURABLE, TUNED, EmbeddedPostgres
from ui.ops.secrets import DatabaseRole


@contextmanager
def bench_database() -> Iterator[Callable[[DatabaseRole], str]]:
    """Run a server; yields the address for each role."""
    passwords: dict[str, str] = {role: token_urlsafe(18) for role in DatabaseRole}
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedPostgres(
            private_folder(Path(name) / "postgres"), passwords, settings={**TUNED, **NOT_DURABLE}
        ) as server,
    ):
        provision_roles(server.dsn(), passwords)
        migrate(server.dsn(), applied_at=NOW)
        yield server.dsn
