"""An API over a filled database, for benchmarks of what it serves (simulated data): real process, real PostgreSQL."""

import asyncio
import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from argon2 import PasswordHasher

from edge.simulator.registry import simulated_fleet
from telemetry.db import migrate, open_async_pool, provision_roles
from telemetry.model.series import QUANTILES, Forecast, Quantity
from telemetry.registry_store import RegistryStore
from tools.forecasting.forecast_store import ForecastStore
from ui.api.account_store import AccountStore, Token
from ui.api.passwords import make_token, token_hash
from ui.api.roles import PrincipalKind, Role
from ui.bench.api_store import copy_forecast, fill_readings
from ui.ops.files import private_folder
from ui.ops.policy_file import write_demo_policy
from ui.ops.ports import free_port
from ui.ops.postgres import NOT_DURABLE, TUNED, EmbeddedPostgres
from ui.ops.provision_store import provision_mode
from ui.ops.secrets import DatabaseRole, SecretStore
from ui.settings import API_PORT, DATABASE_URL, POLICY_FILE, READY_FILE, SESSION_SECRET_FILE

USER, PASSWORD = "bench", "a password of the benchmark"
_READY_WITHIN_S = 60.0
_STEPS = 384


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiWorld:
    """Where the API answers, tokens of viewers, and how many raw rows lie behind it."""

    owner_dsn: str
    port: int
    pid: int
    tokens: Sequence[str]
    rows: int


@contextmanager
def api_world(seed: int, sites: int, readers: int, dense_sites: int) -> Iterator[ApiWorld]:
    """Run an API over `sites` sites until the end of the block; `USER` may log in as an operator.

    Args:
        seed: Of the simulated fleet.
        sites: In the registry, each with its newest reading, state, quality and load forecast.
        readers: Tokens to make.
        dense_sites: Sites with a day of readings, one in 10 s.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = private_folder(Path(name) / "bench")
        secrets = SecretStore(folder / "secrets")
        passwords = secrets.database_passwords()
        with EmbeddedPostgres(
            private_folder(folder / "postgres"), passwords, settings={**TUNED, **NOT_DURABLE}
        ) as server:
            tokens, rows = _fill(server.dsn(), passwords, seed, sites, readers, dense_sites)
            with _serving(folder, secrets, server.dsn(DatabaseRole.API)) as (port, pid):
                yield ApiWorld(owner_dsn=server.dsn(), port=port, pid=pid, tokens=tokens, rows=rows)


def _fill(
    owner_dsn: str, passwords: dict[str, str], seed: int, sites: int, readers: int, dense_sites: int
) -> tuple[list[str], int]:
    now = datetime.now(UTC)
    provision_roles(owner_dsn, passwords)
    migrate(owner_dsn, applied_at=now)
    tokens = asyncio.run(_fill_registry(owner_dsn, seed, sites, readers, now))
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        provision_mode(owner, now)
        rows = fill_readings(owner, now=now, dense_sites=dense_sites, every=timedelta(seconds=10))
        copy_forecast(owner, "cbs-0001")
    return tokens, rows


async def _fill_registry(owner_dsn: str, seed: int, sites: int, readers: int, now: datetime) -> list[str]:
    fleet = simulated_fleet(sites, seed=seed, epoch=now)
    pool = await open_async_pool(owner_dsn, application_name="cellwatt-bench")
    try:
        registry, accounts = RegistryStore(pool), AccountStore(pool)
        await registry.put_feeders(fleet.feeders, who="bench", at=now)
        await registry.put_sites(fleet.sites, who="bench", at=now)
        rows = tuple(tuple([1800.0 + 40.0 * q] * _STEPS) for q in range(len(QUANTILES)))
        await ForecastStore(pool).put(
            [
                Forecast(
                    subject_id="cbs-0001",
                    quantity=Quantity.LOAD_W,
                    made_at=now,
                    start=now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0),
                    values_w=rows,
                    cumulative_wh=rows,
                    model="bench",
                    version="1",
                )
            ]
        )
        await accounts.add_user(USER, PasswordHasher().hash(PASSWORD), Role.OPERATOR, who="bench", at=now)
        tokens = [make_token() for _ in range(readers)]
        for number, secret in enumerate(tokens):
            token = Token(
                token_id="",
                label=f"reader-{number}",
                kind=PrincipalKind.SERVICE,
                subject="",
                role=Role.VIEWER,
                expires_at=now + timedelta(days=1),
                revoked_at=None,
            )
            await accounts.add_token(token_hash(secret), token, who="bench", at=now)
    finally:
        await pool.close()
    return tokens


@contextmanager
def _serving(folder: Path, secrets: SecretStore, dsn: str) -> Iterator[tuple[int, int]]:
    """Run the API's process until the end of the block, and give its port and process id."""
    port, ready, policy = free_port(8000), folder / "ready", folder / "policy.toml"
    write_demo_policy(policy)
    secret = folder / "session"
    secret.write_text(base64.b64encode(secrets.session_secret()).decode())
    env = {
        "PATH": os.environ.get("PATH", ""),
        DATABASE_URL: dsn,
        API_PORT: str(port),
        POLICY_FILE: str(policy),
        SESSION_SECRET_FILE: str(secret),
        READY_FILE: str(ready),
    }
    with subprocess.Popen([sys.executable, "-m", "ui.cli", "api"], env=env) as process:
        try:
            give_up_s = time.monotonic() + _READY_WITHIN_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > give_up_s:
                    raise RuntimeError("the API did not start")
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.terminate()
