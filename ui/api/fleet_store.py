"""What the fleet document is made of, in a few lean queries: rows, not readings, so that thousands of sites take milliseconds."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from telemetry.model.series import LOWER, MEDIAN, QUANTILES, UPPER, Quantity
from ui.api.feeder_band import Bands

_AT_A_TIME = 500
_BAND = (LOWER, MEDIAN, UPPER)
_ROW_OF = {level: number + 1 for number, level in enumerate(QUANTILES)}  # PostgreSQL counts from 1


class SiteRow(NamedTuple):
    """What is stored about one site now, in the order of the query."""

    site_id: str
    read_at: datetime | None
    load_w: float | None
    grid_w: float | None
    battery_w: float | None
    pv_w: float | None
    genset_w: float | None
    bus_v: float | None
    soc_frac: float | None
    soh_frac: float | None
    battery_c: float | None
    mains_ok: bool | None
    alarms: list[str] | None
    status_at: datetime | None
    online: bool | None
    state: str | None
    local_lock: bool | None
    quality: float | None
    open_incidents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look: rows of sites in order of id, feeders' newest background, incidents, plans under way, stop, mode."""

    sites: list[SiteRow]
    background: dict[str, tuple[datetime, float]]
    open_incidents: dict[str, int]
    active_plans: list[str]
    stopped: bool
    mode: tuple[str, str, datetime] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One quantile row of a forecast, W by quarter hour from `start`."""

    start: datetime
    values_w: npt.NDArray[np.float64]


_SITES = (
    "SELECT s.site_id, l.at, l.load_w, l.grid_w, l.battery_w, l.pv_w, l.genset_w, l.bus_v, l.soc_frac, l.soh_frac, l.battery_c,"
    " l.mains_ok, l.alarms, t.at, t.online, t.state, t.local_lock, q.score, coalesce(i.open, 0)"
    " FROM site s LEFT JOIN reading_latest l USING (site_id) LEFT JOIN site_status t USING (site_id)"
    " LEFT JOIN site_quality q USING (site_id) LEFT JOIN (SELECT site_id, count(*) AS open FROM incident"
    " WHERE state <> 'closed' GROUP BY site_id) i USING (site_id) ORDER BY s.site_id"
)


class FleetStore:
    """Read-only."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def facts(self, now: datetime) -> Facts:
        """Return what is stored about the fleet."""
        async with self._pool.connection() as connection:
            sites = await _fetch(connection, _SITES, [])
            background = await _fetch(
                connection,
                "SELECT f.feeder_id, r.at, r.background_w FROM feeder f JOIN LATERAL (SELECT at, background_w"
                " FROM feeder_reading WHERE feeder_id = f.feeder_id ORDER BY at DESC LIMIT 1) r ON true",
                [],
            )
            incidents = await _fetch(
                connection,
                "SELECT severity, count(*) FROM incident WHERE state <> 'closed' GROUP BY severity",
                [],
            )
            plans = await _fetch(
                connection,
                "SELECT plan_id FROM plan WHERE status = 'dispatched' AND window_end > %s ORDER BY window_start, plan_id",
                [now],
            )
            order = await _fetch(
                connection,
                "SELECT kind FROM command WHERE site_id IS NULL ORDER BY created_at DESC, sequence DESC LIMIT 1",
                [],
            )
            mode = await _fetch(connection, "SELECT mode, who, since FROM fleet_mode", [])
        return Facts(
            sites=[SiteRow(*row) for row in sites],
            background={row[0]: (row[1], row[2]) for row in background},
            open_incidents={row[0]: int(row[1]) for row in incidents},
            active_plans=[row[0] for row in plans],
            stopped=bool(order) and order[0][0] == "stop",
            mode=(mode[0][0], mode[0][1], mode[0][2]) if mode else None,
        )

    async def marks(self) -> tuple[int, int]:
        """Return two numbers that grow when the registry or the forecasts change."""
        async with self._pool.connection() as connection:
            (row,) = await _fetch(
                connection,
                "SELECT (SELECT coalesce(max(change_id), 0) FROM registry_change),"
                " (SELECT coalesce(max(forecast_id), 0) FROM forecast)",
                [],
            )
        return int(row[0]), int(row[1])

    async def upper_load(self) -> dict[str, Band]:
        """Return each site's newest upper load forecast."""
        return await self._bands(Quantity.LOAD_W, _ROW_OF[UPPER])

    async def lower_pv(self) -> dict[str, Band]:
        """Return each site's newest lower PV forecast."""
        return await self._bands(Quantity.PV_W, _ROW_OF[LOWER])

    async def bands_of(self, feeder_id: str, site_ids: Sequence[str]) -> dict[str, Bands]:
        """Return the newest load forecasts of some sites, and under the empty name their feeder's background."""
        rows: list[tuple[Any, ...]] = []
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            for quantity, names in ((Quantity.BACKGROUND_W, [feeder_id]), (Quantity.LOAD_W, list(site_ids))):
                await cursor.execute(
                    "SELECT CASE WHEN s.id = %s THEN '' ELSE s.id END, f.start, f.made_at, f.model, values_w[%s:%s],"
                    " values_w[%s:%s], values_w[%s:%s] FROM unnest(%s::text[]) AS s (id) JOIN LATERAL"
                    " (SELECT * FROM forecast WHERE subject_id = s.id AND quantity = %s"
                    " ORDER BY made_at DESC, forecast_id DESC LIMIT 1) f ON true",
                    [feeder_id, *(_ROW_OF[one] for one in _BAND for _ in range(2)), names, quantity.value],
                )
                rows += await cursor.fetchall()
        return {
            row[0]: Bands(
                start=row[1],
                made_at=row[2],
                model=row[3],
                rows_w=np.asarray([row[4][0], row[5][0], row[6][0]], dtype=np.float64),
            )
            for row in rows
        }

    async def _bands(self, quantity: Quantity, row_number: int) -> dict[str, Band]:
        found: dict[str, Band] = {}
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(
                "SELECT s.site_id, f.start, f.row FROM site s JOIN LATERAL (SELECT start, values_w[%s:%s] AS row"
                " FROM forecast WHERE subject_id = s.site_id AND quantity = %s ORDER BY made_at DESC, forecast_id DESC"
                " LIMIT 1) f ON true",
                [row_number, row_number, quantity.value],
            )
            while rows := await cursor.fetchmany(_AT_A_TIME):
                for site_id, start, row in rows:
                    found[site_id] = Band(start=start, values_w=np.asarray(row[0], dtype=np.float64))
                await asyncio.sleep(0)
        return found


async def _fetch(connection: AsyncConnection, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query.encode(), arguments)
    return await cursor.fetchall()
