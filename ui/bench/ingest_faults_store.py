"""The fault run's own SQL: what is there, how often, and what was said about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the database holds of one site."""

    rows: int
    numbers: int  # different sequence numbers
    highest: int
    mark: int


def found(connection: psycopg.Connection, sites: Sequence[str]) -> dict[str, Found]:
    """Return what there is of each site; a site of which there is nothing is there with zeros."""
    rows = connection.execute(
        "SELECT s.site_id, count(r.sequence), count(DISTINCT r.sequence), coalesce(max(r.sequence), 0),"
        " coalesce((SELECT max(upto) FROM stored_mark m WHERE m.site_id = s.site_id), 0)"
        " FROM unnest(%s::text[]) AS s (site_id) LEFT JOIN reading r USING (site_id) GROUP BY s.site_id",
        [list(sites)],
    )
    return {
        name: Found(rows=count, numbers=numbers, highest=highest, mark=mark)
        for name, count, numbers, highest, mark in rows
    }


def quarantined(connection: psycopg.Connection, source: str) -> dict[str, tuple[int, bool]]:
    """Return by SHA-256 of the payload how often it is in quarantine, and whether each time with a reason."""
    rows = connection.execute(
        "SELECT encode(sha256(payload), 'hex'), count(*), bool_and(reason <> '') FROM quarantine"
        " WHERE source LIKE %s GROUP BY 1",
        [f"cbs/v1/{source}/%"],
    )
    return {digest: (count, reasoned) for digest, count, reasoned in rows}


def count_quarantined(connection: psycopg.Connection) -> int:
    """Return how many messages are in quarantine."""
    row = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    return 0 if row is None else int(row[0])


def doubted_clocks(connection: psycopg.Connection, site_id: str, first: int) -> tuple[int, int]:
    """Return of a site's readings from a number on how many there are and how many have a doubtful clock."""
    row = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE quality ? 'at') FROM reading WHERE site_id = %s AND sequence >= %s",
        [site_id, first],
    ).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))
