"""Answers that fit nothing, time that passed, numbers that sites remember, and a trail that was rewritten."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.control.ack_desk import AckDesk
from edge.control.command_store import CommandStore
from edge.control.minting import release_drafts
from edge.envelope import encode_ack
from edge.plan import Acknowledgement, AckVerdict, CommandId, Plan, PlanStatus
from telemetry.model.site import SiteId
from tests.edge.control.world import SITES, World, clock_at, eventually, fleet_plan, world_of
from tests.edge.safety.examples import NOW
from tests.services import Broker, Database
from tools.planning.audit_store import AuditStore
from ui.ops.audit_cli import heads_content, verify_audit


@pytest.fixture
async def world(database: Database, broker: Broker, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(database, broker, tmp_path) as built:
        yield built


async def signed(world: World) -> dict[SiteId, tuple[CommandId, str]]:
    """Mint a release for two sites; nothing is sent."""
    store = CommandStore(world.control)
    ids = iter(["c-1", "c-2"])
    drafts = release_drafts(None, SITES[:2], now=NOW, accept_by=NOW + timedelta(hours=1), new_id=ids.__next__)
    async with store.transaction() as transaction:
        minted = await transaction.mint(drafts, world.signer, NOW)
    return {
        one.command.site_id: (one.command.command_id, one.digest) for one in minted if one.command.site_id
    }


async def test_an_answer_that_fits_nothing_changes_nothing(world: World) -> None:
    sent = await signed(world)
    desk = AckDesk(CommandStore(world.control), world.clock)
    command_id, digest = sent[SITES[0]]
    good = Acknowledgement(
        site_id=SITES[0],
        command_id=command_id,
        digest=digest,
        verdict=AckVerdict.ACCEPTED,
        reason="",
        at=NOW,
        read_back_v=51.25,
    )
    own, other = "cbs/v1/site-1/ack", "cbs/v1/site-2/ack"
    assert not await desk.take(own, b"{}")
    assert not await desk.take(other, encode_ack(good)), "in another site's name"
    assert not await desk.take(other, encode_ack(replace(good, site_id=SITES[1]))), "another site's command"
    assert not await desk.take(own, encode_ack(replace(good, digest="0" * 64))), "other bytes"
    assert not await desk.take(own, encode_ack(replace(good, digest="0" * 64)))
    assert not await desk.take(own, encode_ack(replace(good, command_id=CommandId("c-9")))), "no such command"
    assert await world.rows("SELECT DISTINCT state FROM command") == [("pending",)]
    assert await world.rows("SELECT count(*) FROM acknowledgement") == [(0,)]
    mismatches = "SELECT who, subject FROM audit WHERE action = 'acknowledgement.mismatch' ORDER BY seq"
    assert await world.rows(mismatches) == [("site-2", "c-1"), ("site-1", "c-1")], "told once each"

    assert await desk.take(own, encode_ack(good))
    assert await desk.take(own, encode_ack(good)), "the stored answer again"
    assert await world.rows("SELECT state FROM command ORDER BY command_id") == [
        ("acknowledged",),
        ("pending",),
    ]
    assert await world.rows("SELECT verdict, read_back_v FROM acknowledgement") == [("accepted", 51.25)]


async def test_numbers_go_on_from_what_a_site_remembers(world: World) -> None:
    """A database restored from a backup must not issue numbers that sites refuse; nonsense is not believed."""
    for site_id, last in ((SITES[0], 41), (SITES[1], 2**53)):
        await world.rows(
            "INSERT INTO site_status VALUES (%s, %s, true, 'float', false, %s, '') RETURNING 1",
            site_id,
            NOW,
            last,
        )
    await signed(world)
    assert await world.rows("SELECT site_id, sequence FROM command ORDER BY 1") == [
        ("site-1", 42),
        ("site-2", 1),
    ]


async def dispatched(world: World) -> Plan:
    plan = await world.propose(fleet_plan("plan-1"))
    await world.request(plan)
    async with world.running_control():
        await world.outcome(plan, "authorised")
    return plan


async def test_a_plan_is_completed_when_its_window_has_ended(world: World) -> None:
    """Nobody answered: after the window and five minutes more the plan is over, its commands are missing."""
    plan = await dispatched(world)
    world.clock = clock_at(plan.window_end + timedelta(minutes=5))
    async with world.running_sites() as sites, world.running_control():

        async def completed() -> bool | None:
            return True if await world.status(plan) is PlanStatus.COMPLETED else None

        await eventually(completed)
        states = "SELECT DISTINCT state FROM command"

        async def missing() -> bool | None:
            return True if await world.rows(states) == [("missing",)] else None

        await eventually(missing)
        assert not any(site.applied for site in sites.values())
    assert await world.rows("SELECT count(*) FROM audit WHERE action = 'command.missing'") == [(3,)]


async def test_nothing_is_dispatched_over_a_rewritten_trail(world: World) -> None:
    await dispatched(world)
    publics = {world.first_key_id: world.signer.public}
    heads = heads_content(world.folder / "audit_heads.jsonl")
    assert (await verify_audit(AuditStore(world.control), heads, publics)).sound
    async with AsyncExitStack() as stack:
        await world.rows("ALTER TABLE audit DISABLE TRIGGER audit_append_only")
        await world.rows("DELETE FROM audit WHERE seq > 1 RETURNING 1")
        await stack.enter_async_context(world.running_control())
        late = await world.propose(fleet_plan("plan-2", sites=SITES[:1]), validated=False)
        await world.plans.set_status(
            late.plan_id, PlanStatus.VALIDATED, at=world.clock.now(), who="loop", reason=""
        )
        await world.request(late)
        refusal = await world.outcome(late, "refused")
        assert [reason["name"] for reason in refusal.doc["broken"]] == ["audit_broken"]
        request_id = await world.people.request_control("stop", who="ann", reason="", at=world.clock.now())

        async def stopped() -> bool | None:
            found = await world.people.control_outcome(request_id)
            return None if found is None else found.outcome == "done"

        assert await eventually(stopped), "a stop still goes out"
    assert heads_content(world.folder / "audit_heads.jsonl") == heads, "and nothing new is signed"
