"""A notifier in a process of its own, to be killed: `doomed.py DSN SETTINGS WALL`."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from telemetry.db import open_async_pool
from tests.tools.notify.examples import NOON
from tools.anomaly.incident_store import IncidentStore
from tools.notify.notifier import Notifier
from tools.notify.occasion import Occasion, of_incident
from tools.notify.outbox_store import Outbox
from tools.notify.settings import load_settings


async def main(dsn: str, path: Path, wall: datetime) -> None:
    pool = await open_async_pool(dsn, application_name="doomed")

    async def occasions(_: datetime) -> list[Occasion]:
        found = [of_incident(one) for one in await IncidentStore(pool).open()]
        return [one for one in found if one is not None]

    notifier = Notifier(
        outbox=Outbox(pool), occasions=occasions, settings=lambda: load_settings(path),
        now=lambda: NOON, wall=lambda: wall,
    )  # fmt: skip
    await notifier.look()
    notifier.courier.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
