"""One run of the scenario for all end-to-end tests: the real broker, database, Modbus and processes (simulated sites)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.services import service_absent
from ui.ops.demo import DemoOptions, Stages, run_scenario
from ui.ops.demo_report import Outcome, figures_of
from ui.ops.mosquitto_binary import BrokerAbsentError
from ui.ops.postgres import EmbeddedPostgres
from ui.ops.secrets import StateDirectory
from ui.ops.up import StartError


@dataclass(frozen=True)
class Scenario:
    """What happened, and where the installation's files are."""

    outcome: Outcome
    figures: dict[str, object]
    state_dir: Path


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Run one evening peak from forecast to report (about 100 s)."""
    state_dir = tmp_path_factory.mktemp("scenario") / "state"
    stages = Stages()
    try:
        outcome = run_scenario(DemoOptions(state_dir=state_dir), stages)
    except StartError as error:
        if isinstance(error.__cause__, BrokerAbsentError):
            service_absent(str(error))
        raise
    return Scenario(outcome=outcome, figures=figures_of(outcome, stages.passed), state_dir=state_dir)


@pytest.fixture(scope="module")
def scenario_database(scenario: Scenario) -> Iterator[psycopg.Connection]:
    """The scenario's database after everything has stopped, opened again as the owner."""
    state = StateDirectory(scenario.state_dir)
    with (
        EmbeddedPostgres(state.folder("postgres"), state.secrets.database_passwords()) as server,
        psycopg.connect(server.dsn(), autocommit=True) as owner,
    ):
        yield owner
