"""A chat turn with a language model behind HTTP: tool set, tool, answer; what no tool said does not reach the operator."""

import json
from datetime import timedelta
from typing import Any

from agents.converse import used_up
from agents.model_client import Endpoint, EndpointModel, WithFallback
from agents.policy import PolicyPlanner
from tests.agents.harness import Bench, bench_over
from tests.agents.openai_server import Call, Entry, OpenAiServer, Status, openai_server
from tests.agents.test_loop import a_loop, events, once, say
from tests.services import Database

WATCH = Call("watch", {})
LOOK = Call("site_autonomy", {"site_id": "cbs-0001"})


def final(text: str) -> Call:
    return Call("final_answer", {"text": text})


async def turn(bench: Bench, question: str, *script: Entry) -> tuple[dict[str, Any], OpenAiServer]:
    """Ask one question of a scripted model and return the answer's event."""
    async with openai_server(*script) as server:
        endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="scripted"))
        model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=5))
        say(bench, question)
        loop = a_loop(bench, model=model)
        await once(loop)
        await endpoint.close()
        [message] = events(bench, "message")
        return message, server


async def test_set_then_tool_then_answer(database: Database) -> None:
    async with bench_over(database) as bench:
        message, server = await turn(
            bench, "How long?", WATCH, LOOK, final("cbs-0001 lasts 8 h and needs 2 h.")
        )
        assert message["text"] == "cbs-0001 lasts 8 h and needs 2 h."
        assert message["planner"] == "language model scripted"
        assert message["notes"] == []
        offered = [[tool["function"]["name"] for tool in asked["tools"]] for asked in server.requests]
        assert offered[0] == ["watch", "act", "ahead", "know"]
        assert len(offered[1]) == 9  # a set of eight, and the answer
        assert "plan" not in offered[1]
        assert "site_autonomy" not in offered[2]  # each tool once per question
        assert bench.sql("SELECT count(*), sum(prompt_tokens) FROM model_use") == [(3, 300)]


async def test_the_instructions_are_the_same_bytes_in_every_turn(database: Database) -> None:
    async with bench_over(database) as bench:
        _, first = await turn(bench, "How long?", WATCH, LOOK, final("Fine."))
        bench.sql("DELETE FROM thread_event")
        bench.clock.at += timedelta(minutes=7)
        _, second = await turn(bench, "And now?", WATCH, LOOK, final("Fine."))
        for one, two in zip(first.requests, second.requests, strict=True):
            assert one["messages"][0] == two["messages"][0]
            assert one["tools"] == two["tools"]


async def test_an_invented_number_is_repaired_once(database: Database) -> None:
    async with bench_over(database) as bench:
        message, server = await turn(
            bench, "How long?", WATCH, LOOK, final("It lasts 11 h. It needs 2 h."), final("It lasts 8 h.")
        )
        assert message["text"] == "It lasts 8 h."
        assert '"unsupported":["It lasts 11 h."]' in server.requests[3]["messages"][1]["content"]


async def test_what_stays_invented_is_dropped_with_a_note(database: Database) -> None:
    async with bench_over(database) as bench:
        message, _ = await turn(bench, "How long?", WATCH, LOOK, final("It lasts 11 h. It needs 2 h."))
        assert message["text"] == "It needs 2 h."
        assert message["notes"] == ["dropped 1 of 2 sentences that no tool result supports"]


async def test_a_claim_of_dispatch_needs_a_tool_that_knows(database: Database) -> None:
    async with bench_over(database) as bench:
        message, _ = await turn(
            bench, "Dispatch it!", WATCH, LOOK, final("The plan was dispatched and approved.")
        )
        assert message["text"] == "I have no tool result that would support an answer."


async def test_when_the_endpoint_dies_in_the_middle_the_policy_planner_ends_the_turn(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        message, _ = await turn(bench, "How long does cbs-0001 last?", WATCH, LOOK, Status(503))
        assert message["text"].startswith("cbs-0001 runs 8.0 h on its battery and must run 2.0 h")
        assert message["planner"] == "policy planner (no language model)"
        assert message["notes"] == [
            "language model scripted: the endpoint answered 503; the policy planner (no language model) took over"
        ]


async def test_the_same_tool_may_be_called_once_more_after_wrong_arguments_and_not_after_that(
    database: Database,
) -> None:
    async with bench_over(database) as bench:
        wrong = Call("site_autonomy", {"site_id": "cbs-77"})
        message, server = await turn(bench, "How long?", WATCH, wrong, LOOK, final("cbs-0001 lasts 8 h."))
        assert message["text"] == "cbs-0001 lasts 8 h."
        offered = [{tool["function"]["name"] for tool in asked["tools"]} for asked in server.requests]
        assert ["site_autonomy" in names for names in offered[1:]] == [True, True, False]


def test_only_wrong_arguments_leave_a_tool_its_second_call() -> None:
    wrong = {"tool": "forecast", "error": {"kind": "input", "message": "no such site"}}
    assert used_up([wrong]) == set()
    assert used_up([wrong, wrong]) == {"forecast"}
    assert used_up([{"tool": "forecast", "error": {"kind": "unavailable", "message": "none"}}]) == {
        "forecast"
    }
    assert used_up([wrong, {"tool": "incidents", "result": {}}]) == {"incidents"}


async def test_a_long_thread_reaches_the_model_as_a_summary_and_the_last_turns(database: Database) -> None:
    async with bench_over(database) as bench:
        for number in range(1, 6):
            say(bench, f"How long does cbs-000{number} last?")
            await once(a_loop(bench))
            bench.clock.at += timedelta(minutes=1)
        bench.sql("DELETE FROM thread_event WHERE kind <> 'message'")
        async with openai_server(WATCH, LOOK, final("cbs-0001 lasts 8 h.")) as server:
            endpoint = EndpointModel(Endpoint(base_url=server.base_url, api_key="k", model="scripted"))
            model = WithFallback(primary=endpoint, fallback=PolicyPlanner(), timeout=timedelta(seconds=5))
            say(bench, "And the first one?")
            await once(a_loop(bench, model=model))
            await endpoint.close()
        facts = json.loads(server.requests[0]["messages"][1]["content"].partition("\n")[2])
        # Five questions and five answers: four turns are summed up, six are kept.
        assert [one["who"] for one in facts["history"]] == ["summary", *(["operator", "agent"] * 3)]
        assert facts["history"][0]["text"].startswith(
            "Before that, 4 turns. They spoke of cbs-0001, cbs-0002."
        )


async def test_a_wrong_argument_comes_back_as_an_error_that_the_model_can_mend(database: Database) -> None:
    async with bench_over(database) as bench:
        wrong = Call("site_state", {"site_id": "cbs-77"})
        message, server = await turn(bench, "State?", WATCH, wrong, LOOK, final("cbs-0001 lasts 8 h."))
        assert "there is no site 'cbs-77'" in server.requests[2]["messages"][1]["content"]
        assert message["text"] == "cbs-0001 lasts 8 h."
