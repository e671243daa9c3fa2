"""`cellwatt simulate`: the simulated sites, each with its own gateway core, and the feeders' meters (simulated).

Every site is the real gateway: Modbus TCP to a simulated cabinet, MQTT over mutual TLS upwards with its own
certificate. Many cores share this process; in production each has its own.
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from edge.simulator.fleet import FleetSimulation, follow
from edge.simulator.history import STEP, feeder_messages, site_messages
from edge.simulator.registry import SimulatedFleet, simulated_fleet
from telemetry.model.clock import Clock
from telemetry.mqtt import MqttClient, MqttSettings
from telemetry.wire import encode
from ui.ops.pki import CertificateAuthority
from ui.processes.gateways import GatewaysShared, make_gateways
from ui.settings import (
    MQTT_URL,
    PKI_FOLDER,
    ROOT_PUBLIC_KEY,
    STATE_FOLDER,
    ProcessSettings,
    SettingsError,
    need,
)

_log = logging.getLogger(__name__)
_METER_EVERY = timedelta(seconds=30)
_METER_MIN_WALL = timedelta(seconds=0.5)
_CONNECTED_WITHIN = timedelta(seconds=30)
_IN_FLIGHT = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateSettings:
    """What to simulate. `epoch` is when this installation first started, domain time."""

    process: ProcessSettings
    sites: int
    seed: int
    epoch: datetime
    history_days: int
    mqtt_host: str
    mqtt_port: int
    pki: Path
    state: Path
    root_public_b64: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "SimulateSettings":
        """Read them.

        Raises:
            SettingsError: One is missing or unusable.
        """
        host, _, port = need(env, MQTT_URL).removeprefix("mqtts://").rpartition(":")
        try:
            return cls(
                process=ProcessSettings.from_env(env),
                sites=int(need(env, "CELLWATT_SITES")),
                seed=int(need(env, "CELLWATT_SEED")),
                epoch=datetime.fromisoformat(need(env, "CELLWATT_EPOCH")),
                history_days=int(need(env, "CELLWATT_HISTORY_DAYS")),
                mqtt_host=host,
                mqtt_port=int(port),
                pki=Path(need(env, PKI_FOLDER)),
                state=Path(need(env, STATE_FOLDER)),
                root_public_b64=need(env, ROOT_PUBLIC_KEY),
            )
        except ValueError as error:
            raise SettingsError(f"simulate: {error}") from error


async def run_simulation(env: Mapping[str, str]) -> None:
    """Send the past once, then keep the fleet at the clock's instant until cancelled.

    Raises:
        SettingsError: A setting is missing.
        MqttError: The broker cannot be reached at the start.
    """
    settings = SimulateSettings.from_env(env)
    clock = settings.process.clock
    fleet = simulated_fleet(settings.sites, seed=settings.seed, epoch=settings.epoch)
    simulation = FleetSimulation(fleet.specs, seed=settings.seed, start=_past_start(settings))
    links = _Links(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(links.stop)
        await _bring_to_now(settings, fleet, simulation, links)
        shared = GatewaysShared(
            mqtt=links.settings,
            root_public_b64=settings.root_public_b64,
            state=settings.state,
            seed=settings.seed,
            clock=clock,
            executor=links.executor,
        )
        gateways = await make_gateways(fleet, simulation, shared)
        settings.process.say_ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(simulation, clock.now, asyncio.sleep))
            group.create_task(_run_meters(fleet, simulation, links, clock))
            group.create_task(gateways.run())


class _Links:
    """One MQTT connection per simulated sender, sharing one pool for the handshakes."""

    def __init__(self, settings: SimulateSettings) -> None:
        self._settings = settings
        self._authority = CertificateAuthority(settings.pki, now=datetime.now(UTC))
        self._clients: dict[str, MqttClient] = {}
        self.executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="tls")

    def settings(self, name: str) -> MqttSettings:
        """Return how a sender reaches the broker: under its own certificate."""
        identity = self._authority.site(name)
        return MqttSettings(
            host=self._settings.mqtt_host,
            port=self._settings.mqtt_port,
            authority=identity.authority,
            certificate=identity.certificate,
            key=identity.key,
            client_id=name,
        )

    async def open(self, name: str) -> MqttClient:
        """Return the connection of a sender, made on first use."""
        if name not in self._clients:
            client = MqttClient(
                self.settings(name),
                on_message=lambda _: None,
                random=Random(name),  # noqa: S311 jitter, no secret
                executor=self.executor,
            )
            client.start()
            await client.wait_ready(_CONNECTED_WITHIN)
            self._clients[name] = client
        return self._clients[name]

    async def close(self, name: str) -> None:
        """Send what waits and close one connection: a site's gateway takes over its name."""
        if (client := self._clients.pop(name, None)) is not None:
            await client.stop(drain=timedelta(seconds=30))

    async def stop(self) -> None:
        """Close all."""
        for client in self._clients.values():
            await client.stop(drain=timedelta(seconds=1))
        self.executor.shutdown(wait=False)


def _past_start(settings: SimulateSettings) -> datetime:
    """Return where the plant's run begins: with the past on a first start, a day ago on a later one."""
    if _sent_marker(settings).exists():
        return _on_step(settings.process.clock.now() - timedelta(hours=6))
    return _on_step(settings.epoch - timedelta(days=settings.history_days))


def _on_step(at: datetime) -> datetime:
    step_s = STEP.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // step_s * step_s, UTC)


def _sent_marker(settings: SimulateSettings) -> Path:
    return settings.state / "history-sent"


async def _bring_to_now(
    settings: SimulateSettings, fleet: SimulatedFleet, simulation: FleetSimulation, links: _Links
) -> None:
    """Run the plant from its past to the present; on the first start send that past through the ingest path."""
    now = _on_step(settings.process.clock.now())
    marker = _sent_marker(settings)
    if marker.exists():
        simulation.run_history(now)
        return
    start = simulation.at
    total = settings.sites * max(settings.history_days, 1)
    waiting: set[asyncio.Future[None]] = set()
    for number, message in enumerate(site_messages(simulation, now)):
        client = await links.open(message.site_id)
        waiting.add(client.publish(f"cbs/v1/{message.site_id}/telemetry", encode(message, compress=True)))
        waiting = await _throttled(waiting)
        settings.process.say_ready(f"history {min(number / total, 0.99):.3f}")
    instants = [start + step * STEP for step in range(1, (now - start) // STEP + 1)]
    for feeder in feeder_messages(fleet, simulation.model, instants):
        client = await links.open(feeder.feeder_id)
        waiting.add(client.publish(f"cbs/v1/{feeder.feeder_id}/feeder", encode(feeder, compress=True)))
        waiting = await _throttled(waiting)
    if waiting:
        await asyncio.wait(waiting)
    for site_id in fleet.sites:
        await links.close(site_id)
    marker.write_text(now.isoformat())
    settings.process.say_ready("history 1.0")


async def _throttled(waiting: set[asyncio.Future[None]]) -> set[asyncio.Future[None]]:
    if len(waiting) < _IN_FLIGHT:
        return waiting
    _, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    return left


async def _run_meters(
    fleet: SimulatedFleet, simulation: FleetSimulation, links: _Links, clock: Clock
) -> None:
    """Publish each feeder's background load until cancelled: every 30 s, at most twice a second of wall time."""
    while True:
        now = clock.now()
        for message in feeder_messages(fleet, simulation.model, [now]):
            client = await links.open(message.feeder_id)
            client.publish(f"cbs/v1/{message.feeder_id}/feeder", encode(message))
        await asyncio.sleep(max(clock.to_wall(_METER_EVERY), _METER_MIN_WALL).total_seconds())
