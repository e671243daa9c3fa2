import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import psycopg
import pytest

from telemetry.decode import Refused
from telemetry.ingest import Ingest, IngestSettings
from telemetry.ingest_store import Batch, roll_up_due, store_batch
from telemetry.model.reading import FeederReading, FieldQuality, Reading, SiteState, SiteStatus, Verdict
from telemetry.model.site import FeederId, SiteId
from telemetry.wire import StoredMessage, decode, encode, telemetry_message
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

pytestmark = pytest.mark.database
TOPIC = "cbs/v1/cbs-0001/telemetry"


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


class _Centre:
    """An ingest worker on a real database with the broker's side in the hands of the test."""

    def __init__(self, database: Database) -> None:
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
            ),
        )

    def send(self, name: str, payload: bytes, topic: str = TOPIC) -> None:
        self.ingest.take(topic, payload, lambda: self.acknowledged.append(name))

    async def run_until(self, acknowledged: int) -> None:
        task = asyncio.create_task(self.ingest.run())
        async with asyncio.timeout(10):
            while len(self.acknowledged) < acknowledged:
                await asyncio.sleep(0.01)
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
