"""One gateway over one hour of domain time, as fast as it goes: CPU of the controller alone, growth of memory. Simulated.

Modbus goes through the real codecs without a socket and MQTT to a link that confirms at once: what the operating
system does for sockets, TLS and a real disk's fsync is not in these figures. `python -m ui.bench.edge_hour` prints them.
"""

import asyncio
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from edge.gateway.buffer import Buffer
from edge.gateway.core import GatewayCore
from edge.gateway.state_file import StateFile
from edge.modbus.site_port import ModbusSitePort
from edge.simulator.fleet import FleetSimulation
from edge.simulator.registry import simulated_fleet
from telemetry.wire import TelemetryMessage, decode, encode
from ui.bench.edge_stored import StoredReadings
from ui.processes.gateways import site_config

START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
_LOOKS = 4  # at the mains between two control steps, as at speed 1


@dataclass
class SteppedClock:
    """Domain time that the bench moves; its wall clock goes along, so the gateway sees speed 1."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        until = self.at + duration
        while self.at < until:  # noqa: ASYNC110 (the bench moves the clock between turns)
            await asyncio.sleep(0)

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration


class InstantLink:
    """An uplink to a centre that stores at once what comes and says so; it keeps the sequences and counts bytes."""

    def __init__(self) -> None:
        self.connected = False
        self.stored = StoredReadings()
        self.bytes = 0
        self._on_connected: Callable[[], None] = lambda: None
        self._on_message: Callable[[str, bytes], None] = lambda _name, _payload: None

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_connected = on_connected

    async def open(self) -> None:
        self.connected = True
        self._on_connected()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        del retain
        self.bytes += len(payload)
        if topic.endswith("/telemetry"):
            stored = self.stored.keep(decode(payload, TelemetryMessage))
            self._on_message(f"{topic.removesuffix('telemetry')}stored", encode(stored))

    async def close(self) -> None:
        self.connected = False


def run(seed: int = 0, hours: float = 1.0) -> dict[str, Any]:
    """Return what one gateway costs in an hour of domain time.

    Args:
        seed: Of plant and load.
        hours: Domain hours.
    """
    figures: dict[str, Any] = {}
    for traced in (True, False):  # tracing slows the interpreter: CPU is that of the second pass
        with tempfile.TemporaryDirectory() as folder:
            seen = asyncio.run(_hour(Path(folder), seed, hours, traced=traced))
        figures |= seen if traced else {name: seen[name] for name in ("cpu_s", "cpu_frac", "cpu_per_step_us")}
    goals = {
        "readings_missing": {"op": "==", "value": 0, "gating": True},
        "cpu_frac": {"op": "<=", "value": 0.05, "gating": False},
        "heap_growth_mb": {"op": "<=", "value": 10.0, "gating": True},
    }
    return {"figures": figures, "goals": goals}


async def _hour(folder: Path, seed: int, hours: float, *, traced: bool) -> dict[str, Any]:
    registered = simulated_fleet(4, seed=seed, epoch=START)
    fleet = FleetSimulation(registered.specs[:1], seed=seed, start=START)
    site = next(iter(registered.sites.values()))
    port = ModbusSitePort(fleet.port_spec(0), make_link=lambda _spec: fleet.link(0))
    await port.open()
    clock, link, buffer = SteppedClock(), InstantLink(), Buffer(folder / "buffer.db")
    disk, rng = StateFile(folder / "state.json"), Random(seed)  # noqa: S311 (delays, not secrets)
    config = site_config(site, "A" * 43 + "=")
    core = GatewayCore(
        config, port, link, buffer, disk, clock, rng, boot_id="bench", monotonic=clock.monotonic
    )
    messages = asyncio.create_task(core.run_messages())
    await link.open()
    steps, cpu_s, at_warm = round(hours * 3600), 0.0, 0
    if traced:
        tracemalloc.start()
    try:
        for step in range(steps):
            clock.at += timedelta(seconds=1)
            fleet.advance_to(clock.at)
            started = process_time()
            await core.control_once()
            for _ in range(_LOOKS):
                await port.read_mains()
            for _ in range(8):
                await asyncio.sleep(0)
            cpu_s += process_time() - started
            if step == steps // 6:
                at_warm = tracemalloc.get_traced_memory()[0]
        at_end, peak = tracemalloc.get_traced_memory()
        core.recorder.flush()
        await asyncio.sleep(0.2)
        waiting = buffer.count(site.site_id)
    finally:
        tracemalloc.stop()
        messages.cancel()
        await asyncio.wait([messages])
        buffer.close()
        await port.close()
    return {
        "domain_s": steps,
        "cpu_s": cpu_s,
        "cpu_frac": cpu_s / steps,
        "cpu_per_step_us": 1e6 * cpu_s / steps,
        "heap_growth_mb": (at_end - at_warm) / 1e6,
        "heap_peak_mb": peak / 1e6,
        "readings_missing": steps - link.stored.count(),
        "sent_mb": link.bytes / 1e6,
        "messages_unconfirmed": waiting,
        "data": "simulated",
    }
