"""Plans and what surrounds them in the real database, and who may write what."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from edge.plan import ApprovalTier, Plan, PlanId, PlanStatus
from edge.plan_codec import PlanDocError
from edge.safety.validator import validate
from edge.safety.verdict import Approved, Rejected
from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW, a_plan, limits_of, schedule_of, state_of
from tests.services import Database
from tools.planning.dispatch_store import DispatchStore
from tools.planning.plan_store import PlanStore
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.asyncio(loop_scope="module")
Pool = AsyncConnectionPool[psycopg.AsyncConnection]
LOOP, API, CONTROL, INGEST, OWNER = (
    DatabaseRole.LOOP,
    DatabaseRole.API,
    DatabaseRole.CONTROL,
    DatabaseRole.INGEST,
    DatabaseRole.OWNER,
)


@dataclass
class Stores:
    database: Database
    pools: dict[DatabaseRole, Pool]

    @property
    def plans(self) -> PlanStore:
        return PlanStore(self.pools[LOOP])

    def dispatch(self, role: DatabaseRole) -> DispatchStore:
        return DispatchStore(self.pools[role])

    async def execute(self, role: DatabaseRole, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.database.dsn(role)) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def put(self, plan_id: str, *statuses: PlanStatus, plan: Plan | None = None) -> Plan:
        """Store a plan and move it on as control may."""
        stored = replace(plan or a_plan(), plan_id=PlanId(plan_id))
        await self.plans.insert(stored, thread_id="thread-1", who="loop", at=NOW)
        mover = PlanStore(self.pools[CONTROL])
        for status in statuses:
            await mover.set_status(stored.plan_id, status, at=NOW, who="test", reason="test")
        return stored


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(module_database: Database) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:
        pools: dict[DatabaseRole, Pool] = {}
        for role in (LOOP, API, CONTROL):
            pools[role] = await open_async_pool(module_database.dsn(role), application_name="test")
            stack.push_async_callback(pools[role].close)
        yield Stores(module_database, pools)


async def test_a_plan_is_fetched_as_it_was_stored(stores: Stores) -> None:
    plan = await stores.put("fetched")
    stored = await stores.plans.fetch(plan.plan_id)
    assert stored is not None
    assert stored.plan == plan
    assert (stored.thread_id, stored.envelope_digest) == ("thread-1", plan.envelope.digest())
    assert await stores.plans.fetch(PlanId("nothing")) is None


async def test_a_plan_is_stored_as_proposed_only(stores: Stores) -> None:
    plan = replace(a_plan(plan_id="approved-already"), status=PlanStatus.APPROVED)
    with pytest.raises(PlanDocError):
        await stores.plans.insert(plan, thread_id=None, who="loop", at=NOW)


@pytest.mark.parametrize(("soc_frac", "status"), [(0.875, "validated"), (0.30, "rejected")])
async def test_a_verdict_moves_the_plan(stores: Stores, soc_frac: float, status: str) -> None:
    plan = await stores.put(f"verdict-{status}")
    state = state_of()
    reading = replace(state.readings[plan.sites[0].site_id], soc_frac=soc_frac)
    state = replace(state, readings={plan.sites[0].site_id: reading})
    verdict: Approved | Rejected = validate(plan, state, limits_of(), NOW)
    await stores.plans.record_verdict(verdict, at=NOW, who="loop")
    stored = await stores.plans.fetch(plan.plan_id)
    assert stored is not None
    assert stored.plan.status == status
    (told,) = await stores.plans.verdicts(plan.plan_id)
    assert told.approved is (status == "validated")
    if not told.approved:
        assert "S1" in {broken["rule"] for broken in told.doc["broken"]}
    else:
        assert told.doc["margins"][0]["site_id"] == "site-1"


async def test_live_plans_count_until_their_recharge_is_over(stores: Stores) -> None:
    """The window is 12:00 to 16:00; calling a plan completed early frees nothing."""
    way = (PlanStatus.VALIDATED, PlanStatus.APPROVED, PlanStatus.DISPATCHED)
    plan = a_plan(schedule_of("site-7", (16, -512.0)))
    await stores.put("live-a", *way, plan=plan)
    await stores.put("live-b", *way, PlanStatus.COMPLETED, plan=plan)
    await stores.put("live-c", *way, PlanStatus.ABORTED, plan=plan)
    await stores.put("live-d", *way[:2], plan=plan)

    async def live(at: datetime, recharge_h: float) -> set[str]:
        found = await stores.plans.live(at, timedelta(hours=recharge_h))
        return {one.plan_id for one in found if one.plan_id.startswith("live-")}

    end = plan.window_end
    assert await live(NOW, 0.0) == {"live-a", "live-b"}
    assert await live(end - timedelta(microseconds=1), 0.0) == {"live-a", "live-b"}
    assert await live(end, 0.0) == set()
    assert await live(end + timedelta(hours=2), 2.0) == set()
    assert await live(end + timedelta(hours=1, minutes=59), 2.0) == {"live-a", "live-b"}


async def test_recent_plans_newest_first(stores: Stores) -> None:
    base = a_plan()
    for number in (1, 2, 3):
        await stores.put(
            f"recent-{number}", plan=replace(base, created_at=NOW + timedelta(days=1, minutes=number))
        )
    found = await stores.plans.recent(2, statuses=[PlanStatus.PROPOSED])
    assert [one.plan_id for one in found] == ["recent-3", "recent-2"]
    assert (found[0].objective, found[0].sites, found[0].status) == ("peak_shaving", 1, PlanStatus.PROPOSED)


async def test_a_dispatch_request_is_idempotent(stores: Stores) -> None:
    plan = await stores.put("requested")
    loop = stores.dispatch(LOOP)
    first = await loop.request_dispatch(plan.plan_id, at=NOW)
    assert await loop.request_dispatch(plan.plan_id, at=NOW + timedelta(hours=1)) == first > 0
    assert await loop.outcome(plan.plan_id) is None


async def test_approvals_and_declines_are_people_s(stores: Stores) -> None:
    plan = await stores.put("approved", PlanStatus.VALIDATED)
    api = stores.dispatch(API)

    async def approve(who: str) -> None:
        await api.approve(
            plan.plan_id,
            envelope_digest=plan.envelope.digest(),
            tier=ApprovalTier.ONE_PERSON,
            approver=who,
            at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )

    await approve("ann")
    with pytest.raises(psycopg.errors.UniqueViolation):
        await approve("ann")
    (row,) = await stores.dispatch(LOOP).approvals(plan.plan_id)
    assert (row.approver, row.written_by, row.expires_at) == ("ann", "cellwatt_api", NOW + timedelta(hours=1))
    await api.decline(plan.plan_id, who="bob", reason="storm", at=NOW)
    assert [(one.who, one.reason) for one in await api.declines(plan.plan_id)] == [("bob", "storm")]
    stored = await stores.plans.fetch(plan.plan_id)
    assert stored is not None
    assert stored.plan.status is PlanStatus.DECLINED


async def test_a_report_is_written_and_written_anew(stores: Stores) -> None:
    plan = await stores.put("reported")
    loop = stores.dispatch(LOOP)
    assert await loop.report(plan.plan_id) is None
    await loop.put_report(plan.plan_id, at=NOW, doc={"delivered_wh": 1.0})
    await loop.put_report(plan.plan_id, at=NOW + timedelta(hours=1), doc={"delivered_wh": 2.0})
    assert await loop.report(plan.plan_id) == (NOW + timedelta(hours=1), {"delivered_wh": 2.0})


# Who may write what. Each statement runs with the role's own password, as a process that was taken over could.
APPROVAL = (
    "INSERT INTO approval (plan_id, envelope_digest, tier, approver, approved_at, expires_at)"
    " VALUES ('guarded', 'x', 'one_person', 'ann', '2026-03-10Z', '2026-03-11Z')"
)
COMMAND = (
    "INSERT INTO command (command_id, plan_id, site_id, sequence, kind, envelope, digest, key_id, created_at,"
    " accept_by, not_before, valid_until, state) VALUES ('c', 'guarded', 's', 1, 'schedule', '', '', 'k',"
    " '2026-03-10Z', '2026-03-10Z', '2026-03-10Z', '2026-03-10Z', 'pending')"
)
ACK = (
    "INSERT INTO acknowledgement (command_id, site_id, digest, verdict, reason, at, received_at, limited_wh)"
    " VALUES ('c', 's', '', 'accepted', '', '2026-03-10Z', '2026-03-10Z', 0)"
)
AUDIT = "INSERT INTO audit VALUES (1, '2026-03-10Z', 'cellwatt_api', 'ann', 'x', 'y', NULL, NULL, '', '')"
OUTCOME = "INSERT INTO dispatch_outcome VALUES (1, '2026-03-10Z', 'authorised', '{}')"
STOP = "INSERT INTO control_request (kind, who, reason, at) VALUES ('stop', 'x', 'y', '2026-03-10Z')"
SEQUENCE = "INSERT INTO command_sequence VALUES ('site-1', 0)"
MODE = "INSERT INTO fleet_mode (mode, who, since) VALUES ('normal', 'x', '2026-03-10Z')"
DOC = "UPDATE plan SET doc = '{}' WHERE plan_id = 'guarded'"
DENIED = psycopg.errors.InsufficientPrivilege


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(stores: Stores) -> Stores:
    await stores.put("guarded", PlanStatus.VALIDATED)
    await stores.put("guarded-approved", PlanStatus.VALIDATED, PlanStatus.APPROVED)
    return stores


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        *[
            (LOOP, statement)
            for statement in (APPROVAL, COMMAND, ACK, AUDIT, OUTCOME, STOP, SEQUENCE, MODE, DOC)
        ],
        *[(API, statement) for statement in (COMMAND, ACK, AUDIT, OUTCOME, SEQUENCE, DOC)],
        *[(INGEST, statement) for statement in (APPROVAL, COMMAND, ACK, AUDIT, STOP)],
        *[(CONTROL, statement) for statement in (AUDIT, DOC)],
        (LOOP, "UPDATE approval SET envelope_digest = 'y'"),
        (LOOP, "DELETE FROM approval"),
        (LOOP, "UPDATE command SET state = 'pending'"),
        (LOOP, "UPDATE site SET mode = 'remote'"),
        (API, "UPDATE approval SET expires_at = '2030-01-01Z'"),
        (CONTROL, "UPDATE command SET envelope = ''"),
        (CONTROL, "UPDATE approval SET approver = 'ann'"),
        (LOOP, "DELETE FROM audit"),
        (LOOP, "TRUNCATE audit"),
        (LOOP, "SET ROLE cellwatt_control"),
        (LOOP, "SET SESSION AUTHORIZATION cellwatt_control"),
        (LOOP, "ALTER TABLE plan DISABLE TRIGGER plan_status"),
    ],
)
async def test_a_role_cannot(guarded: Stores, role: DatabaseRole, statement: str) -> None:
    with pytest.raises(DENIED):
        await guarded.execute(role, statement)


@pytest.mark.parametrize(
    ("role", "plan_id", "status"),
    [
        (LOOP, "guarded", "approved"),
        (LOOP, "guarded", "declined"),
        (LOOP, "guarded-approved", "dispatched"),
        (LOOP, "guarded-approved", "rejected"),
        (API, "guarded", "approved"),
        (API, "guarded-approved", "dispatched"),
        (CONTROL, "guarded", "dispatched"),
        (CONTROL, "guarded-approved", "validated"),
        (OWNER, "guarded", "completed"),
    ],
)
async def test_a_plan_s_status_cannot_be_moved(
    guarded: Stores, role: DatabaseRole, plan_id: str, status: str
) -> None:
    with pytest.raises(psycopg.errors.RaiseException):
        await guarded.execute(role, "UPDATE plan SET status = %s WHERE plan_id = %s", status, plan_id)


async def test_even_the_owner_edits_no_stored_plan(guarded: Stores) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="never edited"):
        await guarded.execute(OWNER, DOC)


async def test_the_loop_cannot_propose_a_plan_that_is_dispatched_already(guarded: Stores) -> None:
    copy = (
        "INSERT INTO plan (plan_id, status, created_at, window_start, window_end, envelope_digest, doc) SELECT 'sly',"
        " %s, created_at, window_start, window_end, envelope_digest, doc FROM plan WHERE plan_id = 'guarded'"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="may only propose"):
        await guarded.execute(LOOP, copy, "dispatched")
    await guarded.execute(LOOP, copy, "proposed")


async def test_the_audit_stamps_the_role_whatever_the_caller_claims(guarded: Stores) -> None:
    claim: Callable[[DatabaseRole], Awaitable[list[tuple[Any, ...]]]] = lambda role: guarded.execute(  # noqa: E731
        role, "SELECT append_audit('2026-03-10Z', 'cellwatt_control', 'plan.dispatched', 'x', NULL, NULL)"
    )
    seqs = [(await claim(role))[0][0] for role in (LOOP, API)]
    rows = await guarded.execute(OWNER, "SELECT role FROM audit WHERE seq = ANY(%s) ORDER BY seq", seqs)
    assert rows == [("cellwatt_loop",), ("cellwatt_api",)]
