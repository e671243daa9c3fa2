"""A bench for one or more gateway cores: the simulated plant behind the real Modbus port, stepped by a clock of the
test's own, with a link that is a real object of this process. Nothing is patched."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import KeySet, SigningKey, decode_ack, public_bytes, sign_command, sign_keys
from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing, SiteConfig
from edge.gateway.core import GatewayCore
from edge.gateway.limits import OwnLimits
from edge.gateway.memory import Disk
from edge.gateway.recharge import RechargeRule
from edge.gateway.state_file import StateFile
from edge.gateway.uplink import FLEET_KEYS, UplinkError, topic
from edge.modbus.client import Patience
from edge.modbus.site_port import ModbusSitePort, modbus_link
from edge.plan import Acknowledgement, Command, CommandId, CommandKind, EmptyBody, ScheduleBody
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import InProcessLink, SiteServer
from edge.simulator.site_spec import SiteSpec
from telemetry.model.battery import Chemistry
from telemetry.model.site import SiteId, SiteMode
from telemetry.wire import EventMessage, StateMessage, TelemetryMessage, decode

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ROOT = Ed25519PrivateKey.from_private_bytes(b"r" * 32)
SIGNER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
KEYS = KeySet(
    epoch=1,
    keys=(
        SigningKey(
            key_id="k1",
            public=public_bytes(SIGNER),
            not_before=NOON - timedelta(days=1),
            not_after=NOON + timedelta(days=30),
        ),
    ),
)
SITE = SiteId("cbs-0001")
LIMITS = OwnLimits(
    chemistry=Chemistry.LFP,
    rated_wh=15_360.0,
    max_load_w=3_300.0,
    rectifier_secure_w=6_000.0,
    grid_import_limit_w=12_000.0,
    soc_min_frac=0.15,
    max_cycles_per_day=1.0,
    continuity_proven=True,
)
CONFIG = SiteConfig(
    site_id=SITE,
    root_public_b64=base64.b64encode(public_bytes(ROOT)).decode(),
    limits=LIMITS,
    mode=SiteMode.REMOTE,
    highest_mode=SiteMode.REMOTE,
    recharge=RechargeRule(min_delay_s=30.0, max_delay_s=60.0, ramp_s=60.0),
    pacing=Pacing(backlog_per_s=1000.0, report_spread_s=0.0),
)
SPEC = SiteSpec(site_id=SITE)
TEST = Command(
    command_id=CommandId("c-1"),
    plan_id=None,
    site_id=SITE,
    sequence=1,
    accept_by=NOON + timedelta(minutes=1),
    not_before=NOON,
    valid_until=NOON + timedelta(hours=2),
    kind=CommandKind.TEST,
    body=EmptyBody(),
)
SCHEDULE = replace(
    TEST,
    kind=CommandKind.SCHEDULE,
    body=ScheduleBody(start=NOON, step_s=900, setpoint_w=(-1000.0, -500.0, 0.0, 800.0)),
)


def seal(command: Command, key: Ed25519PrivateKey = SIGNER, key_id: str = "k1") -> bytes:
    """Return the signed bytes of a command."""
    return sign_command(command, key_id, key)[0]


class StepClock:
    """Domain time that moves when the test says so; its monotonic clock goes along."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.wall_s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.wall_s

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.wall_s += seconds

    async def sleep(self, duration: timedelta) -> None:
        until = self.at + duration
        while self.at < until:
            await asyncio.sleep(0.001)

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration


class BenchLink:
    """An uplink that keeps what was published; `cut` breaks it, `mend` brings it back."""

    def __init__(self) -> None:
        self.connected = False
        self.sent: list[tuple[str, bytes, bool]] = []
        self._on_message: Callable[[str, bytes], None] = lambda _t, _p: None
        self._on_connected: Callable[[], None] = lambda: None

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        self._on_message, self._on_connected = on_message, on_connected

    async def open(self) -> None:
        self.mend()

    def cut(self) -> None:
        self.connected = False

    def mend(self) -> None:
        self.connected = True
        self._on_connected()

    def deliver(self, name: str, payload: bytes) -> None:
        self._on_message(name, payload)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await asyncio.sleep(0)
        if not self.connected:
            raise UplinkError("cut")
        self.sent.append((topic, payload, retain))

    async def close(self) -> None:
        self.connected = False


@dataclass
class Bench:
    """One core with its plant, clock and link."""

    fleet: FleetSimulation
    clock: StepClock
    link: BenchLink
    core: GatewayCore
    port: ModbusSitePort
    buffer: Buffer
    folder: Path
    trace: list[tuple[datetime, float, float, float]] = field(default_factory=list)
    ticks: int = 0

    async def step(self, seconds: float = 1.0, count: int = 1) -> None:
        """Let plant and core live for `count` steps."""
        for _ in range(count):
            self.clock.advance(seconds)
            self.fleet.advance_to(self.clock.now())
            state = self.fleet.plant.state
            true_w = float(state.string_a[0].sum() * state.bus_v[0])
            self.trace.append((self.clock.now(), true_w, float(state.bus_v[0]), float(state.load_w[0])))
            await self.core.control_once()
            await self.settle()

    async def tick(self, seconds: float) -> None:
        """Let plant and core live in tenths of a second: the reserve loop each, the control step each tenth one."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.fleet.advance_to(self.clock.now())
            state = self.fleet.plant.state
            true_w = float(state.string_a[0].sum() * state.bus_v[0])
            self.trace.append((self.clock.now(), true_w, float(state.bus_v[0]), float(state.load_w[0])))
            self.ticks += 1
            if self.ticks % 10 == 0:
                await self.core.control_once()
            if self.core.reserve.in_force(self.clock.now()):
                await self.core.reserve.tick()
        await self.settle()

    async def settle(self) -> None:
        """Let the core's tasks do what is due."""
        for _ in range(12):
            await asyncio.sleep(0)

    async def order(self, payload: bytes, leaf: str = "command") -> None:
        """Deliver a message and wait until it was worked on."""
        name = topic(self.core.config.name, leaf) if "/" not in leaf else leaf
        self.link.deliver(name, payload)
        await self.core.idle()
        await self.settle()

    def acks(self) -> list[Acknowledgement]:
        return [decode_ack(payload) for name, payload, _ in self.link.sent if name.endswith("/ack")]

    def last_ack(self) -> Acknowledgement:
        return self.acks()[-1]

    def events(self) -> list[EventMessage]:
        return [decode(p, EventMessage) for name, p, _ in self.link.sent if name.endswith("/event")]

    def states(self) -> list[StateMessage]:
        return [decode(p, StateMessage) for name, p, _ in self.link.sent if name.endswith("/state")]

    def telemetry(self) -> list[TelemetryMessage]:
        return [decode(p, TelemetryMessage) for name, p, _ in self.link.sent if name.endswith("/telemetry")]


@asynccontextmanager
async def bench(
    folder: Path,
    *,
    config: SiteConfig = CONFIG,
    spec: SiteSpec = SPEC,
    clock: StepClock | None = None,
    fleet: FleetSimulation | None = None,
    link: BenchLink | None = None,
    seed: int = 7,
    keys: bool = True,
    wire: bool = False,
    disk: Disk | None = None,
    port_type: type[ModbusSitePort] = ModbusSitePort,
) -> AsyncIterator[Bench]:
    """Run a core on the bench: its message tasks live, its control step is the test's.

    `wire`: its devices stand behind Modbus TCP on a socket instead of in the process.
    """
    clock = clock or StepClock()
    fleet = fleet or FleetSimulation([spec], seed=seed, start=clock.now())
    server = SiteServer(fleet.devices[0])
    number = await server.start() if wire else 0
    port = port_type(
        fleet.port_spec(0, port=number),
        make_link=modbus_link if wire else lambda _spec: InProcessLink(fleet.devices[0], time_out_s=0.005),
        patience=Patience(retries=0),
    )
    await port.open()
    buffer = Buffer(folder / "buffer.db")
    link = link or BenchLink()
    core = GatewayCore(
        config,
        port,
        link,
        buffer,
        disk or StateFile(folder / "state.json"),
        clock,
        Random(seed),
        boot_id=f"boot-{seed}",
        monotonic=clock.monotonic,
    )
    made = Bench(fleet, clock, link, core, port, buffer, folder)
    tasks = asyncio.create_task(core.run_messages())
    try:
        await link.open()
        await made.step()
        if keys:
            await made.order(sign_keys(KEYS, ROOT), FLEET_KEYS)
        yield made
    finally:
        tasks.cancel()
        await asyncio.wait([tasks])
        buffer.close()
        await port.close()
        await server.stop()
