"""How quickly the API answers many readers at once: the fleet's latest state, and a day of one site (simulated data).

The real process over real PostgreSQL on this machine, the readers beside it on the same cores. Readers ask once a second,
as screens do; then as fast as they can, which says where it ends.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from ui.bench.api_store import move_loads
from ui.bench.api_world import api_world

GOAL_MS = 100.0
GOAL_STATE_CPU_MS = 2.0
GOAL_WINDOW_CPU_MS = 10.0
_READY_WITHIN_S = 60.0
_STEPS = 384
_LINE = b"\r\n"


@dataclass(slots=True)
class Reader:
    """One screen: a connection kept open, a token of its own, and how long each answer took, s."""

    port: int
    token: str
    took_s: list[float] = field(default_factory=list)
    bytes_read: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> None:
        """Ask, read the whole answer, and note the time.

        Raises:
            RuntimeError: The answer is no 200.
        """
        began_s = time.perf_counter()
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {self.token}\r\nAccept-Encoding: gzip\r\n\r\n"
        self._writer.write(head.encode())
        status = await self._reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"{path} answered {status!r}")
        length = 0
        while (line := await self._reader.readline()) != _LINE:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        await self._reader.readexactly(length)
        self.bytes_read += length
        self.took_s.append(time.perf_counter() - began_s)

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()


def run(
    seed: int = 7, sites: int = 5_000, *, readers: int = 50, seconds: float = 10.0, dense_sites: int = 100
) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        seed: Of the simulated fleet and of which site a reader asks for.
        sites: In the registry, each with its newest reading, state, quality and load forecast.
        readers: At the same time.
        seconds: Of each part.
        dense_sites: Sites with a day of readings, one in 10 s: those whose window is asked for.
    """
    with api_world(seed, sites, readers, dense_sites) as world:
        figures = asyncio.run(
            _measure(world.owner_dsn, world.port, world.pid, world.tokens, seed, seconds, dense_sites)
        )
    return {
        "figures": {
            "api_sites": sites,
            "api_readers_count": readers,
            "api_raw_rows_count": world.rows,
            **figures,
        },
        "goals": {
            key: {"op": "<", "value": GOAL_MS, "gating": True}
            for key in ("api_latest_state_p95_ms", "api_site_window_p95_ms")
        }
        | {
            # Processor time does not depend on what else the machine does: these two notice a slow-down.
            "api_latest_state_cpu_ms": {"op": "<", "value": GOAL_STATE_CPU_MS, "gating": True},
            "api_site_window_cpu_ms": {"op": "<", "value": GOAL_WINDOW_CPU_MS, "gating": True},
        },
    }


async def _measure(
    owner_dsn: str, port: int, pid: int, tokens: Sequence[str], seed: int, seconds: float, dense_sites: int
) -> dict[str, float]:
    random = Random(seed)  # noqa: S311 (which site is asked for)
    end = datetime.now(UTC)
    window = f"start={end - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"

    def site_window() -> str:
        return f"/v1/sites/cbs-{random.randint(1, dense_sites):04d}/series?metric=load_w&points=500&{window}"

    await _warm(port, tokens)
    moving = asyncio.create_task(_keep_moving(owner_dsn))
    try:
        state = await _part(port, tokens, lambda: "/v1/fleet", seconds, every_s=1.0)
        windows = await _part(port, tokens, site_window, seconds, every_s=1.0)
        used_s = [_cpu_s(pid)]
        state_flat = await _part(port, tokens, lambda: "/v1/fleet", seconds / 2, every_s=0.0)
        used_s.append(_cpu_s(pid))
        windows_flat = await _part(port, tokens, site_window, seconds / 2, every_s=0.0)
        used_s.append(_cpu_s(pid))
    finally:
        moving.cancel()
    return {
        "api_latest_state_p50_ms": _quantile_ms(state, 0.5),
        "api_latest_state_p95_ms": _quantile_ms(state, 0.95),
        "api_site_window_p50_ms": _quantile_ms(windows, 0.5),
        "api_site_window_p95_ms": _quantile_ms(windows, 0.95),
        "api_latest_state_answer_kb": sum(one.bytes_read for one in state) / _answers(state) / 1e3,
        # All that the process did while it answered as fast as it could, the look at the fleet each second included.
        "api_latest_state_cpu_ms": 1e3 * (used_s[1] - used_s[0]) / _answers(state_flat),
        "api_site_window_cpu_ms": 1e3 * (used_s[2] - used_s[1]) / _answers(windows_flat),
        "api_latest_state_flat_out_p95_ms": _quantile_ms(state_flat, 0.95),
        "api_latest_state_flat_out_per_s": _answers(state_flat) / (seconds / 2),
        "api_site_window_flat_out_p95_ms": _quantile_ms(windows_flat, 0.95),
        "api_site_window_flat_out_per_s": _answers(windows_flat) / (seconds / 2),
    }


def _answers(readers: Sequence[Reader]) -> int:
    return sum(len(one.took_s) for one in readers)


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, s: utime and stime of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _warm(port: int, tokens: Sequence[str]) -> None:
    for token in tokens[:2]:
        reader = Reader(port, token)
        await reader.get("/v1/fleet")
        reader.close()


async def _keep_moving(owner_dsn: str) -> None:
    """A tenth of the fleet reports something new every second, so that no answer is an old one."""

    async def move() -> None:
        await asyncio.to_thread(_move, owner_dsn)

    while True:
        await move()
        await asyncio.sleep(1.0)


def _move(owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        move_loads(owner, 0.1, datetime.now(UTC))


async def _part(
    port: int, tokens: Sequence[str], path: Callable[[], str], seconds: float, *, every_s: float
) -> list[Reader]:
    """Let every reader ask for a while; those that ask once a second begin spread over it."""
    readers = [Reader(port, token) for token in tokens]
    end_s = time.monotonic() + seconds

    async def read(number: int, reader: Reader) -> None:
        next_s = time.monotonic() + every_s * number / len(readers)
        while next_s < end_s:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            await reader.get(path())
            next_s = max(next_s + every_s, time.monotonic() if every_s == 0.0 else 0.0)

    await asyncio.gather(*(read(number, reader) for number, reader in enumerate(readers)))
    for reader in readers:
        reader.close()
    return readers


def _quantile_ms(readers: Sequence[Reader], share: float) -> float:
    took = sorted(one for reader in readers for one in reader.took_s)
    return 1e3 * took[min(len(took) - 1, ceil(share * len(took)) - 1)]
