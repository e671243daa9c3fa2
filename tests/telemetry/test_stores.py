from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from telemetry.db import open_async_pool
from telemetry.ingest_store import Batch, store_batch
from telemetry.model.reading import FeederReading, SiteState, SiteStatus
from telemetry.model.site import FeederId, SiteId, SiteMode
from telemetry.points import Point
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryError, RegistryStore
from telemetry.rollup_store import roll_up_due
from tests.contracts.contracts import EXAMPLES, FEEDER, SITE
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database


@pytest.fixture
async def api_pool(database: Database) -> AsyncIterator[AsyncConnectionPool[psycopg.AsyncConnection]]:
    pool = await open_async_pool(database.dsn(DatabaseRole.API), application_name="test")
    yield pool
    await pool.close()


@pytest.fixture
def stored(database: Database) -> None:
    """Half an hour of minutes: load 2,000 W rising by 10 W a minute, the battery giving 600 W."""
    readings = [
        replace(
            READING,
            sequence=k + 1,
            at=NOW + timedelta(minutes=k),
            load_w=2000.0 + 10.0 * k,
            rectifier_w=1400.0 + 10.0 * k,
            battery_w=-600.0,
            meter_battery_w=-590.0,
        )
        for k in range(30)
    ]
    status = SiteStatus(
        site_id=SITE, at=NOW, online=True, state=SiteState.DISPATCH, local_lock=False, last_sequence=1
    )
    feeder = [
        FeederReading(feeder_id=FEEDER, at=NOW + timedelta(minutes=5 * k), background_w=1000.0 + k)
        for k in range(6)
    ]
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        batch = Batch(readings=readings, feeder=feeder, statuses={SITE: status})
        store_batch(connection, batch, NOW + timedelta(hours=1), set())
        roll_up_due(connection, NOW + timedelta(hours=1))


async def test_latest_gives_the_newest_reading_whole(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    latest = await ReadingStore(api_pool).latest()
    assert latest[SITE].at == NOW + timedelta(minutes=29)
    assert latest[SITE].load_w == 2290.0
    assert latest[SITE].soc_frac == pytest.approx(0.98)
    assert await ReadingStore(api_pool).latest([SiteId("cbs-9999")]) == {}


async def test_buckets_are_quarter_hour_means(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    buckets = await ReadingStore(api_pool).buckets("load_w", [SITE], NOW, NOW + timedelta(hours=1))
    # Minutes 0..14 have a mean of 2,070 W, minutes 15..29 of 2,220 W.
    assert [(each.start, each.value, each.completeness) for each in buckets[SITE]] == [
        (NOW, 2070.0, 1.0),
        (NOW + timedelta(minutes=15), 2220.0, 1.0),
    ]


async def test_a_grid_holds_the_same_as_buckets_and_nan_where_nothing_was_measured(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    sites = [SiteId("cbs-9999"), SITE]
    grid = await ReadingStore(api_pool).grid(["load_w", "completeness"], sites, NOW, NOW + timedelta(hours=1))
    np.testing.assert_array_equal(grid["load_w"], [[np.nan] * 4, [2070.0, 2220.0, np.nan, np.nan]])
    np.testing.assert_array_equal(grid["completeness"][1], [1.0, 1.0, np.nan, np.nan])
    with pytest.raises(ValueError, match="metric"):
        await ReadingStore(api_pool).grid(["genset_absent"], sites, NOW, NOW + timedelta(hours=1))
    with pytest.raises(ValueError, match="quarter"):
        await ReadingStore(api_pool).grid(
            ["load_w"], sites, NOW + timedelta(seconds=1), NOW + timedelta(hours=1)
        )


async def test_a_window_keeps_extremes_when_it_is_thinned(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    points = await ReadingStore(api_pool).window("load_w", SITE, NOW, NOW + timedelta(minutes=30), points=3)
    assert points[0] == Point(at=NOW, mean=2045.0, low=2000.0, high=2090.0)
    assert [point.high for point in points] == [2090.0, 2190.0, 2290.0]


async def test_delivered_energy_comes_from_the_independent_meter(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    delivered = await ReadingStore(api_pool).delivered([SITE], NOW, NOW + timedelta(minutes=30))
    assert [each.energy_wh for each in delivered] == [pytest.approx(-147.5)] * 2  # 590 W x 0.25 h
    given = await ReadingStore(api_pool).discharged_since(NOW)
    assert given[SITE] == pytest.approx(295.0)


async def test_a_feeders_background_is_averaged_by_quarter_hour(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    found = await ReadingStore(api_pool).background([FEEDER, FeederId("none")], NOW, NOW + timedelta(hours=1))
    assert found[FEEDER] == [(NOW, 1001.0), (NOW + timedelta(minutes=15), 1004.0)]
    assert found[FeederId("none")] == []


async def test_statuses_and_quality_come_back(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], stored: None
) -> None:
    store = ReadingStore(api_pool)
    assert (await store.statuses())[SITE].state is SiteState.DISPATCH
    assert await store.quality_scores() == {SITE: 1.0}


@pytest.mark.parametrize(
    ("metric", "minutes", "points"), [("loed_w", 30, 10), ("load_w", 0, 10), ("load_w", 30, 2001)]
)
async def test_a_question_that_makes_no_sense_is_an_error(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], metric: str, minutes: int, points: int
) -> None:
    with pytest.raises(ValueError, match=r"metric|window|points"):
        await ReadingStore(api_pool).window(
            metric, SITE, NOW, NOW + timedelta(minutes=minutes), points=points
        )


async def test_the_registry_gives_back_what_was_put_and_keeps_every_change(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection], database: Database
) -> None:
    store = RegistryStore(api_pool)
    site, feeder, critical = EXAMPLES["site"], EXAMPLES["feeder"], EXAMPLES["critical_site"]
    await store.put_feeders({FEEDER: feeder}, who="anna", at=NOW)  # type: ignore[dict-item]
    await store.put_sites({SITE: site}, who="anna", at=NOW)  # type: ignore[dict-item]
    await store.put_critical_sites({critical.critical_site_id: critical}, who="anna", at=NOW)  # type: ignore[attr-defined, dict-item]
    assert await store.sites() == {SITE: site}
    assert await store.feeders() == {FEEDER: feeder}
    assert list((await store.critical_sites()).values()) == [critical]
    await store.put_sites({SITE: site}, who="anna", at=NOW)  # type: ignore[dict-item]
    await store.set_mode(SITE, SiteMode.REMOTE, who="bo", at=NOW)
    with psycopg.connect(database.owner_dsn) as owner:
        changes = owner.execute(
            "SELECT who, before ->> 'mode', after ->> 'mode' FROM registry_change WHERE kind = 'site' ORDER BY change_id"
        ).fetchall()
    assert changes == [("anna", None, "shadow"), ("bo", "shadow", "remote")]


async def test_a_mode_for_an_unknown_site_is_refused(
    api_pool: AsyncConnectionPool[psycopg.AsyncConnection],
) -> None:
    with pytest.raises(RegistryError, match="cbs-9999"):
        await RegistryStore(api_pool).set_mode(SiteId("cbs-9999"), SiteMode.REMOTE, who="bo", at=NOW)
