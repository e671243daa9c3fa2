"""Gateway cores of a whole fleet stepped by hand: one control step a second of domain time, exactly, as fast as it goes.

The cores, their memory on disk and the Modbus codecs are the real ones; Modbus has no socket and the link to the centre
confirms at once. Deterministic by seed, and no machine is too slow for it. Plant and loads are simulated.
"""

import asyncio
import base64
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, process_time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from edge.envelope import decode_ack, public_bytes, sign_command, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing
from edge.gateway.core import GatewayCore
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, UplinkError, topic
from edge.modbus.client import Link, Patience
from edge.modbus.site_port import DeviceSpec, ModbusSitePort
from edge.plan import Acknowledgement, Command
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import InProcessLink
from edge.simulator.registry import SimulatedFleet, simulated_fleet
from edge.simulator.surroundings import SkewedClock
from telemetry.model.site import Site, SiteMode
from telemetry.wire import TelemetryMessage, decode
from ui.bench.bench_keys import KEY_ID, bench_keys
from ui.bench.edge_account import Account
from ui.bench.edge_hour import InstantLink, SteppedClock
from ui.processes.gateways import site_config

_TIME_OUT_S = 0.005  # wall time: a step of domain time does not wait for a device that is silent


@dataclass(frozen=True, slots=True)
class Arrival:
    """One telemetry message at the centre: wall seconds, boot, first and last sequence in it."""

    at_s: float
    boot_id: str
    first: int
    last: int


class SaidLink(InstantLink):
    """A link that keeps the answers to commands, and with `arrivals` every telemetry message; it can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.acks: list[Acknowledgement] = []
        self.arrivals: list[Arrival] | None = None

    def cut(self) -> None:
        """Break it: nothing goes through until it is mended."""
        self.connected = False

    def mend(self) -> None:
        """Bring it back."""
        self.connected = True
        self._on_connected()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if not self.connected:
            raise UplinkError("cut")
        if topic.endswith("/ack"):
            self.acks.append(decode_ack(payload))
        elif self.arrivals is not None and topic.endswith("/telemetry"):
            said = decode(payload, TelemetryMessage)
            numbers = [reading.sequence for reading in said.readings]
            self.arrivals.append(Arrival(monotonic(), said.boot_id, min(numbers), max(numbers)))
        await super().publish(topic, payload, retain=retain)

    def deliver(self, name: str, payload: bytes) -> None:
        """Hand a message to the gateway."""
        self._on_message(name, payload)


class SteppedFleet:
    """A fleet whose cores take their control steps when told."""

    def __init__(
        self,
        registered: SimulatedFleet,
        seed: int,
        folder: Path,
        start: datetime,
        feeder_share_w: float | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        """Prepare; `feeder_share_w` replaces what commissioning wrote to each site, W at the AC side, at every hour."""
        self.registered = registered
        # A stepped clock waits for nobody: what is held back would come in wall time.
        self._pacing = pacing or Pacing(report_spread_s=0.0)
        self.sites: tuple[Site, ...] = tuple(
            site if feeder_share_w is None else _with_share(site, feeder_share_w)
            for site in registered.sites.values()
        )
        self.fleet = FleetSimulation(registered.specs, seed=seed, start=start)
        self.clock = SteppedClock(at=start)
        self.links = [SaidLink() for _ in self.sites]
        self.account: Account | None = None
        self.core_cpu_s = 0.0
        self.steps = 0
        self._seed = seed
        self._folder = folder
        self._root, self._signer = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._buffer = Buffer(folder / "buffer.db")
        self._cores: dict[int, GatewayCore] = {}
        self._working: dict[int, asyncio.Task[None]] = {}
        self._back: dict[int, datetime] = {}
        self._boots = 0
        self._ports: list[ModbusSitePort] = []
        for index, around in enumerate(self.fleet.around):
            around.reboot = partial(self._away, index)

    @property
    def able(self) -> tuple[int, ...]:
        """The sites that may be dispatched: lithium, remote."""
        return tuple(
            index
            for index, site in enumerate(self.sites)
            if site.mode is SiteMode.REMOTE and site.battery.max_cycles_per_day > 0.0
        )

    async def open(self) -> None:
        """Open the ports, boot every core and let it look once; hand out the key set."""
        for index in range(len(self.sites)):
            port = ModbusSitePort(
                self.fleet.port_spec(index),
                make_link=partial(self._make_link, index),
                patience=Patience(retries=0),
            )
            await port.open()
            self._ports.append(port)
            await self._boot(index)
        await self.step(1.0)
        envelope = sign_keys(bench_keys(self._signer, self.clock.now()), self._root)
        for index in self._cores:
            self.links[index].deliver(FLEET_KEYS, envelope)
        await self.settle()

    def _make_link(self, index: int, _spec: DeviceSpec) -> Link:
        return InProcessLink(self.fleet.devices[index], time_out_s=_TIME_OUT_S)

    def _away(self, index: int, away_s: float) -> None:
        self._back[index] = self.clock.now() + timedelta(seconds=away_s)

    async def _boot(self, index: int) -> None:
        self._boots += 1
        site = self.sites[index]
        link = self.links[index]
        config = site_config(site, base64.b64encode(public_bytes(self._root)).decode())
        core = GatewayCore(
            structs.replace(config, pacing=self._pacing),
            self._ports[index],
            link,
            self._buffer,
            StateFile(self._folder / f"{site.site_id}.json"),
            SkewedClock(self.clock, self.fleet.around[index]),
            Random(f"{self._seed}/{site.site_id}/{self._boots}"),  # noqa: S311 (delays, not secrets)
            boot_id=f"boot-{self._boots}",
            monotonic=self.clock.monotonic,
        )
        core.restore(core.clock.now())
        self._cores[index] = core
        self._working[index] = asyncio.create_task(core.run_messages())
        await link.open()

    async def _reboots(self) -> None:
        """Take down who is to be away, bring back whose time has come."""
        now = self.clock.now()
        for index, back in list(self._back.items()):
            if index in self._cores:
                core = self._cores.pop(index)
                await core.let_go()
                self._working[index].cancel()
                await asyncio.wait([self._working.pop(index)])
            if back <= now:
                del self._back[index]
                await self._boot(index)

    async def step(self, seconds: float, count: int = 1) -> None:
        """Let the plant live, then every core take one control step; `count` times."""
        for _ in range(count):
            self.clock.at += timedelta(seconds=seconds)
            if self.account is None:
                self.fleet.advance_to(self.clock.at)
            else:
                self.account.advance(self.clock.at)
            if self._back:
                await self._reboots()
            began_s = process_time()
            for core in self._cores.values():
                await core.control_once()
            for _ in range(6):
                await asyncio.sleep(0)
            self.core_cpu_s += process_time() - began_s
            self.steps += 1

    async def settle(self) -> None:
        """Wait until every order that was handed over has been worked on and answered."""
        for core in self._cores.values():
            await core.idle()
        for _ in range(12):
            await asyncio.sleep(0)

    async def order(self, commands: dict[int, Command]) -> None:
        """Sign and hand over one command to each of these sites."""
        for index, command in commands.items():
            envelope, _ = sign_command(command, KEY_ID, self._signer)
            self.links[index].deliver(topic(self.sites[index].site_id, "command"), envelope)
        await self.settle()

    def answers(self, indices: Iterable[int]) -> dict[str, int]:
        """Return how often each verdict, with its reason, was the last word on a command of these sites."""
        last: dict[str, Acknowledgement] = {}
        for index in indices:
            for ack in self.links[index].acks:
                last[ack.command_id] = ack
        counts: dict[str, int] = defaultdict(int)
        for ack in last.values():
            counts[f"{ack.verdict.value} {ack.reason}".strip()] += 1
        return dict(counts)

    def put(self, fault: Fault) -> None:
        """Put a fault in, or take it away."""
        self.fleet.put(fault)

    async def close(self) -> None:
        """Stop the cores."""
        for task in self._working.values():
            task.cancel()
        if self._working:
            await asyncio.wait(self._working.values())
        self._buffer.close()
        for port in self._ports:
            await port.close()


def _with_share(site: Site, share_w: float) -> Site:
    terms = site.recharge
    return site if terms is None else replace(site, recharge=replace(terms, feeder_share_w=(share_w,) * 24))


@asynccontextmanager
async def stepped_fleet(
    folder: Path,
    *,
    seed: int,
    sites: int,
    start: datetime,
    feeder_share_w: float | None = None,
    pacing: Pacing | None = None,
) -> AsyncIterator[SteppedFleet]:
    """Run a stepped fleet of at least four sites until the block ends."""
    registered = simulated_fleet(max(sites, 4), seed=seed, epoch=start)
    made = SteppedFleet(registered, seed, folder, start, feeder_share_w, pacing)
    try:
        await made.open()
        yield made
    finally:
        await made.close()
