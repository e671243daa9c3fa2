"""Fewer ingest workers than last time: the broker stops keeping messages for those that are gone."""

import asyncio
from dataclasses import replace

import pytest

from tests.mqtt_clients import Received, connected
from tests.services import Broker
from ui.ops.ingest_workers import forget_retired_workers, ingest_processes
from ui.ops.pki import INGEST, ingest_worker

TOPIC = "cbs/v1/own-9/telemetry"


def test_each_worker_is_a_process_of_its_own() -> None:
    assert ingest_processes(1) == ("ingest",)
    assert ingest_processes(3) == ("ingest", "ingest-1", "ingest-2")


@pytest.mark.broker
def test_what_is_sent_after_a_worker_retired_is_not_kept_for_it(broker: Broker) -> None:
    worker = replace(broker.service(ingest_worker(9)), persistent_session=True)

    async def come_and_go(kept: int) -> int:
        got = Received()
        async with connected(worker, TOPIC, on_message=got.append):
            await got.until(kept)
            await asyncio.sleep(0.2)
        return len(got)

    async def send() -> None:
        async with connected(broker.site("own-9")) as site:
            await site.publish(TOPIC, b"reading")

    asyncio.run(come_and_go(0))
    asyncio.run(send())
    assert asyncio.run(come_and_go(1)) == 1  # kept while it was away
    assert ingest_worker(9) in forget_retired_workers(broker.authority, broker.address, 9)
    assert INGEST not in forget_retired_workers(broker.authority, broker.address, 1)
    asyncio.run(send())
    assert asyncio.run(come_and_go(0)) == 0
