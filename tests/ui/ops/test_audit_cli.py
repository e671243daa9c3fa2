"""The audit trail: edit, removal, truncation and a full rewrite are found; a plan's story can be read."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.audit_chain import AuditHead
from edge.control.audit_head import HeadFile
from edge.control.command_store import CommandStore
from edge.control.signer import Signer
from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW
from tests.services import Database
from tools.planning.audit_store import AuditStore
from ui.ops.audit_cli import (
    AuditReport,
    export_audit,
    heads_content,
    show_plan,
    verify_audit,
)
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"c" * 32))
STRANGER = Signer(Ed25519PrivateKey.from_private_bytes(b"x" * 32))
PUBLICS = {SIGNER.key_id: SIGNER.public}
REHASH = """
DO $$
DECLARE one record; previous bytea := '\\x'; BEGIN
    FOR one IN SELECT * FROM audit ORDER BY seq LOOP
        UPDATE audit a SET previous_hash = previous, hash = sha256(previous || convert_to(audit_entry_text(a.seq, a.at,
            a.role, a.who, a.action, a.subject, a.before, a.after), 'UTF8')) WHERE seq = one.seq
            RETURNING a.hash INTO previous;
    END LOOP;
END $$
"""


@dataclass
class Trail:
    """Six entries; heads were signed after the third and the fifth."""

    database: Database
    store: AuditStore
    heads: bytes

    async def verify(self, heads: bytes | None = None) -> AuditReport:
        return await verify_audit(self.store, self.heads if heads is None else heads, PUBLICS)

    async def faults(self) -> list[tuple[str, int]]:
        return [(fault.kind, fault.seq) for fault in (await self.verify()).faults]

    async def as_owner(self, *statements: str) -> None:
        dsn = self.database.dsn(DatabaseRole.OWNER)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                await connection.execute(statement.encode())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written(
    module_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Trail]:
    async with AsyncExitStack() as stack:
        pool = await open_async_pool(module_database.dsn(DatabaseRole.CONTROL), application_name="test")
        stack.push_async_callback(pool.close)
        store, commands = AuditStore(pool), CommandStore(pool)
        path = tmp_path_factory.mktemp("heads") / "audit_heads.jsonl"
        heads = HeadFile(path, SIGNER)
        for number in range(1, 7):
            await store.append(
                at=NOW + timedelta(minutes=number, microseconds=number),
                who='Jörg "the 2nd"\n\t\x01\\ ✓',
                action="plan.approved",
                subject="plan-1",
                before={"status": "validated", "power_w": -0.5, "number": number},
                after={"status": "approved", "power_w": 1e-7, "note": None},
            )
            if number in {3, 5}:
                count, last = await commands.audit_head()
                assert count == number
                assert heads.append(AuditHead(count=count, hash=last, at=NOW))
        yield Trail(module_database, store, heads_content(path))


@pytest_asyncio.fixture(loop_scope="module")
async def trail(written: Trail) -> AsyncIterator[Trail]:
    """The trail with its guard switched off, as an owner of the database can; put back afterwards."""
    await written.as_owner(
        "ALTER TABLE audit DISABLE TRIGGER audit_append_only", "CREATE TABLE saved AS TABLE audit"
    )
    yield written
    await written.as_owner(
        "DELETE FROM audit",
        "INSERT INTO audit TABLE saved",
        "DROP TABLE saved",
        "ALTER TABLE audit ENABLE TRIGGER audit_append_only",
    )


async def test_an_untouched_trail_is_sound(written: Trail) -> None:
    report = await written.verify()
    assert report.sound
    assert (report.entries, report.heads) == (6, 2)
    assert report.last_head is not None
    assert report.last_head.count == 5
    assert report.text().splitlines() == [
        "6 entries, 2 signed heads, entries 1 to 5 covered by a signature",
        "sound",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "who = 'mallory'",
        "at = at + interval '1 microsecond'",
        "role = 'cellwatt_api'",
        "action = 'plan.declined'",
        "subject = 'plan-2'",
        "before = NULL",
        """after = jsonb_set(after, '{power_w}', '0.0000001000')""",
    ],
)
async def test_an_edit_is_found(trail: Trail, change: str) -> None:
    await trail.as_owner(f"UPDATE audit SET {change} WHERE seq = 2")
    assert await trail.faults() == [("edited", 2)]


async def test_an_edit_with_a_fitting_hash_breaks_the_next_entry(trail: Trail) -> None:
    await trail.as_owner(
        "UPDATE audit SET who = 'mallory' WHERE seq = 2",
        "UPDATE audit a SET hash = sha256(previous_hash || convert_to(audit_entry_text(seq, at, role, who, action,"
        " subject, before, after), 'UTF8')) WHERE seq = 2",
    )
    assert await trail.faults() == [("edited", 3)]


async def test_a_removal_is_found(trail: Trail) -> None:
    await trail.as_owner("DELETE FROM audit WHERE seq = 4")
    assert await trail.faults() == [("removed", 4)]


async def test_a_removal_that_closes_the_gap_is_found(trail: Trail) -> None:
    await trail.as_owner(
        "DELETE FROM audit WHERE seq = 4", "UPDATE audit SET seq = seq - 1 WHERE seq > 4", REHASH
    )
    assert await trail.faults() == [("rewritten", 5)]


async def test_a_truncation_is_found(trail: Trail) -> None:
    await trail.as_owner("DELETE FROM audit WHERE seq > 4")
    assert await trail.faults() == [("truncated", 5)]


async def test_an_empty_trail_is_found(trail: Trail) -> None:
    await trail.as_owner("TRUNCATE audit")
    assert await trail.faults() == [("truncated", 3), ("truncated", 5)]


async def test_a_full_rewrite_is_found(trail: Trail) -> None:
    """Every hash is computed anew, so that the chain itself is whole."""
    await trail.as_owner("UPDATE audit SET who = 'mallory' WHERE seq = 2", REHASH)
    assert await trail.faults() == [("rewritten", 3), ("rewritten", 5)]


async def test_the_guard_holds_while_it_is_on(written: Trail) -> None:
    for statement in ("UPDATE audit SET who = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await written.as_owner(statement)


async def test_heads_that_were_tampered_with_are_found(written: Trail) -> None:
    first, second = written.heads.splitlines(keepends=True)
    edited = json.loads(first)
    edited["count"] = 2
    cases: list[tuple[bytes, str]] = [
        (json.dumps(edited).encode() + b"\n" + second, "the signature does not hold"),
        (second, "does not follow from the line before it"),
        (first + b"{}\n", "cannot be read"),
        (b"", "no signed head"),
    ]
    for content, word in cases:
        report = await written.verify(content)
        assert not report.sound
        assert word in report.text(), word


async def test_a_head_of_another_key_is_not_believed(written: Trail, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    HeadFile(path, STRANGER).append(AuditHead(count=1, hash=b"\x01", at=NOW))
    assert f"unknown key {STRANGER.key_id}" in (await written.verify(heads_content(path))).text()


async def test_heads_go_on_after_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    assert HeadFile(path, SIGNER).append(AuditHead(count=1, hash=b"\x01", at=NOW))
    with path.open("ab") as stream:
        stream.write(b'{"count": 2, "ha')
    again = HeadFile(path, SIGNER)
    assert not again.append(AuditHead(count=1, hash=b"\x01", at=NOW)), "nothing new"
    assert again.append(AuditHead(count=2, hash=b"\x02", at=NOW))
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes().splitlines()) == 2


async def test_a_plan_s_story_is_readable(written: Trail) -> None:
    lines = (await show_plan(written.store, "plan-1")).splitlines()
    assert lines[:5] == [
        '     1  2026-03-10T11:51:00+00:00  plan.approved  plan-1  by Jörg "the 2nd"\\n\\t\\x01\\ ✓ (cellwatt_control)',
        "          number: was 1",
        "          status: validated -> approved",
        "          power_w: -0.5 -> 1e-07",
        "          note: null",
    ]
    assert len(lines) == 6 * 5
    assert await show_plan(written.store, "plan-9") == "the trail holds nothing on plan plan-9"


async def test_an_export_can_be_checked_elsewhere(written: Trail) -> None:
    lines: list[str] = []
    assert await export_audit(written.store, lines.append) == 6
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry["previous_hash"] for entry in entries[1:]] == [entry["hash"] for entry in entries[:-1]]
    assert entries[0]["role"] == "cellwatt_control"
    assert entries[0]["before"] == '{"number": 1, "status": "validated", "power_w": -0.5}'


async def test_what_came_after_the_last_head_is_not_covered_yet(trail: Trail) -> None:
    await trail.as_owner("DELETE FROM audit WHERE seq = 6")
    assert (await trail.verify()).sound, "the sixth entry came after the last head: nothing states it"
    await trail.as_owner("DELETE FROM audit WHERE seq = 5")
    assert await trail.faults() == [("truncated", 5)]
