"""A worker killed between spill and replay: the next one stores what its forerunner had acknowledged."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg

from telemetry.ingest import Ingest
from telemetry.spill import Spill, SpillLimits
from tests.mqtt_clients import until
from tests.services import Database
from tests.telemetry.examples import NOW
from ui.ops.secrets import DatabaseRole

_COUNT = 20
_CHILD = f"""
import asyncio, sys, psycopg
from dataclasses import replace
from pathlib import Path
from telemetry.ingest import Ingest
from telemetry.spill import Spill, SpillLimits
from telemetry.wire import encode, telemetry_message
from tests.telemetry.examples import NOW, READING

async def main():
    away = lambda: psycopg.connect("postgresql://nobody@127.0.0.1:9/nowhere")
    ingest = Ingest(away, lambda *_, **__: None, lambda: NOW, spill=Spill(Path(sys.argv[1]), SpillLimits()))
    for n in range(1, {_COUNT} + 1):
        message = encode(telemetry_message((replace(READING, sequence=n),)))
        ingest.take("cbs/v1/cbs-0001/telemetry", message, lambda n=n: print(n, flush=True))
    await ingest.run()

asyncio.run(main())
"""


def _spill_and_die(folder: Path) -> list[int]:
    """Return what a worker acknowledged before it was killed."""
    argv = [sys.executable, "-c", _CHILD, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(_COUNT)]
        os.kill(child.pid, signal.SIGKILL)
    return acknowledged


async def test_what_a_killed_worker_had_acknowledged_is_stored_by_the_next(
    database: Database, tmp_path: Path
) -> None:
    acknowledged = _spill_and_die(tmp_path)
    assert acknowledged == list(range(1, _COUNT + 1))
    dsn = database.dsn(DatabaseRole.INGEST)
    ingest = Ingest(
        lambda: psycopg.connect(dsn, autocommit=True),
        lambda *_, **__: None,
        lambda: NOW,
        spill=Spill(tmp_path, SpillLimits()),
    )
    task = asyncio.create_task(ingest.run())
    await until(lambda: ingest.counts.replayed == _COUNT)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM reading").fetchone() == (_COUNT,)
        assert connection.execute("SELECT upto FROM stored_mark").fetchall() == [(_COUNT,)]
