"""`cellwatt control`: the only process that holds the signing key and the command certificate."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.audit_head import HeadFile
from edge.control.command_store import CommandStore
from edge.control.dispatcher import Parts
from edge.control.gate import SafetyGate
from edge.control.key_folder import KeyFolder
from edge.control.ports import ControlSettings, Topics
from edge.control.process import ControlProcess, KeysInForce
from edge.control.request_store import RequestStore
from edge.control.signer import Signer
from edge.envelope import public_bytes
from edge.safety.policy import load_policy
from telemetry.db import open_async_pool
from telemetry.mqtt import InboundMessage, MqttClient
from tools.planning.plan_store import PlanStore
from ui.bootstrap import fleet_view
from ui.ops.secret_files import read_seed
from ui.settings import (
    AUDIT_HEADS_FILE,
    DATABASE_URL,
    KEY_SET_FOLDER,
    POLICY_FILE,
    ROOT_SEED_FILE,
    SIGNING_SEED_FILE,
    ProcessSettings,
    mqtt_settings,
    need,
    need_file,
)

_CONNECTED_WITHIN = timedelta(seconds=30)


async def run_control(env: Mapping[str, str]) -> None:
    """Run until cancelled.

    Raises:
        SettingsError: A setting is missing.
        KeySetError: Gateways would not believe our key.
        MqttError: The broker cannot be reached at the start.
    """
    settings = ProcessSettings.from_env(env)
    signer = Signer(_key(need_file(env, SIGNING_SEED_FILE)))
    keys = keys_in_force(env, signer, settings.clock.now())
    dsn = need(env, DATABASE_URL)
    pool = await open_async_pool(dsn, application_name="cellwatt-control")
    view = fleet_view(pool, settings.clock)

    async def publish(topic: str, payload: bytes, *, retain: bool = False) -> None:
        await client.publish(topic, payload, retain=retain)

    def on_message(message: InboundMessage) -> None:
        process.on_message(message)

    parts = Parts(
        plans=PlanStore(pool),
        commands=CommandStore(pool),
        requests=RequestStore(pool, dsn),
        gate=SafetyGate(load_policy(Path(need(env, POLICY_FILE)))),
        fleet_state=view.state,
        limits=view.limits,
        signer=signer,
        clock=settings.clock,
        new_id=lambda: uuid4().hex,
        settings=ControlSettings(),
    )
    process = ControlProcess(
        parts,
        keys=keys,
        publish=publish,
        heads=HeadFile(Path(need(env, AUDIT_HEADS_FILE)), signer),
        monotonic_s=time.monotonic,
    )
    client = MqttClient(
        mqtt_settings(env, client_id="svc-control", persistent_session=True),
        on_message=on_message,
        random=Random(),  # noqa: S311 jitter, no secret
        manual_acknowledge=True,
    )
    client.subscribe(Topics().acks)
    client.start()
    try:
        await client.wait_ready(_CONNECTED_WITHIN)
        settings.say_ready()
        await process.run()
    finally:
        await client.stop(drain=timedelta(seconds=1))
        await pool.close()


def keys_in_force(env: Mapping[str, str], signer: Signer, now: datetime) -> KeysInForce:
    """Return the root-signed key set: the newest of its folder, or the next one made with the root key.

    Raises:
        SettingsError: There is no folder or no root key named.
        KeySetError: The folder holds something that the root did not sign.
    """
    root = _key(need_file(env, ROOT_SEED_FILE))
    return KeyFolder(Path(need(env, KEY_SET_FOLDER)), public_bytes(root)).ensure(signer, root, now)


def _key(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(read_seed(path))
