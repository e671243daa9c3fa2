"""The gateways' half of the edge bench: real cores in a process of their own, over real Modbus TCP and real MQTT.

`python -m ui.bench.edge_cores` reads one JSON document and then orders, a line each, from standard input; it ends with
that input, so it does not outlive its parent. Only the cores live here: plant, devices and links are the parent's.
"""

import asyncio
import logging
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from random import Random

import msgspec

from edge.gateway.buffer import Buffer
from edge.gateway.process import build_core, open_port
from edge.modbus.site_port import ModbusSitePort
from edge.simulator.fleet import port_spec
from edge.simulator.registry import SimulatedFleet, simulated_fleet
from edge.simulator.site_spec import PlantSettings
from telemetry.model.clock import FilePace, PacedClock
from telemetry.mqtt import MqttSettings
from ui.processes.gateways import site_config

_OPEN_AT_ONCE = 40


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one site's devices and its end of the link are, and its certificate."""

    modbus_port: int
    mqtt_port: int
    certificate: str
    key: str


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to run: the sites that `places` names by index, of a fleet of `sites`."""

    sites: int
    seed: int
    start: datetime
    root_public_b64: str
    folder: str
    clock: str
    authority: str
    scan_wall_s: float
    places: dict[int, Place]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what comes after: a reboot, or a wish for figures."""

    reboot: int | None = None
    away_s: float = 0.0
    report: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the process has used so far, and how long it stood still since the last look."""

    cpu_s: float
    rss_mb: float
    lag_max_s: float


class Cores:
    """The running cores by index."""

    def __init__(self, work: Work, fleet: SimulatedFleet, pool: ThreadPoolExecutor) -> None:
        self._work = work
        self._sites = tuple(fleet.sites.values())
        self._specs = fleet.specs
        self._pool = pool
        self._clock = PacedClock(FilePace(Path(work.clock)))
        self._buffer = Buffer(Path(work.folder) / "buffer.db")
        self._boots = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._reboots: set[asyncio.Task[None]] = set()
        self.lag_s = 0.0

    async def start_all(self) -> None:
        """Open every port, a few at once, then start every core."""
        gate = asyncio.Semaphore(_OPEN_AT_ONCE)

        async def one(index: int) -> ModbusSitePort:
            async with gate:
                return await self._open(index)

        ports = await asyncio.gather(*map(one, self._work.places))
        for index, port in zip(self._work.places, ports, strict=True):
            self._start(index, port)

    async def _open(self, index: int) -> ModbusSitePort:
        place = self._work.places[index]
        port = ModbusSitePort(port_spec(self._specs[index], PlantSettings(), port=place.modbus_port))
        await open_port(port)
        return port

    def _start(self, index: int, port: ModbusSitePort) -> None:
        self._boots += 1
        work, site, place = self._work, self._sites[index], self._work.places[index]
        settings = MqttSettings(
            host="127.0.0.1",
            port=place.mqtt_port,
            authority=Path(work.authority),
            certificate=Path(place.certificate),
            key=Path(place.key),
            client_id=site.site_id,
        )
        config = site_config(site, work.root_public_b64)
        pacing = msgspec.structs.replace(config.pacing, control_min_wall_s=work.scan_wall_s)
        core = build_core(
            msgspec.structs.replace(config, pacing=pacing),
            port,
            settings,
            self._buffer,
            Path(work.folder),
            self._clock,
            Random(f"{work.seed}/{site.site_id}/{self._boots}"),  # noqa: S311 (delays, not secrets)
            executor=self._pool,
        )

        async def live() -> None:
            try:
                await core.run()
            finally:
                await port.close()

        self._tasks[index] = asyncio.create_task(live())

    def reboot(self, index: int, away_s: float) -> None:
        """Stop a site's core and start it anew from its files after a while."""
        task = asyncio.create_task(self._reboot(index, away_s))
        self._reboots.add(task)
        task.add_done_callback(self._reboots.discard)

    async def _reboot(self, index: int, away_s: float) -> None:
        self._tasks[index].cancel()
        await asyncio.wait([self._tasks[index]])
        await asyncio.sleep(away_s)
        self._start(index, await self._open(index))

    async def watch(self) -> None:
        """Note how long the process stands still."""
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.02)
            self.lag_s = max(self.lag_s, time.monotonic() - before_s - 0.02)

    def usage(self) -> Usage:
        """Return what was used, and look at the lag anew."""
        lag_s, self.lag_s = self.lag_s, 0.0
        now = resource.getrusage(resource.RUSAGE_SELF)
        return Usage(cpu_s=time.process_time(), rss_mb=now.ru_maxrss / 1024.0, lag_max_s=lag_s)

    async def stop(self) -> None:
        """Leave every site at float."""
        tasks = [*self._tasks.values(), *self._reboots]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._buffer.close()


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    """Run until standard input ends."""
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it prints every frame that a reboot cut short
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    work = msgspec.json.decode(await reader.readline(), type=Work)
    fleet = simulated_fleet(work.sites, seed=work.seed, epoch=work.start)
    with ThreadPoolExecutor(4) as pool:
        cores = Cores(work, fleet, pool)
        watching = asyncio.create_task(cores.watch())
        await cores.start_all()
        _say(cores.usage())
        while line := await reader.readline():
            order = msgspec.json.decode(line, type=Order)
            if order.reboot is not None:
                cores.reboot(order.reboot, order.away_s)
            if order.report:
                _say(cores.usage())
        watching.cancel()
        await cores.stop()


if __name__ == "__main__":
    asyncio.run(main())
