"""The real servers that tests run against: PostgreSQL with pgvector, and mosquitto with TLS."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from telemetry.db import migrate, provision_roles, role_dsn
from telemetry.mqtt import MqttSettings
from ui.ops.broker import BrokerAddress, EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.mosquitto_binary import BrokerAbsentError
from ui.ops.pki import CertificateAuthority
from ui.ops.postgres import NOT_DURABLE, TUNED, EmbeddedPostgres
from ui.ops.secrets import DatabaseRole

MIGRATED_AT = datetime(2026, 1, 1, tzinfo=UTC)
PASSWORDS: dict[str, str] = {role: f"test-{role.value}" for role in DatabaseRole}
# Nothing waits for the disk: tests kill processes, never the machine.
QUICK = {**TUNED, **NOT_DURABLE}
_TEMPLATE = "cellwatt_template"


def service_absent(what: str, env: Mapping[str, str] = os.environ) -> NoReturn:
    """Skip on a laptop, fail under CI: a proof that did not run must not look like one that did."""
    if env.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A fresh migrated database of its own for one test or module."""

    name: str
    owner_dsn: str

    def dsn(self, role: DatabaseRole = DatabaseRole.OWNER) -> str:
        """Address for a role."""
        return (
            self.owner_dsn if role is DatabaseRole.OWNER else role_dsn(self.owner_dsn, role, PASSWORDS[role])
        )


class DatabaseServer:
    """One server per test session; a database is copied from a migrated template when a test asks."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._numbers = count(1)
        self._template_ready = False

    def owner_dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.server.dsn())._replace(path=f"/{database}"))

    def create(self, *, migrated: bool = True) -> Database:
        """Make a database; without migrations it is empty."""
        name = f"test_{next(self._numbers)}"
        template = self._migrated_template() if migrated else "template1"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Database(name=name, owner_dsn=self.owner_dsn(name))

    def drop(self, database: Database) -> None:
        self._administer(f"DROP DATABASE {database.name} WITH (FORCE)")

    @contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[Database]:
        database = self.create(migrated=migrated)
        try:
            yield database
        finally:
            self.drop(database)

    def _migrated_template(self) -> str:
        if not self._template_ready:
            self._administer(f"CREATE DATABASE {_TEMPLATE}")
            provision_roles(self.owner_dsn(_TEMPLATE), PASSWORDS)
            migrate(self.owner_dsn(_TEMPLATE), applied_at=MIGRATED_AT)
            self._template_ready = True
        return _TEMPLATE

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_database_server(folder: Path) -> Iterator[DatabaseServer]:
    """Run an embedded server that does not wait for the disk."""
    with EmbeddedPostgres(folder, PASSWORDS, settings=QUICK) as server:
        yield DatabaseServer(server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A running mosquitto and the authority that issues its clients' certificates."""

    address: BrokerAddress
    authority: CertificateAuthority

    def site(self, site_id: str) -> MqttSettings:
        """How a site connects."""
        return self.address.settings(self.authority.site(site_id))

    def service(self, name: str) -> MqttSettings:
        """How one of our processes connects (`svc-...`)."""
        return self.address.settings(self.authority.service(name))


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run mosquitto with TLS and an authority of its own; skip or fail where there is none."""
    authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
    try:
        broker = EmbeddedBroker(private_folder(folder / "broker"), authority)
        broker.start()
    except BrokerAbsentError as error:
        service_absent(str(error))
    try:
        yield Broker(address=broker.address, authority=authority)
    finally:
        broker.stop()
