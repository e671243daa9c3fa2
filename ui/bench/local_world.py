"""One site's gateway on its simulated plant, stepped as fast as it goes: nobody at the other end of the link."""

import base64
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing, SiteConfig
from edge.gateway.core import GatewayCore
from edge.gateway.frequency import FastPath
from edge.gateway.limits import OwnLimits
from edge.gateway.local import LocalRule
from edge.gateway.recharge import RechargeRule
from edge.gateway.state_file import StateFile
from edge.modbus.client import Patience
from edge.modbus.site_port import ModbusSitePort
from edge.simulator.fleet import FleetSimulation
from edge.simulator.site_spec import PlantSettings, SiteSpec
from telemetry.model.battery import Chemistry
from telemetry.model.site import SiteMode

_MOST_STEPS = 6  # of the plant in one control step
NO_ROOT = base64.b64encode(bytes(32)).decode()  # nobody signs anything here


class StepClock:
    """Domain time that moves when the run says so; its monotonic clock goes along."""

    def __init__(self, at: datetime) -> None:
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
        raise NotImplementedError(f"nothing sleeps {duration} here")

    def to_wall(self, duration: timedelta) -> timedelta:
        return duration


class NoLink:
    """A link that was never there: the site works all the same."""

    connected = False

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        del on_message, on_connected

    async def open(self) -> None:
        return

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        raise NotImplementedError(topic, len(payload), retain)

    async def close(self) -> None:
        return


@dataclass
class LocalWorld:
    """The site: `step` lets plant and gateway live for one control step."""

    fleet: FleetSimulation
    clock: StepClock
    core: GatewayCore

    async def step(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.fleet.advance_to(self.clock.now(), most_steps=_MOST_STEPS)
        await self.core.control_once()


def own_limits(spec: SiteSpec, *, keep: float, parallel_strings: int = 0) -> OwnLimits:
    """Return the limits that a simulated site's file would hold."""
    return OwnLimits(
        chemistry=Chemistry(spec.chemistry),
        rated_wh=spec.rated_wh,
        max_load_w=1.1 * spec.peak_load_w,
        rectifier_secure_w=spec.module_w * (spec.modules - 1),
        grid_import_limit_w=spec.module_w * spec.modules,
        soc_min_frac=keep,
        max_cycles_per_day=2.0,
        continuity_proven=True,
        parallel_strings=parallel_strings,
    )


@asynccontextmanager
async def local_world(
    spec: SiteSpec,
    limits: OwnLimits,
    start: datetime,
    seed: int,
    *,
    rule: LocalRule | None = None,
    recharge: RechargeRule | None = None,
    fast: FastPath | None = None,
    settings: PlantSettings | None = None,
) -> AsyncIterator[LocalWorld]:
    """Run a site without a centre: its own rules, nothing signed."""
    clock, fleet = StepClock(start), FleetSimulation([spec], seed=seed, start=start, settings=settings)
    config = SiteConfig(
        site_id=spec.site_id,
        root_public_b64=NO_ROOT,
        limits=limits,
        mode=SiteMode.REMOTE,
        highest_mode=SiteMode.REMOTE,
        recharge=recharge or RechargeRule(),
        local=rule or LocalRule(),
        fast=fast,
        pacing=Pacing(revert_s=60.0, publish_s=60.0),
    )
    port = ModbusSitePort(
        fleet.port_spec(0), make_link=lambda _spec: fleet.link(0), patience=Patience(retries=0)
    )
    await port.open()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        buffer = Buffer(folder / "buffer.db", 200)
        core = GatewayCore(
            config,
            port,
            NoLink(),
            buffer,
            StateFile(folder / "state.json"),
            clock,
            Random(seed),  # noqa: S311 (delays, not secrets)
            boot_id="bench",
            monotonic=clock.monotonic,
        )
        try:
            yield LocalWorld(fleet, clock, core)
        finally:
            buffer.close()
            await port.close()
