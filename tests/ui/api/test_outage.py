"""The database goes away and comes back: requests are told to try again, then served; streams go on."""

import asyncio
import time

import pytest

from tests.ui.api.test_threads import emit, served, sse
from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
SOON = 15.0
_END_ALL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'cellwatt-api%%'"


async def test_every_connection_is_cut_and_the_api_serves_again(own_world: World) -> None:
    world = own_world
    thread_id = world.thread("cycle-outage")
    headers = {"Authorization": f"Bearer {world.tokens['vic']}"}
    async with served(world) as client, asyncio.timeout(SOON):
        stream = client.stream(
            "GET", f"/v1/threads/{thread_id}/events", headers={**headers, "Accept": "text/event-stream"}
        )
        async with stream as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            assert world.sql(_END_ALL)[0][0] >= 3
            statuses: list[int] = []
            began_s = time.monotonic()
            while not statuses or statuses[-1] != 200:
                again = await client.get("/v1/sites", headers=headers)
                statuses.append(again.status_code)
                assert again.status_code in {200, 503}
                if again.status_code == 503:
                    assert again.headers["Retry-After"] == "3"
                    assert again.headers["content-type"] == "application/problem+json"
                await asyncio.sleep(0.05)
            assert time.monotonic() - began_s < SOON
            emit(world, thread_id, "message", text="after the outage")
            (event,) = await sse(lines, 1)
            assert event["data"]["body"]["text"] == "after the outage"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert (await client.get("/v1/fleet", headers=headers)).status_code == 200
