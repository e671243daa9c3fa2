"""`cellwatt audit` on a real database: a sound trail, one that somebody cut, and an installation that is not there."""

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.audit_chain import AuditHead
from edge.control.audit_head import HeadFile
from edge.control.command_store import CommandStore
from edge.control.key_folder import KeyFolder
from edge.control.signer import Signer
from edge.envelope import public_bytes
from telemetry.db import open_async_pool
from tests.services import PASSWORDS, Database
from tools.planning.audit_store import AuditStore
from ui.cli import main
from ui.ops.ports import free_port
from ui.ops.runtime import Runtime
from ui.ops.secrets import DatabaseRole, StateDirectory

pytestmark = pytest.mark.database
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def state(database: Database, tmp_path: Path) -> Path:
    """An installation whose trail has three entries on two plans, with a head signed after the last."""
    directory = StateDirectory(tmp_path / "state")
    for role in DatabaseRole:
        (tmp_path / "state" / "secrets").mkdir(mode=0o700, exist_ok=True)
        path = tmp_path / "state" / "secrets" / f"database-{role.value}"
        path.write_text(PASSWORDS[role])
        path.chmod(0o600)
    signer = Signer(Ed25519PrivateKey.from_private_bytes(directory.secrets.command_signing_seed()))
    root = Ed25519PrivateKey.from_private_bytes(directory.secrets.root_signing_seed())
    KeyFolder(directory.path / "key_sets", public_bytes(root)).ensure(signer, root, NOW)
    Runtime(
        owner_dsn=database.owner_dsn,
        mqtt_host="127.0.0.1",
        mqtt_port=1,
        api_port=8000,
        console_port=8501,
        simulated_sites=1,
        seed=7,
        history_days=1,
        epoch=NOW,
    ).save(directory)
    asyncio.run(
        _write_trail(database.dsn(DatabaseRole.CONTROL), directory.path / "audit_heads.jsonl", signer)
    )
    return directory.path


async def _write_trail(dsn: str, heads: Path, signer: Signer) -> None:
    pool = await open_async_pool(dsn, application_name="test")
    try:
        for plan in ("plan-1", "plan-2", "plan-1"):
            await AuditStore(pool).append(at=NOW, who="anna", action="plan.approved", subject=plan)
        count, last = await CommandStore(pool).audit_head()
        assert HeadFile(heads, signer).append(AuditHead(count=count, hash=last, at=NOW))
    finally:
        await pool.close()


def audit(*words: str) -> int:
    return main(["audit", *words])


def test_a_sound_trail_is_verified_shown_and_exported(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state-dir", str(state))
    assert audit("verify", *where) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 entries, 1 signed heads, entries 1 to 3 covered by a signature",
        "sound",
    ]
    assert audit("show", "plan-1", *where) == 0
    assert capsys.readouterr().out.count("plan.approved  plan-1  by anna") == 2
    assert audit("export", *where) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3]
    target = tmp_path / "trail.jsonl"
    assert audit("export", "--to", str(target), *where) == 0
    assert len(target.read_text().splitlines()) == 3


def test_a_trail_that_was_cut_off_fails(
    state: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute("ALTER TABLE audit DISABLE TRIGGER audit_append_only")
        owner.execute("DELETE FROM audit WHERE seq = 3")
    assert audit("verify", "--state-dir", str(state)) == 1
    assert "NOT sound" in capsys.readouterr().out


def test_heads_of_a_key_that_the_root_did_not_vouch_for_fail(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(state / "key_sets")
    assert audit("verify", "--state-dir", str(state)) == 1
    assert "FAULT" in capsys.readouterr().out


def test_an_installation_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit("show", "plan-1", "--state-dir", str(tmp_path / "absent")) == 2
    assert "there is no installation" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()


def test_a_database_that_does_not_answer_is_said_in_one_line(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = json.loads((state / "runtime.json").read_text())
    runtime["owner_dsn"] = f"postgresql://127.0.0.1:{free_port()}/cellwatt"
    (state / "runtime.json").write_text(json.dumps(runtime))
    assert audit("verify", "--state-dir", str(state)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("cellwatt: the database does not answer")
