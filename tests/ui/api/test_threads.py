"""Conversations: asked once for a key, answered by events, streamed over a real server as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from tests.edge.safety.examples import NOW
from tests.ui.api.world import World
from ui.ops.secrets import DatabaseRole
from ui.processes.api import listening, serve

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
SOON = 10.0


def emit(world: World, thread_id: str, kind: str, **body: Any) -> None:
    world.sql(
        "INSERT INTO thread_event (thread_id, at, kind, body) VALUES (%s, %s, %s, %s)",
        thread_id, NOW, kind, Jsonb({"run_id": "r", **body}), role=DatabaseRole.LOOP,
    )  # fmt: skip


@asynccontextmanager
async def served(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Run the real server on a free port until the end of the block."""
    ready = asyncio.Event()
    with listening(0) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(serve(world.services, listener, ready.set))
        await asyncio.wait_for(ready.wait(), SOON)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SOON) as client:
                yield client
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, SOON)


async def sse(lines: AsyncIterator[str], count: int) -> list[dict[str, Any]]:
    """Return the next events of a stream."""
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if line == "" and "data" in event:
            found.append({**event, "data": json.loads(event["data"])})
            event = {}
            if len(found) == count:
                break
        elif name in {"id", "event", "data"}:
            event[name] = value
    return found


async def test_a_message_is_asked_once_for_its_key(world: World) -> None:
    opened = await world.ask("olga", "POST", "/v1/threads", {"title": "evening peak"})
    assert opened.status_code == 201
    thread_id = opened.json()["thread_id"]
    path = f"/v1/threads/{thread_id}/messages"
    for _ in range(3):
        answer = await world.ask("olga", "POST", path, {"text": "hello"}, headers={"Idempotency-Key": "m-1"})
        assert answer.status_code == 202
    assert (
        await world.ask("ann", "POST", path, {"text": "me too"}, headers={"Idempotency-Key": "m-1"})
    ).status_code == 202
    rows = world.sql(
        "SELECT who, kind, body FROM thread_command WHERE thread_id = %s ORDER BY command_no", thread_id
    )
    assert rows == [("olga", "message", {"text": "hello"}), ("ann", "message", {"text": "me too"})]
    shown = await world.get(f"/v1/threads/{thread_id}")
    assert [(one["who"], one["outcome"]) for one in shown["commands"]] == [("olga", None), ("ann", None)]
    assert shown["thread"]["title"] == "evening peak"


async def test_the_same_key_at_once_acts_once(world: World) -> None:
    key = {"Idempotency-Key": "t-1"}
    answers = await asyncio.gather(
        *(world.ask("olga", "POST", "/v1/threads", {"title": "at once"}, headers=key) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert world.sql("SELECT count(*) FROM thread WHERE title = 'at once'") == [(1,)]


async def test_an_act_that_never_ended_blocks_its_key_for_a_minute(world: World) -> None:
    key = {"Idempotency-Key": "t-2"}
    first = await world.ask("olga", "POST", "/v1/threads", {"title": "crash"}, headers=key)
    digest = world.sql("SELECT body ->> 'digest' FROM idempotency WHERE key = 't-2'")[0][0]
    crashed = Jsonb({"digest": digest, "wall": world.wall.at.isoformat()})
    world.sql("UPDATE idempotency SET status = 0, body = %s WHERE key = 't-2'", crashed)
    assert (
        await world.ask("olga", "POST", "/v1/threads", {"title": "crash"}, headers=key)
    ).status_code == 409
    world.wall.at += world.services.settings.in_progress
    again = await world.ask("olga", "POST", "/v1/threads", {"title": "crash"}, headers=key)
    assert again.status_code == 201
    assert again.json()["thread_id"] != first.json()["thread_id"]


async def test_a_goal_is_held_to_its_schema(world: World) -> None:
    thread_id = (await world.ask("olga", "POST", "/v1/threads", {"title": "goal"})).json()["thread_id"]
    goal = {
        "objective": "peak_shaving",
        "feeder_ids": ["feeder-1"],
        "start": "2026-03-10T17:00:00Z",
        "duration_min": 90,
    }
    path = f"/v1/threads/{thread_id}/messages"
    bad = await world.ask("olga", "POST", path, {"text": "shave", "goal": {**goal, "duration_mins": 9}})
    assert bad.json()["errors"][0]["field"] == "goal.duration_mins"
    assert (await world.ask("olga", "POST", path, {"text": "shave", "goal": goal})).status_code == 202
    (body,) = world.sql("SELECT body FROM thread_command WHERE thread_id = %s", thread_id)[0]
    assert body["goal"]["duration_min"] == 90


@pytest.mark.parametrize("text", ["", "nul \x00", "lone \ud800"])
async def test_what_no_database_can_hold_is_refused(world: World, text: str) -> None:
    thread_id = (await world.ask("olga", "POST", "/v1/threads", {"title": "text"})).json()["thread_id"]
    headers = {"Authorization": f"Bearer {world.tokens['olga']}", "Content-Type": "application/json"}
    body = json.dumps({"text": text}).encode()
    answer = await world.client.post(f"/v1/threads/{thread_id}/messages", content=body, headers=headers)
    assert answer.status_code == 422


async def test_events_after_a_number(world: World) -> None:
    thread_id = world.thread("cycle-events")
    for text in ("one", "two", "three"):
        emit(world, thread_id, "message", text=text)
    found = await world.get(f"/v1/threads/{thread_id}/events")
    assert [event["body"]["text"] for event in found["events"]] == ["one", "two", "three"]
    rest = await world.get(f"/v1/threads/{thread_id}/events?after={found['events'][1]['event_no']}")
    assert [event["body"]["text"] for event in rest["events"]] == ["three"]
    empty = await world.get(f"/v1/threads/{thread_id}/events?after={rest['last_event_no']}")
    assert empty == {"events": [], "last_event_no": rest["last_event_no"]}
    listed = next(
        one for one in (await world.get("/v1/threads?kind=loop"))["items"] if one["thread_id"] == thread_id
    )
    assert (listed["last_kind"], listed["last_event_no"]) == ("message", rest["last_event_no"])


async def test_events_are_streamed_as_they_come_and_from_where_one_left(own_world: World) -> None:
    world = own_world
    thread_id = world.thread("cycle-stream")
    emit(world, thread_id, "message", text="before")
    headers = {"Authorization": f"Bearer {world.tokens['vic']}", "Accept": "text/event-stream"}
    async with served(world) as client, asyncio.timeout(SOON):
        async with client.stream("GET", f"/v1/threads/{thread_id}/events", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            (first,) = await sse(lines, 1)
            assert (first["event"], first["data"]["body"]["text"]) == ("message", "before")
            for text in ("now", "then"):
                emit(world, thread_id, "token", text=text)
        again = {**headers, "Last-Event-ID": first["id"]}
        async with client.stream("GET", f"/v1/threads/{thread_id}/events", headers=again) as answer:
            following = await sse(answer.aiter_lines(), 2)
        assert [event["data"]["body"]["text"] for event in following] == ["now", "then"]
        assert int(following[0]["id"]) > int(first["id"])


async def test_an_event_reaches_an_open_stream(own_world: World) -> None:
    world = own_world
    thread_id = world.thread("cycle-open")
    headers = {"Authorization": f"Bearer {world.tokens['vic']}", "Accept": "text/event-stream"}
    async with (
        served(world) as client,
        asyncio.timeout(SOON),
        client.stream("GET", f"/v1/threads/{thread_id}/events", headers=headers) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        waiting = asyncio.create_task(sse(lines, 1))
        await asyncio.sleep(0.05)
        emit(world, thread_id, "done", stage="told")
        (event,) = await waiting
        assert (event["event"], event["data"]["body"]["stage"]) == ("done", "told")


async def test_the_fleet_is_streamed_whole_and_then_by_what_changed(own_world: World) -> None:
    world = own_world
    headers = {"Authorization": f"Bearer {world.tokens['vic']}"}
    async with (
        served(world) as client,
        asyncio.timeout(SOON),
        client.stream("GET", "/v1/live", headers=headers) as answer,
    ):
        lines = answer.aiter_lines()
        (first,) = await sse(lines, 1)
        assert (first["event"], first["data"]["whole"], len(first["data"]["sites"])) == ("fleet", True, 2)
        world.sql("UPDATE reading_latest SET load_w = 1500 WHERE site_id = 'site-2'")
        (second,) = await sse(lines, 1)
        assert (second["data"]["whole"], [one["site_id"] for one in second["data"]["sites"]]) == (
            False,
            ["site-2"],
        )
        assert second["data"]["totals"]["load_w"] == 2529.0
        world.sql("INSERT INTO control_request (kind, who, reason, at) VALUES ('stop', 'x', 'y', %s)", NOW)
        (notice,) = await sse(lines, 1)
        assert (notice["event"], notice["data"]["channel"]) == ("notice", "control_request")


async def test_a_stream_ends_with_its_session(own_world: World) -> None:
    world = own_world
    thread_id = world.thread("cycle-session")
    headers = {"Authorization": f"Bearer {world.tokens['vic']}", "Accept": "text/event-stream"}
    async with (
        served(world) as client,
        asyncio.timeout(SOON),
        client.stream("GET", f"/v1/threads/{thread_id}/events", headers=headers) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        world.sql("DELETE FROM app_session WHERE name = 'vic'")
        world.services.gatekeeper.forget()
        rest = [line async for line in lines]  # ends by itself within a heartbeat
        assert not any(line.startswith("data") for line in rest)


async def test_the_server_stops_while_streams_are_open(own_world: World) -> None:
    world = own_world
    thread_id = world.thread("cycle-stop")
    headers = {"Authorization": f"Bearer {world.tokens['vic']}", "Accept": "text/event-stream"}
    async with asyncio.timeout(SOON):
        async with served(world) as client:
            request = client.build_request("GET", f"/v1/threads/{thread_id}/events", headers=headers)
            answer = await client.send(request, stream=True)
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            world.services.hub.close()
            assert [line async for line in lines if line.startswith("data")] == []
