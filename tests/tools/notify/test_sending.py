"""Messages go out to real receivers, once each, whatever falls over on the way."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from telemetry.db import open_async_pool
from telemetry.model.incident import Incident, IncidentState
from tests.services import Database
from tests.tools.notify.examples import INCIDENT, NOON, settings
from tests.tools.notify.receivers import mail_receiver, web_receiver
from tools.anomaly.incident_store import IncidentStore
from tools.notify.notifier import Notifier, NotifyDesk, Pace
from tools.notify.occasion import Occasion, of_incident
from tools.notify.outbox_store import Outbox, Sending
from tools.notify.sender import DELIVERY_HEADER, Courier, send_test
from tools.notify.settings import NotifySettings
from ui.ops.secrets import DatabaseRole

ROOT = Path(__file__).parents[3]


@dataclass
class Times:
    """Domain and wall time that a test moves."""

    now: datetime = NOON
    wall: datetime = NOON


@dataclass
class World:
    notifier: Notifier
    outbox: Outbox
    times: Times = field(default_factory=Times)
    standing: list[Incident] = field(default_factory=lambda: [INCIDENT])


@asynccontextmanager
async def world(
    database: Database, chosen: NotifySettings, *, pace: Pace | None = None
) -> AsyncIterator[World]:
    pool = await open_async_pool(database.dsn(DatabaseRole.API), application_name="test")
    outbox, times, standing = Outbox(pool), Times(), [INCIDENT]

    async def occasions(_: datetime) -> Sequence[Occasion]:
        return [one for one in map(of_incident, standing) if one is not None]

    notifier = Notifier(
        outbox=outbox, occasions=occasions, settings=lambda: chosen, now=lambda: times.now,
        wall=lambda: times.wall, pace=pace or Pace(),
    )  # fmt: skip
    try:
        yield World(notifier=notifier, outbox=outbox, times=times, standing=standing)
    finally:
        notifier.courier.close()
        await pool.close()


async def test_one_incident_is_one_message_to_a_webhook_and_one_mail(database: Database) -> None:
    async with mail_receiver() as mail:
        with web_receiver() as web:
            urls = (
                web.url(),
                f"mailto://127.0.0.1:{mail.port}/?from=cw@here.example&to=ops@there.example&mode=insecure",
            )
            async with world(database, settings(*urls)) as one:
                assert await one.notifier.look() == 2
                one.standing[0] = replace(INCIDENT, score=9.0)  # seen again, stronger
                one.times.wall += timedelta(hours=1)
                assert await one.notifier.look() == 0
                rows = await one.outbox.about("inc-1")
    assert [(row.message.target, row.state, row.attempts) for row in rows] == [
        (name, Sending.SENT, 1) for name in sorted(("t0", "t1"), key=[r.message.target for r in rows].index)
    ]
    [body], [headers] = web.bodies, web.headers
    assert body["title"] == "critical: battery voltage at cbs-0001"
    assert body["type"] == "failure"
    assert body["message"].endswith("https://cw.example/m/incidents/inc-1")
    assert headers[DELIVERY_HEADER].startswith("msg-")
    [(recipients, letter)] = mail.mails
    assert recipients == ["ops@there.example"]
    assert letter["Subject"] == "critical: battery voltage at cbs-0001"
    assert letter[DELIVERY_HEADER].startswith("msg-")


async def test_a_receiver_that_refuses_is_tried_again_later_and_given_up_in_the_end(
    database: Database,
) -> None:
    pace = Pace(first_wait=timedelta(seconds=10), attempts=3)
    with web_receiver(lambda number: 500 if number < 2 else 200) as web:
        async with world(database, settings(web.url("a")), pace=pace) as one:
            assert await one.notifier.look() == 0
            assert await one.notifier.look() == 0  # not yet
            assert len(web.bodies) == 1
            one.times.wall += timedelta(seconds=10)
            assert await one.notifier.look() == 0
            one.times.wall += timedelta(seconds=19)
            assert await one.notifier.look() == 0  # the wait has doubled
            one.times.wall += timedelta(seconds=1)
            assert await one.notifier.look() == 1
            [row] = await one.outbox.recent(10)
    assert (row.state, row.attempts, len(web.bodies)) == (Sending.SENT, 3, 3)
    with web_receiver(lambda _: 500) as deaf:
        async with world(database, settings(deaf.url("b")), pace=replace(pace, attempts=1)) as one:
            one.standing[0] = replace(INCIDENT, incident_id="inc-2")
            assert await one.notifier.look() == 0
            [row] = await one.outbox.about("inc-2")
    assert (row.state, row.outcome) == (Sending.FAILED, "json: not taken")


async def test_a_slow_target_keeps_no_other_waiting(database: Database) -> None:
    held, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with web_receiver() as web:
        async with world(database, settings(f"json://127.0.0.1:{port}/", web.url())) as one:
            looking = asyncio.create_task(one.notifier.look())
            async with asyncio.timeout(8.0):
                while not web.bodies:
                    await asyncio.sleep(0.02)
            assert not looking.done()
            held.set()
            assert await looking == 1
            await gone.wait()
    server.close()
    await server.wait_closed()


async def test_what_is_over_before_it_could_be_sent_is_not_sent(database: Database) -> None:
    with web_receiver(lambda _: 500) as web:
        async with world(database, settings(web.url())) as one:
            await one.notifier.look()
            one.standing[0] = replace(INCIDENT, state=IncidentState.CLOSED)
            one.times.wall += timedelta(minutes=5)
            await one.notifier.look()
            [row] = await one.outbox.recent(10)
    assert (row.state, len(web.bodies)) == (Sending.WITHDRAWN, 1)


async def test_two_processes_at_once_send_one_message(database: Database) -> None:
    with web_receiver() as web:
        async with world(database, settings(web.url())) as one, world(database, settings(web.url())) as two:
            sent = await asyncio.gather(one.notifier.look(), two.notifier.look())
            assert sorted(sent) == [0, 1]
    assert len(web.bodies) == 1


async def test_of_a_digest_of_which_one_was_told_already_nothing_is_kept(database: Database) -> None:
    from tools.notify.rules import due

    with web_receiver() as web:
        chosen = settings(web.url())
        async with world(database, chosen) as one:
            await one.notifier.look()
            many = [of_incident(replace(INCIDENT, incident_id=f"inc-{k}")) for k in range(1, 5)]
            stale = due([each for each in many if each], (), chosen, NOON)  # made before inc-1 was told
            assert [len(each.subject_ids) for each in stale] == [4]
            assert await one.outbox.put(stale, at=NOON, wall=NOON) == 0
            assert [each.subject_id for each in await one.outbox.told(["inc-1", "inc-2"])] == ["inc-1"]


def notify_file(folder: Path, url: str) -> Path:
    path = folder / "notify.toml"
    path.write_text(f'[[target]]\nname = "t0"\nurl = "{url}"\n')
    path.chmod(0o600)
    return path


def start_doomed(database: Database, path: Path, wall: datetime) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.tools.notify.doomed", database.dsn(DatabaseRole.API), str(path)]
    return subprocess.Popen([*command, wall.isoformat()], cwd=ROOT)


async def test_a_process_killed_while_it_sends_loses_no_page_and_its_successor_says_so(
    database: Database, tmp_path: Path
) -> None:
    pool = await open_async_pool(database.dsn(DatabaseRole.LOOP), application_name="test")
    await IncidentStore(pool).put([INCIDENT])
    await pool.close()
    doomed: list[subprocess.Popen[bytes]] = []

    def kill_the_first(number: int) -> int:
        if number == 0:
            os.kill(doomed[0].pid, signal.SIGKILL)
        return 200

    with web_receiver(kill_the_first) as web:
        doomed.append(start_doomed(database, notify_file(tmp_path, web.url()), NOON))
        assert await asyncio.to_thread(doomed[0].wait, 60) == -signal.SIGKILL
        # Within the lease nobody else sends it; after it the successor does, once.
        async with world(database, settings(web.url())) as successor:
            for waited, bodies in ((89.0, 1), (90.0, 2), (7200.0, 2)):
                successor.times.wall = NOON + timedelta(seconds=waited)
                await successor.notifier.look()
                assert len(web.bodies) == bodies
    assert "Sent again" not in web.bodies[0]["message"]
    assert "Sent again" in web.bodies[1]["message"]
    assert web.headers[0][DELIVERY_HEADER] == web.headers[1][DELIVERY_HEADER]


async def test_the_test_button_tells_of_each_target_and_shows_no_secret(database: Database) -> None:
    with web_receiver() as web:
        chosen = settings(web.url("s3cret"), "json://127.0.0.1:9/s3cret", "nosuch://s3cret")
        courier = Courier()
        results = await send_test(chosen, courier)
        assert [(one.target, one.delivery.ok) for one in results] == [
            ("t0", True),
            ("t1", False),
            ("t2", False),
        ]
        pool = await open_async_pool(database.dsn(DatabaseRole.API), application_name="test")
        desk = NotifyDesk(outbox=Outbox(pool), settings=lambda: chosen, courier=courier)
        [again] = await desk.test("t0")
        assert again.delivery.detail == "json: taken"
        with pytest.raises(KeyError):
            await desk.test("nobody")
        assert [one.scheme for one in desk.targets()] == ["json", "json", "nosuch"]
        assert "s3cret" not in repr((results, desk.targets()))
        courier.close()
        await pool.close()
    assert [body["title"] for body in web.bodies] == ["CellWatt test message"] * 2
