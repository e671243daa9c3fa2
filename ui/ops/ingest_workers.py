"""Ingest workers that share the load: their processes, and what must be told the broker when there are fewer of them."""

import asyncio
from datetime import timedelta
from random import Random

from telemetry.mqtt import forget_session
from ui.ops.broker import BrokerAddress
from ui.ops.pki import INGEST_WORKERS, CertificateAuthority, ingest_worker

_WITHIN = timedelta(seconds=15)


def ingest_processes(workers: int) -> tuple[str, ...]:
    """Return the names of the workers' processes: `ingest`, `ingest-1` and so on."""
    return tuple("ingest" if number == 0 else f"ingest-{number}" for number in range(workers))


def forget_retired_workers(authority: CertificateAuthority, broker: BrokerAddress, workers: int) -> list[str]:
    """Make the broker forget workers that ran once and will not run now, and return their names.

    It would go on giving them a share of all messages: with two workers and one retired, half would wait for ever.

    Raises:
        MqttError: The broker was not reached.
    """
    retired = [
        name
        for name in map(ingest_worker, range(workers, INGEST_WORKERS))
        if (authority.path.parent / "clients" / f"{name}.crt").exists()
    ]
    for name in retired:
        settings = broker.settings(authority.service(name))
        asyncio.run(forget_session(settings, random=Random(), within=_WITHIN))  # noqa: S311 jitter
    return retired
