"""A control process to kill: `python -m tests.edge.control.control_main CONFIG.json`, as the real one is put together."""

import asyncio
import json
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

from edge.control.audit_head import HeadFile
from edge.control.command_store import CommandStore
from edge.control.dispatcher import Parts
from edge.control.gate import SafetyGate
from edge.control.process import ControlProcess, KeysInForce
from edge.control.request_store import RequestStore
from edge.control.signer import Signer, read_key_set
from edge.envelope import public_bytes
from edge.safety.limits import FleetState, Limits
from edge.safety.policy import load_policy
from telemetry.db import open_async_pool
from telemetry.model.clock import Pace, PacedClock
from telemetry.mqtt import MqttClient, MqttSettings
from tests.edge.control.world import KEY, QUICK, ROOT, SITES, live_state
from tests.edge.safety.examples import a_policy_table, a_site, limits_of, state_of
from tools.planning.plan_store import PlanStore


def settings_of(config: dict[str, Any]) -> MqttSettings:
    return MqttSettings(
        host="127.0.0.1",
        port=config["port"],
        authority=Path(config["authority"]),
        certificate=Path(config["certificate"]),
        key=Path(config["key"]),
        client_id=config["client_id"],
        persistent_session=True,
    )


async def main(config: dict[str, Any], envelope: bytes) -> None:
    pace = Pace(
        wall=datetime.fromisoformat(config["wall"]),
        domain=datetime.fromisoformat(config["domain"]),
        speed=1.0,
    )
    clock = PacedClock(lambda: pace)
    pool = await open_async_pool(config["dsn"], application_name="test-control")

    async def fleet_state() -> FleetState:
        return await live_state(pool, state_of(SITES), clock)

    async def limits() -> Limits:
        return limits_of([a_site(site, cluster=f"cluster-{site}") for site in SITES])

    signer = Signer(KEY)
    boxes: list[ControlProcess] = []
    client = MqttClient(
        settings_of(config),
        on_message=lambda message: boxes[0].on_message(message),  # noqa: PLW0108 (not made yet)
        random=Random(1),
        manual_acknowledge=True,
    )
    client.subscribe("cbs/v1/+/ack")
    boxes.append(
        ControlProcess(
            Parts(
                plans=PlanStore(pool),
                commands=CommandStore(pool),
                requests=RequestStore(pool, config["dsn"]),
                gate=SafetyGate(load_policy(a_policy_table())),
                fleet_state=fleet_state,
                limits=limits,
                signer=signer,
                clock=clock,
                new_id=lambda: uuid4().hex,
                settings=replace(QUICK, sends_per_s=config["sends_per_s"], accept_for=timedelta(seconds=60)),
            ),
            keys=KeysInForce(keys=read_key_set(envelope, public_bytes(ROOT)), envelope=envelope),
            publish=client.publish,
            heads=HeadFile(Path(config["heads"]), signer),
            monotonic_s=time.monotonic,
        )
    )
    client.start()
    try:
        await boxes[0].run()
    finally:
        await client.stop()
        await pool.close()


if __name__ == "__main__":
    said = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(main(said, Path(said["key_set"]).read_bytes()))
