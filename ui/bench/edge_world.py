"""A simulated fleet under real gateway cores: plant, devices and links here, the cores in processes beside it. Simulated.

Modbus TCP and MQTT over TLS are real sockets; each site's link to the broker is a TCP proxy that delays and loses.
"""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import decode_ack, public_bytes, sign_command, sign_keys
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.plan import Acknowledgement, Command
from edge.simulator.faults import Fault
from edge.simulator.fleet import FleetSimulation
from edge.simulator.link import LinkProxy
from edge.simulator.modbus_server import SiteServer
from edge.simulator.registry import simulated_fleet
from telemetry.model.clock import FilePace, Pace, PacedClock, change_speed, read_wall, write_pace
from telemetry.model.site import Site, SiteId, SiteMode
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.wire import StateMessage, TelemetryMessage, decode, encode
from ui.bench.bench_keys import KEY_ID, bench_keys
from ui.bench.edge_cores import Place, Work
from ui.bench.edge_cores_pool import CoresPool
from ui.bench.edge_stored import StoredReadings
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import CONTROL, INGEST, CertificateAuthority
from ui.ops.ports import free_port

_TICK_S = 0.02
_ONLINE_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuality:
    """What every site's link does, each way: normal delay cut at zero, and loss (see `edge.simulator.link`)."""

    delay_s: float = 0.05
    spread_s: float = 0.03
    loss: float = 0.01


@dataclass
class World:
    """The running bench: clock, plant, the cores' processes, and the centre's end of the link.

    `lag_s` is the longest that this process stood still, wall time: above a second, the machine is too busy for the
    figures to say anything about the gateways.
    """

    clock: PacedClock
    clock_file: Path
    fleet: FleetSimulation
    sites: tuple[Site, ...]
    indices: tuple[int, ...]
    control: MqttClient
    ingest: MqttClient
    signer: Ed25519PrivateKey
    broker: EmbeddedBroker
    cores: CoresPool
    answers: dict[str, Acknowledgement] = field(default_factory=dict)
    last: dict[str, Acknowledgement] = field(default_factory=dict)
    states: dict[str, StateMessage] = field(default_factory=dict)
    lag_s: float = 0.0
    stored: dict[str, StoredReadings] = field(default_factory=dict)

    def set_speed(self, speed: float) -> None:
        """Go on from the present domain instant at another speed."""
        change_speed(self.clock_file, speed)

    def stop_broker(self) -> None:
        """Stop the broker in good order; what sites said is forgotten."""
        self.states.clear()
        self.broker.stop()

    def start_broker(self) -> None:
        """Start it again where it was, with the sessions it saved."""
        self.broker.start()

    def put(self, fault: Fault) -> None:
        """Put a fault in, or take it away."""
        self.fleet.put(fault)

    def online(self) -> int:
        """Return how many sites say that they are there."""
        return sum(state.online for state in self.states.values())

    async def wait_online(self, count: int) -> float:
        """Return how long it took until that many sites were online, s; gives up after some minutes."""
        began_s = monotonic()
        while self.online() < count and monotonic() - began_s < _ONLINE_WITHIN_S:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return monotonic() - began_s

    async def live(self) -> None:
        """Keep the plant at the clock's instant."""
        looked_s = monotonic()
        while True:
            self.lag_s, looked_s = max(self.lag_s, monotonic() - looked_s - _TICK_S), monotonic()
            self.fleet.advance_to(self.clock.now())
            await asyncio.sleep(_TICK_S)

    def send(self, index: int, command: Command) -> None:
        """Sign and publish a site's command."""
        envelope, _ = sign_command(command, KEY_ID, self.signer)
        self.control.publish(topic(self.sites[index].site_id, "command"), envelope)

    def hear(self, message: InboundMessage) -> None:
        """Keep the first and the last answer to each command, and each site's state; confirm what ingest would store."""
        if message.topic.endswith("/ack"):
            ack = decode_ack(message.payload)
            self.last[ack.command_id] = ack
            self.answers.setdefault(ack.command_id, ack)
        elif message.topic.endswith("/state"):
            state = decode(message.payload, StateMessage)
            self.states[state.site_id] = state
        elif message.topic.endswith("/telemetry"):
            telemetry = decode(message.payload, TelemetryMessage)
            answer = self.stored.setdefault(telemetry.site_id, StoredReadings()).keep(telemetry)
            self.ingest.publish(topic(SiteId(telemetry.site_id), "stored"), encode(answer), retain=True)


@asynccontextmanager
async def running_world(
    folder: Path, *, seed: int, sites: int, quality: LinkQuality, start: datetime, scan_wall_s: float = 0.1
) -> AsyncIterator[World]:
    """Run broker, plant, devices, links and one gateway core per site until the block ends.

    Args:
        folder: For everything on disk.
        seed: Of plant, loads and links.
        sites: How many.
        quality: Of every link.
        start: Domain instant of the plant's start.
        scan_wall_s: At a clock speed above 1 a core scans no more often than this, wall time.
    """
    root, signer = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    registered = simulated_fleet(max(sites, 4), seed=seed, epoch=start)
    fleet = FleetSimulation(registered.specs, seed=seed, start=start)
    every = tuple(registered.sites.values())
    able = tuple(
        index
        for index, site in enumerate(every)
        if site.mode is SiteMode.REMOTE and site.battery.max_cycles_per_day > 0.0
    )
    clock_file = folder / "clock.json"
    write_pace(clock_file, Pace(wall=read_wall(), domain=start, speed=1.0))
    clock = PacedClock(FilePace(clock_file))
    authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(
            EmbeddedBroker(private_folder(folder / "broker"), authority, preferred_port=free_port(None))
        )
        places = [
            await _place(stack, fleet, index, site, broker, authority, seed)
            for index, site in enumerate(every)
        ]
        heard: list[Callable[[InboundMessage], None]] = []
        control, ingest = (
            MqttClient(
                replace(broker.settings(authority.service(name)), max_unconfirmed=100_000),
                on_message=lambda message: heard[0](message),  # noqa: PLW0108 (filled below)
                random=Random(f"{seed}/{name}"),  # noqa: S311
            )
            for name in (CONTROL, INGEST)
        )
        control.subscribe("cbs/v1/+/ack", "cbs/v1/+/state")
        ingest.subscribe("cbs/v1/+/telemetry")
        work = Work(
            sites=len(every),
            seed=seed,
            start=start,
            root_public_b64=base64.b64encode(public_bytes(root)).decode(),
            folder=str(private_folder(folder / "gateways")),
            clock=str(clock_file),
            authority=str(authority.path),
            scan_wall_s=scan_wall_s,
            places=dict(enumerate(places)),
        )
        cores = await CoresPool.start(work, os.cpu_count() or 1)
        stack.push_async_callback(cores.stop)
        world = World(
            clock=clock,
            clock_file=clock_file,
            fleet=fleet,
            sites=every,
            indices=able,
            control=control,
            ingest=ingest,
            signer=signer,
            broker=broker,
            cores=cores,
        )
        for index, around in enumerate(fleet.around):
            around.link.delay_s, around.link.spread_s = quality.delay_s, quality.spread_s
            around.link.loss = quality.loss
            around.reboot = partial(cores.reboot, index)
        heard.append(world.hear)
        for client in (control, ingest):
            client.start()
            stack.push_async_callback(client.stop)
            await client.wait_ready(timedelta(seconds=20))
        await control.publish(FLEET_KEYS, sign_keys(bench_keys(signer, start), root), retain=True)
        plant = asyncio.create_task(world.live())
        try:
            yield world
        finally:
            plant.cancel()
            await asyncio.wait([plant])


async def _place(
    stack: AsyncExitStack,
    fleet: FleetSimulation,
    index: int,
    site: Site,
    broker: EmbeddedBroker,
    authority: CertificateAuthority,
    seed: int,
) -> Place:
    """Start a site's Modbus server and its link."""
    server = SiteServer(fleet.devices[index])
    luck = Random(f"{seed}/link/{site.site_id}")  # noqa: S311 (delays, not secrets)
    proxy = LinkProxy(broker.address.host, broker.address.port, fleet.around[index].link, luck)
    await server.start()
    stack.push_async_callback(server.stop)
    await proxy.start()
    stack.push_async_callback(proxy.stop)
    identity = authority.site(site.site_id)
    return Place(
        modbus_port=server.port,
        mqtt_port=proxy.port,
        certificate=str(identity.certificate),
        key=str(identity.key),
    )
