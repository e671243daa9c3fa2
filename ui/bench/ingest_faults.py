"""Ingest under faults, all in one run: real processes, real gateway outboxes, real broker and database (simulated data).

Two workers take what a fleet of gateways samples while one of them, the database's server and the broker are killed with
kill -9, the gateways' network is cut, two gateways' clocks go an hour wrong, the database is stopped for a minute with
the other worker killed in the middle of it, and a hostile site sends mutated payloads. Afterwards everything that was
sampled must be in the database exactly once, every bad payload in quarantine with a reason, no process may have ended by
itself, and memory stays bounded.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from telemetry.db import migrate, provision_roles
from ui.bench import ingest_faults_store as store
from ui.bench.harness import Progress
from ui.bench.ingest import peak_memory_mb
from ui.bench.ingest_fault_senders import AHEAD, BEHIND, Senders
from ui.bench.part import goal
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import CertificateAuthority, ingest_worker
from ui.ops.postgres import TUNED, EmbeddedPostgres, PostgresStartError
from ui.ops.secrets import DatabaseRole, SecretStore
from ui.settings import (
    DATABASE_URL,
    INGEST_WORKER,
    INGEST_WORKERS,
    MQTT_AUTHORITY,
    MQTT_CERTIFICATE,
    MQTT_KEY,
    MQTT_URL,
    READY_FILE,
    SPILL_FOLDER,
)

_READY_WITHIN_S = 120.0
_WORKERS = 2
_BAD_SITE = "cbs-bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How long things last, s of wall time, and how much is sent."""

    sites: int = 40
    rate: float = 300.0  # messages a second in all, of four readings each
    quiet_s: float = 10.0  # between two faults
    worker_away_s: float = 5.0
    database_away_s: float = 60.0
    cut_s: float = 20.0
    broker_away_s: float = 3.0
    bad: int = 100_000
    resend_after_s: float = 8.0  # 60 s in the field
    drained_within_s: float = 240.0
    confirmed: bool = (
        True  # wait until every gateway knows that all is stored; told at most every ten seconds
    )


SMALL = Script(
    sites=6, rate=40.0, quiet_s=0.4, worker_away_s=0.4, database_away_s=1.5, cut_s=1.0, broker_away_s=0.2, bad=400,
    resend_after_s=2.0, drained_within_s=120.0, confirmed=False,
)  # fmt: skip


@dataclass(slots=True)
class World:
    """The servers and workers, each of which can be killed and started again at the same address."""

    folder: Path
    script: Script
    authority: CertificateAuthority
    passwords: dict[str, str]
    database: EmbeddedPostgres
    broker: EmbeddedBroker
    workers: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    peak_mb: float = 0.0
    killed: int = 0

    def make_database(self, port: int | None = None) -> EmbeddedPostgres:
        """Return a server on our data folder, not started."""
        return EmbeddedPostgres(self.folder / "postgres", self.passwords, settings=TUNED, preferred_port=port)

    def kill_database(self) -> None:
        """Kill the server's parent process; its children end by themselves, as after any crash."""
        self.database.process.kill()
        self.database.process.wait()

    def start_database(self) -> None:
        """Start the server again on its port; it recovers from its log."""
        port, give_up_s = self.database.port, time.monotonic() + _READY_WITHIN_S
        while True:
            self.database = self.make_database(port)
            try:
                self.database.start()
            except PostgresStartError:  # children of the killed server still hold its memory
                if time.monotonic() > give_up_s:
                    raise
                time.sleep(0.1)
                continue
            if self.database.port != port:
                raise RuntimeError(f"port {port} of the database was taken by another program")
            return

    def restart_broker(self, after_s: float) -> None:
        """Kill the broker and start it again on its port."""
        port = self.broker.port
        self.broker.process.kill()
        self.broker.process.wait()
        time.sleep(after_s)
        self.broker = EmbeddedBroker(self.folder / "broker", self.authority, preferred_port=port)
        self.broker.start()
        if self.broker.port != port:
            raise RuntimeError(f"port {port} of the broker was taken by another program")

    def start_worker(self, number: int) -> None:
        """Start an ingest worker and wait until it listens."""
        identity = self.authority.service(ingest_worker(number))
        ready = self.folder / f"ready-{number}"
        ready.unlink(missing_ok=True)
        env = {
            "PATH": os.environ.get("PATH", ""),
            DATABASE_URL: self.database.dsn(DatabaseRole.INGEST),
            MQTT_URL: f"mqtts://127.0.0.1:{self.broker.port}",
            MQTT_AUTHORITY: str(identity.authority),
            MQTT_CERTIFICATE: str(identity.certificate),
            MQTT_KEY: str(identity.key),
            SPILL_FOLDER: str(self.folder / "spill"),
            READY_FILE: str(ready),
            INGEST_WORKER: str(number),
            INGEST_WORKERS: str(_WORKERS),
        }
        with (self.folder / f"worker-{number}.log").open("ab") as log:
            self.workers[number] = subprocess.Popen(
                [sys.executable, "-m", "ui.cli", "ingest"], env=env, stdout=log, stderr=log
            )
        _wait(ready.exists, _READY_WITHIN_S, f"worker {number} did not start")

    def kill_worker(self, number: int) -> None:
        """Kill a worker as it stands."""
        self.note_memory()
        self.workers[number].kill()
        self.workers.pop(number).wait()
        self.killed += 1

    def note_memory(self) -> None:
        """Remember the most memory that any worker has held."""
        alive = [each.pid for each in self.workers.values() if each.poll() is None]
        self.peak_mb = max([self.peak_mb, *map(peak_memory_mb, alive)])

    def crashes(self) -> int:
        """Return how many workers ended by themselves or left a traceback."""
        ended = sum(each.poll() is not None for each in self.workers.values())
        logs = [path.read_bytes() for path in self.folder.glob("worker-*.log")]
        return ended + sum(log.count(b"Traceback") for log in logs)


def run(
    seed: int = 7, *, script: Script | None = None, progress: Progress = lambda _: None
) -> dict[str, Any]:
    """Return the counts and what they must be.

    Args:
        seed: Of loads, links and mutations.
        script: How long things last and how much is sent; None: the full form, about six minutes.
        progress: Told how far it is.
    """
    script = script or Script()
    with _world(script) as world, _senders(world, seed) as senders:
        play = _Play(world=world, senders=senders, script=script, progress=progress)
        drained_s = play.run()
        return _judge(world, senders, script, drained_s)


class _Gateways:
    """The senders' process, and how far it says it is."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.process = process

    def say(self, words: str) -> None:
        if self.process.stdin is None:
            raise RuntimeError("the gateways do not listen")
        self.process.stdin.write(f"{words}\n".encode())
        self.process.stdin.flush()

    def status(self) -> dict[str, Any]:
        if self.process.poll() is not None:
            raise RuntimeError("the gateways' process ended")
        told: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return told


@dataclass(slots=True, kw_only=True)
class _Play:
    """The faults, one after the other, under load."""

    world: World
    senders: _Gateways
    script: Script
    progress: Progress

    def run(self) -> float:
        """Return how long after the last fault everything was stored, s."""
        steps = (
            self._kill_worker,
            lambda: self.senders.say("skew"),
            self._kill_database,
            self._cut,
            self._kill_broker,
            self._stop_database,
        )
        for number, step in enumerate(steps):
            time.sleep(self.script.quiet_s)
            step()
            self.world.note_memory()
            self.progress((number + 1) / (len(steps) + 1))
        time.sleep(self.script.quiet_s)
        self.senders.say("stop")
        began_s = time.monotonic()
        try:
            _wait(
                self._drained, self.script.drained_within_s, "not everything was stored in time", every_s=0.1
            )
        except TimeoutError as error:  # the counts say what is missing
            print(f"{error}: {self.senders.status()}", file=sys.stderr)
        self.world.note_memory()
        return time.monotonic() - began_s

    def _kill_worker(self) -> None:
        self.world.kill_worker(1)
        time.sleep(self.script.worker_away_s)
        self.world.start_worker(1)

    def _kill_database(self) -> None:
        self.world.kill_database()
        time.sleep(self.script.quiet_s)
        self.world.start_database()

    def _cut(self) -> None:
        self.senders.say("cut")
        time.sleep(self.script.cut_s)
        self.senders.say("mend")

    def _kill_broker(self) -> None:
        self.world.restart_broker(self.script.broker_away_s)

    def _stop_database(self) -> None:
        # Bad payloads have no sender that keeps them: they come when the broker is not killed, and wait in the spills.
        _wait(self._connected, _READY_WITHIN_S, "the gateways did not come back")
        self.senders.say(f"bad {self.script.bad}")
        time.sleep(self.script.quiet_s / 4)
        self.world.database.stop()
        time.sleep(self.script.database_away_s / 2)
        self.world.kill_worker(0)  # with a spill on its disk: whoever comes after it stores that
        self.world.start_worker(0)
        time.sleep(self.script.database_away_s / 2)
        self.world.start_database()

    def _connected(self) -> bool:
        return bool(self.senders.status()["connected"] == self.script.sites)

    def _drained(self) -> bool:
        status = self.senders.status()
        waits = self.script.confirmed and status["waiting"]
        if waits or status["bad_confirmed"] < self.script.bad:
            return False
        with psycopg.connect(self.world.database.dsn(), autocommit=True) as owner:
            there = store.found(owner, list(status["sampled"]))
            stored = all(there[name].mark == number for name, number in status["sampled"].items())
            return stored and store.count_quarantined(owner) >= self.script.bad


def _judge(world: World, senders: _Gateways, script: Script, drained_s: float) -> dict[str, Any]:
    status = senders.status()
    sampled: dict[str, int] = status["sampled"]
    sites = list(sampled)
    with psycopg.connect(world.database.dsn(), autocommit=True) as owner:
        there = store.found(owner, sites)
        kept = store.quarantined(owner, _BAD_SITE)
        ahead = store.doubted_clocks(owner, sites[AHEAD], status["skewed_from"])
        behind = store.doubted_clocks(owner, sites[BEHIND], status["skewed_from"])
        others = sum(store.doubted_clocks(owner, name, 0)[1] for name in sites[2:])
    bad = (senders.folder / "bad.txt").read_text().split()
    figures: dict[str, float] = {
        "faults_sampled_count": sum(sampled.values()),
        "faults_missing_count": sum(max(0, sampled[name] - there[name].numbers) for name in sites),
        "faults_doubled_count": sum(there[name].rows - there[name].numbers for name in sites),
        "faults_invented_count": sum(max(0, there[name].highest - sampled[name]) for name in sites),
        "faults_unmarked_count": sum(sampled[name] - there[name].mark for name in sites),
        "faults_pushed_out_count": status["pushed_out"],
        "faults_unconfirmed_count": status["waiting"],
        "faults_bad_sent_count": len(bad),
        "faults_bad_missing_count": len(set(bad) - set(kept)),
        "faults_bad_unreasoned_count": sum(not reasoned for _, reasoned in kept.values()),
        "faults_bad_kept_twice_count": sum(
            max(0, count - bad.count(digest)) for digest, (count, _) in kept.items()
        )
        if len(bad) <= 1_000
        else sum(count for count, _ in kept.values()) - len(bad),
        "faults_clock_ahead_unnoticed_count": ahead[0] - ahead[1],
        "faults_clock_behind_count": behind[0],
        "faults_clock_behind_noticed_count": behind[1],
        "faults_clock_wrongly_doubted_count": others,
        "faults_workers_killed_count": world.killed,
        "faults_crashes_count": world.crashes(),
        "faults_worker_peak_mb": world.peak_mb,
        "faults_drained_s": drained_s,
    }
    zero = (
        *("missing", "doubled", "invented", "unmarked", "pushed_out", "unconfirmed", "bad_missing"),
        *("bad_unreasoned", "clock_ahead_unnoticed", "clock_wrongly_doubted", "crashes"),
    )
    goals = {f"faults_{name}_count": goal("==", 0.0, gating=True) for name in zero}
    goals["faults_bad_sent_count"] = goal("==", float(script.bad), gating=True)
    goals["faults_sampled_count"] = goal(">", 0.0, gating=True)
    goals["faults_clock_behind_noticed_count"] = goal(">=", 1.0, gating=True)
    goals["faults_worker_peak_mb"] = goal("<", 300.0, gating=True)
    return {"figures": figures, "goals": goals}


@contextmanager
def _world(script: Script) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = private_folder(Path(name) / "faults")
        authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
        for site_id in (*_site_ids(script), _BAD_SITE):
            authority.site(site_id)
        passwords = dict(SecretStore(folder / "secrets").database_passwords())
        database = EmbeddedPostgres(private_folder(folder / "postgres"), passwords, settings=TUNED)
        broker = EmbeddedBroker(private_folder(folder / "broker"), authority)
        world = World(folder, script, authority, passwords, database, broker)
        try:
            database.start()
            broker.start()
            provision_roles(database.dsn(), passwords)
            migrate(database.dsn(), applied_at=datetime.now(UTC))
            for number in range(_WORKERS):
                world.start_worker(number)
            yield world
        finally:
            for worker in world.workers.values():
                worker.kill()
                worker.wait()
            world.broker.stop()
            world.database.stop()


def _site_ids(script: Script) -> list[str]:
    return [f"cbs-{number:04d}" for number in range(1, script.sites + 1)]


@contextmanager
def _senders(world: World, seed: int) -> Iterator[_Gateways]:
    folder = private_folder(world.folder / "gateways")
    spec = Senders(
        port=world.broker.port,
        pki=str(world.folder / "pki"),
        folder=str(folder),
        sites=_site_ids(world.script),
        bad_site=_BAD_SITE,
        rate=world.script.rate,
        resend_after_s=world.script.resend_after_s,
        seed=seed,
    )
    file = folder / "spec.json"
    file.write_text(json.dumps(asdict(spec)))
    argv = [sys.executable, "-m", "ui.bench.ingest_fault_senders", str(file)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:  # noqa: S603 our own
        try:
            _wait(
                lambda: (folder / "status.json").exists() or process.poll() is not None,
                _READY_WITHIN_S,
                "the gateways did not start",
            )
            yield _Gateways(folder, process)
        finally:
            process.kill()


def _wait(done: Callable[[], bool], within_s: float, what: str, every_s: float = 0.02) -> None:
    give_up_s = time.monotonic() + within_s
    while not done():
        if time.monotonic() > give_up_s:
            raise TimeoutError(what)
        time.sleep(every_s)
