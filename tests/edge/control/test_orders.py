"""Abort, stop, clear and mode, duplicates, silence and replacement, over the real database and broker."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.control.signer import KeySetError
from edge.plan import AckVerdict, CommandKind, Plan, PlanId, PlanStatus
from telemetry.model.site import SiteMode
from tests.edge.control.world import NEW_KEY, SITES, World, eventually, fleet_plan, rotated_world, world_of
from tests.edge.safety.examples import a_plan, schedule_of, with_status
from tests.services import Broker, Database


@pytest.fixture
async def world(database: Database, broker: Broker, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(database, broker, tmp_path) as built:
        yield built


async def dispatched(world: World, plan_id: str = "plan-1") -> Plan:
    plan = await world.propose(fleet_plan(plan_id))
    await world.request(plan)
    await world.outcome(plan, "authorised")
    await applied(world, 1)
    return plan


async def applied(world: World, count: int) -> None:
    async def look() -> bool | None:
        return True if all(len(site.applied) == count for site in world.sites.values()) else None

    await eventually(look)


async def done(world: World, request_id: int) -> str:
    async def look() -> str | None:
        found = await world.people.control_outcome(request_id)
        return None if found is None else found.outcome

    return await eventually(look)


async def ask(world: World, kind: str, **what: object) -> int:
    return await world.people.request_control(
        kind,
        who="ann",
        reason="test",
        at=world.clock.now(),
        **what,  # type: ignore[arg-type]
    )


async def test_the_same_request_twice_makes_no_second_command(world: World) -> None:
    async with world.running_sites(), world.running_control():
        plan = await dispatched(world)
        first = await world.request(plan)
        assert await world.request(plan) == first
        await world.rows("SELECT pg_notify('dispatch_request', 'plan-1')")
        await applied(world, 1)
    assert await world.command_count() == 3
    assert await world.rows("SELECT count(*) FROM dispatch_request") == [(1,)]


async def test_abort_releases_every_site(world: World) -> None:
    async with world.running_sites() as sites, world.running_control():
        plan = await dispatched(world)
        assert await done(world, await ask(world, "abort", plan_id=plan.plan_id)) == "done"
        await applied(world, 2)
        assert await done(world, await ask(world, "abort", plan_id=plan.plan_id)) == "refused"
    assert await world.status(plan) is PlanStatus.ABORTED
    for site in sites.values():
        assert [(command.kind, command.sequence) for command in site.applied] == [
            (CommandKind.SCHEDULE, 1),
            (CommandKind.RELEASE, 2),
        ]


async def test_stop_reaches_a_site_that_was_away_and_clear_ends_it(world: World) -> None:
    async with world.running_control():
        async with world.running_sites():
            plan = await dispatched(world)
            # As `cellwatt control stop` asks: through control's own role, without agent or API.
            request_id = await world.parts().requests.request_control(
                "stop", who="root", reason="fire", at=world.clock.now()
            )
            assert await done(world, request_id) == "done"
        assert await world.status(plan) is PlanStatus.ABORTED
        for site in world.sites.values():  # they come back with an empty memory: the stop is retained
            site.standing = replace(site.standing, fleet=type(site.standing.fleet)())

        async with world.running_sites() as sites:

            async def all_stopped() -> bool | None:
                return True if all(site.standing.fleet.stopped for site in sites.values()) else None

            await eventually(all_stopped)
            late = await world.propose(fleet_plan("plan-2"))
            await world.request(late)
            refusal = await world.outcome(late, "refused")
            assert [reason["name"] for reason in refusal.doc["broken"]] == ["fleet_stopped"]

            assert await done(world, await ask(world, "clear")) == "done"

            async def none_stopped() -> bool | None:
                return None if any(site.standing.fleet.stopped for site in sites.values()) else True

            await eventually(none_stopped)
            assert await done(world, await ask(world, "clear")) == "refused"
    fleet = await world.rows("SELECT kind FROM command WHERE site_id IS NULL ORDER BY sequence")
    assert fleet == [("stop",), ("clear",)]
    assert await world.command_count() == 5


async def test_mode_changes_need_a_commissioning_test_for_remote(world: World) -> None:
    site = SITES[0]
    world.limits = replace(
        world.limits,
        sites={**world.limits.sites, SITES[1]: replace(world.limits.sites[SITES[1]], commissioned_at=None)},
    )
    async with world.running_sites() as sites, world.running_control():
        assert await done(world, await ask(world, "mode", site_id=site, mode=SiteMode.SHADOW)) == "done"
        assert (
            await done(world, await ask(world, "mode", site_id=SITES[1], mode=SiteMode.REMOTE)) == "refused"
        )
        assert (
            await done(world, await ask(world, "mode", site_id="nowhere", mode=SiteMode.SHADOW)) == "refused"
        )

        async def applied_mode() -> bool | None:
            return True if sites[site].applied else None

        await eventually(applied_mode)
    assert [command.kind for command in sites[site].applied] == [CommandKind.MODE]
    assert await world.rows("SELECT mode, doc ->> 'mode', version FROM site WHERE site_id = %s", site) == [
        ("shadow", "shadow", 2)
    ]
    assert await world.rows(
        "SELECT who, before ->> 'mode', after ->> 'mode' FROM registry_change WHERE subject_id = %s"
        " ORDER BY change_id DESC LIMIT 1",
        site,
    ) == [("ann", "remote", "shadow")]


async def test_a_silent_site_is_asked_again_with_the_same_bytes_then_missing(world: World) -> None:
    world.settings = replace(
        world.settings, accept_for=timedelta(seconds=2), accept_wall=timedelta(seconds=1), grace=timedelta(0)
    )
    async with world.running_sites() as sites, world.running_control():
        sites[SITES[0]].silent = True
        plan = await world.propose(fleet_plan("plan-1"))
        await world.request(plan)
        await world.outcome(plan, "authorised")

        async def missing() -> list[str] | None:
            states = {command.site_id: command.state for command in await world.asks.commands(plan.plan_id)}
            return list(states.values()) if states[SITES[0]] == "missing" else None

        assert await eventually(missing) == ["missing", "acknowledged", "acknowledged"]
    # At 0 s, then after 0.4 s and 0.8 s more: three sendings fit into two seconds, a fourth may.
    assert len(sites[SITES[0]].payloads) in {3, 4}
    assert len(set(sites[SITES[0]].payloads)) == 1
    assert [len(sites[site].payloads) for site in SITES[1:]] == [1, 1]
    told = await world.rows("SELECT after ->> 'site_id' FROM audit WHERE action = 'command.missing'")
    assert told == [(SITES[0],)]


async def test_a_site_that_refuses_is_recorded(world: World) -> None:
    async with world.running_sites() as sites, world.running_control():
        sites[SITES[2]].standing = replace(sites[SITES[2]].standing, local_lock=True)
        plan = await world.propose(fleet_plan("plan-1"))
        await world.request(plan)
        await world.outcome(plan, "authorised")

        async def refused() -> tuple[str, str, str] | None:
            last = (await world.asks.commands(plan.plan_id))[2]
            return (last.state, last.verdict, last.reason) if last.state == "refused" else None

        assert await eventually(refused) == ("refused", AckVerdict.REFUSED, "local_lock")
    assert await world.rows("SELECT after ->> 'reason' FROM audit WHERE action = 'command.refused'") == [
        ("local_lock",)
    ]


async def test_a_replan_replaces_only_the_plan_that_it_names(world: World) -> None:
    """Two of three sites go on inside the same envelope; the third is released, and nobody is asked again."""
    world.policy["automatic"] = {**world.policy["automatic"], "max_total_w": 0.0}
    async with world.running_sites() as sites, world.running_control():
        tight = fleet_plan("plan-1")
        first = await world.propose(replace(tight, envelope=replace(tight.envelope, total_max_w=0.0)))
        await world.request(first)
        await world.outcome(first, "needs_approval")
        await world.approve(first, "ann")
        await world.outcome(first, "authorised")
        await applied(world, 1)
        again = replace(
            first,
            plan_id=PlanId("plan-2"),
            supersedes=first.plan_id,
            sites=first.sites[:2],
            status=PlanStatus.PROPOSED,
        )
        await world.propose(again)
        await world.request(again)
        outcome = await world.outcome(again, "authorised")
        await applied(world, 2)
    assert outcome.doc["approvers"] == ["ann"]
    assert outcome.doc["released"] == [SITES[2]]
    assert [sites[site].applied[1].kind for site in SITES] == [
        CommandKind.SCHEDULE,
        CommandKind.SCHEDULE,
        CommandKind.RELEASE,
    ]
    assert await world.status(first) is PlanStatus.COMPLETED
    live = await world.plans.live(world.clock.now(), timedelta(0))
    assert [plan.plan_id for plan in live] == ["plan-2"]
    assert [plan.plan_id for plan in await world.plans.superseded(live)] == ["plan-1"]


async def test_a_stop_in_force_is_signed_anew_after_a_rotation(world: World) -> None:
    async with world.running_sites() as sites, world.running_control():
        assert await done(world, await ask(world, "stop")) == "done"

        async def stopped() -> bool | None:
            return True if all(site.standing.fleet.stopped for site in sites.values()) else None

        await eventually(stopped)
    rotated_world(world)
    async with world.running_sites() as sites, world.running_control():

        async def renewed() -> bool | None:
            orders = [(site.standing.fleet.epoch, len(site.fleet_orders)) for site in sites.values()]
            return True if orders == [(2, 2)] * 3 else None

        await eventually(renewed)
        assert await done(world, await ask(world, "clear")) == "done"

        async def cleared() -> bool | None:
            return None if any(site.standing.fleet.stopped for site in sites.values()) else True

        await eventually(cleared)
    key_ids = await world.rows("SELECT key_id FROM command WHERE site_id IS NULL ORDER BY sequence")
    assert [row[0] for row in key_ids] == [world.first_key_id, NEW_KEY.key_id, NEW_KEY.key_id]


async def test_a_site_that_went_offline_is_withheld_and_the_rest_goes(world: World) -> None:
    """Site 3 has 48 of 1072 W, 4.5 %, less than the 5 % that would ask for approval again."""
    parts = [
        schedule_of(site, (16, watts)) for site, watts in zip(SITES, (-512.0, -512.0, -48.0), strict=True)
    ]
    plan = a_plan(*parts, plan_id="plan-1")
    loose = replace(plan.envelope, total_max_w=0.0)
    plan = await world.propose(replace(plan, envelope=loose))
    world.state = with_status(world.state, SITES[2], online=False)
    await world.approve(plan, "ann")
    await world.request(plan)
    async with world.running_sites() as sites, world.running_control():
        outcome = await world.outcome(plan, "authorised", "refused")

        async def two_have_it() -> bool | None:
            return True if [len(sites[site].applied) for site in SITES] == [1, 1, 0] else None

        await eventually(two_have_it)
    assert outcome.doc["commands"] == 2
    assert list(outcome.doc["withheld"]) == [SITES[2]]
    assert await world.command_count() == 2


async def test_a_key_that_no_gateway_would_believe_starts_no_control(world: World) -> None:
    world.signer = NEW_KEY

    async def publish() -> None:
        raise AssertionError

    with pytest.raises(KeySetError, match="does not vouch"):
        world.process(lambda *_, **__: publish())


async def test_a_release_does_not_wait_behind_paced_schedules(world: World) -> None:
    """At one sending in two seconds the second and third site are not reached before the abort."""
    world.settings = replace(world.settings, sends_per_s=0.5)
    async with world.running_sites() as sites, world.running_control():
        plan = await world.propose(fleet_plan("plan-1"))
        await world.request(plan)

        async def one_has_it() -> bool | None:
            return True if sum(len(site.applied) for site in sites.values()) == 1 else None

        await eventually(one_has_it)
        assert await done(world, await ask(world, "abort", plan_id=plan.plan_id)) == "done"

        async def all_released() -> bool | None:
            last = [site.applied[-1].kind for site in sites.values() if site.applied]
            return True if last == [CommandKind.RELEASE] * 3 else None

        await eventually(all_released)
    kinds = sorted([command.kind for command in site.applied] for site in sites.values())
    assert kinds == [[CommandKind.RELEASE]] * 2 + [[CommandKind.SCHEDULE, CommandKind.RELEASE]]


async def test_one_yes_carries_a_chain_of_replans_until_its_energy_is_spent(world: World) -> None:
    """The envelope lets each site give 1024 Wh; the third plan is the second's child, the yes is for the first."""
    world.policy["automatic"] = {**world.policy["automatic"], "max_total_w": 0.0}
    tight = fleet_plan("plan-1")
    first = await world.propose(replace(tight, envelope=replace(tight.envelope, total_max_w=0.0)))
    await world.approve(first, "ann")
    async with world.running_sites(), world.running_control():
        await world.request(first)
        await world.outcome(first, "authorised")
        parent = first
        for number in (2, 3):
            child = replace(first, plan_id=PlanId(f"plan-{number}"), supersedes=parent.plan_id)
            await world.propose(child)
            await world.request(child)
            outcome = await world.outcome(child, "authorised", "needs_approval", "refused")
            assert (outcome.outcome, outcome.doc["approvers"]) == ("authorised", ["ann"])
            parent = child
        await applied(world, 3)
        # One that skips a link names a plan that is no longer live.
        skip = replace(first, plan_id=PlanId("plan-4"), supersedes=first.plan_id)
        await world.propose(skip, validated=False)
        await world.plans.set_status(
            skip.plan_id, PlanStatus.VALIDATED, at=world.clock.now(), who="loop", reason=""
        )
        await world.request(skip)
        assert (await world.outcome(skip, "authorised", "refused")).outcome == "refused"
    assert await world.command_count() == 9
