"""Profile clusters over the API."""

from datetime import timedelta

import psycopg
import pytest

from telemetry.cluster import Clusters, Move
from telemetry.cluster_store import Clustering, ClusterStore
from telemetry.db import open_async_pool
from tests.edge.safety.examples import NOW
from tests.ui.api.world import World
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def test_the_newest_clustering_is_shown_with_its_moves(world: World) -> None:
    empty = await world.get("/v1/profile-clusters")
    assert (empty["made_at"], empty["clusters"]) == (None, [])
    clusters = Clusters(
        labels={"site-1": 0, "site-2": 1},
        profiles={0: (1.0,) * 48, 1: (0.5,) * 24 + (1.5,) * 24},
        medoids={0: "site-1", 1: "site-2"},
        silhouette=0.5,
        stability=0.9,
    )
    move = Move(site_id="site-2", before=0, after=1, reason="like site-2: more of its load on weekends")
    pool = await open_async_pool(world.database.dsn(DatabaseRole.LOOP), application_name="test")
    store = ClusterStore(pool)
    await store.put(Clustering(made_at=NOW - timedelta(days=7), clusters=clusters, moves=()))
    await store.put(Clustering(made_at=NOW, clusters=clusters, moves=(move,)))
    await pool.close()
    shown = await world.get("/v1/profile-clusters")
    assert [one["site_ids"] for one in shown["clusters"]] == [["site-1"], ["site-2"]]
    assert shown["clusters"][1]["profile"][23:25] == [0.5, 1.5]
    assert shown["moves"] == [{"site_id": "site-2", "before": 0, "after": 1, "reason": move.reason}]
    assert (shown["silhouette"], shown["stability"]) == (0.5, 0.9)
    with (
        psycopg.connect(world.database.dsn(DatabaseRole.API)) as api,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        api.execute("INSERT INTO profile_clustering (made_at, doc, moves) VALUES (%s, '{}', '[]')", [NOW])
