"""An act that is sent twice happens once: every POST that acts takes a key, and the same key acts once."""

import json
from pathlib import Path

import pytest

from tests.tools.notify.receivers import web_receiver
from tests.ui.api.test_notifications import told_by, written
from tests.ui.api.test_upload import row, send
from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
KEY = {"Idempotency-Key": "one"}
REPLAYED = "Idempotent-Replayed"
# What needs no key, and why.
WITHOUT_A_KEY = {
    "/v1/session": "nobody is known yet whose key it could be; a second session harms nobody and ends by itself",
    "/v1/oidc/session": "the one-time code is the key: it is good once",
    "/v1/plans/{plan_id}/validate": "it judges on the state of this moment and writes nothing",
}


async def test_every_post_that_acts_takes_a_key(world: World) -> None:
    posts = {
        path: {one["name"] for one in item["post"].get("parameters", [])}
        for path, item in world.app.openapi()["paths"].items()
        if "post" in item
    }
    without = {path for path, names in posts.items() if "Idempotency-Key" not in names}
    assert without == set(WITHOUT_A_KEY)
    assert len(posts) - len(without) == 18


async def test_telemetry_sent_twice_is_told_alike_and_audited_once(world: World) -> None:
    before = len(world.audit("telemetry.uploaded"))
    body = json.dumps({"rows": [row(100), row(101, load_w="much")]})
    first, again = [await send(world, body, **KEY) for _ in range(2)]
    assert (first.status_code, first.json()["stored"], first.json()["refused"]) == (200, 1, 1)
    assert (again.json(), again.headers[REPLAYED]) == (first.json(), "true")
    assert len(world.audit("telemetry.uploaded")) == before + 1
    # The key is bound to the bytes and to what they are said to be.
    assert (await send(world, body.replace("1000.0", "1001.0"), **KEY)).status_code == 422
    assert (await send(world, body, "text/csv", **KEY)).status_code == 422
    # A site's key is that site's own, and a refusal is not kept.
    assert (await send(world, "{", who="site", **KEY)).status_code == 422
    assert (await send(world, json.dumps({"rows": [row(102)]}), who="site", **KEY)).json()["stored"] == 1


async def test_a_document_sent_twice_is_taken_in_once(world: World) -> None:
    async def take(name: str, content: bytes) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {world.tokens['olga']}", **KEY}
        answer = await world.client.post(
            "/v1/knowledge/documents", params={"name": name}, content=content, headers=headers
        )
        return answer.status_code, answer.json().get("outcome", "")

    assert await take("once.md", b"# Once\n\nA note.\n") == (200, "added")
    # Without the key a second one would be "unchanged".
    assert await take("once.md", b"# Once\n\nA note.\n") == (200, "added")
    assert await take("once.md", b"# Once\n\nAnother note.\n") == (422, "")
    # The name is no part of the body, and still of what the key is bound to.
    assert await take("twice.md", b"# Once\n\nA note.\n") == (422, "")
    assert [entry[2] for entry in world.audit("document.taken")] == ["once.md"]


async def test_a_test_message_sent_twice_arrives_once(world: World, tmp_path: Path) -> None:
    with web_receiver() as receiver:
        file = written(
            tmp_path, f'[[target]]\nname = "desk"\nurl = "{receiver.url()}"\nat_least = "warning"\n'
        )
        async with told_by(world, file) as told:
            asked = {"target": "desk"}
            answers = [
                (await told.ask("ada", "POST", "/v1/notifications/test", asked, headers=KEY))
                for _ in range(2)
            ]
        assert [one.json()[0]["ok"] for one in answers] == [True, True]
        assert [REPLAYED in one.headers for one in answers] == [False, True]
        assert len(receiver.bodies) == 1
