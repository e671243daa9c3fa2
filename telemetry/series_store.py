"""Series for people and tools: any metric of any sites over any window, thinned in SQL with its extremes kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from telemetry.local_day import LocalDay
from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from telemetry.points import MAX_POINTS, RAW_METRICS, Point

HOUR = timedelta(hours=1)
RAW_UP_TO = timedelta(days=2)
QUARTERS_UP_TO = timedelta(days=31)  # beyond, hours, if there are enough of them
_ENERGY_OF = {"load_wh": "load_w", "grid_wh": "grid_w", "pv_wh": "pv_w"}
# Metrics whose extremes within a quarter of an hour are kept; of the others those of the quarter hours' means.
_LOWEST = {
    name: f"{name}_min" for name in ("load_w", "grid_w", "battery_w", "soc_frac", "bus_v", "battery_c")
}
_HIGHEST = {name: f"{name}_max" for name in (*_LOWEST, "pv_w")}
ROLLUP_METRICS = (
    "load_w", "grid_w", "aux_ac_w", "pv_w", "rectifier_w", "battery_w", "charge_wh", "discharge_wh",
    "meter_battery_w", "genset_w", "soc_frac", "bus_v", "battery_c", "ambient_c", *_ENERGY_OF,
)  # fmt: skip


_UNITS = {"w": "W", "wh": "Wh", "v": "V", "a": "A", "c": "degC", "hz": "Hz", "frac": "1"}


class Source(StrEnum):
    """What a series is made of."""

    READINGS = "readings"
    ROLLUP = "rollup"
    HOUR = "rollup_hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalPoint:
    """One stretch of a sum over sites: its mean, the extremes of the steps in it, and how many sites measured at most."""

    at: datetime
    mean: float
    low: float
    high: float
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTotal:
    """One metric of one site over one of its own days.

    `completeness` is the share of the day's data that is present, of 92, 96 or 100 quarters as the day has them;
    `energy` is the mean times the hours measured (Wh for a power in W).
    """

    site_id: SiteId
    day: date
    mean: float
    low: float
    high: float
    energy: float
    completeness: float


def unit_of(metric: str) -> str:
    """Return the unit that a metric's name ends in."""
    return _UNITS[metric.rpartition("_")[2]]


def source_for(metric: str, start: datetime, end: datetime, points: int = MAX_POINTS) -> Source:
    """Return the finest source that a window needs: readings up to 2 days, hours beyond 31 days if there are enough.

    Raises:
        ValueError: No such metric.
    """
    if metric in RAW_METRICS and end - start <= RAW_UP_TO:
        return Source.READINGS
    if metric not in ROLLUP_METRICS:
        raise ValueError(f"no metric {metric!r}; one of {', '.join(ROLLUP_METRICS)}")
    return source_for_rollups(start, end, points)


def source_for_rollups(start: datetime, end: datetime, points: int) -> Source:
    """Return which roll-ups a window needs: hours beyond 31 days, if there are enough of them."""
    length = end - start
    return Source.HOUR if length > QUARTERS_UP_TO and length // HOUR >= points else Source.ROLLUP


class SeriesStore:
    """Read-only series, at most `MAX_POINTS` points each."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def series(
        self,
        metric: str,
        site_ids: Sequence[SiteId],
        start: datetime,
        end: datetime,
        *,
        points: int = MAX_POINTS,
        source: Source | None = None,
    ) -> dict[SiteId, list[Point]]:
        """Return a metric of each site over `[start, end)`, thinned to at most `points`, extremes kept.

        Energies become their mean per quarter hour. What was not measured leaves no point. Without a `source` the finest
        one that the window needs is taken, and roll-ups where the readings are past their retention.

        Raises:
            ValueError: No such metric there, an empty window, or more than `MAX_POINTS` points.
        """
        chosen = source or source_for(metric, start, end, points)
        found = await self._series(metric, site_ids, start, end, points, chosen)
        gone = source is None and chosen is Source.READINGS and not any(found.values())
        if gone and metric in ROLLUP_METRICS:
            return await self._series(metric, site_ids, start, end, points, Source.ROLLUP)
        return found

    async def _series(
        self,
        metric: str,
        site_ids: Sequence[SiteId],
        start: datetime,
        end: datetime,
        points: int,
        source: Source,
    ) -> dict[SiteId, list[Point]]:
        query = sql.SQL(
            "SELECT site_id, min({time}) AS slot_begins, avg({value})::float8, min({low})::float8,"
            " max({high})::float8 FROM {table} WHERE site_id = ANY(%(ids)s) AND {time} >= %(start)s"
            " AND {time} < %(end)s AND {value} IS NOT NULL"
            " GROUP BY site_id, date_bin(%(slot)s, {time}, %(start)s) ORDER BY site_id, slot_begins"
        ).format(table=_table(source), time=_time(source), **_columns(metric, source))
        arguments = {
            "ids": list(site_ids),
            "start": start,
            "end": end,
            "slot": _slot(source, start, end, points),
        }
        found: dict[SiteId, list[Point]] = {site_id: [] for site_id in site_ids}
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query, arguments)
            for site_id, at, mean, low, high in await cursor.fetchall():
                found[SiteId(site_id)].append(Point(at=at, mean=mean, low=low, high=high))
        return found

    async def total(
        self,
        metric: str,
        site_ids: Sequence[SiteId],
        start: datetime,
        end: datetime,
        *,
        points: int = MAX_POINTS,
        source: Source | None = None,
    ) -> list[TotalPoint]:
        """Return the sum of a metric over sites (a feeder's, or the fleet's) from roll-ups, thinned, extremes kept.

        Raises:
            ValueError: No such metric there, an empty window, or more than `MAX_POINTS` points.
        """
        source = source or source_for_rollups(start, end, points)
        if source is Source.READINGS:
            raise ValueError("readings of several sites are not of one instant: sum their roll-ups")
        query = sql.SQL(
            "SELECT min(bucket) AS slot_begins, avg(total)::float8, min(total)::float8, max(total)::float8, max(sites)"
            " FROM (SELECT {step} AS bucket, sum({value}) AS total, count({value})::int AS sites FROM {table}"
            " WHERE site_id = ANY(%(ids)s) AND bucket >= %(start)s AND bucket < %(end)s GROUP BY 1"
            " HAVING count({value}) > 0) each_step GROUP BY date_bin(%(slot)s, bucket, %(start)s) ORDER BY slot_begins"
        ).format(table=_table(source), step=_step(source), value=_columns(metric, source)["value"])
        arguments = {
            "ids": list(site_ids),
            "start": start,
            "end": end,
            "slot": _slot(source, start, end, points),
        }
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query, arguments)
            rows = await cursor.fetchall()
        return [
            TotalPoint(at=at, mean=mean, low=low, high=high, sites=sites)
            for at, mean, low, high, sites in rows
        ]

    async def days(self, metric: str, site_ids: Sequence[SiteId], days: Sequence[LocalDay]) -> list[DayTotal]:
        """Return a metric of sites over whole days of their place, in order of site and day.

        Args:
            metric: A mean out of the roll-ups, such as `load_w`.
            site_ids: Sites of one time zone.
            days: From `telemetry.local_day.local_days` with that zone.

        Raises:
            ValueError: No such metric.
        """
        query = sql.SQL(
            "SELECT r.site_id, d.day, avg({value})::float8, min({low})::float8, max({high})::float8,"
            " (avg({value}) * 0.25 * count({value}))::float8, (sum(completeness) / max(d.quarters))::float8 FROM rollup r"
            " JOIN unnest(%(days)s::date[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(quarters)s::int[])"
            " AS d (day, starts, ends, quarters) ON r.bucket >= d.starts AND r.bucket < d.ends"
            " WHERE r.site_id = ANY(%(ids)s) AND {value} IS NOT NULL AND r.bucket >= %(first)s AND r.bucket < %(last)s"
            " GROUP BY r.site_id, d.day ORDER BY r.site_id, d.day"
        ).format(**_columns(metric, Source.ROLLUP))
        if not days:
            return []
        arguments = {
            "ids": list(site_ids),
            "days": [one.day for one in days],
            "starts": [one.start for one in days],
            "ends": [one.end for one in days],
            "quarters": [one.quarters for one in days],
            "first": days[0].start,
            "last": days[-1].end,
        }
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query, arguments)).fetchall()
        names = ("site_id", "day", "mean", "low", "high", "energy", "completeness")
        return [DayTotal(**dict(zip(names, row, strict=True))) for row in rows]


def _table(source: Source) -> sql.Identifier:
    return sql.Identifier("reading" if source is Source.READINGS else source.value)


def _step(source: Source) -> sql.Composable:
    """Return what steps are added up by: sites of zones half an hour apart have their hours half an hour apart."""
    return sql.SQL("date_bin('1 hour', bucket, 'epoch')" if source is Source.HOUR else "bucket")


def _time(source: Source) -> sql.Identifier:
    return sql.Identifier("at" if source is Source.READINGS else "bucket")


def _slot(source: Source, start: datetime, end: datetime, points: int) -> timedelta:
    """Return the length of a point: of roll-ups whole ones, so that each point holds as many as the next."""
    if not start < end:
        raise ValueError(f"window {start.isoformat()}..{end.isoformat()} is empty")
    if not 1 <= points <= MAX_POINTS:
        raise ValueError(f"points {points} must be 1..{MAX_POINTS}")
    if source is Source.READINGS:
        return max((end - start) / points, timedelta(milliseconds=1))
    step = STEP if source is Source.ROLLUP else HOUR
    return -(-(end - start) // (step * points)) * step


def _columns(metric: str, source: Source) -> dict[str, sql.Composable]:
    """Return the SQL of a metric's value and extremes in a source.

    Raises:
        ValueError: It is not there.
    """
    known = RAW_METRICS if source is Source.READINGS else ROLLUP_METRICS
    if metric not in known:
        raise ValueError(f"no metric {metric!r} in {source.value}; one of {', '.join(known)}")
    name = sql.Identifier(metric)
    if source is Source.READINGS:
        return {"value": name, "low": name, "high": name}
    if metric in _ENERGY_OF:
        value: sql.Composable = sql.SQL("({} * 0.25)").format(sql.Identifier(_ENERGY_OF[metric]))
        return {"value": value, "low": value, "high": value}
    if metric.endswith("_wh") and source is Source.HOUR:
        value = sql.SQL("({} / quarters)").format(name)
        return {"value": value, "low": value, "high": value}
    # Rows from before the extremes were kept have none.
    low, high = (
        sql.SQL("coalesce({}, {})").format(sql.Identifier(kept[metric]), name) if metric in kept else name
        for kept in (_LOWEST, _HIGHEST)
    )
    return {"value": name, "low": low, "high": high}
