"""Fills the query benchmark's database by SQL, in the order in which a live fleet would have written it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from edge.simulator.registry import simulated_fleet
from telemetry.registry_store import to_doc

SITES_A_FEEDER = 50  # some 2 kW each are about 1 % of a feeder of 10 MW (DOMAIN.md section 1)
_AT_ONCE = 2
_READING = (
    "site_id, at, boot_id, sequence, grid_v, grid_hz, grid_w, aux_ac_w, rectifier_w, load_w, bus_v, battery_a,"
    " battery_w, soc_frac, soh_frac, battery_c, ambient_c, mains_ok, alarms"
)
_READING_VALUES = (
    "s.site_id, t.at, 'bench', t.n, 230, 50, 1.1 * (t.shape + s.level), 60, t.shape + s.level, t.shape + s.level,"
    " 54.4, 0.3, 16, 0.95, 0.99, 24, 12, true, '{}'::text[]"
)
_ROLLUP = (
    "site_id, bucket, samples, completeness, load_w, load_w_min, load_w_max, grid_w, grid_w_min, grid_w_max, aux_ac_w,"
    " rectifier_w, battery_w, battery_w_min, battery_w_max, meter_battery_w, soc_frac, soc_frac_min, soc_frac_max,"
    " bus_v, bus_v_min, bus_v_max, battery_c, battery_c_min, battery_c_max, ambient_c"
)
_ROLLUP_VALUES = (
    "s.site_id, t.at, 15, 1, t.shape + s.level, 0.9 * t.shape + s.level, 1.2 * t.shape + s.level, 1.1 * t.shape,"
    " t.shape, 1.3 * t.shape, 60, t.shape, 16, 0, 30, 16, 0.95, 0.94, 0.96, 54.4, 54.3, 54.5, 24, 23, 25, 12"
)


_INCLUDE = " INCLUDE (load_w, load_w_min, load_w_max, grid_w, grid_w_min, grid_w_max)"
_KEPT_IN_KEY = {"rollup": _INCLUDE, "rollup_hour": _INCLUDE}  # as migration 0011 makes them


def fill_registry(owner: psycopg.Connection, sites: int, now: datetime) -> int:
    """Write feeders and sites, all like one simulated site; return how many feeders."""
    site = next(iter(simulated_fleet(4, seed=1, epoch=now).sites.values()))
    feeders = max(1, sites // SITES_A_FEEDER)
    owner.execute(
        "INSERT INTO feeder SELECT 'feeder-' || n, 1, jsonb_build_object('feeder_id', 'feeder-' || n)"
        " FROM generate_series(1, %s) n",
        [feeders],
    )
    owner.execute(
        "INSERT INTO site (site_id, feeder_id, radio_cluster, mode, simulated, version, doc)"
        " SELECT id, 'feeder-' || feeder, 'c', 'shadow', true, 1,"
        " %(doc)s::jsonb || jsonb_build_object('site_id', id, 'feeder_id', 'feeder-' || feeder) FROM"
        " (SELECT 'cbs-' || lpad(n::text, 5, '0') AS id, n %% %(feeders)s + 1 AS feeder"
        " FROM generate_series(1, %(sites)s) n) s",
        {"doc": Jsonb(to_doc(site)), "feeders": feeders, "sites": sites},
    )
    # The site's level: loads differ, and the loop below has a small table to go through.
    owner.execute(
        "CREATE TABLE bench_site AS SELECT site_id, (row_number() OVER (ORDER BY site_id) %% 50 * 20)::real AS level"
        " FROM site ORDER BY site_id",
        [],
    )
    owner.execute("ANALYZE bench_site")
    return feeders


def fill_readings(
    dsn: str, *, end: datetime, each_site: int, every: timedelta, told: Callable[[], None]
) -> None:
    """Write the same number of readings of every site up to `end`, and the newest of all."""
    begin = end - (each_site - 1) * every
    days = [begin.date() + timedelta(days=k) for k in range((end.date() - begin.date()).days + 1)]
    work = [
        partial(
            _part, dsn, "reading", day, day + timedelta(days=1), f"reading_{day:%Y%m%d}", (begin, end), every
        )
        for day in days
    ]
    _side_by_side(work, told)
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(
            f"INSERT INTO reading_latest ({_READING}) SELECT {_READING_VALUES} FROM bench_site s,"  # noqa: S608 (constants)
            " (SELECT %s::timestamptz AS at, 1 AS n, 1500::real AS shape) t",
            [end],
        )


def fill_rollups(
    dsn: str, table: str, *, end: datetime, days: int, every: timedelta, told: Callable[[], None]
) -> None:
    """Write roll-ups of every site over the days before `end`."""
    begin = end - timedelta(days=days)
    months = [begin.date().replace(day=1)]
    while (following := _next_month(months[-1])) <= end.date():
        months.append(following)
    work = [
        partial(
            _part, dsn, table, month, _next_month(month), f"{table}_{month:%Y%m}", (begin, end - every), every
        )
        for month in months
    ]
    _side_by_side(work, told)


def _next_month(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def _side_by_side(work: Sequence[Callable[[], None]], told: Callable[[], None]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(one) for one in work]:
            done.result()
            told()


def _part(
    dsn: str,
    parent: str,
    first: date,
    last: date,
    name: str,
    span: tuple[datetime, datetime],
    every: timedelta,
) -> None:
    """Fill one partition before it has an index, step by step over all sites, then index and attach it."""
    begins, ends = (datetime(one.year, one.month, one.day, tzinfo=UTC) for one in (first, last))
    columns, values = (_READING, _READING_VALUES) if parent == "reading" else (_ROLLUP, _ROLLUP_VALUES)
    if parent == "rollup_hour":
        columns, values = f"{columns}, quarters, load_wh, grid_wh", f"{values}, 4, t.shape + s.level, t.shape"
    time_column = "at" if parent == "reading" else "bucket"
    keys = {"reading": "site_id, at, boot_id, sequence"}.get(parent, "site_id, bucket")
    with psycopg.connect(dsn, options="-c timezone=UTC -c maintenance_work_mem=256MB") as owner:
        names = {"part": sql.Identifier(name), "parent": sql.Identifier(parent)}
        fill = sql.SQL("" if parent == "reading" else " WITH (fillfactor = 85)")
        owner.execute(
            sql.SQL("CREATE TABLE {part} (LIKE {parent} INCLUDING DEFAULTS){fill}").format(**names, fill=fill)
        )
        # One transaction with the table's making: nothing goes through the log. LATERAL keeps the order by time.
        owner.execute(
            f"INSERT INTO {name} ({columns}) SELECT {values} FROM"  # noqa: S608 (constants)
            " (SELECT at, row_number() OVER (ORDER BY at)::int AS n,"
            " (1500 + 400 * sin(extract(epoch FROM at)::float8 / 13750))::real AS shape"
            " FROM generate_series(%(begin)s::timestamptz, %(end)s::timestamptz, %(every)s) AS at"
            " WHERE at >= %(begins)s AND at < %(ends)s) t,"
            " LATERAL (SELECT site_id, level FROM bench_site WHERE t.at IS NOT NULL OFFSET 0) s",
            {"begin": span[0], "end": span[1], "every": every, "begins": begins, "ends": ends},
        )
        owner.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({keys}){_KEPT_IN_KEY.get(parent, '')}".encode())
        check = f"ALTER TABLE {name} ADD CONSTRAINT span CHECK ({time_column} >= '{begins}' AND {time_column} < '{ends}')"
        owner.execute(check.encode())
        owner.execute(
            f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ('{begins}') TO ('{ends}')".encode()
        )
        owner.execute(f"ANALYZE {name}".encode())


def bytes_and_rows(owner: psycopg.Connection, parent: str) -> tuple[int, int, int]:
    """Return the bytes of a partitioned table's heap and of its indexes, and its rows."""
    row = owner.execute(
        "SELECT coalesce(sum(pg_table_size(inhrelid)), 0)::bigint, coalesce(sum(pg_indexes_size(inhrelid)), 0)::bigint"
        " FROM pg_inherits WHERE inhparent = %s::regclass",
        [parent],
    ).fetchone()
    count = owner.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(parent))).fetchone()
    return (row[0], row[1], count[0]) if row and count else (0, 0, 0)


def settle(owner: psycopg.Connection) -> None:
    """Do what autovacuum and the checkpointer would have done by now: visibility maps, statistics, all on disk."""
    owner.execute("VACUUM (ANALYZE) reading, rollup, rollup_hour, reading_latest, site")
    owner.execute("CHECKPOINT")
