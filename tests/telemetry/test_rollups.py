"""Roll-ups of a site's own days and hours, late data, and series made of them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from telemetry.db import open_async_pool
from telemetry.ingest_store import Batch, store_batch
from telemetry.local_day import local_day
from telemetry.model.series import STEP
from telemetry.model.site import FeederId, SiteId
from telemetry.points import Point
from telemetry.reading_store import ReadingStore
from telemetry.registry_store import RegistryStore
from telemetry.rollup_store import roll_up_due
from telemetry.series_store import DayTotal, SeriesStore, Source, TotalPoint, source_for
from tests.contracts.contracts import EXAMPLES
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database
ROME, NEPAL = SiteId("cbs-0001"), SiteId("cbs-0002")
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool[psycopg.AsyncConnection]]:
    """Two sites, in Rome's zone and in Nepal's (5 h 45 min ahead of UTC)."""
    site: Any = EXAMPLES["site"]
    async with await open_async_pool(database.owner_dsn, application_name="test") as opened:
        store = RegistryStore(opened)
        feeder: Any = EXAMPLES["feeder"]
        await store.put_feeders({FeederId(feeder.feeder_id): feeder}, who="test", at=NOW)
        sites = {
            ROME: replace(site, site_id=ROME, time_zone="Europe/Rome"),
            NEPAL: replace(site, site_id=NEPAL, time_zone="Asia/Kathmandu"),
        }
        await store.put_sites(sites, who="test", at=NOW)
        yield opened


class Ingest:
    """Stores loads and rolls up, as the ingest role."""

    def __init__(self, database: Database) -> None:
        self.connection = psycopg.connect(
            database.dsn(DatabaseRole.INGEST), autocommit=True, options="-c timezone=UTC"
        )
        self._sequence = 0

    def store(self, site_id: SiteId, loads: dict[datetime, float]) -> None:
        readings = []
        for at, load_w in loads.items():
            self._sequence += 1
            readings.append(
                replace(
                    READING,
                    site_id=site_id,
                    sequence=self._sequence,
                    at=at,
                    load_w=load_w,
                    rectifier_w=load_w + 16.0,
                )
            )
        store_batch(self.connection, Batch(readings=readings), max(loads), set())

    def roll_up(self, now: datetime) -> None:
        while roll_up_due(self.connection, now):
            pass

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode()).fetchall()


@pytest.fixture
def ingest(database: Database) -> Any:
    worker = Ingest(database)
    yield worker
    worker.connection.close()


def every_5_min(start: datetime, end: datetime, load_w: float = 1200.0) -> dict[datetime, float]:
    return {start + timedelta(minutes=5 * k): load_w for k in range((end - start) // timedelta(minutes=5))}


@pytest.mark.parametrize(
    ("day", "zone", "quarters", "begins"),
    [
        (SPRING, "Europe/Rome", 92, "2026-03-28T23:00"),
        (AUTUMN, "Europe/Rome", 100, "2026-10-24T22:00"),
        (date(2026, 6, 1), "Europe/Rome", 96, "2026-05-31T22:00"),
        (
            date(2026, 4, 5),
            "Australia/Lord_Howe",
            98,
            "2026-04-04T13:00",
        ),  # its clock goes back by half an hour
        (date(2026, 9, 6), "America/Santiago", 92, "2026-09-06T04:00"),  # its day begins at 01:00
    ],
)
def test_a_local_day_is_as_long_as_its_clock_makes_it(
    day: date, zone: str, quarters: int, begins: str
) -> None:
    found = local_day(day, zone)
    assert (found.quarters, found.start) == (quarters, datetime.fromisoformat(begins).replace(tzinfo=UTC))


@pytest.mark.parametrize(("day", "quarters", "hours"), [(SPRING, 92, 23), (AUTUMN, 100, 25)])
async def test_a_day_on_which_the_clock_changes_is_whole_with_23_or_25_hours(
    pool: AsyncConnectionPool[psycopg.AsyncConnection],
    ingest: Ingest,
    day: date,
    quarters: int,
    hours: int,
) -> None:
    whole = local_day(day, "Europe/Rome")
    ingest.store(ROME, every_5_min(whole.start, whole.end))
    ingest.roll_up(whole.end + timedelta(hours=2))
    assert ingest.rows("SELECT count(*), min(completeness) FROM rollup") == [(quarters, 1.0)]
    assert ingest.rows("SELECT count(*), min(completeness), sum(load_wh) FROM rollup_hour") == [
        (hours, 1.0, hours * 1200.0)
    ]
    (total,) = await SeriesStore(pool).days("load_w", [ROME], [whole])
    assert total == DayTotal(
        site_id=ROME, day=day, mean=1200.0, low=1200.0, high=1200.0, energy=hours * 1200.0, completeness=1.0
    )


async def test_half_of_a_short_day_is_half_complete(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    whole = local_day(SPRING, "Europe/Rome")
    ingest.store(ROME, every_5_min(whole.start, whole.start + 46 * STEP))
    ingest.roll_up(whole.end)
    (total,) = await SeriesStore(pool).days("load_w", [ROME], [whole])
    assert (total.completeness, total.energy) == (0.5, 11.5 * 1200.0)  # 46 of 92 quarters, 11.5 h


async def test_an_hour_begins_on_the_sites_own_clock(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    for site_id in (ROME, NEPAL):
        ingest.store(site_id, every_5_min(NOW, NOW + timedelta(hours=1)))
    ingest.roll_up(NOW + timedelta(hours=2))
    # 17:00 UTC is 18:00 in Rome and 22:45 in Nepal: there three quarters belong to the hour from 23:00 on.
    assert ingest.rows("SELECT site_id, bucket, completeness FROM rollup_hour ORDER BY site_id, bucket") == [
        (ROME, NOW, 1.0),
        (NEPAL, NOW - timedelta(minutes=45), 0.25),
        (NEPAL, NOW + timedelta(minutes=15), 0.75),
    ]


async def test_late_data_reopens_its_quarter_and_its_hour(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    loads = every_5_min(NOW, NOW + timedelta(hours=1), 1000.0)
    late = [NOW + timedelta(minutes=30), NOW + timedelta(minutes=35), NOW + timedelta(minutes=40)]
    ingest.store(ROME, {at: load for at, load in loads.items() if at not in late})
    ingest.roll_up(NOW + timedelta(hours=2))
    hour = "SELECT load_w, load_w_max, load_wh, completeness, samples FROM rollup_hour"
    assert ingest.rows(hour) == [(1000.0, 1000.0, 750.0, 0.75, 9)]
    ingest.store(ROME, dict.fromkeys(late, 2000.0))
    ingest.roll_up(NOW + timedelta(days=3))
    assert ingest.rows(hour) == [(1250.0, 2000.0, 1250.0, 1.0, 12)]  # (3 x 1,000 + 2,000) / 4
    assert ingest.rows("SELECT count(*) FROM rollup_hour_due") == [(0,)]


async def test_an_hour_is_rolled_up_when_it_is_over(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    ingest.store(ROME, every_5_min(NOW, NOW + timedelta(minutes=30)))
    ingest.roll_up(NOW + timedelta(minutes=59))
    assert ingest.rows("SELECT count(*) FROM rollup_hour") == [(0,)]
    ingest.roll_up(NOW + timedelta(minutes=60))
    assert ingest.rows("SELECT completeness, load_wh FROM rollup_hour") == [(0.5, 600.0)]


async def test_a_straggler_after_the_readings_are_gone_does_not_spoil_its_roll_up(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    ingest.store(ROME, every_5_min(NOW, NOW + STEP, 1000.0))
    ingest.roll_up(NOW + timedelta(hours=2))
    assert ingest.rows("SELECT drop_reading_partitions('2026-02-01')") == [(1,)]
    ingest.store(ROME, {NOW + timedelta(minutes=1): 9000.0})
    ingest.roll_up(NOW + timedelta(days=20))
    assert ingest.rows("SELECT load_w, samples FROM rollup") == [(1000.0, 3)]
    assert ingest.rows("SELECT load_w, samples FROM rollup_hour") == [(1000.0, 3)]


async def test_a_zone_that_nobody_knows_counts_as_utc(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest, database: Database
) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute("UPDATE site SET doc = jsonb_set(doc, '{time_zone}', '\"Mars/Base\"')")
    ingest.store(NEPAL, every_5_min(NOW, NOW + timedelta(hours=1)))
    ingest.roll_up(NOW + timedelta(hours=2))
    assert ingest.rows("SELECT bucket, completeness FROM rollup_hour") == [(NOW, 1.0)]


async def test_a_roll_up_without_a_partition_is_kept_and_moves_when_there_is_one(database: Database) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO rollup (site_id, bucket, samples, completeness) VALUES ('a', %s, 1, 1)", [NOW]
        )
        assert owner.execute("SELECT tableoid::regclass::text FROM rollup").fetchall() == [("rollup_other",)]
        assert owner.execute("SELECT ensure_rollup_partitions('2026-01-31', '2026-02-01')").fetchone() == (4,)
        assert owner.execute("SELECT tableoid::regclass::text FROM rollup").fetchall() == [("rollup_202601",)]
        # January ends before the limit, February does not.
        assert owner.execute("SELECT drop_rollup_partitions('2026-02-20', '2026-01-20')").fetchone() == (1,)
        assert owner.execute("SELECT count(*) FROM rollup").fetchone() == (0,)


async def test_a_series_of_several_sites_keeps_its_extremes_at_every_length(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    start = NOW - timedelta(hours=17)
    loads = every_5_min(start, start + timedelta(hours=8), 1000.0) | {NOW - timedelta(hours=15): 5000.0}
    ingest.store(ROME, loads)
    ingest.store(NEPAL, every_5_min(start, start + timedelta(hours=8), 300.0))
    ingest.roll_up(NOW)
    store, end = SeriesStore(pool), start + timedelta(hours=8)
    for source in Source:
        found = await store.series("load_w", [NEPAL, ROME], start, end, points=2, source=source)
        first, second = found[ROME]
        assert (first.at, first.low, first.high) == (start, 1000.0, 5000.0), source
        # 48 readings of which one is 5,000: 1,000 + 4,000 / 48; the same by quarters and by hours.
        assert first.mean == pytest.approx(1000.0 + 4000.0 / 48)
        assert second == Point(at=start + timedelta(hours=4), mean=1000.0, low=1000.0, high=1000.0)
        assert {point.high for point in found[NEPAL]} == {300.0}
    energy = await store.series("load_wh", [NEPAL], start, end, points=1)
    assert [point.mean for point in energy[NEPAL]] == [75.0]  # 300 W for a quarter of an hour
    total = await store.total("load_w", [ROME, NEPAL], start, end, points=2)
    assert total[1] == TotalPoint(
        at=start + timedelta(hours=4), mean=1300.0, low=1300.0, high=1300.0, sites=2
    )
    # The quarter with the spike has a mean of (2 x 1,000 + 5,000) / 3 = 2,333 W.
    assert total[0].high == pytest.approx(2333.33 + 300.0, abs=0.01)


async def test_a_series_takes_whole_quarter_hours_and_skips_gaps(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    values = [1.0, 3.0, None, 7.0, 9.0]
    ingest.store(ROME, {NOW + k * STEP: w for k, w in enumerate(values) if w is not None})
    ingest.roll_up(NOW + timedelta(hours=3))
    found = await SeriesStore(pool).series(
        "load_w", [ROME], NOW, NOW + 5 * STEP, points=3, source=Source.ROLLUP
    )
    assert found[ROME] == [
        Point(at=NOW, mean=2.0, low=1.0, high=3.0),
        Point(at=NOW + 3 * STEP, mean=7.0, low=7.0, high=7.0),
        Point(at=NOW + 4 * STEP, mean=9.0, low=9.0, high=9.0),
    ]


async def test_a_window_whose_readings_are_gone_is_answered_from_roll_ups(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], ingest: Ingest
) -> None:
    ingest.store(ROME, every_5_min(NOW, NOW + timedelta(hours=1), 700.0))
    ingest.roll_up(NOW + timedelta(hours=2))
    ingest.rows("SELECT drop_reading_partitions('2026-02-01')")
    found = await ReadingStore(pool).window("load_w", ROME, NOW, NOW + timedelta(hours=1), points=2)
    assert [(one.at, one.mean) for one in found] == [(NOW, 700.0), (NOW + 2 * STEP, 700.0)]
    raw = await SeriesStore(pool).series(
        "load_w", [ROME], NOW, NOW + timedelta(hours=1), source=Source.READINGS
    )
    assert raw[ROME] == []


def test_the_source_follows_from_the_window() -> None:
    day = timedelta(days=1)
    assert source_for("load_w", NOW, NOW + 2 * day) is Source.READINGS
    assert source_for("load_w", NOW, NOW + 30 * day) is Source.ROLLUP
    assert source_for("load_w", NOW, NOW + 365 * day) is Source.HOUR  # 8,760 hours
    assert source_for("charge_wh", NOW, NOW + day) is Source.ROLLUP
    with pytest.raises(ValueError, match="no metric"):
        source_for("loed_w", NOW, NOW + day)


@pytest.mark.parametrize(
    ("metric", "hours", "points", "why"),
    [
        ("bus_v", 0, 5, "empty"),
        ("bus_v", 1, 2001, "points"),
        ("bus_v", 1, 0, "points"),
        ("alarms", 1, 5, "no metric"),
    ],
)
async def test_a_series_that_makes_no_sense_is_an_error(
    pool: AsyncConnectionPool[psycopg.AsyncConnection], metric: str, hours: int, points: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        await SeriesStore(pool).series(metric, [ROME], NOW, NOW + timedelta(hours=hours), points=points)


def test_parallel_strings_are_compared_by_their_mean_currents(database: Database, ingest: Ingest) -> None:
    # Means -10, -8 and an empty place: the weaker one gives a fifth less. Reading by reading it would be -9/-11 and -9/-7.
    quarter = NOW.replace(minute=0, second=0, microsecond=0)
    strings = {0: (-11.0, -9.0, 0.0), 5: (-9.0, -7.0, 0.0), 10: None, 15: (-5.0, 0.0, 0.0)}
    readings = [
        replace(READING, sequence=k + 1, at=quarter + timedelta(minutes=minute), string_a=amps)
        for k, (minute, amps) in enumerate(strings.items())
    ]
    store_batch(ingest.connection, Batch(readings=readings), quarter, set())
    ingest.roll_up(quarter + timedelta(hours=3))
    found = ingest.rows("SELECT round(string_gap_frac::numeric, 4)::float8 FROM rollup ORDER BY bucket")
    assert found == [(0.2,), (None,)]  # one string alone has nothing to be compared with
    assert ingest.rows("SELECT round(string_gap_frac::numeric, 4)::float8 FROM rollup_hour") == [(0.2,)]
