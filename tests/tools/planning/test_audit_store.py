"""Appending to the trail: with its transaction or not at all, one writer at a time."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from edge.audit_chain import AuditEntry, ChainCheck
from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW
from tests.services import Database
from tools.planning.audit_store import AuditStore, append_audit
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.asyncio(loop_scope="module")
Pool = AsyncConnectionPool[psycopg.AsyncConnection]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(module_database: Database) -> AsyncIterator[Pool]:
    opened = await open_async_pool(
        module_database.dsn(DatabaseRole.LOOP), application_name="test", max_size=8
    )
    yield opened
    await opened.close()


async def read(store: AuditStore, subject: str | None = None) -> list[AuditEntry]:
    return [entry async for entry in store.entries(subject)]


async def test_an_entry_goes_with_its_transaction(pool: Pool) -> None:
    store = AuditStore(pool)
    before = len(await read(store))
    async with pool.connection() as connection:
        await append_audit(connection, at=NOW, who="loop", action="plan.proposed", subject="undone")
        await connection.rollback()
    assert len(await read(store)) == before
    assert await store.append(at=NOW, who="loop", action="plan.proposed", subject="done") == before + 1
    (entry,) = await read(store, "done")
    assert (entry.seq, entry.role, entry.who, entry.before) == (before + 1, "cellwatt_loop", "loop", None)


async def test_writers_at_once_make_one_chain(pool: Pool) -> None:
    store = AuditStore(pool)
    before = len(await read(store))
    seqs = await asyncio.gather(
        *(
            store.append(at=NOW, who=f"writer-{n}", action="x", subject="many", after={"n": n})
            for n in range(40)
        )
    )
    assert sorted(seqs) == list(range(before + 1, before + 41))
    check = ChainCheck()
    for entry in await read(store):
        check.add(entry)
    assert check.faults == []
    assert len(check.hashes) == before + 40


async def test_a_plan_s_entries_hold_its_commands_too(pool: Pool) -> None:
    store = AuditStore(pool)
    await store.append(at=NOW, who="loop", action="plan.proposed", subject="plan-a")
    await store.append(
        at=NOW, who="control", action="command.missing", subject="c-1", after={"plan_id": "plan-a"}
    )
    await store.append(
        at=NOW, who="control", action="command.missing", subject="c-2", after={"plan_id": "plan-b"}
    )
    assert [entry.subject for entry in await store.about_plan("plan-a")] == ["plan-a", "c-1"]
