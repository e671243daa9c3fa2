"""What ingest is measured against, each a process of its own on the same broker and database.

`floor` receives, decodes and copies the same rows into a bare table: no check, no key, no mark. `insert` is what one
writes first: paho, one INSERT and one commit for every message.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random

import psycopg
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from telemetry.mqtt import InboundMessage, MqttClient, MqttSettings
from telemetry.wire import TelemetryMessage, decode
from ui.bench.ingest_bench_store import copy_bare, insert_message, rows_of

FILTER = "cbs/v1/+/telemetry"
_FLUSH = 500
_WITHIN = timedelta(seconds=30)


async def floor(settings: MqttSettings, dsn: str, messages: int, ready: Callable[[], None]) -> None:
    """Receive, decode, copy, acknowledge, until that many messages have come."""
    taken: list[InboundMessage] = []
    wake = asyncio.Event()

    def take(message: InboundMessage) -> None:
        taken.append(message)
        if len(taken) >= _FLUSH:
            wake.set()

    client = MqttClient(settings, on_message=take, random=Random(1), manual_acknowledge=True)  # noqa: S311
    client.subscribe(FILTER)
    client.start()
    await client.wait_ready(_WITHIN)
    ready()
    left = messages

    def store(batch: list[InboundMessage]) -> None:
        copy_bare(
            connection,
            [row for message in batch for row in rows_of(decode(message.payload, TelemetryMessage))],
        )

    with psycopg.connect(dsn, autocommit=True, application_name="bench-floor") as connection:
        while left > 0:
            wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), 0.25)
            batch, taken[:] = taken[:], []
            if batch:
                await asyncio.to_thread(store, batch)
                for message in batch:
                    message.acknowledge()
            left -= len(batch)
        print("done", flush=True)
        sys.stdin.readline()
    await client.stop()


def insert(settings: MqttSettings, dsn: str, messages: int, ready: Callable[[], None]) -> None:
    """One INSERT and one commit for every message."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id, manual_ack=True)
    client.tls_set(str(settings.authority), str(settings.certificate), str(settings.key))
    left = messages
    with psycopg.connect(dsn, application_name="bench-insert") as connection:

        def arrived(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
            nonlocal left
            insert_message(connection, rows_of(decode(bytes(message.payload), TelemetryMessage)))
            client.ack(message.mid, message.qos)
            left -= 1
            if left == 0:
                print("done", flush=True)
                sys.stdin.readline()
                client.disconnect()

        client.on_message = arrived
        client.on_subscribe = lambda *_: ready()
        client.connect(settings.host, settings.port)
        client.subscribe(FILTER, qos=1)
        client.loop_forever()


def main(spec_file: str) -> None:
    """Run the rival that a file describes."""
    spec = json.loads(Path(spec_file).read_text())
    mqtt = spec["mqtt"]
    settings = MqttSettings(
        host=mqtt["host"],
        port=mqtt["port"],
        client_id=mqtt["client_id"],
        authority=Path(mqtt["authority"]),
        certificate=Path(mqtt["certificate"]),
        key=Path(mqtt["key"]),
    )

    def ready() -> None:
        Path(spec["ready"]).write_text("ready")

    if spec["kind"] == "floor":
        asyncio.run(floor(settings, spec["dsn"], spec["messages"], ready))
    else:
        insert(settings, spec["dsn"], spec["messages"], ready)


if __name__ == "__main__":
    main(sys.argv[1])
