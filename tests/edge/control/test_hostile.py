"""Hostile requests: whatever the agent writes where it may write, no command comes of it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from psycopg.types.json import Jsonb

from edge.control.dispatcher import Dispatcher
from edge.control.gate import SafetyGate
from edge.control.request_store import DispatchRequest
from edge.plan import ApprovalTier, Plan, PlanId, PlanStatus
from edge.plan_codec import plan_to_doc
from edge.safety.policy import ApprovalPolicy
from telemetry.model.site import SiteId, SiteMode
from tests.edge.control.world import World, fleet_plan, world_of
from tests.edge.safety.examples import START
from tests.services import Broker, Database

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITES = tuple(SiteId(f"site-{number}") for number in range(1, 7))
FLOOD = int(os.environ.get("CELLWATT_FLOOD", "40"))  # 1,000 in `make proof`
ONE, TWO = ApprovalTier.ONE_PERSON, ApprovalTier.TWO_PERSONS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    module_database: Database, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Control runs; sites 4 to 6 follow `live`, which two persons approved; site 3 is in shadow; 1 and 2 are free."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            world_of(module_database, broker, tmp_path_factory.mktemp("hostile"), SITES)
        )
        shadow = replace(world.limits.sites[SITES[2]], mode=SiteMode.SHADOW)
        world.limits = replace(world.limits, sites={**world.limits.sites, SITES[2]: shadow})
        world.policy["automatic"] = {**world.policy["automatic"], "max_total_w": 512.0}
        world.policy["one_person"] = {**world.policy["one_person"], "max_total_w": 1024.0}
        await stack.enter_async_context(world.running_control())
        live = await world.propose(fleet_plan("live", -512.0, SITES[3:]))
        await world.approve(live, "ann", TWO)
        await world.approve(live, "bob", TWO)
        await world.request(live)
        await world.outcome(live, "authorised")
        yield world


def small(plan_id: str) -> Plan:
    """Within the automatic tier: 512 W."""
    return fleet_plan(plan_id, -256.0, SITES[:2])


def middle(plan_id: str) -> Plan:
    """One person's: 1024 W."""
    return fleet_plan(plan_id, -512.0, SITES[:2])


def large(plan_id: str) -> Plan:
    """Two persons': 1536 W."""
    return fleet_plan(plan_id, -768.0, SITES[:2])


async def forced(world: World, plan: Plan) -> Plan:
    """Store a plan that the first gate would not pass, and call it validated, as a hostile loop can."""
    await world.propose(plan, validated=False)
    await world.plans.set_status(
        plan.plan_id, PlanStatus.VALIDATED, at=world.clock.now(), who="evil", reason=""
    )
    return plan


async def raw(world: World, plan: Plan, doc: dict[str, Any], digest: str | None = None) -> Plan:
    """Write a row whose document is not what its columns say."""
    async with world.loop.connection() as connection:
        await connection.execute(
            "INSERT INTO plan (plan_id, supersedes, status, created_at, window_start, window_end, envelope_digest, doc)"
            " VALUES (%s, NULL, 'proposed', %s, %s, %s, %s, %s)",
            [
                plan.plan_id,
                plan.created_at,
                plan.window_start,
                plan.window_end,
                digest or plan.envelope.digest(),
                Jsonb(doc),
            ],
        )
    await world.plans.set_status(
        plan.plan_id, PlanStatus.VALIDATED, at=world.clock.now(), who="evil", reason=""
    )
    return plan


async def stale_plan(world: World) -> Plan:
    plan = small("stale")
    start, end = START - timedelta(hours=1), START + timedelta(hours=3)
    envelope = replace(plan.envelope, window_start=start, window_end=end)
    return await forced(world, replace(plan, window_start=start, window_end=end, envelope=envelope))


async def never_validated(world: World) -> Plan:
    return await world.propose(small("never-validated"), validated=False)


async def declined(world: World) -> Plan:
    plan = await world.propose(small("declined"))
    await world.people.decline(plan.plan_id, who="ann", reason="no", at=world.clock.now())
    return plan


async def oversized(world: World) -> Plan:
    return await forced(world, fleet_plan("oversized", -1e6, SITES[:1]))


async def wrong_sign(world: World) -> Plan:
    return await forced(world, fleet_plan("wrong-sign", 8192.0, SITES[:1]))


async def unknown_site(world: World) -> Plan:
    return await forced(world, fleet_plan("unknown-site", -256.0, ["site-99"]))


async def shadow_site(world: World) -> Plan:
    return await forced(world, fleet_plan("shadow", -256.0, SITES[2:3]))


async def unapproved(world: World) -> Plan:
    return await world.propose(middle("unapproved"))


async def approved_otherwise(world: World) -> Plan:
    """The approval in the table is for an envelope that is smaller."""
    plan = await world.propose(middle("approved-otherwise"))
    await world.people.approve(
        plan.plan_id,
        envelope_digest=small("approved-otherwise").envelope.digest(),
        tier=ONE,
        approver="ann",
        at=world.clock.now(),
        expires_at=world.clock.now() + timedelta(hours=1),
    )
    return plan


async def expired_approval(world: World) -> Plan:
    plan = await world.propose(middle("expired"))
    now = world.clock.now()
    await world.people.approve(
        plan.plan_id,
        envelope_digest=plan.envelope.digest(),
        tier=ONE,
        approver="ann",
        at=now - timedelta(hours=2),
        expires_at=now - timedelta(minutes=1),
    )
    return plan


async def same_person_twice(world: World) -> Plan:
    plan = await world.propose(large("same-person"))
    await world.approve(plan, "ann", TWO)
    await world.approve(plan, " ANN ", TWO)
    return plan


async def the_policy_as_a_person(world: World) -> Plan:
    plan = await world.propose(middle("as-policy"))
    await world.approve(plan, "policy", ApprovalTier.AUTOMATIC)
    return plan


async def reused_envelope(world: World) -> Plan:
    """Copies the envelope that two persons approved, without naming the plan that it would replace."""
    live = await world.plans.fetch(PlanId("live"))
    assert live is not None
    return await forced(
        world,
        replace(
            live.plan, plan_id=PlanId("reused"), status=PlanStatus.PROPOSED, created_at=world.clock.now()
        ),
    )


async def overlapping(world: World) -> Plan:
    return await forced(world, fleet_plan("overlapping", -256.0, SITES[3:5]))


async def supersedes_a_stranger(world: World) -> Plan:
    return await forced(world, replace(small("stranger"), supersedes=PlanId("live")))


async def supersedes_for_less(world: World) -> Plan:
    """Within the automatic tier, but it would undo what two persons approved."""
    plan = fleet_plan("for-less", -256.0, SITES[3:5])
    return await forced(world, replace(plan, supersedes=PlanId("live")))


async def supersedes_what_is_not_live(world: World) -> Plan:
    await world.propose(small("not-live"))
    return await forced(world, replace(small("supersedes-dead"), supersedes=PlanId("not-live")))


async def another_document(world: World) -> Plan:
    """The columns claim a small envelope, the document holds a large one."""
    plan = large("another-document")
    return await raw(world, plan, plan_to_doc(plan), digest=small("x").envelope.digest())


async def another_id(world: World) -> Plan:
    plan = small("another-id")
    return await raw(world, plan, plan_to_doc(replace(plan, plan_id=PlanId("live"))))


async def unknown_key(world: World) -> Plan:
    plan = small("unknown-key")
    return await raw(world, plan, {**plan_to_doc(plan), "skip_checks": True})


async def no_number(world: World) -> Plan:
    plan = small("no-number")
    doc = plan_to_doc(plan)
    doc["sites"][0]["schedule_w"][3] = "NaN"
    return await raw(world, plan, doc)


CASES: list[tuple[Callable[[World], Awaitable[Plan]], str, str]] = [
    (stale_plan, "refused", "past"),
    (never_validated, "refused", "is proposed"),
    (declined, "refused", "is declined"),
    (oversized, "refused", "S2"),
    (wrong_sign, "refused", "S2"),
    (unknown_site, "refused", "site-99"),
    (shadow_site, "refused", "S20"),
    (unapproved, "needs_approval", "one_person"),
    (approved_otherwise, "needs_approval", "ann: another envelope"),
    (expired_approval, "needs_approval", "ann: not in force now"),
    (same_person_twice, "needs_approval", "the same person again"),
    (the_policy_as_a_person, "needs_approval", "policy: written by cellwatt_api"),
    (reused_envelope, "refused", "S9"),
    (overlapping, "refused", "S9"),
    (supersedes_a_stranger, "refused", "shares no site"),
    (supersedes_for_less, "needs_approval", "two_persons"),
    (supersedes_what_is_not_live, "refused", "S16"),
    (another_document, "refused", "do not say the same"),
    (another_id, "refused", "do not say the same"),
    (unknown_key, "refused", "unknown key $.skip_checks"),
    (no_number, "refused", "unreadable_plan"),
]


@pytest.mark.parametrize(("build", "outcome", "word"), CASES, ids=[case[0].__name__ for case in CASES])
async def test_no_command_comes_of_it(
    world: World, build: Callable[[World], Awaitable[Plan]], outcome: str, word: str
) -> None:
    plan = await build(world)
    await world.request(plan)
    found = await world.outcome(plan, "authorised", "needs_approval", "refused")
    assert found.outcome == outcome, found.doc
    assert word in repr(found.doc)
    assert await world.rows("SELECT count(*) FROM command WHERE plan_id = %s", plan.plan_id) == [(0,)]
    assert await world.command_count() == 3, "only the three of the live plan"


async def test_an_approved_stranger_still_replaces_nothing(world: World) -> None:
    """With two persons' yes the rule S9 is left: the plan shares no site with the one that it names."""
    plan = await forced(world, replace(small("approved-stranger"), supersedes=PlanId("live")))
    await world.approve(plan, "ann", TWO)
    await world.approve(plan, "bob", TWO)
    await world.request(plan)
    found = await world.outcome(plan, "authorised", "refused")
    assert found.outcome == "refused"
    assert [reason["name"] for reason in found.doc["broken"]] == ["stranger"]
    assert await world.command_count() == 3


async def test_without_a_policy_nobody_may(world: World) -> None:
    plan = await forced(world, middle("no-policy"))
    dispatcher = Dispatcher(replace(world.parts(), gate=SafetyGate(ApprovalPolicy())))
    request = DispatchRequest(request_id=await world.request(plan), plan_id=plan.plan_id, waiting=False)
    await world.outcome(plan, "needs_approval")
    assert not await dispatcher.answer(request)
    found = await world.outcome(plan, "refused")
    assert [reason["name"] for reason in found.doc["broken"]] == ["policy", "tier"]
    assert await world.command_count() == 3


# A seeded flood: each plan is spoilt in one to three ways of which each alone must be refused.
def too_strong(plan: Plan, random: Random) -> Plan:
    factor = random.uniform(10.0, 1e6)
    row = tuple(w * factor for w in plan.sites[0].schedule_w)
    return replace(plan, sites=(replace(plan.sites[0], schedule_w=row), *plan.sites[1:]))


def too_much_charge(plan: Plan, random: Random) -> Plan:
    row = (random.uniform(8192.0, 1e6),) * 16
    return replace(plan, sites=(replace(plan.sites[0], schedule_w=row), *plan.sites[1:]))


def foreign_site(plan: Plan, random: Random) -> Plan:
    site_id = SiteId(random.choice(["site-99", "site-3", "../site-1", "site-1 ", ""]))
    return replace(plan, sites=(replace(plan.sites[0], site_id=site_id), *plan.sites[1:]))


def twice_the_same_site(plan: Plan, random: Random) -> Plan:
    return replace(plan, sites=(*plan.sites, random.choice(plan.sites)))


def steps_missing(plan: Plan, random: Random) -> Plan:
    row = plan.sites[0].schedule_w[: random.randrange(16)]
    return replace(plan, sites=(replace(plan.sites[0], schedule_w=row), *plan.sites[1:]))


def another_time(plan: Plan, random: Random) -> Plan:
    shift = random.choice([-1, 1]) * timedelta(minutes=random.choice([7, 60, 24 * 60, 60 * 24 * 365]))
    return replace(plan, window_start=plan.window_start + shift, window_end=plan.window_end + shift)


def beyond_its_envelope(plan: Plan, random: Random) -> Plan:
    share = random.uniform(0.0, 0.99)
    bounds = tuple(
        replace(site, min_w=site.min_w * share, max_discharge_wh=site.max_discharge_wh * share)
        for site in plan.envelope.sites
    )
    return replace(plan, envelope=replace(plan.envelope, sites=bounds))


def replaces_somebody(plan: Plan, random: Random) -> Plan:
    return replace(plan, supersedes=PlanId("live"))


def already_bound(plan: Plan, random: Random) -> Plan:
    taken = random.sample(SITES[3:], 2)
    return replace(
        plan, sites=tuple(replace(plan.sites[n], site_id=site_id) for n, site_id in enumerate(taken))
    )


WAYS = (
    too_strong, too_much_charge, foreign_site, twice_the_same_site, steps_missing, another_time, beyond_its_envelope,
    replaces_somebody, already_bound,
)  # fmt: skip


async def test_a_flood_of_spoilt_plans_comes_to_no_command(world: World) -> None:
    """Each is approved by two persons first, as if they had been fooled: the rules alone must hold."""
    random = Random(20260310)
    asked = refused = 0
    for number in range(FLOOD):
        plan = small(f"flood-{number}")
        ways = random.sample(WAYS, random.randint(1, 3))
        if {replaces_somebody, already_bound} <= set(ways):
            ways.remove(replaces_somebody)  # with two persons' yes that would be a re-plan in order
        for way in ways:
            plan = way(plan, random)
        await forced(world, plan)
        await world.approve(plan, "ann", TWO)
        await world.approve(plan, "bob", TWO)
        await world.request(plan)
        asked += 1
        found = await world.outcome(plan, "authorised", "needs_approval", "refused")
        refused += found.outcome == "refused"
    assert (asked, refused) == (FLOOD, FLOOD)
    assert await world.command_count() == 3


async def test_of_two_equal_plans_a_yes_serves_the_one_that_it_names_and_the_other_is_told_why_not(
    world: World,
) -> None:
    """Asked for twice in a conversation: same sites, same time, same envelope. Ann says yes to the second only."""
    first, second = await world.propose(middle("twin-1")), await world.propose(middle("twin-2"))
    assert first.envelope.digest() == second.envelope.digest()
    await world.approve(second, "ann")
    await world.request(first)
    waiting = await world.outcome(first, "needs_approval", "authorised")
    assert (waiting.outcome, waiting.doc["missing"]) == ("needs_approval", 1)
    assert await world.rows("SELECT count(*) FROM command WHERE plan_id = 'twin-1'") == [(0,)]
    await world.request(second)
    await world.outcome(second, "authorised")
    # Her yes to the first comes too late: its sites are taken, and that alone is what is said of it.
    await world.approve(first, "ann")
    refused = await world.outcome(first, "authorised", "refused")
    assert refused.outcome == "refused"
    assert {(reason["rule"], reason["name"]) for reason in refused.doc["broken"]} == {("S9", "overlap")}
    assert all("bound by live plan twin-2" in reason["message"] for reason in refused.doc["broken"])
    assert await world.rows("SELECT count(*) FROM command WHERE plan_id = 'twin-1'") == [(0,)]
    assert await world.command_count() == 5, "the three of the live plan and two of the second twin"
