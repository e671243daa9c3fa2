"""Profile clusters of a fleet out of its roll-ups: kept, made anew once a week, lent to detectors and to new sites."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from telemetry.cluster_store import Clustering, ClusterStore
from telemetry.db import open_async_pool
from telemetry.local_day import local_days
from telemetry.model.battery import Chemistry
from telemetry.model.series import STEP
from telemetry.model.site import FeederId, RadioClusterId, Site, SiteId
from tests.agents.worlds import a_site
from tests.services import Database
from tools.profile_clusters import ProfileClusters, hourly_of, peer_groups
from ui.ops.secrets import DatabaseRole

NOW = datetime(2026, 4, 13, 9, 20, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = np.arange(24)
OFFICE = np.where((HOUR >= 9) & (HOUR < 17), 2.0, 0.5)
EVENING = np.where((HOUR >= 18) & (HOUR < 22), 3.0, 0.6)


def a_fleet(count: int = 12) -> dict[SiteId, Site]:
    """Even sites near offices, odd ones near homes; the last one is new."""
    found = {}
    for k in range(count):
        site = replace(
            a_site(f"s{k:02d}"),
            time_zone="UTC",
            radio_cluster=RadioClusterId(f"c{k % 2}"),
            feeder_id=FeederId("f"),
        )
        found[site.site_id] = site
    return found


@dataclass
class Readings:
    """Loads by kind with 5 % of noise; the new site has none."""

    new: frozenset[str] = frozenset({"s11"})
    asked: list[datetime] = field(default_factory=list)

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        self.asked.append(end)
        steps = (end - start) // STEP
        random = np.random.default_rng(3)
        rows = []
        for k, name in enumerate(site_ids):
            shape = np.repeat(EVENING if k % 2 else OFFICE, 4)
            load = 1000.0 * np.tile(shape, steps // 96) * random.normal(1.0, 0.05, steps)
            rows.append(np.full(steps, np.nan) if name in self.new else load)
        return {"load_w": np.array(rows, dtype=np.float32)}


@dataclass
class Store:
    made: list[Clustering] = field(default_factory=list)

    async def newest(self) -> Clustering | None:
        return self.made[-1] if self.made else None

    async def put(self, made: Clustering) -> None:
        self.made.append(made)


async def test_sites_are_grouped_by_shape_and_a_new_one_belongs_to_its_neighbours() -> None:
    readings, store = Readings(), Store()
    clusters = ProfileClusters(readings=readings, store=store, most=3)
    labels = await clusters(NOW, a_fleet())
    office, evening = labels[SiteId("s00")], labels[SiteId("s01")]
    assert office != evening
    assert {labels[SiteId(f"s{k:02d}")] for k in range(0, 12, 2)} == {office}
    assert {labels[SiteId(f"s{k:02d}")] for k in range(1, 12, 2)} == {
        evening
    }  # s11 too, by its radio cluster
    assert "s11" not in store.made[0].clusters.labels
    assert readings.asked == [datetime(2026, 4, 13, tzinfo=UTC)]  # whole days


async def test_a_clustering_holds_for_a_week() -> None:
    readings, store = Readings(), Store()
    clusters = ProfileClusters(readings=readings, store=store, most=3)
    first = await clusters(NOW, a_fleet())
    assert await clusters(NOW + 6 * DAY, a_fleet()) == first
    assert len(store.made) == 1
    assert await clusters(NOW + 7 * DAY, a_fleet()) == first  # labels keep their meaning
    assert len(store.made) == 2
    assert store.made[1].moves == ()


async def test_without_enough_data_there_are_no_groups_and_it_is_not_tried_again_at_once() -> None:
    readings, store = Readings(new=frozenset(f"s{k:02d}" for k in range(12))), Store()
    clusters = ProfileClusters(readings=readings, store=store, most=3)
    assert await clusters(NOW, a_fleet()) == {}
    assert await clusters(NOW + timedelta(hours=1), a_fleet()) == {}
    assert len(readings.asked) == 1
    await clusters(NOW + timedelta(hours=6), a_fleet())
    assert len(readings.asked) == 2


@pytest.mark.database
async def test_a_clustering_comes_back_from_the_database_as_it_was(database: Database) -> None:
    memory = Store()
    await ProfileClusters(readings=Readings(), store=memory, most=3)(NOW, a_fleet())
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    kept = ClusterStore(pool)
    assert await kept.newest() is None
    await kept.put(memory.made[0])
    assert await kept.newest() == memory.made[0]
    await pool.close()


def test_peers_share_chemistry_and_shape_where_there_are_four() -> None:
    sites = list(a_fleet(10).values())
    sites[9] = replace(sites[9], battery=replace(sites[9].battery, chemistry=Chemistry.VRLA))
    labels = {site.site_id: (0 if k < 4 else 1) for k, site in enumerate(sites[:7])}
    # 0..3: four of shape 0; 4..6: three of shape 1 are too few, with 7 and 8 they are lithium; 9 is lead-acid.
    groups = peer_groups(sites, labels).tolist()
    assert groups[:4] == [groups[0]] * 4
    assert groups[4:9] == [groups[4]] * 5
    assert len({groups[0], groups[4], groups[9]}) == 3
    assert set(peer_groups(sites[:9], {}).tolist()) == {0}


def test_hours_are_those_of_the_local_clock() -> None:
    days = list(
        local_days(
            datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC), "Europe/Rome"
        )
    )
    assert [(day.day, day.quarters) for day in days] == [(date(2026, 3, 29), 92)]
    hourly = hourly_of(np.arange(92, dtype=np.float64)[None], days, "Europe/Rome")
    assert hourly.shape == (1, 24)
    # The hour from 02:00 is skipped: the third one measured is 03:00, quarters 8 to 11, mean 9.5.
    assert np.isnan(hourly[0, 2])
    assert (hourly[0, 1], hourly[0, 3], hourly[0, 23]) == (5.5, 9.5, 89.5)
    autumn = list(
        local_days(
            datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC), "Europe/Rome"
        )
    )
    twice = hourly_of(np.arange(100, dtype=np.float64)[None], autumn, "Europe/Rome")
    assert twice[0, 2] == 11.5  # quarters 8 to 15: the repeated hour is averaged
