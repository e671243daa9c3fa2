"""Ingest under load: real mosquitto with TLS, real PostgreSQL that waits for its disk, load generator (simulated data).

One run measures three readers of the same load, one after the other: the floor (receive, decode, copy into a bare
table), one INSERT a message, and ingest. CPU is what the kernel counted for each process; the share of the database's
server is reported beside it, since indexes, marks and roll-ups are the service and no overhead of the worker.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from telemetry.db import migrate, provision_roles
from ui.bench import ingest_bench_store as store
from ui.bench.harness import Progress
from ui.bench.ingest_load import READINGS, Load, first_instant
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import CertificateAuthority, ingest_worker
from ui.ops.postgres import TUNED, EmbeddedPostgres
from ui.ops.secrets import DatabaseRole, SecretStore
from ui.settings import (
    DATABASE_URL,
    MQTT_AUTHORITY,
    MQTT_CERTIFICATE,
    MQTT_KEY,
    MQTT_URL,
    READY_FILE,
    SPILL_FOLDER,
)

_READY_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The servers, and where the parts leave their files."""

    folder: Path
    authority: CertificateAuthority
    port: int
    owner_dsn: str
    ingest_dsn: str
    sites: list[str]


def run(
    seed: int = 7,
    *,
    rate: float = 5_000.0,
    seconds: float = 60.0,
    sites: int = 50,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        seed: Unused: the load is the same each time.
        rate: Messages a second, of four readings each.
        seconds: How long ingest is loaded; the floor for a third of it, one INSERT a message at a fiftieth of the load.
        sites: TLS connections.
        progress: Told how far it is.
    """
    del seed
    with _world(sites) as world:
        floor_us = _rival(world, "floor", rate, seconds / 3)
        progress(0.3)
        insert_us = _rival(world, "insert", rate / 50, seconds / 3)
        progress(0.5)
        figures = _ingest(world, rate, seconds)
    worker_us = figures["ingest_worker_cpu_per_reading_us"]
    figures |= {
        "ingest_floor_cpu_per_reading_us": floor_us[0],
        "ingest_floor_database_cpu_per_reading_us": floor_us[1],
        "ingest_insert_cpu_per_reading_us": insert_us[0],
        "ingest_insert_database_cpu_per_reading_us": insert_us[1],
        "ingest_cpu_over_floor_ratio": worker_us / floor_us[0],
        "ingest_with_database_over_floor_ratio": (
            (worker_us + figures["ingest_database_cpu_per_reading_us"]) / sum(floor_us)
        ),
        "ingest_insert_over_ingest_cpu_ratio": sum(insert_us)
        / (worker_us + figures["ingest_database_cpu_per_reading_us"]),
    }
    goals = {
        "ingest_lost_count": ("==", 0.0),
        "ingest_doubled_count": ("==", 0.0),
        "ingest_cpu_over_floor_ratio": ("<=", 1.5),
        "ingest_visible_p99_s": ("<", 2.0),
        "ingest_worker_peak_mb": ("<", 300.0),
        "ingest_sent_readings_per_s": (">=", 0.98 * rate * READINGS),
    }
    return {
        "figures": figures,
        "goals": {key: {"op": op, "value": value, "gating": True} for key, (op, value) in goals.items()},
    }


@contextmanager
def _world(sites: int) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = private_folder(Path(name) / "bench")
        authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
        passwords = SecretStore(folder / "secrets").database_passwords()
        site_ids = [f"cbs-{number:04d}" for number in range(1, sites + 1)]
        for site_id in site_ids:
            authority.site(site_id)
        with (
            EmbeddedPostgres(private_folder(folder / "postgres"), passwords, settings=TUNED) as server,
            EmbeddedBroker(private_folder(folder / "broker"), authority) as broker,
        ):
            provision_roles(server.dsn(), passwords)
            migrate(server.dsn(), applied_at=datetime.now(UTC))
            with psycopg.connect(server.dsn(), autocommit=True) as owner:
                store.make_tables(owner)
            yield World(
                folder=folder,
                authority=authority,
                port=broker.port,
                owner_dsn=server.dsn(),
                ingest_dsn=server.dsn(DatabaseRole.INGEST),
                sites=site_ids,
            )


def _rival(world: World, kind: str, rate: float, seconds: float) -> tuple[float, float]:
    """Return CPU per reading of a rival and of the server's process that serves it, us."""
    identity = world.authority.service(ingest_worker(1 if kind == "floor" else 2))
    per_site = max(1, round(rate * seconds / len(world.sites)))
    ready = world.folder / f"{kind}-ready"
    mqtt = {"host": "127.0.0.1", "port": world.port, "client_id": identity.name}
    paths = {"authority": identity.authority, "certificate": identity.certificate, "key": identity.key}
    spec = world.folder / f"{kind}.json"
    spec.write_text(
        json.dumps(
            {
                "kind": kind,
                "mqtt": mqtt | {name: str(path) for name, path in paths.items()},
                "dsn": world.owner_dsn,
                "messages": per_site * len(world.sites),
                "ready": str(ready),
            }
        )
    )
    argv = [sys.executable, "-m", "ui.bench.ingest_rivals", str(spec)]
    with (
        psycopg.connect(world.owner_dsn, autocommit=True) as owner,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,  # noqa: S603 our own
    ):
        try:
            _await(ready, process)
            before_s = cpu_s(process.pid)
            with _sending(world, kind, per_site, rate):
                pass
            if process.stdout is None or process.stdout.readline() != b"done\n":
                raise RuntimeError(f"{kind} did not end")
            used_s = cpu_s(process.pid) - before_s
            server_s = sum(cpu_s(pid) for pid in store.server_processes(owner, f"bench-{kind}"))
        finally:
            process.kill()
    readings = per_site * len(world.sites) * READINGS
    return 1e6 * used_s / readings, 1e6 * server_s / readings


def _ingest(world: World, rate: float, seconds: float) -> dict[str, float]:
    per_site = round(rate * seconds / len(world.sites))
    readings = per_site * len(world.sites) * READINGS
    with psycopg.connect(world.owner_dsn, autocommit=True) as owner, ingest_process(world) as process:
        before_s = cpu_s(process.pid)
        with _sending(world, "ingest", per_site, rate) as load:
            seen = _watch(owner, "ingest", readings // len(world.sites), len(world.sites), load, seconds)
        used_s = cpu_s(process.pid) - before_s
        server_s = sum(cpu_s(pid) for pid in store.server_processes(owner, ingest_worker(0)))
        peak_mb = peak_memory_mb(process.pid)
        found = store.count_readings(owner, "ingest")
    sent_s = np.load(world.folder / "ingest.npy")
    lags_s = _lags_s(world.sites, sent_s, seen)
    return {
        "ingest_sent_readings_per_s": readings / float(sent_s.max() - sent_s.min() + 1.0 / rate),
        "ingest_readings_count": readings,
        "ingest_lost_count": max(0, readings - found),
        "ingest_doubled_count": max(0, found - readings),
        "ingest_visible_p50_s": float(np.quantile(lags_s, 0.5)),
        "ingest_visible_p99_s": float(np.quantile(lags_s, 0.99)),
        "ingest_worker_peak_mb": peak_mb,
        # Of what was stored: a run that a busy machine cut short must not look cheap.
        "ingest_worker_cpu_per_reading_us": 1e6 * used_s / max(found, 1),
        "ingest_database_cpu_per_reading_us": 1e6 * server_s / max(found, 1),
    }


@contextmanager
def ingest_process(world: World, number: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real worker until the block ends."""
    identity = world.authority.service(ingest_worker(number))
    ready = world.folder / f"ingest-{number}-ready"
    env = {
        "PATH": os.environ.get("PATH", ""),
        DATABASE_URL: world.ingest_dsn,
        MQTT_URL: f"mqtts://127.0.0.1:{world.port}",
        MQTT_AUTHORITY: str(identity.authority),
        MQTT_CERTIFICATE: str(identity.certificate),
        MQTT_KEY: str(identity.key),
        SPILL_FOLDER: str(world.folder / "spill"),
        READY_FILE: str(ready),
    }
    with subprocess.Popen([sys.executable, "-m", "ui.cli", "ingest"], env=env) as process:
        try:
            _await(ready, process)
            yield process
        finally:
            process.terminate()


@contextmanager
def _sending(world: World, name: str, per_site: int, rate: float) -> Iterator[subprocess.Popen[bytes]]:
    """Send the load; leaving the block waits until the broker has confirmed all of it."""
    load = Load(
        port=world.port,
        pki=str(world.folder / "pki"),
        sites=world.sites,
        boot_id=name,
        messages=per_site,
        rate=rate,
        start=first_instant(datetime.now(UTC)).isoformat(),
        times=str(world.folder / f"{name}.npy"),
    )
    spec = world.folder / f"{name}-load.json"
    spec.write_text(json.dumps(asdict(load)))
    argv = [sys.executable, "-m", "ui.bench.ingest_load", str(spec)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:  # noqa: S603 our own
        try:
            yield process
            if process.wait(timeout=600) != 0:
                raise RuntimeError("the load ended early")
        finally:
            process.kill()


def _watch(
    owner: psycopg.Connection,
    boot_id: str,
    last: int,
    sites: int,
    load: "subprocess.Popen[bytes]",
    seconds: float,
) -> list[tuple[float, dict[str, int]]]:
    """Look at what is visible until all is, or nothing has moved for 20 s after the load's end."""
    seen: list[tuple[float, dict[str, int]]] = []
    moved_s = time.monotonic() + seconds
    while True:
        marks = store.visible(owner, boot_id)
        if not seen or marks != seen[-1][1]:
            seen.append((time.time(), marks))
            moved_s = max(moved_s, time.monotonic())
        if len(marks) == sites and all(upto >= last for upto in marks.values()):
            return seen
        if load.poll() is not None and time.monotonic() > moved_s + 20.0:
            return seen
        time.sleep(_LOOK_EVERY_S)


def _lags_s(
    sites: list[str],
    sent_s: "np.ndarray[Any, np.dtype[np.float64]]",
    seen: list[tuple[float, dict[str, int]]],
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return for each message the time from its sending to the first look that found it, at most a look too long."""
    looks_s = np.array([at_s for at_s, _ in seen])
    lags = []
    for place, site_id in enumerate(sites):
        upto = np.array([marks.get(site_id, 0) for _, marks in seen])
        number = READINGS * (np.arange(sent_s.shape[1]) + 1)
        look = np.searchsorted(upto, number)
        found = look < len(looks_s)
        lags.append(looks_s[look[found]] - sent_s[place][found])
    return np.concatenate(lags)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_memory_mb(pid: int) -> float:
    """Return the most memory that a process has held, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the kernel does not say how much memory a process holds")


def _await(ready: Path, process: "subprocess.Popen[bytes]") -> None:
    give_up_s = time.monotonic() + _READY_WITHIN_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > give_up_s:
            raise RuntimeError("a process of the benchmark did not start")
        time.sleep(0.02)
