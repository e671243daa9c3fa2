"""What sites and ingest told of, as the API gives it."""

from datetime import timedelta

import pytest

from tests.edge.safety.examples import NOW
from tests.ui.api.world import World
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def test_events_are_read_by_all_by_site_and_by_kind_newest_first(world: World) -> None:
    for minute, (site_id, kind) in enumerate(
        [("site-1", "mains_lost"), ("svc-ingest", "spill_full"), ("site-1", "mains_back")]
    ):
        world.sql(
            "INSERT INTO site_event (site_id, at, kind, detail) VALUES (%s, %s, %s, 'told')",
            site_id, NOW + timedelta(minutes=minute), kind, role=DatabaseRole.INGEST,
        )  # fmt: skip
    assert [one["kind"] for one in (await world.get("/v1/events"))["items"]] == [
        "mains_back",
        "spill_full",
        "mains_lost",
    ]
    [first, second] = (await world.get("/v1/events?site_id=site-1"))["items"]
    assert (first["kind"], second["kind"], second["detail"]) == ("mains_back", "mains_lost", "told")
    assert [one["site_id"] for one in (await world.get("/v1/events?kind=spill_full"))["items"]] == [
        "svc-ingest"
    ]
    assert len((await world.get("/v1/events?limit=1"))["items"]) == 1
