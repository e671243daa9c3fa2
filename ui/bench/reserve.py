"""A reserve answered in real time: the gateway's own rhythm, Modbus TCP on a socket, a frequency that steps.

The plant and its meter are simulated, and so is every figure here; the waiting is real.
"""

import asyncio
import base64
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import decode_ack, public_bytes, sign_command, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.config import SiteConfig
from edge.gateway.core import GatewayCore
from edge.gateway.frequency import FastPath
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.modbus.client import Patience
from edge.modbus.site_port import ModbusSitePort
from edge.plan import Command, CommandId, CommandKind, GridReserve
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.site_spec import SiteSpec
from telemetry.model.clock import wall_clock
from telemetry.model.site import SiteId, SiteMode
from ui.bench.bench_keys import KEY_ID, bench_keys
from ui.bench.frequency_drift import drift, ornstein_uhlenbeck_hz
from ui.bench.harness import BenchmarkError
from ui.bench.local_world import own_limits

_SITE = SiteId("reserve")
_FAST = FastPath(meter_error_hz=0.01, meter_period_s=0.1, actuator_s=0.3, ramp_w_per_s=5000.0)
_LOOK_S = 0.02
FCR_D = GridReserve(
    product="fcr_d",
    up_w=1000.0,
    down_w=0.0,
    droop_hz=0.4,
    dead_band_hz=0.1,
    activation_s=8.0,
    energy_wh=300.0,
)
FFR = replace(FCR_D, product="ffr_1.3", droop_hz=0.2, activation_s=0.7)


class DirectLink:
    """The centre in the same process: what it says is delivered, what the site says is kept."""

    connected = True

    def __init__(self) -> None:
        self.acks: list[bytes] = []
        self._on_message: Callable[[str, bytes], None] = lambda _t, _p: None
        self._on_connected: Callable[[], None] = lambda: None

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        self._on_message, self._on_connected = on_message, on_connected

    async def open(self) -> None:
        self._on_connected()

    def deliver(self, name: str, payload: bytes) -> None:
        self._on_message(name, payload)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        del retain
        if topic.endswith("/ack"):
            self.acks.append(payload)

    async def close(self) -> None:
        return


@dataclass
class Site:
    """The running site: its plant, its link and the battery's true power, seen every 20 ms."""

    fleet: FleetSimulation
    link: DirectLink
    core: GatewayCore
    signer: Ed25519PrivateKey
    trace: list[tuple[float, float]] = field(default_factory=list)
    sequence: int = 0

    async def live(self) -> None:
        """Keep the plant at the wall clock's instant until cancelled."""
        while True:
            self.fleet.advance_to(wall_clock().now())
            state = self.fleet.plant.state
            self.trace.append((monotonic(), float(state.string_a[0].sum() * state.bus_v[0])))
            await asyncio.sleep(_LOOK_S)

    async def order(self, body: GridReserve, now: datetime) -> None:
        """Order a reserve from now on; it supersedes what runs.

        Raises:
            BenchmarkError: The site refused it.
        """
        self.sequence += 1
        command = Command(
            command_id=CommandId(f"r-{self.sequence}"),
            plan_id=None,
            site_id=_SITE,
            sequence=self.sequence,
            accept_by=now + timedelta(minutes=1),
            not_before=now - timedelta(seconds=1),
            valid_until=now + timedelta(hours=1),
            kind=CommandKind.GRID_RESERVE,
            body=body,
        )
        self.link.deliver(topic(_SITE, "command"), sign_command(command, KEY_ID, self.signer)[0])
        await self.core.idle()
        await asyncio.sleep(0.1)
        last = decode_ack(self.link.acks[-1])
        if last.reason:
            raise BenchmarkError(f"the site refused {body.product}: {last.reason}")

    def hertz(self, value: float) -> float:
        """Step the mains frequency; return the monotonic instant."""
        self.fleet.put(Fault(site=0, kind="grid_frequency", value=value))
        return monotonic()

    def reached_s(self, since_s: float, power_w: float) -> float:
        """Return how long after an instant the battery first gave that much, s; infinite if never."""
        return next((at - since_s for at, w in self.trace if at >= since_s and w <= power_w), float("inf"))


async def _real_time(seed: int, steps: int) -> dict[str, float]:
    spec = SiteSpec(site_id=_SITE, initial_soc_frac=0.7)
    signer, root = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    now = wall_clock().now()
    fleet = FleetSimulation([spec], seed=seed, start=now)
    server, link = SiteServer(fleet.devices[0]), DirectLink()
    number = await server.start()
    port = ModbusSitePort(fleet.port_spec(0, port=number), patience=Patience(retries=1))
    await port.open()
    with tempfile.TemporaryDirectory() as name:
        buffer = Buffer(Path(name) / "buffer.db", 1000)
        config = SiteConfig(
            site_id=_SITE,
            root_public_b64=base64.b64encode(public_bytes(root)).decode(),
            limits=own_limits(spec, keep=0.2),
            mode=SiteMode.REMOTE,
            highest_mode=SiteMode.REMOTE,
            fast=_FAST,
        )
        disk = StateFile(Path(name) / "state.json")
        core = GatewayCore(config, port, link, buffer, disk, wall_clock(), Random(seed), boot_id="bench")  # noqa: S311
        site = Site(fleet, link, core, signer)
        tasks = [asyncio.create_task(site.live()), asyncio.create_task(core.run())]
        try:
            await asyncio.sleep(1.0)
            link.deliver(FLEET_KEYS, sign_keys(bench_keys(signer, now), root))
            return await _answers(site, steps)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            buffer.close()
            await port.close()
            await server.stop()


async def _answers(site: Site, steps: int) -> dict[str, float]:
    react, half, whole, ffr = [], [], [], []
    for _ in range(steps):
        await site.order(FCR_D, wall_clock().now())
        await asyncio.sleep(6.0)
        began_s = site.hertz(49.4)
        await asyncio.sleep(10.0)
        site.hertz(50.0)
        react.append(site.reached_s(began_s, -100.0))  # two voltage steps: one is 108 W
        half.append(site.reached_s(began_s, -480.0))
        whole.append(site.reached_s(began_s, -900.0))
        await asyncio.sleep(9.0)
        await site.order(FFR, wall_clock().now())
        await asyncio.sleep(5.0)
        began_s = site.hertz(49.65)
        await asyncio.sleep(3.0)
        site.hertz(50.0)
        ffr.append(site.reached_s(began_s, -900.0))
        await asyncio.sleep(30.0)
    return {
        "fcr_d_react_max_s": max(react),
        "fcr_d_half_max_s": max(half),
        "fcr_d_90_percent_max_s": max(whole),
        "ffr_90_percent_max_s": max(ffr),
    }


def run(seed: int, steps: int = 3, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Return how fast a simulated site answers, and what a made-up frequency takes out of its battery.

    Args:
        seed: Of plant, sensors and frequency; sockets and the machine's load are not deterministic.
        steps: Frequency steps per product; each takes a minute.
        progress: Told how far the run is, 0..1.
    """
    figures = asyncio.run(_real_time(seed, steps))
    if progress is not None:
        progress(0.9)
    rng = np.random.default_rng(seed)
    found = drift(ornstein_uhlenbeck_hz(rng, 36_000, 0.1), 0.1)
    figures |= {
        "made_up_hour_up_wh": found.up_wh,
        "made_up_hour_down_wh": found.down_wh,
        "made_up_hour_net_wh": found.net_wh,
    }
    goals = {
        "fcr_d_half_max_s": {"op": "<=", "value": 5.0, "gating": True},
        "fcr_d_90_percent_max_s": {"op": "<=", "value": 30.0, "gating": True},
        "ffr_90_percent_max_s": {"op": "<=", "value": 1.3, "gating": False},
    }
    return {
        "figures": {f"reserve_{key}": value for key, value in figures.items()},
        "goals": {f"reserve_{key}": goal for key, goal in goals.items()},
        "used": ["simulated site over Modbus TCP in wall time; battery power looked at every 20 ms"],
    }
