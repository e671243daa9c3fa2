"""The library over the API: taken in, found by whoever may read it, by nobody else."""

import httpx
import pytest

from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
PUMPS = (
    b"# Sump pumps\n\n## Seizing\n\nA seized sump pump is freed with the long spanner in the cabinet door.\n"
)
SECRET = b"---\ntitle: Escrow\nrole: admin\n---\n\nThe escrow envelope for the sump pump key lies with the notary.\n"


async def take(world: World, who: str, name: str, content: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {world.tokens[who]}", "Content-Type": "application/octet-stream"}
    return await world.client.post(
        "/v1/knowledge/documents", params={"name": name}, content=content, headers=headers
    )


async def test_a_document_is_taken_in_found_and_removed(world: World) -> None:
    taken = await take(world, "olga", "pumps.md", PUMPS)
    assert taken.json() == {
        "document_id": "pumps.md", "title": "Sump pumps", "outcome": "added", "passages": 1, "embedded": 0,
    }  # fmt: skip
    found = await world.get("/v1/knowledge/search?q=how do I free a seized pump")
    assert [one["document_id"] for one in found["found"]] == ["pumps.md"]
    assert (found["method"], "by words alone" in found["note"]) == ("words", True)
    assert "long spanner" in found["found"][0]["text"]
    assert [one["title"] for one in (await world.get("/v1/knowledge/documents"))["items"]] == ["Sump pumps"]
    whole = await world.get("/v1/knowledge/document?document_id=pumps.md")
    assert (whole["kind"], whole["role"], whole["imported_at"]) == ("note", "viewer", "2026-03-10T11:50:00Z")
    assert [entry[1:] for entry in world.audit("document.taken")] == [
        ("olga", "pumps.md", {"outcome": "added", "role": "viewer"})
    ]
    assert (await take(world, "olga", "pumps.md", PUMPS)).json()["outcome"] == "unchanged"
    gone = await world.ask("ada", "DELETE", "/v1/knowledge/document?document_id=pumps.md")
    assert gone.status_code == 204
    assert (await world.get("/v1/knowledge/search?q=seized sump pump"))["found"] == []
    assert (
        await world.ask("ada", "DELETE", "/v1/knowledge/document?document_id=pumps.md")
    ).status_code == 404


async def test_what_a_role_may_not_read_is_not_there_for_it(world: World) -> None:
    assert (await take(world, "ada", "escrow.md", SECRET)).json()["outcome"] == "added"
    for who in ("vic", "olga", "ann", "robot"):
        assert (await world.get("/v1/knowledge/search?q=escrow envelope notary", who))["found"] == []
        assert (await world.get("/v1/knowledge/documents", who))["items"] == []
        path = "/v1/knowledge/document?document_id=escrow.md"
        assert (await world.ask(who, "GET", path)).status_code == 404
    assert len((await world.get("/v1/knowledge/search?q=escrow envelope notary", "ada"))["found"]) == 1
    # Nor is it replaced by somebody who may not read it.
    assert (await take(world, "olga", "escrow.md", PUMPS)).status_code == 409
    assert "notary" in (await world.get("/v1/knowledge/document?document_id=escrow.md", "ada"))["text"]


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("pumps.exe", PUMPS, "name"),
        ("../pumps.md", PUMPS, "name"),
        (".hidden.md", PUMPS, "name"),
        ("a/b.md", PUMPS, "name"),
        ("empty.md", b"", "body"),
        ("latin.txt", b"\xff\xfe\xfa", "body"),
        ("not.pdf", b"no pdf", "body"),
        ("not.docx", b"PK\x03\x04", "body"),
        ("head.md", b"---\nrole: king\n---\ntext", "body"),
    ],
)
async def test_a_file_that_cannot_be_taken_in_is_told_why(
    world: World, name: str, content: bytes, field: str
) -> None:
    answer = await take(world, "olga", name, content)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
