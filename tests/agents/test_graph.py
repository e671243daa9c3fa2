"""The whole graph over real PostgreSQL, the real gate and the real optimiser; control's part is written by its role."""

from datetime import timedelta
from typing import Any

from langgraph.types import Command

from agents.graph import build_graph
from edge.plan import ApprovalTier, Plan
from tests.agents.harness import Bench, bench_over
from tests.services import Database


async def run(bench: Bench, given: Any, run_id: str = "run1", **deps: Any) -> dict[str, Any]:
    wired = bench.deps(**deps)
    graph = build_graph(wired.settings).compile(checkpointer=bench.saver)
    config = {"configurable": {"thread_id": run_id}}
    return await graph.ainvoke(given, config, context=wired, durability="sync")  # type: ignore[call-overload,no-any-return]


def a_cycle(run_id: str = "run1") -> dict[str, Any]:
    return {"run_id": run_id, "thread_id": "loop-1", "kind": "cycle", "request": "timer", "constraints": []}


async def plan_of(bench: Bench, state: dict[str, Any]) -> Plan:
    stored = await bench.deps().tools.plans.fetch(state["plan_id"])
    assert stored is not None
    return stored.plan


async def test_a_cycle_shaves_the_peak_and_reports_what_was_delivered(database: Database) -> None:
    async with bench_over(database) as bench:
        state = await run(bench, a_cycle())
        assert state["__interrupt__"][0].value["kind"] == "wait"  # control has not answered yet
        plan = await plan_of(bench, state)
        assert bench.sql("SELECT plan_id FROM dispatch_request") == [(plan.plan_id,)]
        # 100 kW + 12 kW + 500 W of background and 4 x 2100 / 0.96 W of sites, against a limit of 114 kW.
        assert plan.expected.feeders[0].peak_without_w == 112_500.0 + 4 * 2100 / 0.96
        # Each site gives its lower load of 1900 W less 2 W of margin, to a whole watt: 7.9 kW at the meter.
        assert plan.sites[0].schedule_w[1] == -1897.0
        bench.control_authorises(plan)
        bench.meters(plan, share=0.99)
        state = await run(bench, Command(resume="look"))
        assert (
            state["__interrupt__"][0].value["until"] == (plan.window_end + timedelta(minutes=2)).isoformat()
        )
        bench.clock.at = plan.window_end + timedelta(minutes=3)
        state = await run(bench, Command(resume="look"))
        assert state["stage"] == "told:verified"
        assert state["outcome"]["deviation_pct"] == 1.0
        assert state["outcome"]["sites_accepted"] == 4
        assert "deviation 1.00 %" in state["message"]
        [(doc,)] = bench.sql("SELECT doc FROM dispatch_report")
        assert doc["delivery"]["commanded_kwh"] == round(4 * 6 * -1897.0 * 0.25 / 1e3, 3)  # type: ignore[index]
        assert bench.sql("SELECT status FROM plan WHERE plan_id = %s", plan.plan_id) == [("completed",)]


async def test_two_plans_at_least_are_compared(database: Database) -> None:
    async with bench_over(database) as bench:
        state = await run(bench, a_cycle())
        assert state["plan_ids"] == ["plan-run1-1-deep", "plan-run1-1-gentle"]
        assert state["plan_id"] == "plan-run1-1-deep"


async def test_without_an_excess_nothing_is_planned_and_the_reason_has_the_numbers(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        bench.world.background_high_w = 100_000.0
        state = await run(bench, a_cycle())
        assert state["stage"] == "told:no_action"
        # 100 kW + 500 W + 4 x 2100 / 0.96 W = 109.25 kW.
        assert state["message"] == (
            "No plan was made. No feeder exceeds its limit: feeder-1 comes nearest with 109.2 kW of 114.0 kW."
        )
        assert bench.sql("SELECT count(*) FROM plan") == [(0,)]


async def test_a_person_is_waited_for_and_only_the_database_counts(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.ONE_PERSON
        state = await run(bench, a_cycle())
        assert state["__interrupt__"][0].value["kind"] == "approval"
        plan = await plan_of(bench, state)
        state = await run(bench, Command(resume={"approved": True, "who": "mallory"}))
        assert state["__interrupt__"][0].value["missing"] == 1
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]
        bench.clock.at += timedelta(minutes=30)
        bench.approve(plan, "alice")
        state = await run(bench, Command(resume="look"))
        assert state["stage"] == "requested"
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(1,)]


async def test_control_may_ask_for_a_person_although_the_policy_had_approved(database: Database) -> None:
    async with bench_over(database) as bench:
        state = await run(bench, a_cycle())
        plan = await plan_of(bench, state)
        bench.control_says(plan, "needs_approval", {"tier": "one_person", "missing": 1, "broken": []})
        state = await run(bench, Command(resume="look"))
        assert state["__interrupt__"][0].value["kind"] == "approval"
        bench.approve(plan, "alice")
        bench.clock.at += timedelta(seconds=10)
        state = await run(bench, Command(resume="look"))
        assert state["__interrupt__"][0].value["for"] == "control has not looked at the approval yet"
        bench.control_authorises(plan)
        state = await run(bench, Command(resume="look"))
        assert state["__interrupt__"][0].value["for"] == "the plan runs"
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(1,)]


async def test_a_refusal_of_control_is_told_in_its_words(database: Database) -> None:
    async with bench_over(database) as bench:
        plan = await plan_of(bench, await run(bench, a_cycle()))
        broken = [{"rule": "S14", "name": "fleet_stopped", "message": "the fleet is stopped until a clear"}]
        bench.control_says(plan, "refused", {"broken": broken})
        state = await run(bench, Command(resume="look"))
        assert state["stage"] == "told:refused"
        assert "control answered refused: the fleet is stopped until a clear." in state["message"]
        [(doc,)] = bench.sql("SELECT doc ->> 'stage' FROM dispatch_report")
        assert doc == "refused"


async def test_a_site_that_delivers_less_shows_in_the_deviation(database: Database) -> None:
    async with bench_over(database) as bench:
        plan = await plan_of(bench, await run(bench, a_cycle()))
        bench.control_authorises(plan, skip=["cbs-0002"])
        bench.meters(plan, share=0.9)
        bench.clock.at = plan.window_end + timedelta(minutes=3)
        state = await run(bench, Command(resume="look"))
        assert state["outcome"]["deviation_pct"] == 10.0
        assert (state["outcome"]["sites_sent"], state["outcome"]["sites_accepted"]) == (3, 3)
        # Three sites, six quarter hours of 1897 W each, nine tenths of it delivered.
        assert state["outcome"]["commanded_kwh"] == round(-3 * 6 * 1897 * 0.25 / 1e3, 3)
        assert state["outcome"]["delivered_kwh"] == round(-3 * 6 * 1897 * 0.25 * 0.9 / 1e3, 3)
        by_site = {row["site_id"]: row for row in state["outcome"]["sites"]}
        assert by_site["cbs-0002"]["verdict"] == "not sent"


async def test_a_decline_ends_the_run_with_the_persons_reason(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.tier = ApprovalTier.ONE_PERSON
        plan = await plan_of(bench, await run(bench, a_cycle()))
        await bench.decline(plan, "carol", "a storm is coming")
        state = await run(bench, Command(resume="look"))
        assert state["stage"] == "told:declined"
        assert state["message"].endswith("declined by carol: a storm is coming.")
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]


async def test_a_policy_that_lets_nobody_approve_stops_everything(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.tier = None
        state = await run(bench, a_cycle())
        assert state["stage"] == "told:not_allowed"
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]


async def test_what_control_refuses_on_fresh_state_is_planned_anew(database: Database) -> None:
    async with bench_over(database) as bench:
        first = await plan_of(bench, await run(bench, a_cycle()))
        bench.world.offline.add("cbs-0003")
        broken = [{"rule": "S7", "name": "offline", "message": "site cbs-0003: its controller is not online"}]
        bench.control_says(first, "refused", {"broken": broken})
        second = await plan_of(bench, await run(bench, Command(resume="look")))
        assert [site.site_id for site in second.sites] == ["cbs-0001", "cbs-0002", "cbs-0004"]
        rows = bench.sql("SELECT plan_id FROM dispatch_request ORDER BY request_id")
        assert rows == [(first.plan_id,), (second.plan_id,)]
