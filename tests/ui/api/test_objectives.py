"""Standing objectives over the API: said in words, shown as they were read, ended by an operator, with a trace of both."""

from tests.ui.api.world import World


async def test_an_objective_is_kept_as_it_was_read_and_ended(world: World) -> None:
    before = len(world.audit("objective.set"))
    made = await world.ask("olga", "POST", "/v1/objectives", {"text": "Never use site-1 until 2026-12-24"})
    assert made.status_code == 201, made.text
    doc = made.json()
    assert (doc["who"], doc["exclude_site_ids"], doc["pause"]) == ("olga", ["site-1"], False)
    assert doc["until"].startswith("2026-12-2")
    assert [one["objective_id"] for one in (await world.get("/v1/objectives"))["items"]] == [
        doc["objective_id"]
    ]
    path = f"/v1/objectives/{doc['objective_id']}"
    assert (await world.ask("vic", "DELETE", path)).status_code == 403
    assert (await world.ask("olga", "DELETE", path)).status_code == 204
    assert (await world.ask("olga", "DELETE", path)).status_code == 404
    assert (await world.get("/v1/objectives"))["items"] == []
    assert len(world.audit("objective.set")) == before + 1
    assert world.audit("objective.ended")[-1][:3] == ("cellwatt_api", "olga", doc["objective_id"])


async def test_words_that_say_nothing_are_refused_with_what_would(world: World) -> None:
    answer = await world.ask("olga", "POST", "/v1/objectives", {"text": "be nice to the batteries"})
    assert answer.status_code == 422
    assert "never use site-1" in answer.text
    assert (await world.ask("vic", "POST", "/v1/objectives", {"text": "Pause dispatch"})).status_code == 403
