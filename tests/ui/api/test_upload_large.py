"""The largest upload, end to end: every form, each sent again, bad rows among good ones, a site's own token."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.edge.safety.examples import NOW
from tests.ui.api.test_upload import send
from tests.ui.api.world import World

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
COLUMNS = (
    "site_id",
    "boot_id",
    "sequence",
    "at",
    "load_w",
    "rectifier_w",
    "battery_w",
    "bus_v",
    "soc_frac",
    "mains_ok",
)


def _rows(count: int) -> list[dict[str, Any]]:
    """Two rows in a thousand are bad: one names a site that is not there, one holds a text for a number."""
    rows = []
    for k in range(count):
        row = {
            "site_id": "site-1", "boot_id": "large", "sequence": k + 1,
            "at": (NOW - timedelta(days=3) + timedelta(seconds=2 * k)).isoformat(),
            "load_w": 2000.0 + k % 50, "rectifier_w": 2016.0 + k % 50, "battery_w": 16.0, "bus_v": 54.4,
            "soc_frac": 0.98, "mains_ok": True,
        }  # fmt: skip
        if k % 1000 == 17:
            row["site_id"] = "site-9"
        if k % 1000 == 18:
            row["load_w"] = "much"
        rows.append(row)
    return rows


def _csv(rows: list[dict[str, Any]]) -> str:
    lines = [",".join(COLUMNS)]
    lines += [
        ",".join(str(row[name]).lower() if name == "mains_ok" else str(row[name]) for name in COLUMNS)
        for row in rows
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.proof)])
async def test_every_form_of_the_same_rows_stores_them_once(world: World, count: int) -> None:
    rows = _rows(count)
    forms = {
        "application/json": json.dumps({"rows": rows}),
        "application/x-ndjson": "\n".join(map(json.dumps, rows)),
        "text/csv": _csv(rows),
    }
    bad = 2 * count // 1000
    for kind, body in forms.items():
        answer = await send(world, gzip.compress(body.encode(), 1), kind)
        found = answer.json()
        assert (answer.status_code, found["rows"], found["stored"], found["refused"]) == (
            200,
            count,
            count - bad,
            bad,
        )
        assert [(one["row"], one["field"]) for one in found["errors"][:3]] == [
            (18, "site_id"), (19, "load_w"), (1018, "site_id"),
        ]  # fmt: skip
        assert found["errors_left_out"] == 0
        assert world.sql("SELECT count(*) FROM reading WHERE boot_id = 'large'") == [(count - bad,)]
    # The mark stands before the first row that is missing.
    assert world.sql("SELECT upto FROM stored_mark WHERE boot_id = 'large'") == [(17,)]
    own = await send(world, json.dumps(rows), who="site")
    assert (own.json()["stored"], own.json()["refused"]) == (count - bad, bad)


@pytest.mark.proof
async def test_one_row_too_many_stores_nothing(world: World) -> None:
    rows = [{"site_id": "site-1", "at": NOW.isoformat(), "boot_id": "many", "load_w": 1000.0}] * 100_001
    answer = await send(world, gzip.compress(json.dumps(rows).encode(), 1))
    assert answer.status_code == 413
    assert world.sql("SELECT count(*) FROM reading WHERE boot_id = 'many'") == [(0,)]
