"""Telemetry by REST: good rows stored as ingest stores them, bad rows named, one site's token for one site."""

import gzip
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.edge.safety.examples import NOW
from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
AT = "2026-03-09T10:00:00Z"


async def send(
    world: World, body: bytes | str, kind: str = "application/json", who: str = "olga", **headers: str
) -> httpx.Response:
    return await world.client.post(
        "/v1/telemetry",
        content=body,
        headers={"Authorization": f"Bearer {world.tokens[who]}", "Content-Type": kind, **headers},
    )


def row(minute: int, **values: Any) -> dict[str, Any]:
    at = NOW - timedelta(days=1) + timedelta(minutes=minute)
    return {"site_id": "site-1", "at": at.isoformat(), "load_w": 1000.0, **values}


async def test_good_rows_are_stored_and_bad_ones_named(world: World) -> None:
    rows = [
        row(0, soc_frac=0.5),
        row(1, load_w="much"),
        row(2, site_id="site-9"),
        row(3, bus_v=54400.0),  # a slipped unit: stored, with the value set aside
        row(4, loed_w=1.0),
        {"site_id": "site-1", "load_w": 1.0},
        row(6, at="2020-01-01T00:00:00Z"),
        row(7, at="2026-03-09T10:00:00"),
        {"feeder_id": "feeder-1", "at": AT, "background_w": 1000.0},
        {"feeder_id": "feeder-1", "at": AT},
        [],
    ]
    answer = await send(world, json.dumps({"rows": rows}))
    found = answer.json()
    assert (answer.status_code, found["rows"], found["stored"], found["refused"]) == (200, 11, 3, 8)
    assert [(one["row"], one["field"]) for one in found["errors"]] == [
        (2, "load_w"), (3, "site_id"), (5, "loed_w"), (6, "at"), (7, "at"), (8, "at"), (10, "background_w"), (11, ""),
    ]  # fmt: skip
    stored = world.sql(
        "SELECT load_w, soc_frac, bus_v, quality FROM reading WHERE site_id = 'site-1' AND boot_id = 'rest' ORDER BY at"
    )
    assert stored == [
        (1000.0, 0.5, None, None),
        (1000.0, None, None, {"bus_v": ["bad", "unit slip, mV for V", 54400.0]}),
    ]
    assert world.sql("SELECT background_w FROM feeder_reading WHERE at = %s", AT) == [(1000.0,)]
    # Both lie in the same quarter of an hour, which is rolled up anew.
    assert (
        len(
            world.sql(
                "SELECT 1 FROM rollup_due WHERE site_id = 'site-1' AND bucket < %s", NOW - timedelta(hours=20)
            )
        )
        == 1
    )
    assert [entry[1:] for entry in world.audit("telemetry.uploaded")] == [
        ("olga", "fleet", {"rows": 11, "stored": 3, "refused": 8})
    ]


async def test_sending_again_changes_nothing(world: World) -> None:
    body = json.dumps([row(minute, sequence=minute + 1, boot_id="b7") for minute in range(3)])
    for _ in range(2):
        assert (await send(world, body)).json()["stored"] == 3
    assert world.sql("SELECT count(*) FROM reading WHERE boot_id = 'b7'") == [(3,)]
    assert world.sql("SELECT upto FROM stored_mark WHERE boot_id = 'b7'") == [(3,)]


async def test_a_sites_token_writes_that_site_only(world: World) -> None:
    rows = [
        row(10, boot_id="own"),
        row(11, boot_id="own", site_id="site-2"),
        {"at": AT, "boot_id": "own", "load_w": 7.0},
    ]
    found = (await send(world, json.dumps({"rows": rows}), who="site")).json()
    assert (found["stored"], found["refused"]) == (2, 1)
    assert found["errors"] == [{"row": 2, "field": "site_id", "why": "this token writes site-1 only"}]
    assert world.sql("SELECT DISTINCT site_id FROM reading WHERE boot_id = 'own'") == [("site-1",)]
    feeder = json.dumps([{"feeder_id": "feeder-1", "at": AT, "background_w": 1.0}])
    assert (await send(world, feeder, who="site")).json()["stored"] == 0


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv; charset=utf-8", "site_id,at,load_w,mains_ok,alarms,string_a\r\nsite-1,{at},1000,true,low;hot,1.5;2\r\n"),
        ("application/x-ndjson", '{{"site_id":"site-1","at":"{at}","load_w":1000,"mains_ok":true,"alarms":["low","hot"],"string_a":[1.5,2]}}\n\n'),
    ],
)  # fmt: skip
async def test_csv_and_ndjson_say_the_same(world: World, kind: str, body: str) -> None:
    at = "2026-03-08T10:00:00+00:00" if "csv" in kind else "2026-03-08T11:00:00+00:00"
    packed = gzip.compress(body.format(at=at).encode())
    assert (await send(world, packed, kind, **{"Content-Encoding": "gzip"})).json()["stored"] == 1
    assert world.sql("SELECT load_w, mains_ok, alarms, string_a FROM reading WHERE at = %s", at) == [
        (1000.0, True, ["low", "hot"], [1.5, 2.0])
    ]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/xml", b"<rows/>", 415),
        ("application/json", b"{", 422),
        ("application/json", b'{"rows": [], "more": 1}', 422),
        ("application/json", b"[" * 100_000, 422),
        ("text/csv", b"site_id,at,lode_w\n", 422),
        ("text/csv", b"\xff\xfe", 422),
        ("text/csv", b"", 422),
        ("application/json", b"\x1f\x8bnonsense", 422),
        ("application/json", gzip.compress(b"[]", mtime=0)[:-5], 422),
    ],
)
async def test_what_cannot_be_read_at_all_is_an_error(
    world: World, kind: str, body: bytes, status: int
) -> None:
    answer = await send(world, body, kind)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
