"""How quickly the query layer answers on a fleet's worth of data (simulated): 5,000 sites, 10 million readings, a year.

The readings are one a minute of every site; roll-ups are there by the hour for a year and by the quarter hour for the
days that the questions ask about and some before (a year of quarter hours of 5,000 sites would be 175 million rows,
40 GB: the disk they take is told by its measured bytes a row). All rows lie on disk in the order of time, as a live
fleet writes them, so that one site's are spread over all of it.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.db import migrate, open_async_pool, provision_roles
from telemetry.model.site import SiteId
from telemetry.reading_store import ReadingStore
from telemetry.series_store import SeriesStore, Source
from ui.bench.harness import Progress
from ui.bench.query_store import bytes_and_rows, fill_readings, fill_registry, fill_rollups, settle
from ui.ops.files import private_folder
from ui.ops.postgres import NOT_DURABLE, TUNED, EmbeddedPostgres
from ui.ops.secrets import DatabaseRole, SecretStore
from ui.processes.running import collect_garbage_seldom

END = datetime(2026, 6, 30, 12, 0, tzinfo=UTC)
_MINUTE, _QUARTER, _HOUR = timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1)
_TABLES = {"raw": "reading", "quarter": "rollup", "hour": "rollup_hour"}
# Rows of a site in a year, by table; readings one a minute.
_A_YEAR = {"raw": 525_600, "quarter": 35_040, "hour": 8_760}
_LOADING = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "4GB"}
_GOALS_MS = {"latest_all": 50.0, "site_day_raw": 50.0, "site_month_rollup": 50.0, "feeder_week": 100.0}
Ask = Callable[[], Awaitable[int]]


def run(
    seed: int = 7,
    sites: int = 5_000,
    *,
    raw_rows: int = 10_000_000,
    quarter_days: int = 35,
    hour_days: int = 365,
    questions: int = 100,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Return figures and goals.

    Args:
        seed: Of which site or feeder is asked for.
        sites: In the registry, each with all its data.
        raw_rows: Readings in all, one a minute of each site.
        quarter_days: Days of quarter-hour roll-ups.
        hour_days: Days of hourly roll-ups.
        questions: Of each kind.
        progress: Told how far it is.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = private_folder(Path(name) / "bench")
        passwords = SecretStore(folder / "secrets").database_passwords()
        with EmbeddedPostgres(
            private_folder(folder / "postgres"), passwords, settings={**TUNED, **NOT_DURABLE, **_LOADING}
        ) as server:
            began_s = time.monotonic()
            feeders = _fill(
                server.dsn(), passwords, sites, raw_rows // sites, (quarter_days, hour_days), progress
            )
            filled_s = time.monotonic() - began_s
            progress(0.85)
            figures = asyncio.run(_measure(server.dsn(DatabaseRole.API), seed, sites, feeders, questions))
            sizes = _sizes(server.dsn())
    return {
        "figures": {"query_sites": sites, "query_fill_s": filled_s, **sizes, **figures},
        # The time that people wait depends on what else the machine does; processor time notices a slow-down on any.
        "goals": {
            f"query_{name}_{what}": {"op": "<", "value": goal, "gating": True}
            for name, goal in _GOALS_MS.items()
            for what in ("p95_ms", "cpu_ms")
        },
        "used": [
            f"roll-ups of every site: {quarter_days} days of quarter hours, {hour_days} days of hours",
            f"{feeders} feeders of {sites // feeders} sites; rows in the order of time; a server that waits for no disk",
        ],
    }


def _fill(
    dsn: str, passwords: dict[str, str], sites: int, each_site: int, days: tuple[int, int], progress: Progress
) -> int:
    provision_roles(dsn, passwords)
    migrate(dsn, applied_at=END)
    with psycopg.connect(dsn, autocommit=True) as owner:
        feeders = fill_registry(owner, sites, END)
    parts = 2 + 13 + 3
    done = iter(range(1, 10 * parts))

    def told() -> None:
        progress(0.8 * min(1.0, next(done) / parts))

    fill_readings(dsn, end=END, each_site=each_site, every=_MINUTE, told=told)
    fill_rollups(dsn, "rollup", end=END, days=days[0], every=_QUARTER, told=told)
    fill_rollups(dsn, "rollup_hour", end=END, days=days[1], every=_HOUR, told=told)
    with psycopg.connect(dsn, autocommit=True) as owner:
        settle(owner)
    return feeders


async def _measure(dsn: str, seed: int, sites: int, feeders: int, questions: int) -> dict[str, float]:
    collect_garbage_seldom()  # as every process of ours does
    pool = await open_async_pool(dsn, application_name="cellwatt-bench", max_size=1)
    try:
        async with pool.connection() as connection:
            pids = (os.getpid(), connection.info.backend_pid)
        asks = _questions(pool, seed, sites, feeders)
        figures: dict[str, float] = {}
        for name, ask in asks.items():
            count = questions if name != "fleet_week" else max(3, questions // 20)
            took_ms, cpu_ms, rows = await _part(ask, count, pids)
            figures |= {
                f"query_{name}_cpu_ms": cpu_ms,
                f"query_{name}_p50_ms": _quantile(took_ms, 0.5),
                f"query_{name}_p95_ms": _quantile(took_ms, 0.95),
                f"query_{name}_points_count": float(rows),
            }
        return figures
    finally:
        await pool.close()


def _questions(
    pool: AsyncConnectionPool[AsyncConnection], seed: int, sites: int, feeders: int
) -> dict[str, Ask]:
    random = Random(seed)  # noqa: S311 (which site is asked for)
    readings, series = ReadingStore(pool), SeriesStore(pool)
    everybody = [SiteId(f"cbs-{number:05d}") for number in range(1, sites + 1)]
    members = [everybody[(feeder - 1) % feeders :: feeders] for feeder in range(1, feeders + 1)]

    async def latest_all() -> int:
        return len(await readings.latest())

    async def latest_columns() -> int:
        return len((await readings.latest_fields(("load_w", "soc_frac", "battery_w"))).site_ids)

    async def site_day_raw() -> int:
        site_id = random.choice(everybody)
        return len((await series.series("load_w", [site_id], END - 24 * _HOUR, END))[site_id])

    async def site_month_rollup() -> int:
        site_id = random.choice(everybody)
        return len((await series.series("load_w", [site_id], END - 30 * 24 * _HOUR, END))[site_id])

    async def site_year() -> int:
        site_id = random.choice(everybody)
        return len((await series.series("load_w", [site_id], END - 365 * 24 * _HOUR, END))[site_id])

    async def feeder_week() -> int:
        return len(await series.total("grid_w", random.choice(members), END - 7 * 24 * _HOUR, END))

    async def fleet_week() -> int:
        return len(await series.total("grid_w", everybody, END - 7 * 24 * _HOUR, END, source=Source.HOUR))

    return {
        "latest_all": latest_all,
        "latest_three_fields": latest_columns,
        "site_day_raw": site_day_raw,
        "site_month_rollup": site_month_rollup,
        "site_year_hours": site_year,
        "feeder_week": feeder_week,
        "fleet_week": fleet_week,
    }


async def _part(ask: Ask, count: int, pids: tuple[int, ...]) -> tuple[list[float], float, int]:
    """Ask so often, after one that is not counted: it loads the connection's catalogue.

    Returns the times, the processor time of each question on both sides, and the points of the last answer.
    """
    rows = await ask()
    took_ms = []
    used_s = sum(map(_cpu_s, pids))
    for _ in range(count):
        began_s = time.perf_counter()
        rows = await ask()
        took_ms.append(1e3 * (time.perf_counter() - began_s))
    return took_ms, 1e3 * (sum(map(_cpu_s, pids)) - used_s) / count, rows


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, s: utime and stime of proc_pid_stat(5)."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _quantile(took_ms: list[float], share: float) -> float:
    ordered = sorted(took_ms)
    return ordered[min(len(ordered) - 1, ceil(share * len(ordered)) - 1)]


def _sizes(dsn: str) -> dict[str, float]:
    """Return rows and disk: bytes a row with indexes, and what a year of 1,000 sites takes."""
    figures: dict[str, float] = {}
    with psycopg.connect(dsn, autocommit=True) as owner:
        for name, table in _TABLES.items():
            heap, indexes, rows = bytes_and_rows(owner, table)
            each = (heap + indexes) / max(1, rows)
            figures |= {
                f"query_{name}_rows_count": float(rows),
                f"query_{name}_row_bytes": each,
                f"query_{name}_year_1000_sites_gb": each * _A_YEAR[name] * 1_000 / 1e9,
            }
    return figures
