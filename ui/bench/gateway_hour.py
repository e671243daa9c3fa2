"""One gateway as it is installed, for an hour of wall time: how soon it is there, its memory and its CPU.

A `cellwatt-gateway` process of its own with one YAML file: Modbus TCP to a simulated cabinet, MQTT over TLS to a real
mosquitto, its state fsynced on a real disk, a schedule in force all the time. Memory and CPU are what Linux counts for
that process (/proc); plant, broker and centre are other processes. The cabinet is simulated, the hour is not.
"""

import asyncio
import base64
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.envelope import decode_ack, public_bytes, sign_command, sign_keys
from edge.gateway.config import BrokerConfig, GatewayFile, Pacing, SiteConfig
from edge.gateway.uplink import FLEET_KEYS, topic
from edge.plan import Acknowledgement, AckVerdict, Command, CommandId, CommandKind, ScheduleBody
from edge.simulator.fleet import FleetSimulation, follow
from edge.simulator.modbus_server import SiteServer
from edge.simulator.site_spec import SiteSpec
from telemetry.model.clock import wall_clock
from telemetry.model.site import SiteId, SiteMode
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.wire import StateMessage, TelemetryMessage, decode, encode
from ui.bench.bench_keys import KEY_ID, bench_keys
from ui.bench.edge_stored import StoredReadings
from ui.bench.harness import BenchmarkError
from ui.bench.local_world import own_limits
from ui.bench.process_use import Use
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import CONTROL, INGEST, CertificateAuthority
from ui.ops.process import ProcessSpec, log_tail, spawn, stop

_SITE = SiteId("gateway-hour")
_LOOK_S = 1.0
_WITHIN_S = 60.0  # a busy machine is slow; what is reported is how slow
_LAST_WITHIN_S = 15.0
_SCHEDULE_W = (-1000.0, -500.0, 0.0, 800.0)  # quarters, over and over: both directions and rest


@dataclass(slots=True)
class Centre:
    """The other end of the link: it stores at once what comes, says so, and signs."""

    control: MqttClient
    ingest: MqttClient
    signer: Ed25519PrivateKey
    stored: StoredReadings = field(default_factory=StoredReadings)
    online_s: float | None = None  # monotonic, the first time the site said so
    first_reading_at: datetime | None = None
    acks: list[Acknowledgement] = field(default_factory=list)

    def hear(self, message: InboundMessage) -> None:
        """Take a message of the site's."""
        if message.topic.endswith("/ack"):
            self.acks.append(decode_ack(message.payload))
        elif message.topic.endswith("/state"):
            if self.online_s is None and decode(message.payload, StateMessage).online:
                self.online_s = monotonic()
        elif message.topic.endswith("/telemetry"):
            told = decode(message.payload, TelemetryMessage)
            if self.first_reading_at is None:
                self.first_reading_at = told.readings[0].at
            answer = self.stored.keep(told)
            self.ingest.publish(topic(_SITE, "stored"), encode(answer), retain=True)

    async def order(self, sequence: int, now: datetime) -> None:
        """Have the site follow the schedule for an hour; it supersedes what runs.

        Raises:
            BenchmarkError: It does not answer, or refuses.
        """
        command = Command(
            command_id=CommandId(f"h-{sequence}"),
            plan_id=None,
            site_id=_SITE,
            sequence=sequence,
            accept_by=now + timedelta(minutes=1),
            not_before=now,
            valid_until=now + timedelta(hours=1),
            kind=CommandKind.SCHEDULE,
            body=ScheduleBody(start=now, step_s=900, setpoint_w=_SCHEDULE_W),
        )
        self.control.publish(topic(_SITE, "command"), sign_command(command, KEY_ID, self.signer)[0])
        await until(lambda: len(self.acks) >= sequence, "the gateway does not answer a command")
        if self.acks[-1].verdict is not AckVerdict.ACCEPTED:
            raise BenchmarkError(f"the gateway refused the schedule: {self.acks[-1].reason}")


async def until(true: Callable[[], bool], complaint: str, within_s: float = _WITHIN_S) -> None:
    """Return once it is true.

    Raises:
        BenchmarkError: Not in time.
    """
    end = monotonic() + within_s
    while not true():
        if monotonic() > end:
            raise BenchmarkError(complaint)
        await asyncio.sleep(0.005)


def run(
    seed: int = 0,
    minutes: float = 60.0,
    publish_s: float = 10.0,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[str, Any]:
    """Return what one gateway's process costs.

    Args:
        seed: Of plant, load and the gateway's random delays.
        minutes: Wall time that it is watched for once it is there.
        publish_s: How often it sends its readings; 10 s is how it is installed.
        progress: Told how far the run is, 0..1.

    Raises:
        BenchmarkError: There is no Linux to ask, or the gateway did not come up.
    """
    if not Path("/proc/self/status").exists():
        raise BenchmarkError("memory and CPU of a process are read from Linux's /proc, which is not here")
    with tempfile.TemporaryDirectory() as name:
        figures = asyncio.run(_watched(Path(name), seed, minutes, publish_s, progress))
    goals = {
        "start_s": {"op": "<=", "value": 2.0, "gating": False},
        "rss_mb": {"op": "<", "value": 80.0, "gating": True},
        "rss_growth_mb": {"op": "<=", "value": 10.0, "gating": True},
        "cpu_frac": {"op": "<=", "value": 0.05, "gating": False},
        "readings_missing": {"op": "==", "value": 0, "gating": True},
    }
    used = ["a real cellwatt-gateway process, Modbus TCP, MQTT over TLS, wall time; the cabinet is simulated"]
    return {"figures": figures, "goals": goals, "used": used}


async def _watched(
    folder: Path, seed: int, minutes: float, publish_s: float, progress: Callable[[float], None]
) -> dict[str, float]:
    spec, signer, root = SiteSpec(site_id=_SITE), Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    clock = wall_clock()
    authority = CertificateAuthority(folder / "pki", now=clock.now())
    with EmbeddedBroker(private_folder(folder / "broker"), authority) as broker:
        async with _cabinet(spec, seed) as (fleet, port), _centre(broker, authority, signer, root) as centre:
            path = _write_file(folder, authority, broker, root, fleet, port, seed, publish_s)
            began_s, began_at = monotonic(), clock.now()
            with _gateway(folder, path) as pid:
                await until(lambda: centre.online_s is not None, "the gateway does not come online")
                await until(lambda: centre.first_reading_at is not None, "no reading comes")
                use = await _watch(pid, centre, clock.now, minutes, progress)
            # Told to stop, it sends what it has; what it says then are its last readings.
            missing = await _missing(centre)
    assert centre.online_s is not None
    assert centre.first_reading_at is not None
    return {
        "start_s": centre.online_s - began_s,
        "first_reading_s": (centre.first_reading_at - began_at).total_seconds(),
        "wall_s": use.wall_s[-1] - use.wall_s[0],
        "rss_mb": use.most_rss_mb,
        "rss_growth_mb": use.growth_mb(),
        "cpu_frac": use.cpu_frac(),
        "readings_stored": centre.stored.count(),
        "readings_missing": missing,
    }


async def _watch(
    pid: int,
    centre: Centre,
    now: Callable[[], datetime],
    minutes: float,
    progress: Callable[[float], None],
) -> Use:
    use, began_s, sequence = Use(), monotonic(), 0
    use.look(pid)
    while (lived_s := monotonic() - began_s) < 60.0 * minutes:
        if lived_s >= 3600.0 * sequence:
            sequence += 1
            await centre.order(sequence, now())
        await asyncio.sleep(min(_LOOK_S, 6.0 * minutes))
        use.look(pid)
        progress(min(1.0, lived_s / (60.0 * minutes)))
    return use


async def _missing(centre: Centre) -> int:
    """Return how many sequences below the highest never came, once nothing more comes."""
    seen = next(iter(centre.stored.seen.values()))
    end = monotonic() + _LAST_WITHIN_S
    while (missing := max(seen) - len(seen)) > 0 and monotonic() < end:  # noqa: ASYNC110 (filled by the link)
        await asyncio.sleep(0.1)
    return missing


@contextmanager
def _gateway(folder: Path, path: Path) -> Iterator[int]:
    log = folder / "gateway.log"
    spec = ProcessSpec(
        name="cellwatt-gateway",
        argv=(sys.executable, "-m", "edge.gateway.process", str(path)),
        log_path=log,
    )
    process = spawn(spec)
    try:
        yield process.pid
    except BenchmarkError as error:
        raise BenchmarkError(f"{error}; the end of its log:\n{log_tail(log)}") from error
    finally:
        stop(process, spec)


def _write_file(
    folder: Path,
    authority: CertificateAuthority,
    broker: EmbeddedBroker,
    root: Ed25519PrivateKey,
    fleet: FleetSimulation,
    port: int,
    seed: int,
    publish_s: float,
) -> Path:
    """Write the gateway's one file; JSON is YAML."""
    identity = authority.site(_SITE)
    file = GatewayFile(
        site=SiteConfig(
            site_id=_SITE,
            root_public_b64=base64.b64encode(public_bytes(root)).decode(),
            limits=own_limits(fleet.plant.specs[0], keep=0.2),
            mode=SiteMode.REMOTE,
            highest_mode=SiteMode.REMOTE,
            pacing=Pacing(publish_s=publish_s),
        ),
        broker=BrokerConfig(
            url=f"mqtts://{broker.host}:{broker.port}",
            ca_file=identity.authority,
            certificate_file=identity.certificate,
            key_file=identity.key,
        ),
        state_dir=private_folder(folder / "state"),
        devices=msgspec.to_builtins(fleet.port_spec(0, port=port)),
        seed=seed,
    )
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(msgspec.to_builtins(file, enc_hook=str)))
    return path


@asynccontextmanager
async def _cabinet(spec: SiteSpec, seed: int) -> AsyncIterator[tuple[FleetSimulation, int]]:
    now = wall_clock().now
    fleet = FleetSimulation([spec], seed=seed, start=now())
    server = SiteServer(fleet.devices[0])
    number = await server.start()
    living = asyncio.create_task(follow(fleet, now, asyncio.sleep))
    try:
        yield fleet, number
    finally:
        living.cancel()
        await asyncio.wait([living])
        await server.stop()


@asynccontextmanager
async def _centre(
    broker: EmbeddedBroker,
    authority: CertificateAuthority,
    signer: Ed25519PrivateKey,
    root: Ed25519PrivateKey,
) -> AsyncIterator[Centre]:
    heard: list[Centre] = []
    control, ingest = (
        MqttClient(
            broker.settings(authority.service(name)),
            on_message=lambda message: heard[0].hear(message),  # noqa: PLW0108 (filled below)
            random=Random(number),  # noqa: S311 (jitter)
        )
        for number, name in enumerate((CONTROL, INGEST))
    )
    heard.append(Centre(control, ingest, signer))
    control.subscribe(topic(_SITE, "ack"))
    ingest.subscribe(topic(_SITE, "telemetry"), topic(_SITE, "state"))
    for client in (control, ingest):
        client.start()
        await client.wait_ready(timedelta(seconds=20))
    await control.publish(FLEET_KEYS, sign_keys(bench_keys(signer, wall_clock().now()), root), retain=True)
    try:
        yield heard[0]
    finally:
        await control.stop()
        await ingest.stop()
