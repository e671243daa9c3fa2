"""Thousands of gateway cores in one process, in their own rhythm at speed 1: memory, CPU, and whether they keep up. Simulated.

The cores are made as `cellwatt simulate` makes them: MQTT over TLS to a real broker, one connection each; above 200 sites
the cabinets are reached without sockets (ARCHITECTURE.md), so the cabinets' share of the work is in the figures too.
"""

import asyncio
import base64
import gc
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, process_time, time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import public_bytes
from edge.simulator.fleet import FleetSimulation, follow
from edge.simulator.registry import simulated_fleet
from telemetry.model.clock import wall_clock
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.wire import StateMessage, TelemetryMessage, decode
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import INGEST, CertificateAuthority
from ui.processes.gateways import GatewaysShared, make_gateways

_ONLINE_WITHIN_S = 240.0
_LEAST_RATE = 0.8  # of one scan a second each: below this the process is too small for its fleet
_UNTIL_SENT_S = 15.0  # a scan leaves with the message of its ten seconds


def run(seed: int = 0, sites: int = 2000, seconds: float = 40.0) -> dict[str, Any]:
    """Return what that many cores cost.

    Args:
        seed: Of plant and loads.
        sites: Cores in this process.
        seconds: How long they are watched once all are online, wall time.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_run(Path(folder), seed, sites, seconds))
    goals = {
        "online": {"op": "==", "value": sites, "gating": True},
        "memory_per_core_kb": {"op": "<=", "value": 500.0, "gating": True},
        "scans_per_core_ratio": {"op": ">=", "value": _LEAST_RATE, "gating": False},
    }
    return {"figures": figures, "goals": goals}


class _Ear:
    """The cloud's end: who is online, and how many readings came."""

    def __init__(self) -> None:
        self.online: set[str] = set()
        self.scans: Counter[int] = Counter()  # by the second in which they were made
        self.messages = 0

    def hear(self, message: InboundMessage) -> None:
        if message.topic.endswith("/state"):
            state = decode(message.payload, StateMessage)
            if state.online:
                self.online.add(state.site_id)
        elif message.topic.endswith("/telemetry"):
            self.messages += 1
            readings = decode(message.payload, TelemetryMessage).readings
            self.scans.update(int(reading.at.timestamp()) for reading in readings)


def _resident_kb() -> float:
    """Return this process's resident memory, kB."""
    fields = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in fields if line.startswith("VmRSS:")).split()[1])


async def _run(folder: Path, seed: int, sites: int, seconds: float) -> dict[str, Any]:
    clock = wall_clock()
    registered = simulated_fleet(sites, seed=seed, epoch=clock.now())
    simulation = FleetSimulation(registered.specs, seed=seed, start=clock.now())
    authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
    ear = _Ear()
    with (
        EmbeddedBroker(private_folder(folder / "broker"), authority) as broker,
        ThreadPoolExecutor(4) as pool,
    ):
        ingest = MqttClient(
            broker.settings(authority.service(INGEST)),
            on_message=ear.hear,
            random=Random(seed),  # noqa: S311 (the jitter of a reconnection)
        )
        ingest.subscribe("cbs/v1/+/state", "cbs/v1/+/telemetry")
        ingest.start()
        await ingest.wait_ready(timedelta(seconds=20))
        identities = {str(site_id): authority.site(site_id) for site_id in registered.sites}
        gc.collect()
        empty_kb = _resident_kb()
        shared = GatewaysShared(
            mqtt=lambda name: broker.settings(identities[name]),
            root_public_b64=base64.b64encode(public_bytes(Ed25519PrivateKey.generate())).decode(),
            state=private_folder(folder / "gateways"),
            seed=seed,
            clock=clock,
            executor=pool,
        )
        began_s, cpu_s = monotonic(), process_time()
        running = await make_gateways(registered, simulation, shared)
        made_s = process_time() - cpu_s
        tasks = [
            asyncio.create_task(follow(simulation, clock.now, asyncio.sleep)),
            asyncio.create_task(running.run()),
        ]
        try:
            while len(ear.online) < sites and monotonic() - began_s < _ONLINE_WITHIN_S:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            online_s = monotonic() - began_s
            await asyncio.sleep(10.0)
            figures = await _watch(ear, sites, seconds)
        finally:
            await ingest.stop()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    return {
        "online": len(ear.online),
        "all_online_s": online_s,
        "make_cpu_per_core_ms": 1e3 * made_s / sites,
        "memory_per_core_kb": (figures.pop("resident_kb") - empty_kb) / sites,
        **figures,
        "data": "simulated",
    }


async def _watch(ear: _Ear, sites: int, seconds: float) -> dict[str, float]:
    messages, cpu_s, at_s, second = ear.messages, process_time(), monotonic(), int(time()) + 1
    lag_s, until_s = 0.0, at_s + seconds
    while (before_s := monotonic()) < until_s:
        await asyncio.sleep(0.02)
        lag_s = max(lag_s, monotonic() - before_s - 0.02)
    passed_s, used_s, last = monotonic() - at_s, process_time() - cpu_s, int(time())
    seen = ear.messages - messages
    await asyncio.sleep(_UNTIL_SENT_S)
    scans = sum(ear.scans[each] for each in range(second, last))
    rate = scans / (last - second)
    return {
        "cpu_frac": used_s / passed_s,
        "cpu_per_scan_us": 1e6 * used_s / passed_s / max(rate, 1.0),
        "scans_per_core_ratio": rate / sites,  # of the one a second that each is to make
        "messages_per_s": seen / passed_s,
        "process_lag_max_s": lag_s,
        "resident_kb": _resident_kb(),
    }
