"""Approvals: who, of what exactly, how many; and that the database's own rules stand behind the API's."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from edge.plan import Plan
from tests.edge.safety.examples import NOW, START, a_plan, schedule_of
from tests.ui.api.world import World, one_person_plan, two_person_plan
from ui.api.plan_view import feeder_curves_of
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def approve(world: World, who: str, plan: Plan, **options: Any) -> httpx.Response:
    body = {"envelope_digest": options.pop("digest", plan.envelope.digest())}
    return await world.ask(who, "POST", f"/v1/plans/{plan.plan_id}/approve", body, **options)


def named(plan: Plan, name: str) -> Plan:
    return replace(plan, plan_id=name)  # type: ignore[arg-type]


async def test_a_plan_shows_its_figures_by_hand(world: World) -> None:
    plan = await world.plan(one_person_plan("plan-figures"))
    shown = await world.get(f"/v1/plans/{plan.plan_id}", "ann")
    assert shown["total_w"] == [-1536.0] * 16
    assert shown["peak_discharge_w"] == 1536.0
    assert shown["feeder_curves"] == [{"feeder_id": "feeder-1", "sites": 1, "total_w": [-1536.0] * 16}]
    assert shown["direction"] == "discharge"
    assert shown["simulated_sites"] == 1
    assert (shown["tier"], shown["approvals_missing"], shown["may_approve"]) == ("one_person", 1, True)
    assert shown["window_start"] == "2026-03-10T12:00:00Z"
    line = next(one for one in (await world.get("/v1/plans"))["items"] if one["plan_id"] == plan.plan_id)
    assert (line["status"], line["objective"], line["sites"]) == ("validated", "peak_shaving", 1)
    schedule = await world.get(f"/v1/plans/{plan.plan_id}/schedule")
    assert schedule["sites"] == [
        {"site_id": "site-1", "schedule_w": [-1536.0] * 16, "grid_reserve": None, "bounds": None}
    ]
    assert (schedule["step_s"], schedule["window_start"]) == (900, "2026-03-10T12:00:00Z")


async def test_curves_are_summed_by_feeder_and_leave_out_who_is_registered_no_longer() -> None:
    plan = a_plan(
        schedule_of("a", (2, -100.0)), schedule_of("b", (2, -20.0)), schedule_of("c", (2, 5.0)), schedule_of("gone", (2, 9.0))
    )  # fmt: skip
    found = feeder_curves_of(plan, {"a": "f-2", "b": "f-1", "c": "f-2"})
    assert [(one.feeder_id, one.sites, one.total_w) for one in found] == [
        ("f-1", 1, [-20.0, -20.0]),
        ("f-2", 2, [-95.0, -95.0]),
    ]


async def test_one_yes_is_enough_for_one_person_and_wakes_the_run(world: World) -> None:
    thread_id = world.thread("cycle-one")
    plan = await world.plan(one_person_plan("plan-one"), thread_id=thread_id)
    answer = await approve(world, "ann", plan)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown["approvals_missing"] == 0
    assert shown["approvals"] == [
        {
            "approver": "ann", "tier": "one_person", "approved_at": "2026-03-10T11:50:00Z", "counts": True,
            "expires_at": "2026-03-10T23:50:00Z",  # the envelope's twelve hours, shorter than the policy's 24
        }
    ]  # fmt: skip
    rows = world.sql(
        "SELECT approver, tier, envelope_digest, written_by FROM approval WHERE plan_id = 'plan-one'"
    )
    assert rows == [("ann", "one_person", plan.envelope.digest(), "cellwatt_api")]
    commands = world.sql("SELECT kind, body, who FROM thread_command WHERE thread_id = %s", thread_id)
    assert commands == [("resume", {"plan_id": "plan-one"}, "ann")]
    assert [entry[:3] for entry in world.audit("approval.given")] == [("cellwatt_api", "ann", "plan-one")]
    # The API says yes; it does not move the plan: that is control's.
    assert world.sql("SELECT status FROM plan WHERE plan_id = 'plan-one'") == [("validated",)]


async def test_two_persons_means_two_different_people(world: World) -> None:
    plan = await world.plan(two_person_plan("plan-two"))
    assert (await approve(world, "ann", plan)).json()["approvals_missing"] == 1
    again = await approve(world, "ann", plan)
    assert again.status_code == 409
    assert "somebody else" in again.json()["detail"]
    shown = await world.get(f"/v1/plans/{plan.plan_id}", "ann")
    assert (shown["may_approve"], shown["why_not"]) == (False, "you have approved it already")
    second = await approve(world, "bo", plan)
    assert (second.json()["tier"], second.json()["approvals_missing"]) == ("two_persons", 0)
    assert world.sql("SELECT approver FROM approval WHERE plan_id = 'plan-two' ORDER BY 1") == [
        ("ann",),
        ("bo",),
    ]


async def test_one_person_cannot_count_twice_by_asking_twice_at_once(world: World) -> None:
    plan = await world.plan(two_person_plan("plan-race"))
    answers = await asyncio.gather(*(approve(world, "ann", plan) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert world.sql("SELECT count(*) FROM approval WHERE plan_id = 'plan-race'") == [(1,)]


async def test_a_yes_binds_to_the_envelope_that_was_seen(world: World) -> None:
    plan = await world.plan(one_person_plan("plan-digest"))
    other = one_person_plan("plan-digest")
    other = replace(other, envelope=replace(other.envelope, total_discharge_wh=1e6))
    answer = await approve(world, "ann", plan, digest=other.envelope.digest())
    assert answer.status_code == 409
    assert [error["field"] for error in answer.json()["errors"]] == ["envelope_digest"]
    assert world.sql("SELECT 1 FROM approval WHERE plan_id = 'plan-digest'") == []


async def test_only_an_open_plan_in_time_is_approved(world: World) -> None:
    proposed = await world.plan(one_person_plan("plan-proposed"), validated=False)
    assert "is proposed" in (await approve(world, "ann", proposed)).json()["detail"]
    late = await world.plan(one_person_plan("plan-late"))
    world.clock.at = START
    answer = await approve(world, "ann", late)
    assert (answer.status_code, "too late" in answer.json()["detail"]) == (409, True)
    world.clock.at = START - timedelta(seconds=1)
    assert (await approve(world, "ann", late)).status_code == 200


async def test_nobody_may_approve_what_no_tier_holds(world: World) -> None:
    plan = await world.plan(one_person_plan("plan-storm"))
    # The example policy knows no tier for a storm.
    change = {"mode": "storm", "reason": "gale warning"}
    assert (await world.ask("ann", "PUT", "/v1/mode", change)).status_code == 200
    answer = await approve(world, "ann", plan)
    assert (answer.status_code, answer.json()["detail"]) == (
        409, "the approval policy lets nobody approve this plan",
    )  # fmt: skip
    shown = await world.get(f"/v1/plans/{plan.plan_id}", "ann")
    assert (shown["tier"], shown["may_approve"]) == (None, False)


async def test_a_repeated_approval_with_its_key_is_answered_alike(world: World) -> None:
    plan = await world.plan(one_person_plan("plan-key"))
    key = {"Idempotency-Key": "tap-1"}
    first = await approve(world, "ann", plan, headers=key)
    second = await approve(world, "ann", plan, headers=key)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    other = await approve(world, "ann", plan, headers=key, digest="0" * 64)
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    # The key is the caller's own: somebody else's act is not answered by it.
    assert (await approve(world, "bo", plan, headers=key)).headers.get("Idempotent-Replayed") is None


async def test_a_no_ends_the_plan_and_tells_why(world: World) -> None:
    thread_id = world.thread("cycle-no")
    plan = await world.plan(one_person_plan("plan-no"), thread_id=thread_id)
    answer = await world.ask("bo", "POST", "/v1/plans/plan-no/decline", {"reason": "crew on site"})
    assert (answer.status_code, answer.json()["status"]) == (200, "declined")
    assert answer.json()["declines"] == [
        {"who": "bo", "reason": "crew on site", "at": "2026-03-10T11:50:00Z"}
    ]
    assert (await approve(world, "ann", plan)).status_code == 409
    again = await world.ask("bo", "POST", "/v1/plans/plan-no/decline", {"reason": "crew on site"})
    assert again.status_code == 409
    assert world.sql("SELECT kind FROM thread_command WHERE thread_id = %s", thread_id) == [("resume",)]


async def test_an_abort_is_an_order_to_control(world: World) -> None:
    plan = await world.plan(one_person_plan("plan-abort"))
    answer = await world.ask("olga", "POST", f"/v1/plans/{plan.plan_id}/abort", {"reason": "load is rising"})
    assert answer.json()["outcome"] == "pending"  # no control process runs here
    number = answer.json()["request_id"]
    assert world.sql("SELECT kind, plan_id, who FROM control_request WHERE request_id = %s", number) == [
        ("abort", "plan-abort", "olga")
    ]
    world.sql(
        "INSERT INTO control_outcome VALUES (%s, %s, 'done', %s)",
        number, NOW, Jsonb({"released": ["site-1"]}), role=DatabaseRole.CONTROL,
    )  # fmt: skip
    seen = await world.get(f"/v1/control/requests/{number}")
    assert (seen["outcome"], seen["doc"]) == ("done", {"released": ["site-1"]})


async def test_an_answer_of_control_within_the_wait_is_told_at_once(world: World) -> None:
    async def control() -> None:
        for _ in range(100):
            rows = world.sql(
                "SELECT request_id FROM control_request r WHERE kind = 'stop' AND NOT EXISTS"
                " (SELECT 1 FROM control_outcome o WHERE o.request_id = r.request_id)"
            )
            if rows:
                outcome = "INSERT INTO control_outcome VALUES (%s, %s, 'done', '{}')"
                world.sql(outcome, rows[0][0], NOW, role=DatabaseRole.CONTROL)
                return
            await asyncio.sleep(0.005)

    answer, _ = await asyncio.gather(
        world.ask("olga", "POST", "/v1/control/stop", {"reason": "smoke"}), control()
    )
    assert answer.json()["outcome"] == "done"
    assert [entry[1:3] for entry in world.audit("control.stop_requested")] == [("olga", "fleet")]


async def test_what_was_delivered_is_set_against_what_was_commanded(world: World) -> None:
    plan = await world.plan(one_person_plan("plan-meter"))
    control, ingest = DatabaseRole.CONTROL, DatabaseRole.INGEST
    world.sql(
        "INSERT INTO command VALUES ('c-1', 'plan-meter', 'site-1', 1, 'schedule', 'x', 'd', 'k', %s, %s, %s, %s, 'acknowledged')",
        NOW, NOW, plan.window_start, plan.window_end, role=control,
    )  # fmt: skip
    world.sql(
        "INSERT INTO acknowledgement (command_id, site_id, digest, verdict, reason, at, received_at, limited_wh)"
        " VALUES ('c-1', 'site-1', 'd', 'accepted', '', %s, %s, 0)", NOW, NOW, role=control,
    )  # fmt: skip
    for step, watts in ((0, -1500.0), (1, -1536.0)):
        world.sql(
            "INSERT INTO rollup (site_id, bucket, samples, completeness, meter_battery_w) VALUES ('site-1', %s, 3, 1, %s)",
            START + step * timedelta(minutes=15), watts, role=ingest,
        )  # fmt: skip
    world.clock.at = START + timedelta(minutes=50)
    found = await world.get("/v1/plans/plan-meter/delivery")
    # Three quarter hours are over: 1536 W are 384 Wh each; the third has no meter value yet.
    assert found["quarter_hours"] == [
        {"start": "2026-03-10T12:00:00Z", "commanded_wh": -384.0, "commanded_measured_wh": -384.0,
         "delivered_wh": -375.0, "sites": 1, "measured": 1},
        {"start": "2026-03-10T12:15:00Z", "commanded_wh": -384.0, "commanded_measured_wh": -384.0,
         "delivered_wh": -384.0, "sites": 1, "measured": 1},
        {"start": "2026-03-10T12:30:00Z", "commanded_wh": -384.0, "commanded_measured_wh": 0.0,
         "delivered_wh": 0.0, "sites": 1, "measured": 0},
    ]  # fmt: skip
    assert (found["sites_planned"], found["sites_sent"], found["sites_taking_part"]) == (1, 1, 1)
    commands = (await world.get("/v1/plans/plan-meter"))["commands"]
    assert [(one["command_id"], one["verdict"]) for one in commands] == [("c-1", "accepted")]


async def test_plans_come_in_pages_without_gap_or_repeat(world: World) -> None:
    names = [f"plan-page-{number}" for number in range(5)]
    for name in names:
        await world.plan(named(one_person_plan(), name), thread_id="pages")
    seen: list[str] = []
    cursor = ""
    while True:
        page = await world.get(f"/v1/plans?thread_id=pages&limit=2{cursor}")
        seen += [one["plan_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sorted(names, reverse=True)  # one instant: by id


async def test_the_apis_role_can_neither_dispatch_nor_approve_by_status(world: World) -> None:
    await world.plan(one_person_plan("plan-rights"))
    for forbidden in (
        "UPDATE plan SET status = 'approved' WHERE plan_id = 'plan-rights'",
        "INSERT INTO dispatch_request (plan_id, requested_at) VALUES ('plan-rights', '2026-03-10Z')",
        "INSERT INTO command_sequence VALUES ('site-1', 99)",
        "UPDATE approval SET expires_at = '2030-01-01Z'",
        (
            "INSERT INTO approval (plan_id, envelope_digest, tier, approver, approved_at, expires_at, written_by)"
            " VALUES ('plan-rights', 'd', 'automatic', 'policy', '2026-03-10Z', '2026-03-11Z', 'cellwatt_control')"
        ),
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)):
            world.sql(forbidden, role=DatabaseRole.API)


async def test_a_plan_whose_sites_another_runs_with_is_not_approved_and_that_is_said(world: World) -> None:
    running = await world.plan(one_person_plan("plan-runs"))
    waiting = await world.plan(one_person_plan("plan-waits"))
    for status in ("approved", "dispatched"):
        world.sql("UPDATE plan SET status = %s WHERE plan_id = %s", status, running.plan_id)
    refused = await approve(world, "ann", waiting)
    assert refused.status_code == 409
    assert "plan plan-runs runs at that time with 1 of its sites" in refused.text
    assert "abort plan-runs first" in refused.text
    # One that takes over from the running plan is another matter, and so is one without its sites.
    successor = await world.plan(replace(one_person_plan("plan-takes-over"), supersedes=running.plan_id))
    assert (await approve(world, "ann", successor)).status_code == 200
    world.sql("UPDATE plan SET status = 'aborted' WHERE plan_id = %s", running.plan_id)
    assert (await approve(world, "ann", waiting)).status_code == 200
