"""Fills a benchmark's database by SQL: a day of readings for some sites, the newest of all, one forecast each."""

from datetime import datetime, timedelta

import psycopg


def fill_readings(owner: psycopg.Connection, *, now: datetime, dense_sites: int, every: timedelta) -> int:
    """Write a day of readings of the first sites, and the newest reading and state of every site; return the rows."""
    day = now - timedelta(days=1)
    owner.execute("SELECT ensure_reading_partitions(%s, %s)", [day.date(), now.date()])
    columns = (
        "site_id, at, boot_id, sequence, grid_v, grid_hz, grid_w, aux_ac_w, rectifier_w, load_w, bus_v, battery_a,"
        " battery_w, soc_frac, soh_frac, battery_c, ambient_c, mains_ok, alarms"
    )
    values = (
        "site_id, at, 'bench', row_number() OVER (PARTITION BY site_id ORDER BY at), 230, 50, 2200, 60, 2050,"
        " 2000 + 400 * sin(extract(epoch FROM at) / 3600), 54.4, 0.3, 16, 0.95, 0.99, 24, 12, true, '{}'::text[]"
    )
    cursor = owner.execute(
        f"INSERT INTO reading ({columns}) SELECT {values} FROM (SELECT site_id FROM site ORDER BY site_id LIMIT %s) s,"  # noqa: S608 (constants)
        " generate_series(%s::timestamptz, %s::timestamptz, %s) AS at",
        [dense_sites, day, now, every],
    )
    written = cursor.rowcount
    owner.execute(
        f"INSERT INTO reading_latest ({columns}) SELECT {values} FROM site, (SELECT %s::timestamptz AS at) a",  # noqa: S608 (constants)
        [now],
    )
    owner.execute("INSERT INTO site_status SELECT site_id, %s, true, 'float', false, 0, '' FROM site", [now])
    owner.execute("INSERT INTO site_quality (site_id, at, score) SELECT site_id, %s, 1 FROM site", [now])
    owner.execute("INSERT INTO feeder_reading SELECT feeder_id, %s, 100000 FROM feeder", [now])
    owner.execute("ANALYZE reading, reading_latest, site_status, site_quality")
    return written


def copy_forecast(owner: psycopg.Connection, subject_id: str) -> int:
    """Give every other site the newest load forecast of one; return how many that were."""
    cursor = owner.execute(
        "INSERT INTO forecast (subject_id, quantity, made_at, start, steps, model, version, reason, values_w,"
        " cumulative_wh) SELECT s.site_id, quantity, made_at, start, steps, model, f.version, reason, values_w,"
        " cumulative_wh FROM site s, forecast f WHERE f.subject_id = %s AND s.site_id <> %s",
        [subject_id, subject_id],
    )
    return cursor.rowcount


def move_loads(owner: psycopg.Connection, share: float, now: datetime) -> None:
    """Let the newest reading of a share of the sites change, as a fleet that reports does."""
    owner.execute(
        "UPDATE reading_latest SET load_w = load_w + 1, at = %s WHERE random() < %s",
        [now, share],
    )


def fill_incidents(owner: psycopg.Connection, *, count: int, now: datetime) -> None:
    """Open an incident at each of the first sites, an hour apart, back from an instant; every fifth is critical."""
    owner.execute(
        "INSERT INTO incident SELECT 'incident-bench-' || k, site_id, 'load', %s - k * interval '1 hour', NULL, 4.5,"
        " CASE WHEN k %% 5 = 0 THEN 'critical' ELSE 'warning' END, 'open',"
        " '{\"expected_w\": 1000.0, \"measured_w\": 1800.0}'::jsonb, '[]'::jsonb"
        " FROM (SELECT site_id, row_number() OVER (ORDER BY site_id) AS k FROM site) s WHERE k <= %s",
        [now, count],
    )


def sites_by_feeder(owner: psycopg.Connection) -> dict[str, list[str]]:
    """Return the sites of each feeder, both in order of id."""
    rows = owner.execute(
        "SELECT feeder_id, array_agg(site_id ORDER BY site_id) FROM site GROUP BY 1 ORDER BY 1"
    )
    return {str(feeder_id): [str(one) for one in site_ids] for feeder_id, site_ids in rows.fetchall()}
