import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from threading import Barrier

import psycopg
import pytest

from telemetry.declared import Declared
from telemetry.decode import Refused
from telemetry.gaps import GapWatch
from telemetry.ingest import Ingest, IngestSettings
from telemetry.ingest_store import Batch, store_batch
from telemetry.model.reading import FeederReading, FieldQuality, Reading, SiteState, SiteStatus, Verdict
from telemetry.model.site import FeederId, SiteId
from telemetry.quality import judge
from telemetry.ranges import Span
from telemetry.rollup_store import roll_up_due
from telemetry.spill import Spill, SpillLimits
from telemetry.wire import EventMessage, StateMessage, StoredMessage, decode, encode, telemetry_message
from tests.mqtt_clients import until
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database
TOPIC = "cbs/v1/cbs-0001/telemetry"


@pytest.fixture
def database(module_database: Database) -> Database:
    """An empty database; emptying one is quicker than making one."""
    tables = "reading, reading_latest, site_quality, feeder_reading, quarantine, stored_mark, stored_ahead, site_status"
    with psycopg.connect(module_database.dsn(), autocommit=True) as owner:
        owner.execute(f"TRUNCATE {tables}, site_event, rollup, rollup_due".encode())
    return module_database


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as opened:
        yield opened


def _series(count: int, *, first: int = 1, **changes: object) -> list[Reading]:
    return [
        replace(READING, sequence=first + k, at=NOW + timedelta(seconds=10 * (first - 1 + k)), **changes)  # type: ignore[arg-type]
        for k in range(count)
    ]


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_batch_stored_twice_is_there_once(connection: psycopg.Connection) -> None:
    days: set[date] = set()
    for _ in range(2):
        marks = store_batch(connection, Batch(readings=_series(5)), NOW, days)
        assert marks == {"cbs-0001": {"boot-1": 5}}
    assert _count(connection, "reading") == 5
    assert days == {NOW.date()}


def test_every_field_comes_back_as_it_was_sent(connection: psycopg.Connection) -> None:
    doubt = {"grid_v": FieldQuality(verdict=Verdict.BAD, reason="outside 0..520", raw=900.0)}
    sent = replace(
        READING,
        grid_v=None,
        string_a=(1.5, -2.0),
        alarms=("door_open",),
        genset_w=12.0,
        fuel_frac=0.5,
        quality=doubt,
    )
    store_batch(connection, Batch(readings=[sent]), NOW, set())
    row = connection.execute(
        "SELECT load_w, string_a, alarms, genset_w, fuel_frac, mains_ok, quality, grid_v, boot_id, sequence FROM reading"
    ).fetchone()
    assert row == (
        2000.0, [1.5, -2.0], ["door_open"], 12.0, 0.5, True, {"grid_v": ["bad", "outside 0..520", 900.0]}, None,
        "boot-1", 1,
    )  # fmt: skip


def test_the_mark_waits_for_a_gap_and_jumps_when_it_is_filled(connection: psycopg.Connection) -> None:
    def store(readings: list[Reading]) -> int:
        return store_batch(connection, Batch(readings=readings), NOW, set())["cbs-0001"]["boot-1"]

    assert store(_series(3)) == 3
    assert store(_series(3, first=6)) == 3
    assert store(_series(1, first=5)) == 3
    assert _count(connection, "stored_ahead") == 1  # 5..8 as one span
    assert store(_series(1, first=4)) == 8
    assert _count(connection, "stored_ahead") == 0


def test_late_data_does_not_replace_the_latest_reading(connection: psycopg.Connection) -> None:
    store_batch(connection, Batch(readings=_series(3)), NOW, set())
    store_batch(connection, Batch(readings=[replace(READING, boot_id="boot-0", load_w=1.0)]), NOW, set())
    assert connection.execute("SELECT sequence, load_w FROM reading_latest").fetchall() == [(3, 2000.0)]


def test_a_reading_from_the_future_does_not_stand_in_the_way_of_what_is_believable(
    connection: psycopg.Connection,
) -> None:
    def latest(*readings: Reading) -> list[tuple[int]]:
        for reading in readings:
            store_batch(connection, Batch(readings=[judge(reading, NOW)]), NOW, set())
        return connection.execute("SELECT sequence FROM reading_latest").fetchall()

    ahead = [replace(each, at=each.at + timedelta(hours=1)) for each in _series(3)]
    assert latest(ahead[0]) == [(1,)]  # all that there is
    assert latest(ahead[1]) == [(2,)]
    assert latest(replace(READING, sequence=10)) == [(10,)]  # the clock was set right
    assert latest(ahead[2]) == [(10,)]
    score = connection.execute("SELECT at, score FROM site_quality").fetchone()
    # 0.5 while the clock was ahead; 0.8 x 0.5 + 0.2 x 1.0 with the first good reading.
    assert score == (NOW, pytest.approx(0.6))


def test_roll_ups_hold_what_a_hand_calculation_gives_and_late_data_reopens_them(
    connection: psycopg.Connection,
) -> None:
    # NOW is 17:00: three 5-minute readings of one quarter of an hour.
    powers = [(2000.0, -400.0), (2200.0, -800.0), (2400.0, 600.0)]
    quarter = [
        replace(READING, sequence=k + 1, at=NOW + timedelta(minutes=5 * k), load_w=load, battery_w=battery)
        for k, (load, battery) in enumerate(powers)
    ]
    store_batch(connection, Batch(readings=quarter[:2]), NOW, set())
    assert roll_up_due(connection, NOW) == 1
    row = connection.execute("SELECT load_w, discharge_wh, charge_wh, completeness FROM rollup").fetchone()
    # Mean load 2,100 W; discharge (400 + 800) / 2 over a quarter of an hour is 150 Wh; 2 of 3 slots.
    assert row == pytest.approx((2100.0, 150.0, 0.0, 2 / 3))
    assert roll_up_due(connection, NOW) == 0
    store_batch(connection, Batch(readings=quarter[2:]), NOW, set())
    assert roll_up_due(connection, NOW) == 1
    row = connection.execute(
        "SELECT load_w, load_w_max, discharge_wh, charge_wh, battery_w, completeness FROM rollup"
    ).fetchone()
    assert row == pytest.approx((2200.0, 2400.0, 100.0, 50.0, -200.0, 1.0))


def test_states_feeders_and_refused_messages_are_kept(connection: psycopg.Connection) -> None:
    status = SiteStatus(
        site_id=SiteId("cbs-0001"),
        at=NOW,
        online=True,
        state=SiteState.FLOAT,
        local_lock=False,
        last_sequence=4,
    )
    older = replace(status, at=NOW - timedelta(seconds=1), state=SiteState.OUTAGE)
    feeder = FeederReading(feeder_id=FeederId("feeder-1"), at=NOW, background_w=1e6)
    refused = Refused(topic=TOPIC, reason="not json", payload=b"\x00\xff")
    for one in (status, older):
        batch = Batch(statuses={"cbs-0001": one}, feeder=[feeder], refused=[refused])
        store_batch(connection, batch, NOW, set())
    assert connection.execute("SELECT state FROM site_status").fetchall() == [("float",)]
    assert _count(connection, "feeder_reading") == 1
    assert connection.execute("SELECT reason, payload FROM quarantine LIMIT 1").fetchone() == (
        "not json",
        b"\x00\xff",
    )


def test_a_failed_batch_leaves_nothing_behind(connection: psycopg.Connection) -> None:
    poisoned = replace(READING, boot_id="a\0b")
    with pytest.raises(psycopg.DataError):
        store_batch(connection, Batch(readings=[READING, poisoned]), NOW, set())
    assert _count(connection, "reading") == 0
    assert _count(connection, "stored_mark") == 0


@pytest.mark.parametrize("first_lost", [4, 1])
def test_the_mark_goes_over_what_a_gateway_declared_lost(
    connection: psycopg.Connection, first_lost: int
) -> None:
    # 1..3 are stored and so are 8 and 9; 4..7 (or, with an overlap, 1..7) are gone for ever.
    store_batch(connection, Batch(readings=_series(3)), NOW, set())
    store_batch(connection, Batch(readings=_series(2, first=8)), NOW, set())
    lost = Declared("cbs-0001", "boot-1", (Span(first_lost, 7),))
    assert store_batch(connection, Batch(declared=[lost]), NOW, set()) == {"cbs-0001": {"boot-1": 9}}
    assert connection.execute("SELECT upto FROM stored_mark").fetchall() == [(9,)]
    assert _count(connection, "stored_ahead") == 0


def test_marks_of_many_sites_and_boots_advance_apart(connection: psycopg.Connection) -> None:
    other = [replace(READING, site_id=SiteId("cbs-0002"), boot_id=boot) for boot in ("b-1", "b-2")]
    later = [replace(other[0], sequence=3), replace(other[1], sequence=2)]
    store_batch(connection, Batch(readings=[*_series(2), *other]), NOW, set())
    marks = store_batch(connection, Batch(readings=later), NOW, set())
    assert marks == {"cbs-0002": {"b-1": 1, "b-2": 2}}
    assert connection.execute("SELECT * FROM stored_ahead").fetchall() == [("cbs-0002", "b-1", 3, 3)]


class _Centre:
    """An ingest worker on a real database with the broker's side in the hands of the test."""

    def __init__(self, database: Database, spill: Spill | None = None, *, held_messages: int = 100) -> None:
        self.reconnects = 0
        self.acknowledged: list[str] = []
        self.answers: list[tuple[str, bytes]] = []
        self.dsn = database.dsn(DatabaseRole.INGEST)
        self.ingest = Ingest(
            lambda: psycopg.connect(self.dsn, autocommit=True),
            lambda topic, payload, *, retain: self.answers.append((topic, payload)),
            lambda: NOW,
            settings=IngestSettings(
                flush_age=timedelta(milliseconds=20),
                retry_after=timedelta(milliseconds=20),
                roll_up_every=timedelta(milliseconds=100),
                held_messages=held_messages,
            ),
            spill=spill,
            reconnect=self._reconnect,
        )
        self.home, self.away = self.dsn, "postgresql://nobody@127.0.0.1:9/nowhere"

    def _reconnect(self) -> None:
        self.reconnects += 1

    def send(self, name: str, payload: bytes, topic: str = TOPIC) -> None:
        self.ingest.take(topic, payload, lambda: self.acknowledged.append(name))

    async def run_until(self, acknowledged: int) -> None:
        async with self.running():
            await until(lambda: len(self.acknowledged) >= acknowledged)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.ingest.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_malformed_message_lands_in_quarantine_and_its_neighbours_are_stored(
    database: Database, connection: psycopg.Connection
) -> None:
    centre = _Centre(database)
    centre.send("first", encode(telemetry_message((READING,))))
    centre.send("bad", b"{")
    centre.send("second", encode(telemetry_message(tuple(_series(2, first=2)))))
    await centre.run_until(3)
    assert centre.acknowledged == ["first", "bad", "second"]
    assert _count(connection, "reading") == 3
    assert _count(connection, "quarantine") == 1
    topic, payload = centre.answers[-1]
    assert topic == "cbs/v1/cbs-0001/stored"
    assert decode(payload, StoredMessage).marks == {"boot-1": 3}


async def test_what_the_database_will_not_take_is_found_and_set_aside_alone(
    database: Database, connection: psycopg.Connection
) -> None:
    centre = _Centre(database)
    for k in range(7):
        centre.send(f"good {k}", encode(telemetry_message((replace(READING, sequence=k + 1),))))
    # A NUL inside gzip is only seen by the database, which refuses it.
    poison = encode(telemetry_message((replace(READING, sequence=8, alarms=("a\0b",)),)), compress=True)
    centre.send("poison", poison)
    await centre.run_until(8)
    assert _count(connection, "reading") == 7
    row = connection.execute("SELECT reason, payload FROM quarantine").fetchone()
    assert row is not None
    assert row[0].startswith("cannot be stored")
    assert row[1] == poison


async def test_nothing_is_acknowledged_while_the_database_is_away(
    database: Database, connection: psycopg.Connection
) -> None:
    centre = _Centre(database)
    home, centre.dsn = centre.dsn, "postgresql://nobody@127.0.0.1:9/nowhere"
    centre.send("waits", encode(telemetry_message((READING,))))
    task = asyncio.create_task(centre.ingest.run())
    async with asyncio.timeout(10):
        while centre.ingest.counts.failures < 2:
            await asyncio.sleep(0.01)
        assert centre.acknowledged == []
        centre.dsn = home
        while not centre.acknowledged:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert _count(connection, "reading") == 1


async def test_messages_wait_on_disk_while_the_database_is_away(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    spill = Spill(tmp_path, SpillLimits())
    centre = _Centre(database, spill)
    centre.dsn = centre.away
    async with centre.running():
        for k in range(3):
            centre.send(f"m{k}", encode(telemetry_message(tuple(_series(2, first=2 * k + 1)))))
            await until(lambda k=k: len(centre.acknowledged) == k + 1)  # type: ignore[misc]
        assert (centre.ingest.counts.spilled, len(spill), centre.answers) == (3, 3, [])
        centre.dsn = centre.home
        await until(lambda: _count(connection, "site_event") == 1)
    assert _count(connection, "reading") == 6
    assert decode(centre.answers[-1][1], StoredMessage).marks["boot-1"] >= 2
    assert connection.execute("SELECT upto FROM stored_mark").fetchall() == [(6,)]
    told = connection.execute("SELECT site_id, kind FROM site_event").fetchall()
    assert told == [("svc-ingest", "spill_replayed")]


async def test_a_worker_started_anew_stores_what_its_forerunner_spilled(
    database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    first = _Centre(database, Spill(tmp_path, SpillLimits()))
    first.dsn = first.away
    first.send("m", encode(telemetry_message(tuple(_series(2)))))
    await first.run_until(1)
    assert first.ingest.spill is not None
    first.ingest.spill.close()
    second = _Centre(database, Spill(tmp_path, SpillLimits()))
    async with second.running():
        await until(lambda: second.ingest.counts.replayed == 1)
    assert _count(connection, "reading") == 2


async def test_when_the_spill_is_full_nothing_is_acknowledged_but_states_that_are_replaced(
    database: Database, connection: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    centre = _Centre(database, Spill(tmp_path, SpillLimits(max_bytes=100)), held_messages=4)
    centre.dsn = centre.away
    state = StateMessage(
        v=1, site_id="cbs-0001", at=NOW, online=True, state=SiteState.FLOAT, local_lock=False, last_sequence=1
    )
    newer = StateMessage(
        v=1,
        site_id="cbs-0001",
        at=NOW,
        online=True,
        state=SiteState.OUTAGE,
        local_lock=False,
        last_sequence=2,
    )
    centre.send("telemetry", encode(telemetry_message((READING,))))
    centre.send("old state", encode(state), "cbs/v1/cbs-0001/state")
    centre.send("new state", encode(newer), "cbs/v1/cbs-0001/state")
    async with centre.running():
        await until(lambda: centre.ingest.counts.dropped_states == 1)
        assert centre.acknowledged == ["old state"]
        for k in range(3):  # memory holds four messages: the third of these stays with the broker
            centre.send(f"more {k}", encode(telemetry_message((replace(READING, sequence=2 + k),))))
        assert centre.ingest.counts.not_taken == 1
        centre.dsn = centre.home
        await until(lambda: len(centre.acknowledged) == 5)
        await until(lambda: centre.reconnects == 1)
        await until(lambda: _count(connection, "site_event") == 1)
    assert "the spill is full, nothing more is acknowledged" in caplog.messages
    (alarm,) = connection.execute("SELECT site_id, kind, detail FROM site_event").fetchall()
    assert alarm[:2] == ("svc-ingest", "spill_full")
    assert "full 1 times, 1 states dropped, 1 messages left with the broker" in alarm[2]
    assert centre.acknowledged == ["old state", "telemetry", "new state", "more 0", "more 1"]
    assert centre.ingest.counts.spill_full == 1
    assert connection.execute("SELECT state FROM site_status").fetchall() == [("outage",)]


async def test_a_declared_loss_and_a_quarantined_message_let_the_mark_pass(
    database: Database, connection: psycopg.Connection
) -> None:
    centre = _Centre(database)
    lost = EventMessage(v=1, site_id="cbs-0001", at=NOW, kind="readings_lost", detail="boot-1 1 4")
    centre.send("lost", encode(lost), "cbs/v1/cbs-0001/event")
    broken = encode(telemetry_message(tuple(_series(2, first=5)))).replace(b'"load_w"', b'"lod_w"')
    centre.send("broken", broken)
    centre.send("good", encode(telemetry_message(tuple(_series(1, first=7)))))
    await centre.run_until(3)
    assert decode(centre.answers[-1][1], StoredMessage).marks == {"boot-1": 7}
    assert (_count(connection, "reading"), _count(connection, "quarantine")) == (1, 1)


async def test_readings_that_stay_missing_are_told_once(
    database: Database, connection: psycopg.Connection
) -> None:
    store_batch(connection, Batch(readings=[*_series(3), *_series(2, first=8)]), NOW, set())
    centre = _Centre(database)
    centre.ingest.gap_watch = GapWatch(lasting_s=0.05)
    centre.ingest.settings = replace(centre.ingest.settings, gaps_every=timedelta(milliseconds=20))
    async with centre.running():
        await until(lambda: _count(connection, "site_event") == 1)
        await asyncio.sleep(0.2)
    told = connection.execute("SELECT site_id, at, kind, detail FROM site_event").fetchall()
    assert told == [("cbs-0001", NOW, "readings_missing", "boot-1 4 7")]


def test_what_is_held_in_memory_is_bounded_in_bytes_and_what_goes_beyond_is_counted(
    database: Database,
) -> None:
    centre = _Centre(database)
    centre.ingest.settings = replace(centre.ingest.settings, held_bytes=2_500)
    for k in range(4):
        centre.send(f"m{k}", bytes(1_000))
    # Two are 2,000 bytes; with a third it would be 3,000.
    assert (centre.ingest.counts.most_held, centre.ingest.counts.not_taken) == (2, 2)
    assert centre.acknowledged == []


def test_two_workers_with_the_same_messages_in_another_order_do_not_wait_for_each_other(
    database: Database,
) -> None:
    # Both store the same 900 readings at the same moment, one from the front and one from the back.
    readings = [replace(each, site_id=SiteId(f"cbs-{n}")) for n in range(6) for each in _series(150)]
    begin = Barrier(2)

    def work(mine: list[Reading]) -> int:
        days, stored = {NOW.date()}, 0
        with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as own:
            for k in range(2):
                batch = Batch(readings=[replace(each, boot_id=f"b{k}") for each in mine])
                begin.wait(60)
                stored += len(store_batch(own, batch, NOW, days))
        return stored

    with psycopg.connect(database.dsn()) as owner:
        owner.execute("SELECT ensure_reading_partitions(%s, %s)", [NOW.date(), NOW.date()])
        owner.commit()
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(work, part) for part in (readings, readings[::-1])]
            assert [each.result(timeout=120) for each in done] == [12, 12]  # six sites, twice
        assert _count(owner, "reading") == 2 * 900
