"""Lists come in pages, what has not changed is not sent again, and what is long is sent packed."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.edge.safety.examples import NOW
from tests.ui.api.world import World, one_person_plan
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def walked(world: World, path: str, who: str = "vic", items: str = "items") -> list[list[Any]]:
    """Return a list's pages of two, each as its items."""
    pages, cursor = [], ""
    while True:
        sign = "&" if "?" in path else "?"
        page = await world.get(f"{path}{sign}limit=2{cursor}", who)
        pages.append(page[items])
        if page["next_cursor"] is None:
            return pages
        cursor = f"&cursor={page['next_cursor']}"


async def test_events_of_one_instant_come_once_each_over_pages(world: World) -> None:
    for number in range(5):
        world.sql(
            "INSERT INTO site_event (site_id, at, kind, detail) VALUES ('site-1', %s, 'paged', %s)",
            NOW + timedelta(minutes=number // 3), str(number), role=DatabaseRole.INGEST,
        )  # fmt: skip
    # Two of the later minute, then three of the earlier one, the last that came in first.
    pages = await walked(world, "/v1/events?kind=paged")
    assert [[one["detail"] for one in page] for page in pages] == [["4", "3"], ["2", "1"], ["0"]]


async def test_messages_come_in_pages(world: World) -> None:
    for number in range(3):
        world.sql(
            "INSERT INTO notification (message_id, target, reason, severity, title, body, link, made_at, state, not_before)"
            " VALUES (%s, 'desk', 'direct', 'warning', 't', 'b', '', %s, 'withdrawn', %s)",
            f"m-{number}", NOW, NOW, role=DatabaseRole.API,
        )  # fmt: skip
    pages = await walked(world, "/v1/notifications", "olga")
    assert [[one["message_id"] for one in page] for page in pages] == [["m-2", "m-1"], ["m-0"]]


async def test_alerts_come_in_pages_the_nearest_first(world: World) -> None:
    for number, hours in enumerate((3, 1, 1)):
        evidence = {
            "subject": "site", "says": "soon", "due_at": (NOW + timedelta(hours=hours)).isoformat(),
            "earliest_at": NOW.isoformat(),
        }  # fmt: skip
        world.sql(
            "INSERT INTO incident VALUES (%s, 'site-2', 'reserve_breach', %s, NULL, 0.9, 'warning', 'open', %s, '[]')",
            f"alert-{number}", NOW, Jsonb(evidence), role=DatabaseRole.LOOP,
        )  # fmt: skip
    pages = await walked(world, "/v1/alerts", items="alerts")
    assert [[one["incident_id"] for one in page] for page in pages] == [["alert-1", "alert-2"], ["alert-0"]]


async def test_people_tokens_and_objectives_come_in_pages(world: World) -> None:
    people = await walked(world, "/v1/users", "ada")
    assert [[one["name"] for one in page] for page in people] == [["ada", "ann"], ["bo", "olga"], ["vic"]]
    for _ in range(2):
        asked = {"label": "pump", "kind": "service", "expires_in_days": 1}
        assert (await world.ask("ada", "POST", "/v1/tokens", asked)).status_code == 201
    tokens = [one["label"] for page in await walked(world, "/v1/tokens", "ada") for one in page]
    assert tokens == ["pump", "pump", "robot", "site"]
    for number in (1, 2):
        text = {"text": f"Never use site-{number} until 2026-12-24"}
        assert (await world.ask("olga", "POST", "/v1/objectives", text)).status_code == 201
    kept = await walked(world, "/v1/objectives")
    assert sorted(one["exclude_site_ids"][0] for one in kept[0]) == ["site-1", "site-2"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/alerts", "/v1/users", "/v1/tokens", "/v1/objectives"])
async def test_a_cursor_of_another_list_is_refused(world: World, path: str) -> None:
    # ["x",1,2,3], which is a place in none of them.
    answer = await world.ask("ada", "GET", f"{path}?cursor=WyJ4IiwxLDIsM10")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


async def unchanged(world: World, path: str) -> tuple[int, bytes, int]:
    """Ask twice, then with a tag that is none; return the second answer's status and body, and the third's status."""
    tag = (await world.ask("vic", "GET", path)).headers["ETag"]
    second = await world.ask("vic", "GET", path, headers={"If-None-Match": tag})
    third = await world.ask("vic", "GET", path, headers={"If-None-Match": '"another"'})
    return second.status_code, second.content, third.status_code


async def test_what_has_not_changed_is_not_sent_again(world: World) -> None:
    await world.plan(one_person_plan("plan-tag"), thread_id=world.thread("chat-tag", "chat"))
    world.sql(
        "INSERT INTO incident VALUES ('i-tag', 'site-1', 'load', %s, NULL, 0.9, 'warning', 'open', '{}', '[]')",
        NOW, role=DatabaseRole.LOOP,
    )  # fmt: skip
    kept = {}
    for path, change in {
        "/v1/plans": "/v1/plans/plan-tag/decline",
        "/v1/plans/plan-tag": "/v1/plans/plan-tag/decline",
        "/v1/plans/plan-tag/schedule": "",
        "/v1/incidents?state=open&state=closed": "/v1/incidents/i-tag/close",
        "/v1/incidents/i-tag": "/v1/incidents/i-tag/close",
        "/v1/threads": "",
        "/v1/threads/chat-tag": "/v1/threads/chat-tag/messages",
    }.items():
        assert await unchanged(world, path) == (304, b"", 200), path
        if change:
            kept[path] = (await world.ask("vic", "GET", path)).headers["ETag"]
    assert (
        await world.ask("ann", "POST", "/v1/plans/plan-tag/decline", {"reason": "crew on site"})
    ).status_code == 200
    assert (
        await world.ask("olga", "POST", "/v1/incidents/i-tag/close", {"why": "repaired"})
    ).status_code == 200
    asked = await world.ask("olga", "POST", "/v1/threads/chat-tag/messages", {"text": "And now?"})
    assert asked.status_code == 202
    for path, tag in kept.items():
        answer = await world.ask("vic", "GET", path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.headers["ETag"] != tag) == (200, True), path


async def test_one_persons_tag_is_not_anothers(world: World) -> None:
    await world.plan(one_person_plan("plan-mine"))
    tag = (await world.ask("vic", "GET", "/v1/plans/plan-mine")).headers["ETag"]
    # A viewer may not approve it and an approver may: the two pages differ.
    answer = await world.ask("ann", "GET", "/v1/plans/plan-mine", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["may_approve"]) == (200, True)


async def test_a_long_answer_is_packed_where_the_caller_can_read_that(world: World) -> None:
    path = "/v1/audit?limit=10"
    for number in range(10):
        text = {"text": f"never use site-{number % 2 + 1} until friday"}
        assert (await world.ask("olga", "POST", "/v1/objectives", text)).status_code == 201
    headers = {"Authorization": f"Bearer {world.tokens['olga']}", "Accept-Encoding": "gzip"}
    async with world.client.stream("GET", path, headers=headers) as answer:
        sent = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["Content-Encoding"] == "gzip"
    plain = await world.ask("olga", "GET", path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert json.loads(gzip.decompress(sent)) == plain.json()
    assert len(sent) < len(plain.content) / 2
    assert len(plain.json()["items"]) == 10
    # What is short is not worth it.
    short = await world.ask("vic", "GET", "/v1/me", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in short.headers
