"""The loop process's body: commands from the API in, events out, leases, cycles, waits, all over real PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from agents.deps import AgentSettings
from agents.loop import Loop, LoopSettings
from agents.model_client import ChatModel
from edge.plan import ApprovalTier, PlanId
from telemetry.model.clock import read_wall
from tests.agents.harness import Bench, bench_over
from tests.services import Database
from ui.ops.secrets import DatabaseRole


def a_loop(
    bench: Bench, *, every: timedelta = timedelta(0), model: ChatModel | None = None, owner: str = "a"
) -> Loop:
    return Loop(
        deps=bench.deps(model=model, settings=AgentSettings(patience=timedelta(0))),
        threads=bench.threads,
        saver=bench.saver,
        settings=LoopSettings(owner=owner, cycle_every=every, look_every=timedelta(milliseconds=50)),
        notified=bench.threads.notifications,
    )


def say(bench: Bench, text: str, *, thread_id: str = "chat-1", kind: str = "message", **body: Any) -> int:
    """Write a command as the API does."""
    api = DatabaseRole.API
    bench.sql(
        "INSERT INTO thread VALUES (%s, 'chat', 't', 'alice', %s) ON CONFLICT DO NOTHING",
        thread_id, bench.clock.now(), role=api,
    )  # fmt: skip
    [(count,)] = bench.sql("SELECT count(*) FROM thread_command")
    [(number,)] = bench.sql(
        "INSERT INTO thread_command (thread_id, kind, body, who, idempotency_key, at) VALUES (%s, %s, %s, 'alice', %s, %s)"
        " RETURNING command_no",
        thread_id, kind, Jsonb({"text": text, **body}), f"key-{count}", bench.clock.now(), role=api,
    )  # fmt: skip
    assert isinstance(number, int)
    return number


def events(bench: Bench, kind: str, thread_id: str = "chat-1") -> list[Any]:
    rows = bench.sql(
        "SELECT body FROM thread_event WHERE thread_id = %s AND kind = %s ORDER BY event_no", thread_id, kind
    )
    return [row[0] for row in rows]


async def once(loop: Loop) -> None:
    await loop.look()
    await loop.settle()


async def test_a_question_is_answered_from_tool_results(database: Database) -> None:
    async with bench_over(database) as bench:
        say(bench, "How long does cbs-0003 hold on its battery?")
        await once(a_loop(bench))
        [message] = events(bench, "message")
        # 20 kWh x (0.95 - 0.05 - 0.05) = 17 kWh over 2.1 kW is 8.1 h, 8.0 h in whole quarters; 2 h need 4.2 kWh.
        assert message["text"] == (
            "cbs-0003 runs 8.0 h on its battery and must run 2.0 h (2 h)."
            " It holds 17.0 kWh, 12.8 kWh more than required."
        )
        assert message["planner"] == "policy planner (no language model)"
        steps = [step["tool"] for step in events(bench, "step") if "tool" in step]
        assert steps == ["choose topic", "choose tool", "site_autonomy", "choose tool"]
        assert bench.sql("SELECT outcome FROM thread_command_done") == [("told:answered",)]


async def test_a_plan_asked_for_in_words_waits_for_a_person_and_goes_on_when_the_api_says_so(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.ONE_PERSON
        loop = a_loop(bench)
        say(bench, "make a plan to shave the peak on feeder-1 from 18:00 to 19:30")
        await once(loop)
        [question] = events(bench, "interrupt")
        # 18:00 in Rome is 17:00 UTC.
        assert question["card"]["window_start"] == "2026-03-10T17:00:00+00:00"
        assert question["card"]["window_end"] == "2026-03-10T18:30:00+00:00"
        assert question["card"]["direction"] == "discharge"
        stored = await bench.deps().tools.plans.fetch(question["plan_id"])
        assert stored is not None
        bench.approve(stored.plan, "bob")
        say(bench, "", kind="resume", plan_id=question["plan_id"])
        await once(loop)
        assert bench.sql("SELECT plan_id FROM dispatch_request") == [(question["plan_id"],)]
        bench.control_authorises(stored.plan)
        bench.meters(stored.plan)
        for _ in range(2):  # acknowledgements, then the end of the plan
            bench.clock.at = max(one.until for one in await bench.threads.waiting())
            await once(loop)
        assert events(bench, "done")[-1]["stage"] == "told:verified"
        assert await bench.threads.waiting() == []


async def test_a_timer_starts_a_cycle_and_two_reasons_make_one(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.world.background_high_w = 100_000.0
        loop = a_loop(bench, every=timedelta(minutes=15))
        loop.wake("incident inc-1")
        await once(loop)
        await once(loop)
        rows = bench.sql("SELECT thread_id, kind FROM thread")
        assert rows == [("cycle-20260310T155000", "loop")]
        [message] = events(bench, "message", "cycle-20260310T155000")
        assert message["text"].startswith("No plan was made.")
        bench.clock.at += timedelta(minutes=15)
        await once(loop)
        assert len(bench.sql("SELECT 1 FROM thread")) == 2


async def test_an_open_plan_is_not_planned_twice(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.ONE_PERSON
        loop = a_loop(bench, every=timedelta(minutes=15))
        await once(loop)
        bench.clock.at += timedelta(minutes=15)
        await once(loop)
        [message] = events(bench, "message", "cycle-20260310T160500")
        assert "is covered by plan-cycle-20260310T155000-1-deep" in message["text"]


async def test_a_plan_nobody_approves_ends_when_its_window_begins(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.TWO_PERSONS
        loop = a_loop(bench, every=timedelta(minutes=15))
        await once(loop)
        [waiting] = await bench.threads.waiting()
        assert waiting.until.isoformat() == "2026-03-10T16:45:00+00:00"
        loop.settings = LoopSettings(owner="a", cycle_every=timedelta(0))
        bench.clock.at = waiting.until
        await once(loop)
        assert "was not approved in time" in events(bench, "message", waiting.thread_id)[-1]["text"]
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]


async def test_another_process_keeps_away_from_a_leased_thread(database: Database) -> None:
    async with bench_over(database) as bench:
        say(bench, "fleet status")
        wall = read_wall()
        assert await bench.threads.take_lease(
            "chat-1", owner="b", wall=wall, until=wall + timedelta(minutes=1)
        )
        await once(a_loop(bench, owner="a"))
        assert events(bench, "message") == []
        late = wall + timedelta(minutes=2)
        assert await bench.threads.take_lease(
            "chat-1", owner="a", wall=late, until=late + timedelta(minutes=1)
        )


async def test_a_notification_wakes_the_process_at_once(database: Database) -> None:
    async with bench_over(database) as bench:
        loop = a_loop(bench)
        loop.settings = LoopSettings(owner="a", cycle_every=timedelta(0), look_every=timedelta(seconds=30))
        stop = asyncio.Event()
        running = asyncio.create_task(loop.run(stop))
        await asyncio.sleep(0.5)
        say(bench, "what is the fleet's status?")
        async with asyncio.timeout(5.0):
            while not events(bench, "done"):
                await asyncio.sleep(0.05)
        stop.set()
        await running
        assert "6 of 6 sites are online" in events(bench, "message")[0]["text"]


async def test_a_waiting_run_can_be_cancelled(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.ONE_PERSON
        loop = a_loop(bench)
        say(bench, "shave the peak of feeder-1 this evening")
        await once(loop)
        say(bench, "", kind="cancel")
        await once(loop)
        assert await bench.threads.waiting() == []
        assert events(bench, "done")[-1]["who"] == "alice"


async def test_a_goal_from_the_console_needs_no_words(database: Database) -> None:
    async with bench_over(database) as bench:
        goal = {
            "objective": "demand_response", "feeder_ids": ["feeder-1"], "start": "2026-03-10T17:00:00Z",
            "duration_min": 60, "relief_kw": 4.0,
        }  # fmt: skip
        say(bench, "", goal=goal)
        say(bench, "", thread_id="chat-2", goal={**goal, "setpoint_w": -99999})
        await once(a_loop(bench))
        [plan] = events(bench, "plan")
        assert plan["plans"][0]["relief_kw"] <= 4.0
        assert plan["plans"][0]["relief_kw"] > 3.9
        [error] = events(bench, "error", "chat-2")
        assert error["text"] == "the goal is malformed: 1 errors"


async def test_standing_objectives_are_kept(database: Database) -> None:
    async with bench_over(database) as bench:
        for objective_id, doc in (("spare", {"exclude_site_ids": ["cbs-0002"]}), ("old", {"pause": True})):
            bench.sql(
                "INSERT INTO standing_objective VALUES (%s, %s, 'alice', %s, %s)",
                objective_id, Jsonb(doc), objective_id != "old", bench.clock.now(), role=DatabaseRole.API,
            )  # fmt: skip
        loop = a_loop(bench, every=timedelta(minutes=15))
        loop.deps = replace(loop.deps, standing=bench.threads.standing_objectives)
        await once(loop)
        stored = await loop.deps.tools.plans.fetch(PlanId("plan-cycle-20260310T155000-1-deep"))
        assert stored is not None
        assert [site.site_id for site in stored.plan.sites] == ["cbs-0001", "cbs-0003", "cbs-0004"]
        bench.sql("UPDATE standing_objective SET active = true", role=DatabaseRole.API)
        bench.clock.at += timedelta(minutes=15)
        await once(loop)
        await once(
            loop
        )  # the first look only takes the waiting run up again: cycles are not run side by side
        texts = [row[0]["text"] for row in bench.sql("SELECT body FROM thread_event WHERE kind = 'message'")]  # type: ignore[index]
        assert texts[-1] == (
            "No plan was made. Standing objective old of alice pauses dispatch;"
            " feeder-1 is expected to reach 121.2 kW at its import limit of 114.0 kW, 7.2 kW above it."
        )


async def test_the_day_s_tokens_are_added_up(database: Database) -> None:
    async with bench_over(database) as bench:
        for hours, tokens in ((30, 1000), (2, 70), (1, 7)):
            at = bench.clock.now() - timedelta(hours=hours)
            await bench.threads.record_use(
                "t", at=at, model="m", prompt_tokens=tokens, answer_tokens=1, seconds=1.0
            )
        since = bench.clock.now() - timedelta(hours=24)
        assert await bench.threads.used_since(since) == (77, 2)
        assert await bench.threads.used_since(since, "another") == (0, 0)
