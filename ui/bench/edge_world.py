"""A simulated fleet under real gateway cores, over a real broker and a link that loses, delays and reboots. Simulated."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import KeySet, SigningKey, decode_ack, public_bytes, sign_command, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.core import GatewayCore
from edge.gateway.mqtt_uplink import MqttUplink
from edge.gateway.outbox import offline_state
from edge.gateway.schedule import setpoint_at
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.modbus.site_port import ModbusSitePort
from edge.plan import Acknowledgement, Command
from edge.simulator.fleet import FleetSimulation
from edge.simulator.registry import simulated_fleet
from telemetry.model.clock import Pace, PacedClock, read_wall
from telemetry.model.site import Site, SiteId, SiteMode
from telemetry.mqtt import InboundMessage, MqttClient, MqttSettings
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import CONTROL, CertificateAuthority
from ui.processes.gateways import site_config

KEY_ID = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuality:
    """What a message suffers on its way, each direction: normal delay cut at zero, and loss.

    MQTT rides on TCP: a lost segment is not a lost message but one that comes after the retransmission time-out,
    which starts at 1 s and doubles (RFC 6298).
    """

    delay_s: float = 0.05
    spread_s: float = 0.03
    loss: float = 0.01
    retransmit_s: float = 1.0


class RoughUplink(MqttUplink):
    """A gateway's uplink over a radio link: delayed both ways, and now and then sent once more."""

    def __init__(
        self,
        site_id: SiteId,
        settings: MqttSettings,
        will: bytes,
        random: Random,
        executor: Executor,
        quality: LinkQuality,
    ) -> None:
        super().__init__(site_id, settings, will, random, executor)
        self._luck = random
        self._quality = quality

    def _wait_s(self) -> float:
        wait_s = max(0.0, self._luck.gauss(self._quality.delay_s, self._quality.spread_s))
        again_s = self._quality.retransmit_s
        while self._luck.random() < self._quality.loss:
            wait_s, again_s = wait_s + again_s, 2.0 * again_s
        return wait_s

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        free_s = 0.0

        def delayed(name: str, payload: bytes) -> None:
            nonlocal free_s  # one connection: what comes later does not overtake
            free_s = max(free_s, monotonic() + self._wait_s())
            asyncio.get_running_loop().call_later(free_s - monotonic(), on_message, name, payload)

        super().listen(delayed, on_connected)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await asyncio.sleep(self._wait_s())
        await super().publish(topic, payload, retain=retain)


@dataclass
class Answer:
    """The first acknowledgement of a site's command and when it reached the centre."""

    ack: Acknowledgement
    heard_s: float


@dataclass
class World:
    """The running bench: clock, plant, cores by site, and the centre's end of the link.

    `lag_s` is the longest that the process stood still, wall time: above a second, the machine is too busy for the
    figures to say anything about the gateways.
    """

    clock: PacedClock
    pace: list[Pace]
    fleet: FleetSimulation
    sites: tuple[Site, ...]
    indices: tuple[int, ...]
    control: MqttClient
    signer: Ed25519PrivateKey
    make: Callable[[int], GatewayCore]
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    last: dict[str, Acknowledgement] = field(default_factory=dict)
    orders: dict[int, Command] = field(default_factory=dict)
    lag_s: float = 0.0
    edges: list[datetime] = field(default_factory=list)
    delivered_wh: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = field(default_factory=list)
    owed_wh: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = field(default_factory=list)

    def set_speed(self, speed: float) -> None:
        """Go on from the present domain instant at another speed."""
        wall = read_wall()
        self.pace[0] = Pace(wall=wall, domain=self.pace[0].at(wall), speed=speed)

    def start(self, index: int) -> None:
        """Start a site's gateway."""
        self.tasks[index] = asyncio.create_task(self.make(index).run())

    async def reboot(self, index: int, pause_s: float) -> None:
        """Stop a site's gateway and start it again, from its files, after a pause."""
        self.tasks[index].cancel()
        await asyncio.wait([self.tasks[index]])
        await asyncio.sleep(pause_s)
        self.start(index)

    async def live(self) -> None:
        """Keep the plant at the clock's instant in steps of a second; close the account at each quarter's end."""
        owed, looked_s = np.zeros(len(self.sites)), monotonic()
        while True:
            self.lag_s, looked_s = max(self.lag_s, monotonic() - looked_s), monotonic()
            now = self.clock.now()
            while self.fleet.at < now:
                until = min(now, self.fleet.at + timedelta(seconds=1))
                if self.edges and until >= self.edges[0]:
                    until = self.edges[0]
                span_h = max(0.0, (until - self.fleet.at).total_seconds()) / 3600.0
                self.fleet.advance_to(until)
                owed = owed + self._owed_w(until) * span_h
                if self.edges and until >= self.edges[0]:
                    self.edges.pop(0)
                    self.delivered_wh.append(self.fleet.plant.state.energy.battery.copy())
                    self.owed_wh.append(owed)
                    owed = np.zeros(len(self.sites))
            await asyncio.sleep(0.02)

    def _owed_w(self, at: datetime) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Return what each site's order asks for, less what its load, as the plant has it, takes away."""
        state = self.fleet.plant.state
        owed = np.zeros(len(self.sites))
        middle = at - timedelta(milliseconds=1)
        for index, command in self.orders.items():
            asked = setpoint_at(command, middle)
            spare = max(0.0, float(state.load_w[index] - state.pv_w[index]))
            owed[index] = max(asked, -spare) if asked < 0.0 else asked
        return owed

    def send(self, index: int, command: Command) -> None:
        """Sign and publish a site's command."""
        envelope, _ = sign_command(command, KEY_ID, self.signer)
        self.control.publish(topic(self.sites[index].site_id, "command"), envelope)

    def hear(self, message: InboundMessage) -> None:
        """Keep the first answer to each command."""
        if message.topic.endswith("/ack"):
            ack = decode_ack(message.payload)
            self.last[ack.command_id] = ack
            self.answers.setdefault(ack.command_id, Answer(ack=ack, heard_s=monotonic()))


@asynccontextmanager
async def running_world(
    folder: Path, *, seed: int, sites: int, quality: LinkQuality, start: datetime
) -> AsyncIterator[World]:
    """Run broker, plant and one gateway core per site until the block ends."""
    root, signer = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    registered = simulated_fleet(max(sites, 4), seed=seed, epoch=start)
    fleet = FleetSimulation(registered.specs, seed=seed, start=start)
    every = tuple(registered.sites.values())
    able = tuple(
        index
        for index, site in enumerate(every)
        if site.mode is SiteMode.REMOTE and site.battery.max_cycles_per_day > 0.0
    )
    pace = [Pace(wall=read_wall(), domain=start, speed=1.0)]
    clock = PacedClock(lambda: pace[0])
    authority = CertificateAuthority(folder / "pki", now=datetime.now(UTC))
    buffer = Buffer(folder / "buffer.db")
    with (
        EmbeddedBroker(private_folder(folder / "broker"), authority) as broker,
        ThreadPoolExecutor(8) as pool,
    ):
        ports = [await _open_port(fleet, index) for index in range(len(every))]
        boots = [0]

        def make(index: int) -> GatewayCore:
            boots[0] += 1
            site = every[index]
            config = site_config(site, base64.b64encode(public_bytes(root)).decode())
            rng = Random(f"{seed}/{site.site_id}/{boots[0]}")  # noqa: S311 (delays, not secrets)
            settings = broker.settings(authority.site(site.site_id))
            will = offline_state(site.site_id, clock.now(), 0, config.firmware)
            uplink = RoughUplink(site.site_id, settings, will, rng, pool, quality)
            disk = StateFile(folder / f"{site.site_id}.json")
            boot_id = f"boot-{boots[0]}"
            return GatewayCore(config, ports[index], uplink, buffer, disk, clock, rng, boot_id=boot_id)

        heard: list[Callable[[InboundMessage], None]] = []
        control = MqttClient(
            replace(broker.settings(authority.service(CONTROL)), max_unconfirmed=100_000),
            on_message=lambda message: heard[0](message),  # noqa: PLW0108 (filled below)
            random=Random(seed),  # noqa: S311
            executor=pool,
        )
        world = World(
            clock=clock,
            pace=pace,
            fleet=fleet,
            sites=every,
            indices=able,
            control=control,
            signer=signer,
            make=make,
        )
        heard.append(world.hear)
        control.subscribe("cbs/v1/+/ack")
        control.start()
        await control.wait_ready(timedelta(seconds=10))
        key = SigningKey(
            key_id=KEY_ID,
            public=public_bytes(signer),
            not_before=start - timedelta(days=1),
            not_after=start + timedelta(days=30),
        )
        await control.publish(FLEET_KEYS, sign_keys(KeySet(epoch=1, keys=(key,)), root), retain=True)
        plant = asyncio.create_task(world.live())
        for index in able:
            world.start(index)
        try:
            yield world
        finally:
            for task in (plant, *world.tasks.values()):
                task.cancel()
            await asyncio.wait([plant, *world.tasks.values()])
            await control.stop()
            buffer.close()


async def _open_port(fleet: FleetSimulation, index: int) -> ModbusSitePort:
    port = ModbusSitePort(fleet.port_spec(index), make_link=lambda _spec: fleet.link(index))
    await port.open()
    return port
