"""The examples in the API's document: every body has one, the API takes those of the registry, every answer's fits its shape."""

import json
from typing import Any

import pytest

from tests.ui.api.test_upload import send
from tests.ui.api.world import World
from ui.api.answer_examples import ANSWERS, DOCUMENT, ENTRIES, NDJSON
from ui.api.schemas import Schema

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


def shape_of(document: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else content.get("schema", {})
    return found


def subclasses(kind: type[Schema]) -> dict[str, type[Schema]]:
    found = {kind.__name__: kind}
    for one in kind.__subclasses__():
        found.update(subclasses(one))
    return found


async def test_every_body_has_an_example(world: World) -> None:
    document = world.app.openapi()
    without = [
        (method, path, kind)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if not (content.get("example") or shape_of(document, content).get("examples"))
    ]
    assert without == []


async def test_the_named_shapes_examples_are_in_the_document_and_fit(world: World) -> None:
    document, kinds = world.app.openapi(), subclasses(Schema)
    for name, example in ANSWERS.items():
        assert document["components"]["schemas"][name]["examples"] == [example]
        # As it is sent: nothing is missing, nothing too much, every value as the API writes it.
        assert json.loads(kinds[name].model_validate(example).model_dump_json()) == example, name
    page = document["components"]["schemas"]["Page_UserOut_"]["examples"]
    assert page == [{"items": [ANSWERS["UserOut"]], "next_cursor": None}]


async def test_the_bodies_examples_of_named_shapes_fit(world: World) -> None:
    kinds = subclasses(Schema)
    shown = {
        name: shape["examples"][0]
        for name, shape in world.app.openapi()["components"]["schemas"].items()
        if "examples" in shape and name in kinds and name not in ANSWERS
    }
    assert len(shown) >= 15
    for name, example in shown.items():
        kinds[name].model_validate(example)


async def test_the_api_takes_the_registrys_examples_as_they_are(world: World) -> None:
    for path, entry in ENTRIES.items():
        name = path[path.index("{") + 1 : -1]
        answer = await world.ask("ada", "PUT", path.replace(f"{{{name}}}", str(entry[name])), entry)
        assert answer.status_code == 200, (path, answer.text)


async def test_the_api_takes_the_examples_of_files(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.tokens['olga']}"}
    taken = await world.client.post(
        "/v1/knowledge/documents", params={"name": "pumps.md"}, content=DOCUMENT, headers=headers
    )
    assert taken.json() == ANSWERS["DocumentTaken"]
    rows = NDJSON.replace("cbs-0001", "site-1").replace("2026-01-15", "2026-03-09")
    assert (await send(world, rows, "application/x-ndjson")).json()["stored"] == 1
