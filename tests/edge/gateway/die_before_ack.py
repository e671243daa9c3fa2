"""Run as a process of its own: a gateway that is killed after it has accepted a command and before it says so."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.edge.gateway.bench import BenchLink, bench, seal
from tests.edge.gateway.test_core import HOUR


class DeadlyLink(BenchLink):
    """A link on which the first acknowledgement is never said."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if topic.endswith("/ack"):
            os.kill(os.getpid(), signal.SIGKILL)
        await super().publish(topic, payload, retain=retain)


async def main(folder: Path) -> None:
    async with bench(folder, link=DeadlyLink()) as made:
        await made.order(seal(HOUR))
        await asyncio.sleep(5.0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
