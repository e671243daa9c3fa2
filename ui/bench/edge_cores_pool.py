"""The processes that a bench's gateway cores live in, as the bench sees them."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ui.bench.edge_cores import Order, Usage, Work
from ui.ops.files import private_folder


class CoresProcess:
    """One process of cores, spoken to by lines of JSON."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @staticmethod
    async def start(work: Work) -> "CoresProcess":
        """Start it and return when every port to the devices is open."""
        arguments = ("-m", "ui.bench.edge_cores")
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)
        made = CoresProcess(process)
        made._write(msgspec.json.encode(work))
        await made._usage()
        return made

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")

    async def _usage(self) -> Usage:
        assert self._process.stdout is not None
        return msgspec.json.decode(await self._process.stdout.readline(), type=Usage)

    def reboot(self, index: int, away_s: float) -> None:
        """Stop a core and start it again after a while."""
        self._write(msgspec.json.encode(Order(reboot=index, away_s=away_s)))

    async def usage(self) -> Usage:
        """Ask what it used."""
        self._write(msgspec.json.encode(Order(report=True)))
        return await self._usage()

    async def stop(self) -> None:
        """End its input, which ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(60.0):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class CoresPool:
    """All cores, in as many processes as the machine has processors: a gateway has a machine of its own."""

    def __init__(self, processes: Sequence[CoresProcess]) -> None:
        self._processes = processes

    @staticmethod
    async def start(work: Work, count: int) -> "CoresPool":
        """Deal the sites out and start the processes."""
        shares = [
            {index: place for index, place in work.places.items() if index % count == number}
            for number in range(count)
        ]
        works = [
            msgspec.structs.replace(
                work, places=share, folder=str(private_folder(Path(work.folder) / str(number)))
            )
            for number, share in enumerate(shares)
        ]
        return CoresPool(await asyncio.gather(*map(CoresProcess.start, works)))

    def __len__(self) -> int:
        return len(self._processes)

    def reboot(self, index: int, away_s: float) -> None:
        """Stop a core and start it again after a while."""
        self._processes[index % len(self)].reboot(index, away_s)

    async def usage(self) -> Usage:
        """Ask what all used: sums, and the longest standstill."""
        each = await asyncio.gather(*(process.usage() for process in self._processes))
        return Usage(
            cpu_s=sum(one.cpu_s for one in each),
            rss_mb=sum(one.rss_mb for one in each),
            lag_max_s=max(one.lag_max_s for one in each),
        )

    async def stop(self) -> None:
        """End them."""
        await asyncio.gather(*(process.stop() for process in self._processes))
