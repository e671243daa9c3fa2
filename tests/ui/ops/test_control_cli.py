"""A stop from the machine itself, with and without a control process; a new key."""

import asyncio
import base64
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.key_folder import KeyFolder
from edge.control.request_store import RequestStore
from edge.control.signer import Signer
from edge.envelope import public_bytes
from edge.plan import PlanId
from telemetry.db import open_async_pool
from telemetry.model.errors import ControlError
from tests.edge.safety.examples import NOW
from tests.services import Database
from ui.ops.control_cli import ask_control, rotate_key
from ui.ops.secret_files import read_seed
from ui.ops.secrets import DatabaseRole
from ui.processes.control import keys_in_force
from ui.settings import KEY_SET_FOLDER, ROOT_SEED_FILE

ROOT = Ed25519PrivateKey.from_private_bytes(b"r" * 32)


async def test_a_stop_without_a_control_process_is_kept_for_it(database: Database) -> None:
    dsn = database.dsn(DatabaseRole.CONTROL)
    pool = await open_async_pool(dsn, application_name="test")
    store = RequestStore(pool, dsn)
    answer = await ask_control(
        store, "stop", who="root", reason="fire", at=NOW, within=timedelta(seconds=0.2)
    )
    assert answer.outcome == "unanswered"
    with pytest.raises(ControlError, match="there is no plan plan-9"):
        await ask_control(
            store, "abort", who="root", reason="", at=NOW, within=timedelta(0), plan_id=PlanId("plan-9")
        )
    (waiting,) = await store.control_requests()
    assert (waiting.kind, waiting.who, waiting.request_id) == ("stop", "root", answer.doc["request_id"])
    await pool.close()


async def test_stops_come_before_everything_else(database: Database) -> None:
    dsn = database.dsn(DatabaseRole.CONTROL)
    pool = await open_async_pool(dsn, application_name="test")
    store = RequestStore(pool, dsn)
    await asyncio.gather(
        *(store.request_control(kind, who="root", reason="", at=NOW) for kind in ("clear", "abort"))
    )
    await store.request_control("stop", who="root", reason="", at=NOW)
    assert (await store.control_requests())[0].kind == "stop"
    await pool.close()


def a_secret(path: Path, seed: bytes) -> Path:
    path.write_bytes(base64.b64encode(seed))
    path.chmod(0o600)
    return path


def test_control_s_next_start_takes_the_new_key_up(tmp_path: Path) -> None:
    """As the process reads its settings: start, rotate, start."""
    seed_file = a_secret(tmp_path / "command-signing-seed", b"a" * 32)
    env = {
        ROOT_SEED_FILE: str(a_secret(tmp_path / "root-signing-seed", b"r" * 32)),
        KEY_SET_FOLDER: str(tmp_path / "key_sets"),
    }

    def signer() -> Signer:
        return Signer(Ed25519PrivateKey.from_private_bytes(read_seed(seed_file)))

    first = keys_in_force(env, signer(), NOW)
    assert keys_in_force(env, signer(), NOW) == first
    name = rotate_key(KeyFolder(tmp_path / "key_sets", public_bytes(ROOT)), seed_file, ROOT, NOW)
    second = keys_in_force(env, signer(), NOW)
    assert (first.keys.epoch, second.keys.epoch) == (1, 2)
    assert signer().key_id == name == second.keys.keys[0].key_id


def test_a_new_key_is_vouched_for_beside_the_old_one(tmp_path: Path) -> None:
    old_seed = b"a" * 32
    seed_file = a_secret(tmp_path / "command-signing-seed", old_seed)
    old = Signer(Ed25519PrivateKey.from_private_bytes(old_seed))
    folder = KeyFolder(tmp_path / "keys", public_bytes(ROOT))
    folder.ensure(old, ROOT, NOW)

    name = rotate_key(folder, seed_file, ROOT, NOW + timedelta(days=1))

    new = Signer(Ed25519PrivateKey.from_private_bytes(read_seed(seed_file)))
    keys = folder.ensure(new, None, NOW + timedelta(days=1)).keys
    assert (new.key_id, keys.epoch) == (name, 2)
    assert new.key_id != old.key_id
    assert old.vouched_for(keys, NOW + timedelta(days=30))
    assert not old.vouched_for(keys, NOW + timedelta(days=31))
