"""`cellwatt ingest`: MQTT in, PostgreSQL out."""

import asyncio
import gc
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from random import Random

import psycopg

from telemetry.gaps import GapWatch
from telemetry.ingest import SUBSCRIPTIONS, Ingest
from telemetry.mqtt import InboundMessage, MqttClient
from telemetry.retention import RetentionPolicy
from telemetry.retention_store import keep_house_always
from telemetry.spill import Spill, SpillLimits
from telemetry.watch import Watch
from ui.ops.pki import INGEST_WORKERS as MOST_WORKERS
from ui.ops.pki import ingest_worker
from ui.settings import (
    DATABASE_URL,
    INGEST_WORKER,
    INGEST_WORKERS,
    SPILL_FOLDER,
    ProcessSettings,
    count_of,
    mqtt_settings,
    need,
)

_CONNECTED_WITHIN = timedelta(seconds=30)
_GC_AFTER = 20_000


async def run_ingest(env: Mapping[str, str]) -> None:
    """Run one worker until cancelled.

    Args:
        env: Settings; without a folder for the spill, messages wait at the broker while the database is away. Each
            of several workers has a number of its own, and with it a name at the broker and a folder for its spill.

    Raises:
        SettingsError: A setting is missing.
        MqttError: The broker cannot be reached at the start.
        SpillError: The folder of the spill cannot be used.
    """
    # A batch is tens of thousands of short-lived objects without cycles: counting them costs more than keeping them.
    gc.set_threshold(_GC_AFTER, 10, 10)
    settings = ProcessSettings.from_env(env)
    dsn = need(env, DATABASE_URL)
    number = count_of(env, INGEST_WORKER, 0, 0, MOST_WORKERS - 1)
    worker = ingest_worker(number)
    sole = count_of(env, INGEST_WORKERS, 1, 1, MOST_WORKERS) == 1

    def connect() -> psycopg.Connection:
        return psycopg.connect(dsn, autocommit=True, application_name=worker, options="-c timezone=UTC")

    def downlink(topic: str, payload: bytes, *, retain: bool) -> None:
        client.publish(topic, payload, retain=retain)

    def on_message(message: InboundMessage) -> None:
        ingest.take(message.topic, message.payload, message.acknowledge)

    folder = env.get(SPILL_FOLDER)
    spill = Spill(Path(folder) / worker, SpillLimits()) if folder else None
    ingest = Ingest(
        connect,
        downlink,
        settings.clock.now,
        spill=spill,
        reconnect=lambda: client.reconnect(),  # noqa: PLW0108 the client is made below
        worker=worker,
        watch=Watch(sole=sole),
        gap_watch=GapWatch() if number == 0 else None,
    )
    client = MqttClient(
        mqtt_settings(env, client_id=worker, persistent_session=True),
        on_message=on_message,
        random=Random(),  # noqa: S311 jitter, no secret
        manual_acknowledge=True,
    )
    client.subscribe(*SUBSCRIPTIONS)
    client.start()
    house = asyncio.create_task(keep_house_always(connect, RetentionPolicy.from_env(env), settings.clock.now))
    try:
        await client.wait_ready(_CONNECTED_WITHIN)
        settings.say_ready()
        await ingest.run()
    finally:
        house.cancel()
        await client.stop(drain=timedelta(seconds=2))
        if spill is not None:
            spill.close()
