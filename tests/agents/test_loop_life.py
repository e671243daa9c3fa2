"""The loop's life beside its commands: what wakes it, what ends a run, what a model may use, as whom the library is read."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agents.loop import Loop, LoopSettings
from agents.model_client import Endpoint, EndpointModel, WithFallback
from agents.model_use import Budget, Budgets, Price
from agents.policy import PolicyPlanner
from edge.plan import ApprovalTier, PlanId
from edge.safety.limits import OperatingMode
from knowledge.document_store import DocumentStore
from knowledge.documents import Document, DocumentKind, ReaderRole
from knowledge.imports import import_documents
from knowledge.passage_store import PassageStore
from telemetry.db import open_async_pool
from tests.agents.harness import Bench, bench_over
from tests.agents.openai_server import Call, Slow, Status, openai_server
from tests.agents.test_loop import a_loop, events, once, say
from tests.agents.test_wakes import an_incident
from tests.agents.worlds import NOW
from tests.services import Database
from tools.anomaly.incident_store import IncidentStore
from tools.deps import Fleet
from ui.api.incident_store import IncidentDesk
from ui.ops.secrets import DatabaseRole

QUIET = timedelta(minutes=15)


def cycles(bench: Bench) -> list[str]:
    rows = bench.sql("SELECT thread_id FROM thread WHERE kind = 'loop' ORDER BY created_at")
    return [str(row[0]) for row in rows]


async def test_a_new_incident_wakes_a_cycle_before_its_time(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.world.background_high_w = 100_000.0  # nothing to shave: cycles end at once
        loop = a_loop(bench, every=QUIET)
        await once(loop)
        assert cycles(bench) == ["cycle-20260310T155000"]
        bench.world.incidents = [an_incident("inc-9"), an_incident("inc-8")]
        bench.clock.at += timedelta(seconds=59)
        await once(loop)
        assert len(cycles(bench)) == 1  # looked for once a minute
        bench.clock.at += timedelta(seconds=1)
        await once(loop)
        assert cycles(bench)[1:] == ["cycle-20260310T155100"]  # two incidents, one cycle
        bench.clock.at += timedelta(minutes=1)
        await once(loop)
        assert len(cycles(bench)) == 2  # and not again


async def test_a_breach_of_a_forecast_wakes_a_cycle(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.world.background_high_w = 100_000.0
        loop = a_loop(bench, every=QUIET)
        await once(loop)
        seen = loop.deps.tools.fleet

        async def drawing_more() -> Fleet:
            fleet = await seen()
            readings = {
                name: replace(reading, load_w=2300.0) for name, reading in fleet.state.readings.items()
            }
            return replace(fleet, state=replace(fleet.state, readings=readings))

        loop.deps = replace(loop.deps, tools=replace(loop.deps.tools, fleet=drawing_more))
        bench.clock.at += timedelta(minutes=1)
        await once(loop)
        assert cycles(bench)[1:] == ["cycle-20260310T155100"]
        # Four sites of 2.3 kW where 2.1 kW are the most expected, and two; one cycle for both feeders.
        assert await request_of(bench, "cycle-20260310T155100") == (
            "forecast breach on feeder-1: 9.2 kW measured, at most 8.4 kW expected,"
            " forecast breach on feeder-2: 4.6 kW measured, at most 4.2 kW expected"
        )
        bench.clock.at += timedelta(minutes=1)
        await once(loop)
        assert len(cycles(bench)) == 2  # the same breach is told again after an hour


async def test_a_change_of_mode_wakes_a_cycle(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.world.background_high_w = 100_000.0
        loop = a_loop(bench, every=QUIET)
        await once(loop)
        bench.world.mode = OperatingMode.STORM
        bench.clock.at += timedelta(minutes=1)
        await once(loop)
        assert cycles(bench)[1:] == ["cycle-20260310T155100"]
        assert await request_of(bench, "cycle-20260310T155100") == "the operating mode became storm"
        [message] = events(bench, "message", "cycle-20260310T155100")
        assert "The operating mode is storm" in message["text"]


async def test_a_request_wakes_a_cycle_in_its_own_thread(database: Database) -> None:
    async with bench_over(database) as bench:
        loop = a_loop(bench)  # no timer at all
        number = say(bench, "look at the fleet now", cycle=True)
        await once(loop)
        assert cycles(bench) == []
        assert [one["chosen"] for one in events(bench, "plan")] == [f"plan-chat-1-{number}-1-deep"]
        assert await request_of(bench, f"chat-1-{number}") == "look at the fleet now"


async def test_a_wake_waits_for_room_and_is_not_lost(database: Database) -> None:
    async with (
        bench_over(database) as bench,
        openai_server(Slow(0.5, Call("watch", {})), Status(500)) as server,
    ):
        bench.world.background_high_w = 100_000.0
        endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="slow"))
        model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=60))
        loop = a_loop(bench, every=QUIET, model=model)
        loop.settings = replace(loop.settings, at_once=1)
        say(bench, "How is the fleet?")
        loop.wake("incident inc-1")
        await once(loop)  # the chat turn takes the only place
        assert cycles(bench) == []
        await once(loop)
        assert cycles(bench) == ["cycle-20260310T155000"]
        [given] = events(bench, "message", "cycle-20260310T155000")
        assert given["text"].startswith("No plan was made.")
        assert "incident inc-1" in await request_of(bench, "cycle-20260310T155000")
        bench.clock.at += timedelta(minutes=14)
        await once(loop)
        assert len(cycles(bench)) == 1  # the timer counts from the cycle that ran
        await endpoint.close()


async def request_of(bench: Bench, run_id: str) -> str:
    """Return what a run was asked, from its last checkpoint."""
    kept = await bench.saver.aget({"configurable": {"thread_id": run_id}})
    assert kept is not None
    return str(kept["channel_values"]["request"])


async def test_a_turn_that_runs_can_be_cancelled(database: Database) -> None:
    async with bench_over(database) as bench, openai_server(Slow(30.0, Call("watch", {}))) as server:
        endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="slow"))
        model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=60))
        loop = a_loop(bench, model=model)
        say(bench, "How is the fleet?")
        await loop.look()
        async with asyncio.timeout(20.0):
            while not server.requests:
                await asyncio.sleep(0.02)
        say(bench, "", kind="cancel")
        await once(loop)
        await once(loop)
        done = events(bench, "done")
        assert [(one["stage"], one.get("who")) for one in done] == [("cancelled", "alice")]
        assert events(bench, "message") == []
        assert bench.sql("SELECT outcome FROM thread_command_done ORDER BY command_no") == [
            ("cancelled",),
            ("nothing to cancel",),
        ]
        await once(loop)
        assert len(server.requests) == 1  # it is not taken up again
        await endpoint.close()


async def test_a_thread_whose_budget_is_used_up_is_answered_by_the_policy_planner(database: Database) -> None:
    async with (
        bench_over(database) as bench,
        openai_server(
            Call("watch", {}), Call("fleet_state", {}), Call("final_answer", {"text": "6 sites are online."})
        ) as server,
    ):
        endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="m"))
        model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=20))
        loop = a_loop(bench, model=model)
        budgets = Budgets(
            thread=Budget(tokens=300),
            day=Budget(money=0.001),
            price=Price(prompt_per_million=2.0, answer_per_million=5.0),
        )
        loop.settings = LoopSettings(owner="a", cycle_every=timedelta(0), budgets=budgets)
        say(bench, "How is the fleet?")
        await once(loop)
        [first] = events(bench, "message")
        # 120 tokens an answer: the first three questions are asked at 0, 120 and 240 of 300.
        assert (first["text"], len(server.requests)) == ("6 sites are online.", 3)
        say(bench, "How is the fleet?")
        await once(loop)
        second = events(bench, "message")[1]
        assert len(server.requests) == 3
        assert second["planner"] == "policy planner (no language model)"
        assert "this thread's budget of 300 tokens is used up" in second["notes"][0]
        # 360 tokens so far, 300 prompt and 60 answer: 0.0006 + 0.0003 = 0.0009 of 0.001 in money.
        say(bench, "How is the fleet?", thread_id="chat-2")
        await once(loop)
        [other] = events(bench, "message", "chat-2")
        assert len(server.requests) == 4
        assert "the day's budget of 0.001 in money is used up" in " ".join(other["notes"])
        await endpoint.close()


async def test_the_library_is_read_as_the_person_who_asks(database: Database) -> None:
    async with bench_over(database) as bench:
        pages = [
            Document(
                document_id=f"page-{role.value}", title="Mouse in the cabinet", kind=DocumentKind.PROCEDURE,
                text=f"Procedure for a mouse in the cabinet, {role.value} edition.", sources=("s",), role=role,
            )
            for role in (ReaderRole.VIEWER, ReaderRole.ADMIN)
        ]  # fmt: skip
        await import_documents(DocumentStore(bench.pool), pages, None, at=NOW)
        for name, role in (("alice", "admin"), ("vera", "viewer")):
            bench.sql(
                "INSERT INTO app_user (name, password_hash, role, created_at) VALUES (%s, 'x', %s, %s)",
                name, role, NOW, role=DatabaseRole.API,
            )  # fmt: skip
        assert [await bench.threads.role_of(name) for name in ("alice", "vera", "mallory")] == [
            "admin",
            "viewer",
            None,
        ]
        loop = a_loop(bench)
        loop.deps = replace(loop.deps, tools=replace(loop.deps.tools, library=PassageStore(bench.pool, None)))
        say(bench, "what is the procedure for a mouse in the cabinet?")
        await once(loop)
        assert "admin edition" in events(bench, "message")[0]["text"]
        assert "page-admin#" in events(bench, "message")[0]["text"]  # with its source
        bench.sql("UPDATE app_user SET active = false WHERE name = 'alice'", role=DatabaseRole.API)
        say(bench, "what is the procedure for a mouse in the cabinet?")
        await once(loop)
        told = events(bench, "message")[1]["text"]
        assert "viewer edition" in told
        assert "admin edition" not in told


def remembering(bench: Bench, **changes: Any) -> Loop:
    """Return a loop that keeps incidents and decisions in a library of words, and reads it."""
    store = DocumentStore(bench.pool)

    async def remember(documents: Iterable[Document], at: datetime) -> None:
        await import_documents(store, documents, None, at=at)

    loop = a_loop(bench, every=QUIET)
    tools = replace(loop.deps.tools, library=PassageStore(bench.pool, None))
    loop.deps = replace(loop.deps, remember=remember, tools=tools, **changes)
    return loop


def page(bench: Bench, document_id: str) -> str:
    rows = bench.sql("SELECT title || ': ' || body FROM document WHERE document_id = %s", document_id)
    return str(rows[0][0]) if rows else ""


async def test_incidents_and_decisions_are_found_again(database: Database) -> None:
    async with bench_over(database) as bench:
        incidents = IncidentStore(bench.pool)
        await incidents.put([an_incident("inc-77")])
        loop = remembering(bench, changed_incidents=incidents.changed)
        loop.deps = replace(loop.deps, tools=replace(loop.deps.tools, incidents=incidents.open))
        bench.tier = ApprovalTier.ONE_PERSON
        await once(loop)
        assert "still open" in page(bench, "incident/inc-77")
        say(bench, "have we seen a load incident at cbs-0001 before?")
        await once(loop)
        [message] = events(bench, "message")
        assert "incident/inc-77#" in message["text"]
        assert message["notes"] == []
        await close_incident(bench, "inc-77", "the door was open")
        [waiting] = await bench.threads.waiting()
        stored = await loop.deps.tools.plans.fetch(PlanId(waiting.plan_id))
        assert stored is not None
        await bench.decline(stored.plan, "carol", "a storm is coming")
        bench.clock.at += QUIET
        await once(loop)  # the cycle that waits is the first to be taken up: it ends with the decline
        say(bench, "", kind="resume", thread_id=waiting.thread_id, plan_id=waiting.plan_id)
        await once(loop)
        await once(loop)
        kept = page(bench, "incident/inc-77")
        assert "ended 2026-03-10 15:50 UTC" in kept
        assert "anna: closed. the door was open" in kept
        assert "still open" not in kept
        decision = page(bench, f"decision/{waiting.plan_id}")
        assert decision.startswith("Peak shaving on feeder-1: declined: ")
        assert "declined by carol: a storm is coming." in decision
        assert "relief expected kw: 7.9" in decision


async def close_incident(bench: Bench, incident_id: str, why: str) -> None:
    """Close an incident as the API does."""
    pool = await open_async_pool(bench.database.dsn(DatabaseRole.API), application_name="test-api")
    assert await IncidentDesk(pool).change(
        incident_id, state="closed", assignee=None, who="anna", why=why, at=bench.clock.now(), action="close"
    )
    await pool.close()


async def test_what_was_not_done_about_an_excess_is_found_again_and_calm_is_not(database: Database) -> None:
    async with bench_over(database) as bench:
        loop = remembering(bench)
        bench.world.mode = OperatingMode.STORM
        await once(loop)
        kept = page(bench, "decision/nothing-feeder-1-20260310")
        assert kept.startswith("No action on feeder-1, above its import limit: ")
        assert "The operating mode is storm, in which no peak is shaved" in kept
        assert "over limit kw: 7.2" in kept  # 112.5 kW and 4 x 2100 / 0.96 W less 114 kW
        bench.world.mode, bench.world.background_high_w = OperatingMode.NORMAL, 100_000.0
        bench.clock.at += QUIET
        await once(loop)
        assert bench.sql("SELECT count(*) FROM document") == [(1,)]


async def test_a_plan_that_nobody_approved_is_found_again(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.ONE_PERSON
        loop = remembering(bench)
        await once(loop)
        [waiting] = await bench.threads.waiting()
        loop.settings = LoopSettings(owner="a", cycle_every=timedelta(0))
        bench.clock.at = waiting.until
        await once(loop)
        assert page(bench, f"decision/{waiting.plan_id}").startswith(
            "Peak shaving on feeder-1: not approved in time: "
        )
