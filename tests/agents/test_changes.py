"""The fleet changes between propose and validate: the rejection comes back as constraints, the next plan is accepted."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from agents.graph import build_graph
from knowledge.document_store import DocumentStore
from knowledge.documents import Document
from knowledge.imports import import_documents
from tests.agents.harness import Bench, bench_over
from tests.services import Database

VALIDATE_LOOKS = 5  # forecasts, incidents, fleet_state, propose, and then validate


async def cycle(bench: Bench) -> dict[str, Any]:
    store = DocumentStore(bench.pool)

    async def remember(documents: Iterable[Document], at: datetime) -> None:
        await import_documents(store, documents, None, at=at)

    wired = replace(bench.deps(), remember=remember)
    graph = build_graph(wired.settings).compile(checkpointer=bench.saver)
    given: Any = {"run_id": "r", "thread_id": "t", "kind": "cycle", "request": "timer"}
    config: Any = {"configurable": {"thread_id": "r"}}
    return await graph.ainvoke(given, config, context=wired, durability="sync")


async def sites_of(bench: Bench, plan_id: str) -> list[str]:
    stored = await bench.deps().tools.plans.fetch(plan_id)  # type: ignore[arg-type]
    assert stored is not None
    return [str(site.site_id) for site in stored.plan.sites]


def status_of(bench: Bench, plan_id: str) -> object:
    return bench.sql("SELECT status FROM plan WHERE plan_id = %s", plan_id)[0][0]


async def test_a_site_goes_offline(database: Database) -> None:
    async with bench_over(database) as bench:
        bench.before_look = lambda number: bench.world.offline.update(
            {"cbs-0001"} if number >= VALIDATE_LOOKS else ()
        )
        state = await cycle(bench)
        assert status_of(bench, "plan-r-1-deep") == "rejected"
        assert await sites_of(bench, "plan-r-1-deep") == ["cbs-0001", "cbs-0002", "cbs-0003", "cbs-0004"]
        assert state["plan_id"] == "plan-r-2-deep"
        assert await sites_of(bench, "plan-r-2-deep") == ["cbs-0002", "cbs-0003", "cbs-0004"]
        assert status_of(bench, "plan-r-2-deep") == "validated"
        assert {one["kind"] for one in state["constraints"]} == {"exclude"}
        assert bench.sql("SELECT plan_id FROM dispatch_request") == [("plan-r-2-deep",)]


async def test_a_soc_drops(database: Database) -> None:
    def drop(number: int) -> None:
        if number >= VALIDATE_LOOKS:
            bench.world.soc["cbs-0003"] = 0.40

    async with bench_over(database) as bench:
        bench.before_look = drop
        state = await cycle(bench)
        assert status_of(bench, "plan-r-1-deep") == "rejected"
        # 20 kWh x (0.40 - 0.05 - 0.05) = 6 kWh are left and 4.2 kWh must be: 6 x 1897 W x 0.25 h = 2845 Wh is too much.
        [rejected] = [one for one in state["constraints"] if one["where"] == "cbs-0003"]
        assert rejected["kind"] == "raise_floor"
        stored = await bench.deps().tools.plans.fetch(state["plan_id"])
        assert stored is not None
        assert stored.plan.plan_id.startswith("plan-r-2-")
        assert stored.plan.status.value == "validated"
        drawn = {site.site_id: -sum(site.schedule_w) * 0.25 for site in stored.plan.sites}
        assert drawn.get("cbs-0003", 0.0) <= 1800.0  # type: ignore[call-overload]
        assert drawn["cbs-0002"] > 1800.0  # type: ignore[index]


async def test_after_three_rejections_it_gives_up_and_says_why(database: Database) -> None:
    async with bench_over(database) as bench:
        order = ["cbs-0001", "cbs-0002", "cbs-0003", "cbs-0004"]

        def next_one_fails(number: int) -> None:
            if number >= VALIDATE_LOOKS and (number - VALIDATE_LOOKS) % 2 == 0:
                bench.world.offline.add(order.pop(0))

        bench.before_look = next_one_fails
        state = await cycle(bench)
        assert state["stage"] == "told:given_up"
        assert state["message"].startswith(
            "Nothing was dispatched: the safety gate rejected 3 plans in a row."
        )
        assert "S7 site cbs-0003: its controller is not online" in state["message"]
        kept = bench.sql(
            "SELECT title, body FROM document WHERE document_id = %s", f"decision/{state['plan_id']}"
        )
        assert kept[0][0] == "Peak shaving on feeder-1: rejected by the safety gate"
        assert state["message"] in str(kept[0][1])
        assert bench.sql("SELECT count(*) FROM dispatch_request") == [(0,)]
