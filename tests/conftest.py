"""Fixtures that any test may ask for; servers start when the first test asks."""

from collections.abc import Iterator

import pytest

from tests.network_guard import NetworkGuard
from tests.services import Broker, Database, DatabaseServer, running_broker, running_database_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (`pytest -n 2 --dist loadgroup`), a file's tests share a worker, and so do all end-to-end tests."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group("e2e" if folder == "e2e" else item.path.as_posix()))


@pytest.fixture(scope="session")
def network_guard() -> NetworkGuard:
    guard = NetworkGuard()
    guard.install()
    return guard


@pytest.fixture(autouse=True)
def no_outgoing_connections(network_guard: NetworkGuard) -> Iterator[None]:
    """Fail a test that reached for another machine, also when its code swallowed the refusal."""
    network_guard.refused.clear()
    yield
    assert not network_guard.refused, f"connections to other machines: {network_guard.refused}"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """One embedded PostgreSQL for the session."""
    with running_database_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def database(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A fresh migrated database for one test."""
    with postgres_server.fresh() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def module_database(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A migrated database shared by one module's tests."""
    with postgres_server.fresh() as fresh:
        yield fresh


@pytest.fixture
def empty_database(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A database without our schema."""
    with postgres_server.fresh(migrated=False) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One mosquitto with TLS a file: give each test sites of its own, retained messages stay."""
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
