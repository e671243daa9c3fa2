"""Brings a whole installation up: services, schema, certificates, fleet, processes; and takes it down again."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import psycopg

from edge.simulator import history
from edge.simulator.registry import SimulatedFleet, simulated_fleet
from knowledge.document_store import DocumentStore
from knowledge.embed import choose_embedder
from knowledge.shipped import import_corpus
from telemetry.db import MigrationError, migrate, open_async_pool, provision_roles
from telemetry.model.clock import FilePace, Pace, PacedClock, write_pace
from telemetry.model.errors import ControlError
from telemetry.registry_store import RegistryStore
from ui.ops.broker import BrokerAddress, BrokerStartError, EmbeddedBroker, external_address
from ui.ops.files import UnsafeFileError
from ui.ops.ingest_workers import forget_retired_workers, ingest_processes
from ui.ops.llm_run import URL, ModelKeeper, url_of, wanted
from ui.ops.mosquitto_binary import BrokerAbsentError
from ui.ops.pki import CONTROL, CertificateAuthority, ingest_worker
from ui.ops.policy_file import write_demo_policy
from ui.ops.ports import free_port
from ui.ops.postgres import EmbeddedPostgres, ExternalPostgres, PostgresStartError
from ui.ops.process import ProcessSpec, log_tail
from ui.ops.provision_store import (
    fresh_sites,
    provision_admin,
    provision_mode,
    roll_ups_due,
    sites_with_history,
)
from ui.ops.runtime import Installation, Runtime, RuntimeUnknownError
from ui.ops.secrets import StateDirectory
from ui.ops.steps import Step, Steps
from ui.ops.supervisor import ProcessState, Supervisor
from ui.settings import INGEST_WORKERS

PROCESSES = ("ingest", "control", "api", "console", "simulate", "loop")
ADMIN = "admin"
_READY_WITHIN = timedelta(seconds=120)
_HISTORY_SLACK = timedelta(hours=1)  # the past begins and ends on a grid
_LIVE_SHARE = 0.9  # of the sites have sent live data: the rest may be under a fault


class StartError(ControlError):
    """The installation did not come up; the message names the part and shows the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What to bring up. `start` is the domain instant of a first start (None: wall time)."""

    state_dir: Path
    sites: int = 24
    speed: float = 1.0
    seed: int = 7
    history_days: int = 28
    start: datetime | None = None
    preferred_ports: tuple[int | None, int | None] = (8000, 8501)  # API and console of a first start, if free
    processes: tuple[str, ...] = PROCESSES
    ingest_workers: int = 1  # share the load; each is a process of its own
    env: Mapping[str, str] = field(default_factory=dict)
    embedded_model: bool = False  # fetch and serve the embedded language model, unless `env` says otherwise


class System:
    """A running installation, for the life of a `with` block. Belongs to the main thread."""

    def __init__(self, options: UpOptions, steps: Steps) -> None:
        self._options = options
        self._steps = steps
        self.state = StateDirectory(options.state_dir)
        self.supervisor = Supervisor(
            status_path=self.state.status_path,
            wall_now=lambda: datetime.now(UTC),
            monotonic_s=time.monotonic,
            random=Random(),  # noqa: S311 jitter, no secret
        )
        self._installation: Installation | None = None
        self._model: ModelKeeper | None = None
        self._model_port = free_port(None) if options.embedded_model and wanted(options.env) else None

    def __enter__(self) -> Self:
        """Start everything; what was started is stopped again if a step fails."""
        try:
            self._start()
        except (
            BrokerAbsentError,
            BrokerStartError,
            MigrationError,
            PostgresStartError,
            UnsafeFileError,
        ) as error:
            self.supervisor.stop()
            raise StartError(str(error)) from error
        except BaseException:
            self.supervisor.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, the processes before the services they need."""
        if self._model is not None:
            self._model.stop()
        self.supervisor.stop()

    def tick(self) -> None:
        """Reap what ended, start what is due; cheap enough for several times a second."""
        self.supervisor.tick()
        if self._model is not None:
            self._model.tick()

    def begin_model(self, say: Callable[[str], None]) -> None:
        """Serve the embedded language model, or begin to fetch it; `say` tells people how far it is."""
        if self._model_port is None:
            return
        self._model = ModelKeeper(
            env=self._options.env,
            port=self._model_port,
            logs=self.state.logs,
            supervisor=self.supervisor,
            say=say,
        )
        self._model.begin()

    @property
    def installation(self) -> Installation:
        """What came up."""
        if self._installation is None:
            raise StartError("the installation has not been started")
        return self._installation

    def _start(self) -> None:
        options, step_of = self._options, self._steps.step
        with step_of("secrets"):
            self.state.secrets.make_all()
        with step_of("PostgreSQL") as step:
            owner_dsn = self._start_postgres(step)
        with step_of("database schema"):
            provision_roles(owner_dsn, self.state.secrets.database_passwords())
            migrate(owner_dsn, applied_at=datetime.now(UTC))
        with step_of("certificates"):
            authority = CertificateAuthority(self.state.path / "pki", now=datetime.now(UTC))
            for name in (*map(ingest_worker, range(options.ingest_workers)), CONTROL):
                authority.service(name)
        with step_of("MQTT broker") as step:
            broker = self._start_broker(authority, step)
            forget_retired_workers(authority, broker, options.ingest_workers)
        self._installation = Installation(state=self.state, runtime=self._runtime(owner_dsn, broker))
        self._installation.runtime.save(self.state)
        with step_of("simulated fleet") as step:
            self._provision(authority, step)
        with step_of("library") as step:
            asyncio.run(_import_library(owner_dsn, options.env, step))
        again = (self.state.folder("gateways") / "history-sent").exists()
        first = [name for name in options.processes if again or name != "loop"]
        with step_of("processes") as step:
            self._start_processes(first, step)
        if "simulate" in options.processes:
            with step_of("history") as step:
                self._wait_until(
                    lambda: self._history_frac(step, again=again) >= 1.0, "simulate", "the history"
                )
            with step_of("live data") as step:
                self._wait_until(lambda: self._live_frac(step) >= _LIVE_SHARE, "simulate", "live data")
        if "loop" in options.processes and not again:  # last: its first look at the fleet should see one
            with step_of("agent") as step:
                self._start_processes(["loop"], step)

    def _start_postgres(self, step: Step) -> str:
        passwords = self.state.secrets.database_passwords()
        if url := self._options.env.get("DATABASE_URL"):
            return ExternalPostgres(owner_dsn=url, passwords=passwords).dsn()
        server = EmbeddedPostgres(
            self.state.folder("postgres"),
            passwords,
            progress=step.say,
            log_path=self.state.logs / "postgres.log",
        )
        server.start()
        self.supervisor.add(server.spec, server.process)
        return server.dsn()

    def _start_broker(self, authority: CertificateAuthority, step: Step) -> BrokerAddress:
        if url := self._options.env.get("MQTT_URL"):
            return external_address(url)
        broker = EmbeddedBroker(
            self.state.folder("broker"),
            authority,
            progress=step.say,
            log_path=self.state.logs / "mosquitto.log",
        )
        broker.start()
        self.supervisor.add(broker.spec, broker.process)
        return broker.address

    def _runtime(self, owner_dsn: str, broker: BrokerAddress) -> Runtime:
        try:
            before = Runtime.load(self.state)
        except RuntimeUnknownError:
            before = None
        wall = datetime.now(UTC)
        options = self._options
        return Runtime(
            owner_dsn=owner_dsn,
            mqtt_host=broker.host,
            mqtt_port=broker.port,
            api_port=free_port(before.api_port if before else options.preferred_ports[0]),
            console_port=free_port(before.console_port if before else options.preferred_ports[1]),
            simulated_sites=before.simulated_sites if before else options.sites,
            seed=before.seed if before else options.seed,
            history_days=before.history_days if before else options.history_days,
            epoch=before.epoch if before else options.start or wall,
        )

    def _provision(self, authority: CertificateAuthority, step: Step) -> None:
        """Set the clock, then give the database its fleet, mode and first login; a later start finds them there."""
        runtime, installation = self.installation.runtime, self.installation
        wall = datetime.now(UTC)
        if not installation.clock_file.exists():
            write_pace(
                installation.clock_file, Pace(wall=wall, domain=runtime.epoch, speed=self._options.speed)
            )
        now = PacedClock(FilePace(installation.clock_file)).now()
        fleet = simulated_fleet(runtime.simulated_sites, seed=runtime.seed, epoch=runtime.epoch)
        for number, name in enumerate((*fleet.sites, *fleet.feeders)):
            authority.site(name)
            step.reach(number / (len(fleet.sites) + len(fleet.feeders)))
        write_demo_policy(installation.policy_file)
        asyncio.run(_provision_registry(runtime.owner_dsn, fleet, now))
        with psycopg.connect(runtime.owner_dsn) as owner:
            provision_admin(owner, ADMIN, self.state.secrets.admin_password(), now)
            provision_mode(owner, now)

    def _start_processes(self, names: Sequence[str], step: Step) -> None:
        workers = ingest_processes(self._options.ingest_workers)
        names = [each for name in names for each in (workers if name == "ingest" else (name,))]
        for name in names:
            step.say(name)
            self.installation.ready_file(name).unlink(missing_ok=True)
            self.supervisor.add(self._spec(name))
        waited_for = [name for name in names if name != "simulate"]
        for number, name in enumerate(waited_for):
            self._wait_until(lambda name=name: self._ready_word(name) == "ready", name, name)  # type: ignore[misc]
            step.reach((number + 1) / len(waited_for))

    def _spec(self, name: str) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            argv=(sys.executable, "-m", "ui.cli", name.partition("-")[0]),
            env=self.installation.env(name, self._env()),
            log_path=self.state.logs / f"{name}.log",
        )

    def _env(self) -> Mapping[str, str]:
        """Return our environment, with the embedded model's address where there will be one."""
        env = {**self._options.env, INGEST_WORKERS: str(self._options.ingest_workers)}
        return env if self._model_port is None else {**env, URL: url_of(self._model_port)}

    def _ready_word(self, name: str) -> str:
        path = self.installation.ready_file(name)
        return path.read_text() if path.exists() else ""

    def _history_frac(self, step: Step, *, again: bool) -> float:
        """Return how much of the past is sent, then stored, then rolled up; on a later start it is there."""
        word = self._ready_word("simulate")
        sent = 1.0 if word == "ready" else float(word.removeprefix("history ") or 0.0)
        if sent < 1.0:
            step.reach(0.7 * sent)
            return 0.0
        with psycopg.connect(self.installation.runtime.owner_dsn) as owner:
            runtime = self.installation.runtime
            readings = (timedelta(days=runtime.history_days) - _HISTORY_SLACK) // history.STEP
            stored = sites_with_history(owner, history.BOOT_ID, readings)
            if stored < runtime.simulated_sites and not again:
                step.reach(0.7 + 0.1 * stored / runtime.simulated_sites)
                return 0.0
            due = roll_ups_due(owner, PacedClock(FilePace(self.installation.clock_file)).now())
        step.say(f"{due} quarter hours to roll up" if due else "")
        step.reach(0.9)
        return 1.0 if due <= self.installation.runtime.simulated_sites else 0.0

    def _live_frac(self, step: Step) -> float:
        clock = PacedClock(FilePace(self.installation.clock_file))
        since = clock.now() - max(timedelta(minutes=1), timedelta(seconds=20 * clock.speed))
        with psycopg.connect(self.installation.runtime.owner_dsn) as owner:
            frac = fresh_sites(owner, since) / self.installation.runtime.simulated_sites
        step.reach(frac / _LIVE_SHARE)
        return frac

    def _wait_until(self, done: Callable[[], bool], process: str, what: str) -> None:
        """Wait, restarting what falls over; give up after two minutes, or when a process fell three times."""
        deadline_s = time.monotonic() + _READY_WITHIN.total_seconds()
        while not done():
            self.supervisor.tick()
            fallen = [each for each in self.supervisor.status() if each.restarts >= 3]
            if fallen or time.monotonic() > deadline_s:
                name = fallen[0].name if fallen else process
                tail = log_tail(self.state.logs / f"{name}.log")
                raise StartError(
                    f"{name if fallen else what} did not come up; the end of {name}.log:\n{tail}"
                )
            time.sleep(0.1)


async def _provision_registry(owner_dsn: str, fleet: SimulatedFleet, now: datetime) -> None:
    pool = await open_async_pool(owner_dsn, application_name="cellwatt-provision")
    try:
        store = RegistryStore(pool)
        if not await store.sites():
            await store.put_tariffs(fleet.tariffs, who="provisioning", at=now)
            await store.put_feeders(fleet.feeders, who="provisioning", at=now)
            await store.put_sites(fleet.sites, who="provisioning", at=now)
            await store.put_critical_sites(fleet.critical_sites, who="provisioning", at=now)
    finally:
        await pool.close()


async def _import_library(owner_dsn: str, env: Mapping[str, str], step: Step) -> None:
    """Take the delivered pages into the library; what is there already costs one query."""
    embedder = choose_embedder(env).embedder
    pool = await open_async_pool(owner_dsn, application_name="cellwatt-library")
    try:
        await import_corpus(
            DocumentStore(pool),
            embedder,
            at=datetime.now(UTC),
            progress=lambda told: step.reach(told.done / max(told.total, 1)),
        )
    finally:
        await pool.close()


def describe(system: System) -> list[str]:
    """Return the lines that a person needs after a start: addresses, login, where the logs are."""
    runtime = system.installation.runtime
    stopped = [each.name for each in system.supervisor.status() if each.state is not ProcessState.RUNNING]
    return [
        f"console  {runtime.console_url}",
        f"API      {runtime.api_url}/docs",
        f"login    {ADMIN} / {system.state.secrets.admin_password()}",
        f"broker   mqtts://{runtime.mqtt_host}:{runtime.mqtt_port}",
        f"logs     {system.state.logs}",
        *(f"not running: {name}" for name in stopped),
    ]
