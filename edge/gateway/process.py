"""`cellwatt-gateway`: one YAML file in, one site's controller out; and many controllers in one process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import msgspec

from edge.gateway.buffer import Buffer
from edge.gateway.config import BrokerConfig, ConfigError, GatewayFile, SiteConfig, read_config
from edge.gateway.core import GatewayCore
from edge.gateway.mqtt_uplink import MqttUplink
from edge.gateway.outbox import offline_state
from edge.gateway.state_file import StateFile
from edge.modbus.port import DeviceError, SitePort
from edge.modbus.site_port import ModbusSitePort, PortSpec
from telemetry.model.clock import Clock, wall_clock
from telemetry.model.errors import ControlError
from telemetry.mqtt import MqttSettings

_log = logging.getLogger(__name__)
LOCK_FILE = "local.lock"
_DEVICE_RETRY_S = 5.0


def build_core(
    config: SiteConfig,
    port: SitePort,
    mqtt: MqttSettings,
    buffer: Buffer,
    folder: Path,
    clock: Clock,
    rng: Random,
    *,
    executor: Executor | None = None,
) -> GatewayCore:
    """Return a core whose uplink is MQTT and whose memory is `{site_id}.state.json` in a folder.

    Args:
        config: The site's.
        port: Open.
        mqtt: How the site connects; its client id is the site_id.
        buffer: May be shared by the cores of a process.
        folder: For the state file and the local lock (`{site_id}.local.lock`, or `local.lock` for all).
        clock: Domain time.
        rng: Of the random recharge delay and the reconnection jitter.
        executor: Runs TLS handshakes; cores of a process should share one.
    """
    disk = StateFile(folder / f"{config.site_id}.state.json")
    will = offline_state(config.name, clock.now(), disk.load().last_sequence, config.firmware)
    uplink = MqttUplink(config.name, mqtt, will, rng, executor)
    locks = (folder / LOCK_FILE, folder / f"{config.site_id}.{LOCK_FILE}")
    return GatewayCore(
        config,
        port,
        uplink,
        buffer,
        disk,
        clock,
        rng,
        boot_id=uuid.uuid4().hex[:16],
        local_lock=lambda: any(lock.exists() for lock in locks),
    )


async def run_many(cores: Sequence[GatewayCore]) -> dict[str, BaseException]:
    """Run cores side by side until cancelled, or until all have stopped.

    A core that stops with an error leaves its own site at float and does not touch the others.

    Returns:
        The errors of those that stopped, by site.
    """
    failed: dict[str, BaseException] = {}

    async def guard(core: GatewayCore) -> None:
        try:
            await core.run()
        except Exception as error:  # noqa: BLE001 (whatever stops one site must not stop the others)
            _log.exception("a gateway core stopped", extra={"site_id": core.config.site_id})
            failed[core.config.site_id] = error

    await asyncio.gather(*(guard(core) for core in cores))
    return failed


def mqtt_settings(broker: BrokerConfig, site_id: str) -> MqttSettings:
    """Return how a site connects.

    Raises:
        ConfigError: The URL is not `mqtts://host[:port]`.
    """
    parts = urlsplit(broker.url)
    if parts.scheme != "mqtts" or not parts.hostname:
        raise ConfigError(f"broker.url {broker.url!r} is not mqtts://host[:port]")
    return MqttSettings(
        host=parts.hostname,
        port=parts.port or 8883,
        authority=broker.ca_file,
        certificate=broker.certificate_file,
        key=broker.key_file,
        client_id=site_id,
    )


def port_spec(file: GatewayFile) -> PortSpec:
    """Return the device list.

    Raises:
        ConfigError: A key is unknown, missing or wrong.
    """
    try:
        return msgspec.convert(file.devices, PortSpec)
    except msgspec.ValidationError as error:
        raise ConfigError(f"devices: {error}") from error


async def open_port(port: ModbusSitePort) -> None:
    """Open a port, however long its devices take to answer: until then nothing is known and nothing is written."""
    while True:
        try:
            await port.open()
        except DeviceError as error:
            _log.warning("devices do not answer", extra={"error": str(error)})
            await asyncio.sleep(_DEVICE_RETRY_S)
        else:
            return


async def run_file(file: GatewayFile) -> int:
    """Run the one site of a file until a signal; return the exit status."""
    file.state_dir.mkdir(parents=True, exist_ok=True)
    port = ModbusSitePort(port_spec(file))
    buffer = Buffer(file.state_dir / "telemetry.db", file.buffer_max_messages)
    await open_port(port)
    core = build_core(
        file.site,
        port,
        mqtt_settings(file.broker, file.site.site_id),
        buffer,
        file.state_dir,
        wall_clock(),
        Random(os.urandom(16) if file.seed is None else file.seed),  # noqa: S311 (delays, not secrets)
    )
    task = asyncio.ensure_future(run_many([core]))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            return 1 if await task else 0
        return 0
    finally:
        await port.close()
        buffer.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway, or check its file and surroundings."""
    parser = argparse.ArgumentParser(
        prog="cellwatt-gateway", description="Control one base station's battery."
    )
    parser.add_argument("file", type=Path, help="the gateway's YAML file")
    parser.add_argument("--check", action="store_true", help="say what to fix, change nothing, and leave")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        file = read_config(chosen.file)
        if chosen.check:
            from edge.gateway.check import check_all, report  # noqa: PLC0415 (only then: it loads X.509)

            return report(asyncio.run(check_all(file)))
        return asyncio.run(run_file(file))
    except ControlError as error:
        sys.stderr.write(f"cellwatt-gateway: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
