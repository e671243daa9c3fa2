"""The real gateway core for every simulated site, many in one process: same code as in a cabinet, one each there."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from msgspec.structs import replace as alter

from edge.gateway.buffer import Buffer
from edge.gateway.config import Pacing, SiteConfig
from edge.gateway.core import GatewayCore
from edge.gateway.frequency import FastPath
from edge.gateway.limits import OwnLimits
from edge.gateway.process import build_core, run_many
from edge.gateway.recharge import RechargeRule
from edge.modbus.site_port import ModbusSitePort, PortSpec
from edge.simulator.fleet import FleetSimulation
from edge.simulator.modbus_server import SiteServer
from edge.simulator.registry import SimulatedFleet
from telemetry.model.clock import Clock
from telemetry.model.site import FastTerms, RechargeTerms, Site, SiteMode
from telemetry.mqtt import MqttSettings

# Above this many sites the simulated cabinets are reached without sockets (ARCHITECTURE.md, "Clock").
MOST_SOCKETS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaysShared:
    """What all cores of one process share. `mqtt` says how a sender of that name reaches the broker."""

    mqtt: Callable[[str], MqttSettings]
    root_public_b64: str
    state: Path
    seed: int
    clock: Clock
    executor: Executor


async def open_port(simulation: FleetSimulation, index: int) -> tuple[ModbusSitePort, SiteServer | None]:
    """Return an open port to one simulated cabinet, over Modbus TCP unless the fleet is large."""
    if len(simulation.devices) > MOST_SOCKETS:
        in_process = ModbusSitePort(simulation.port_spec(index), make_link=lambda _: simulation.link(index))
        await in_process.open()
        return in_process, None
    server = SiteServer(simulation.devices[index])
    await server.start()
    spec: PortSpec = simulation.port_spec(index, port=server.port)
    port = ModbusSitePort(spec)
    await port.open()
    return port, server


def site_config(site: Site, root_public_b64: str) -> SiteConfig:
    """Return the file that the gateway of a site would have: its own limits do not come from the centre at run time."""
    battery = site.battery
    return SiteConfig(
        site_id=site.site_id,
        root_public_b64=root_public_b64,
        mode=site.mode,
        highest_mode=SiteMode.REMOTE,
        pacing=Pacing(),
        limits=OwnLimits(
            chemistry=battery.chemistry,
            rated_wh=battery.rated_wh,
            max_load_w=site.autonomy.max_load_w,
            rectifier_secure_w=site.rectifiers.secure_w,
            grid_import_limit_w=site.grid_import_limit_w,
            rectifier_efficiency=site.rectifiers.efficiency,
            soc_min_frac=battery.soc_min_frac,
            soc_max_frac=battery.soc_max_frac,
            charge_efficiency=battery.charge_efficiency,
            discharge_efficiency=battery.discharge_efficiency,
            bands=battery.bands,
            bus_min_v=site.bus.backstop_v,
            max_cycles_per_day=battery.max_cycles_per_day,
            ramp_w_per_step=site.ramp_w_per_step,
            continuity_proven=site.bus.continuity_proven_at is not None,
        ),
        recharge=recharge_rule(site.recharge),
        fast=fast_path(site.fast),
    )


def fast_path(terms: FastTerms | None) -> FastPath | None:
    """Return the section of the gateway's file for a declared frequency meter and actuator; undeclared: no reserve."""
    if terms is None:
        return None
    return FastPath(
        meter_error_hz=terms.meter_error_hz,
        meter_period_s=terms.meter_period_s,
        actuator_s=terms.actuator_s,
        ramp_w_per_s=terms.ramp_w_per_s,
    )


def recharge_rule(terms: RechargeTerms | None) -> RechargeRule:
    """Return the section of the gateway's file that keeps what the registry declares; undeclared: the gateway's own."""
    if terms is None:
        return RechargeRule()
    return RechargeRule(
        min_delay_s=min(RechargeRule().min_delay_s, terms.max_delay_s),
        max_delay_s=terms.max_delay_s,
        ramp_s=terms.ramp_s,
        c_rate=terms.c_rate,
        feeder_share_w=terms.feeder_share_w,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningFleet:
    """The simulated cabinets' Modbus servers and the cores that talk to them."""

    cores: tuple[GatewayCore, ...]
    servers: tuple[SiteServer, ...]

    async def run(self) -> None:
        """Run every core until cancelled; one that stops leaves the others running, as separate processes would."""
        try:
            await run_many(self.cores)
        finally:
            for server in self.servers:
                await server.stop()


async def make_gateways(
    fleet: SimulatedFleet, simulation: FleetSimulation, shared: GatewaysShared
) -> RunningFleet:
    """Return a gateway core for every site, its port open and its uplink not yet."""
    buffer = Buffer(shared.state / "buffer.sqlite")
    cores, servers = [], []
    many = (
        len(fleet.sites) > MOST_SOCKETS
    )  # ten looks a second at so many meters are not to be had in one process
    for index, site in enumerate(fleet.sites.values()):
        config = site_config(site, shared.root_public_b64)
        if many:
            config = alter(config, fast=None)
        port, server = await open_port(simulation, index)
        if server is not None:
            servers.append(server)
        cores.append(
            build_core(
                config,
                port,
                shared.mqtt(site.site_id),
                buffer,
                shared.state,
                shared.clock,
                Random(f"{shared.seed}/{site.site_id}"),  # noqa: S311 spreads recharges, no secret
                executor=shared.executor,
            )
        )
    return RunningFleet(cores=tuple(cores), servers=tuple(servers))
