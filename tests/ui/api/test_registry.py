"""The registry as an admin writes it: strictly read, versioned, audited, and never past what control decides."""

import asyncio
from typing import Any

import pytest

from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def entry(world: World, site_id: str = "site-1") -> tuple[dict[str, Any], str]:
    answer = await world.ask("ada", "GET", f"/v1/sites/{site_id}")
    return answer.json()["site"], answer.headers["ETag"]


async def test_a_site_is_changed_by_version_and_the_change_is_kept(world: World) -> None:
    site, tag = await entry(world)
    change = {**site, "maintenance": "battery swap"}
    first = await world.ask("ada", "PUT", "/v1/sites/site-1", change, headers={"If-Match": tag})
    assert (first.status_code, first.json()["version"]) == (200, 2)
    stale = await world.ask("ada", "PUT", "/v1/sites/site-1", site, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["errors"][0]["field"]) == (412, "If-Match")
    assert (await entry(world))[0]["maintenance"] == "battery swap"
    assert [entry[1:] for entry in world.audit("registry.site_changed")] == [
        ("ada", "site-1", {"maintenance": "battery swap"})
    ]
    rows = world.sql(
        "SELECT before ->> 'maintenance', after ->> 'maintenance' FROM registry_change WHERE who = 'ada'"
    )
    assert rows == [(None, "battery swap")]
    same = await world.ask("ada", "PUT", "/v1/sites/site-1", change)
    assert same.json()["version"] == 2  # nothing changed: no new version


async def test_a_new_site_starts_in_shadow(world: World) -> None:
    site, _ = await entry(world, "site-2")
    new = {**site, "site_id": "site-3", "mode": "shadow"}
    eager = await world.ask("ada", "PUT", "/v1/sites/site-3", {**new, "mode": "remote"})
    assert (eager.status_code, eager.json()["errors"][0]["field"]) == (409, "mode")
    made = await world.ask("ada", "PUT", "/v1/sites/site-3", new)
    assert (made.status_code, made.json()["version"]) == (200, 1)
    assert world.sql("SELECT mode, feeder_id, simulated FROM site WHERE site_id = 'site-3'") == [
        ("shadow", "feeder-1", True)
    ]
    world.sql("DELETE FROM site WHERE site_id = 'site-3'")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"mode": "monitor"}, 409, "mode"),
        ({"simulated": False}, 409, "simulated"),
        ({"feeder_id": "feeder-9"}, 409, "feeder_id"),
        ({"site_id": "site-2"}, 422, "site_id"),
        ({"latitude": "north"}, 422, "latitude"),
        ({"latitude": 91.0}, 422, ""),
        ({"longitud": 1.0}, 422, "longitud"),
        ({"time_zone": "Europe/Oslow"}, 422, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, 422, "time_zone"),
        ({"commissioned_at": "2026-01-01T00:00:00"}, 422, "commissioned_at"),
        ({"autonomy": {"name": "x"}}, 422, "autonomy"),
    ],
)
async def test_a_wrong_entry_names_its_field(
    world: World, change: dict[str, Any], status: int, field: str
) -> None:
    site, tag = await entry(world)
    answer = await world.ask("ada", "PUT", "/v1/sites/site-1", {**site, **change})
    assert answer.status_code == status, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == ([field] if field else [])
    assert (await entry(world)) == (site, tag)


async def test_a_misspelt_key_deep_inside_is_named(world: World) -> None:
    site, _ = await entry(world)
    battery = {**site["battery"], "bands": [{**site["battery"]["bands"][0], "too_c": 1.0}]}
    answer = await world.ask("ada", "PUT", "/v1/sites/site-1", {**site, "battery": battery})
    assert answer.json()["errors"] == [{"field": "battery.bands[0].too_c", "message": "unknown key"}]


async def test_two_writers_at_once_overwrite_nothing_unseen(world: World) -> None:
    site, tag = await entry(world, "site-2")
    answers = await asyncio.gather(
        *(
            world.ask(
                "ada", "PUT", "/v1/sites/site-2", {**site, "tariff": f"t{n}"}, headers={"If-Match": tag}
            )
            for n in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_feeders_and_critical_sites(world: World) -> None:
    feeder = {
        "feeder_id": "feeder-2", "name": "South", "substation": "s", "import_limit_w": 1e5, "export_limit_w": 0.0,
    }  # fmt: skip
    made = await world.ask("ada", "PUT", "/v1/feeders/feeder-2", feeder)
    assert (made.status_code, made.json()["feeder"]["import_limit_w"]) == (200, 1e5)
    bad = await world.ask("ada", "PUT", "/v1/feeders/feeder-2", {**feeder, "import_limit_w": -1.0})
    assert bad.status_code == 422
    site = (await world.get("/v1/critical-sites"))["items"][0]["critical_site"]
    moved = {**site, "feeder_id": "feeder-2", "priority": 2}
    answer = await world.ask("ada", "PUT", "/v1/critical-sites/hospital", moved)
    assert answer.json()["critical_site"]["priority"] == 2
    assert world.sql("SELECT feeder_id FROM critical_site") == [("feeder-2",)]
